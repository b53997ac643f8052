//! Governance (PGV): proposals, votes and what they decide (`docs/spec/protocol.md` 14).

use minicbor::{Decode, Encode};

use crate::amount::Amount;
use crate::ids::AccountId;
use crate::params::ParamChange;
use crate::wire;

/// Most changes of one proposal.
pub const MAX_CHANGES: usize = 64;
/// Longest reason, in bytes.
pub const MAX_REASON: usize = 1024;

/// What a proposal does when it passes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Action {
    /// Sets parameters, all or none.
    #[n(0)]
    SetParams(#[n(0)] Vec<ParamChange>),
    /// Recognises an account as the identity of one person, or takes that back.
    #[n(1)]
    Vouch {
        /// The account.
        #[n(0)]
        account: AccountId,
        /// Whether it is one.
        #[n(1)]
        is_person: bool,
    },
}

/// A wish to change something, with its reason.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Propose {
    /// What to do.
    #[n(0)]
    pub action: Action,
    /// Why, for people; at most [`MAX_REASON`] bytes.
    #[n(1)]
    pub reason: String,
}

/// An account's vote; a later one replaces it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct CastVote {
    /// The proposal.
    #[n(0)]
    pub proposal: u64,
    /// Part of its power for it (nano).
    #[n(1)]
    pub yes: u64,
    /// Part of its power against it (nano); both sum to one at most.
    #[n(2)]
    pub no: u64,
}

/// What was counted of an account's vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct CountedVote {
    /// Its stake when it voted.
    #[n(0)]
    pub stake: Amount,
    /// Whether it voted as a proven identity.
    #[n(1)]
    pub identity: bool,
    /// Part for it (nano).
    #[n(2)]
    pub yes: u64,
    /// Part against it (nano).
    #[n(3)]
    pub no: u64,
}

/// Sums of one side of a vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct Side {
    /// Stake of accounts without a proven identity, in the parts that they gave.
    #[n(0)]
    pub stake: Amount,
    /// Square roots of the stakes of proven identities (a number, no credits), likewise.
    #[n(1)]
    pub roots: Amount,
}

/// Where a proposal stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Status {
    /// Votes are taken.
    #[n(0)]
    Open,
    /// It has passed and is carried out with the beginning of an epoch.
    #[n(1)]
    Passed {
        /// That epoch.
        #[n(0)]
        at: u64,
    },
    /// It was carried out.
    #[n(2)]
    Executed {
        /// In the block of this height.
        #[n(0)]
        height: u64,
    },
    /// Enough have voted, and not more for it than against it.
    #[n(3)]
    Rejected,
    /// Too few have voted in time.
    #[n(4)]
    Expired,
    /// It passed, but what it asks for does not fit the parameters of now.
    #[n(5)]
    Failed,
}

/// A proposal in the state.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Proposal {
    /// Its number, from 0.
    #[n(0)]
    pub number: u64,
    /// Who made it.
    #[n(1)]
    pub proposer: AccountId,
    /// What it asks for.
    #[n(2)]
    pub propose: Propose,
    /// The epoch in which it was made.
    #[n(3)]
    pub opened: u64,
    /// The epoch with whose beginning its time is over.
    #[n(4)]
    pub closes: u64,
    /// Credits that its proposer has put down.
    #[n(5)]
    pub deposit: Amount,
    /// Votes for it.
    #[n(6)]
    pub yes: Side,
    /// Votes against it.
    #[n(7)]
    pub no: Side,
    /// Where it stands.
    #[n(8)]
    pub status: Status,
}

/// A number in the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct Counter {
    /// The number.
    #[n(0)]
    pub value: u64,
}

wire! {
    Counter = "counter", max 16;
    Proposal = "proposal", max 8 * 1024;
    CountedVote = "counted vote", max 128;
}
