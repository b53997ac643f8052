//! Planted bugs: builds with `--cfg canary` can be told to make one, to prove that the tests find it.
//!
//! A release never has the cfg; then [`planted!`](crate::planted) is the constant `false` and
//! leaves no code behind. `cargo xtask reliability` builds with it (`docs/RELIABILITY.md`).

/// Asks whether a bug is planted: `planted!(PayTwice)`.
#[macro_export]
macro_rules! planted {
    ($name:ident) => {{
        #[cfg(canary)]
        {
            $crate::canary::is_planted($crate::canary::Canary::$name)
        }
        #[cfg(not(canary))]
        {
            false
        }
    }};
}

#[cfg(canary)]
pub use on::{Canary, is_planted, plant};

#[cfg(canary)]
mod on {
    use std::cell::Cell;

    macro_rules! canaries {
        ($($(#[doc = $text:literal])* $name:ident),* $(,)?) => {
            /// The bugs that can be planted.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum Canary { $($(#[doc = $text])* $name),* }

            impl Canary {
                /// All of them, with what each does.
                pub const ALL: &'static [(Self, &'static str, &'static str)] =
                    &[$((Self::$name, stringify!($name), concat!($($text),*))),*];
            }
        };
    }

    canaries! {
        /// a transaction's signature is not checked
        SkipTransactionSignature,
        /// a vote's signature is not checked
        SkipVoteSignature,
        /// two thirds of the power are enough, where more than two thirds are needed
        QuorumOffByOne,
        /// a fetched block's certificate is not checked
        SkipCertificate,
        /// a worker is paid twice for one result
        PayTwice,
        /// votes are sent before they are on disk, and never get there
        ForgetVotes,
        /// the votes on disk are not read at the start
        ForgetReplay,
        /// bytes that are not canonical are accepted
        AcceptNonCanonical,
        /// results are revealed before all have committed
        RevealEarly,
        /// a proposer may reveal the same beacon value again
        ReuseBeacon,
        /// an old renewal of a beacon chain can be played again (found by the rig)
        ReplayRenewal,
        /// rewards are rounded up
        RoundRewardUp,
        /// proposals are accepted without execution
        SkipVerification,
        /// a decided block is held against the own clock (found by the rig)
        TrustClock,
        /// equal results of unproven replicas are believed (found by the rig)
        BelieveUnproven,
        /// a peer that did not answer is waited for without end
        StuckFetch,
        /// a sender may fill the mempool
        UnboundedSender,
        /// the light client does not check the path to the root
        SkipProofPath,
        /// a committee member that has not voted counts as wrong
        SlashSilent,
        /// the escrow of a task that is given up is lost
        LoseEscrow,
        /// a sequence number can be used again
        ReuseSequence,
        /// unbonded stake is paid out at once
        UnbondAtOnce,
        /// a validator is slashed twice for one contradiction
        SlashTwice,
        /// a vote is counted again when it is given again
        VoteTwice,
        /// proposals pass without a quorum
        IgnoreQuorum,
        /// a channel can be disputed with any version, an older one too
        ChannelOldState,
        /// an issuer may mint beyond the cap
        MintBeyondCap,
        /// an escrow stays open when it is released
        EscrowTwice,
        /// a link that exists can be made again, and counts twice
        LinkTwice,
        /// a name can be taken before it has expired
        StealName,
        /// a Snowman validator signs every block that it sees
        SnowmanSignTwice,
        /// a Snowman validator signs before any poll has given it confidence
        SnowmanIgnoreConfidence,
        /// the rows of a snapshot are not compared with the root
        SkipSnapshotRoot,
        /// the focus stays when links or stakes change between particles that are there
        StalePi,
        /// links that are taken back stay in the focus
        FocusKeepsUnlinked,
        /// a node that starts again computes focus from the beginning
        FocusFromTheStart,
        /// who is quarantined is never let back
        QuarantineForever,
        /// a task that was taken back is awaited from the other machine too
        AwaitTakenBack,
        /// moves and quarantines wait by a clock that can go back (found by the rig)
        WaitByTheClock,
        /// a machine takes tasks of machines that are no partners
        TakeStrangers,
        /// the cost of a fault is not charged
        FreeFault,
        /// a step of a guest costs nothing by itself, so that a guest may take steps without end
        FreeSteps,
        /// the meter of a guest that goes on from a snapshot begins anew
        MeterAnew,
        /// a malformed frame is held against another peer than its sender
        BlameAnother,
    }

    thread_local! {
        static PLANTED: Cell<Option<Canary>> = const { Cell::new(None) };
    }

    /// Plants a bug in this thread, or takes it out.
    pub fn plant(canary: Option<Canary>) {
        PLANTED.set(canary);
    }

    /// True when this bug is planted in this thread.
    pub fn is_planted(canary: Canary) -> bool {
        PLANTED.get() == Some(canary)
    }
}
