//! Two-party payment channels: what both sign once, what they sign per payment, what is kept.
//!
//! The rules are those of `docs/LEDGER.md`. The payer of a payment signs the update first; nobody
//! signs version n + 2 before it holds version n + 1 with both signatures.

use minicbor::{Decode, Encode};

use crate::amount::Amount;
use crate::hash::sha3;
use crate::ids::{AccountId, Digest, Signature};
use crate::wire;
use crate::wire::Wire as _;

/// Kind of the second party's signature over [`ChannelTerms`] (`docs/spec/protocol.md` 1).
pub const SIGN_OPEN: &str = "channel open";
/// Kind of both parties' signatures over a [`ChannelUpdate`].
pub const SIGN_UPDATE: &str = "channel update";

/// What both parties agree to when a channel is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct ChannelTerms {
    /// Who sends the opening transaction.
    #[n(0)]
    pub opener: AccountId,
    /// The other party.
    #[n(1)]
    pub other: AccountId,
    /// In what ([`crate::bank::CREDITS`] or another denomination).
    #[n(2)]
    pub denomination: u64,
    /// Units that the opener pays in.
    #[n(3)]
    pub opener_deposit: Amount,
    /// Units that the other pays in.
    #[n(4)]
    pub other_deposit: Amount,
    /// The last height at which the other's consent is good.
    #[n(5)]
    pub valid_until: u64,
    /// A random number: the same terms open one channel, once.
    #[n(6)]
    pub nonce: Digest,
}

impl ChannelTerms {
    /// The channel's name: SHA3-256 of the terms.
    pub fn id(&self) -> Digest {
        Digest(sha3(&[b"channel", &self.to_bytes()]))
    }

    /// Both deposits.
    pub fn total(&self) -> Option<Amount> {
        self.opener_deposit.checked_add(self.other_deposit)
    }

    /// The opening balances as an update of version 0 (which nobody signs).
    pub fn opening(&self) -> ChannelUpdate {
        ChannelUpdate {
            channel: self.id(),
            version: 0,
            opener_balance: self.opener_deposit,
            other_balance: self.other_deposit,
            closing: false,
        }
    }
}

/// How the deposits are shared after some payments; a later version replaces all before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct ChannelUpdate {
    /// The channel.
    #[n(0)]
    pub channel: Digest,
    /// Its number, from 1.
    #[n(1)]
    pub version: u64,
    /// What the opener would get.
    #[n(2)]
    pub opener_balance: Amount,
    /// What the other would get.
    #[n(3)]
    pub other_balance: Amount,
    /// Both agree that this is the last: it closes the channel at once. Nothing is signed after it.
    #[n(4)]
    pub closing: bool,
}

impl ChannelUpdate {
    /// The next version, in which `amount` has moved from the opener to the other (or back).
    /// `None` when the payer has less, or numbers run out.
    pub fn pay(&self, opener_pays: bool, amount: Amount) -> Option<Self> {
        let (from, to) = if opener_pays {
            (self.opener_balance, self.other_balance)
        } else {
            (self.other_balance, self.opener_balance)
        };
        let (from, to) = (from.checked_sub(amount)?, to.checked_add(amount)?);
        let (opener_balance, other_balance) = if opener_pays { (from, to) } else { (to, from) };
        let version = self.version.checked_add(1)?;
        Some(Self { version, opener_balance, other_balance, ..*self })
    }
}

/// An update with both signatures (kind `channel update`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct SignedChannelUpdate {
    /// What both agreed to.
    #[n(0)]
    pub update: ChannelUpdate,
    /// The opener's signature over it.
    #[n(1)]
    pub opener_signature: Signature,
    /// The other's signature over it.
    #[n(2)]
    pub other_signature: Signature,
}

impl SignedChannelUpdate {
    /// True when both signatures fit; `verify(key, kind, message, signature)` checks one, with the
    /// genesis hash of the chain (`anthill-identity` does that; this crate holds no keys).
    pub fn is_signed_by_both(
        &self,
        terms: &ChannelTerms,
        verify: impl Fn(&AccountId, &'static str, &[u8], &Signature) -> bool,
    ) -> bool {
        let bytes = self.update.to_bytes();
        verify(&terms.opener, SIGN_UPDATE, &bytes, &self.opener_signature)
            && verify(&terms.other, SIGN_UPDATE, &bytes, &self.other_signature)
    }
}

/// Where a channel stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ChannelPhase {
    /// Payments are made off the chain.
    #[n(0)]
    Open {
        /// Height of the block that opened it.
        #[n(0)]
        height: u64,
    },
    /// One party has closed it alone; later versions may be shown.
    #[n(1)]
    Closing {
        /// Who.
        #[n(0)]
        closer: AccountId,
        /// The version with which he closed (0: the opening balances).
        #[n(1)]
        closed_with: u64,
        /// The latest version shown.
        #[n(2)]
        version: u64,
        /// What the opener gets by it.
        #[n(3)]
        opener_balance: Amount,
        /// What the other gets by it.
        #[n(4)]
        other_balance: Amount,
        /// The first epoch in which it can be finalised, and no longer disputed.
        #[n(5)]
        until: u64,
    },
    /// Paid out.
    #[n(2)]
    Closed {
        /// What the opener got.
        #[n(0)]
        opener_paid: Amount,
        /// What the other got.
        #[n(1)]
        other_paid: Amount,
        /// Height of the block that paid it.
        #[n(2)]
        height: u64,
    },
}

/// A channel. It stays when it is closed, so that its terms open none again.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct ChannelRecord {
    /// What was agreed.
    #[n(0)]
    pub terms: ChannelTerms,
    /// Units held for both: the deposits, or 0 when it is closed.
    #[n(1)]
    pub held: Amount,
    /// Where it stands.
    #[n(2)]
    pub phase: ChannelPhase,
}

wire! {
    ChannelTerms = "channel terms", max 512;
    ChannelUpdate = "channel update", max 256;
    SignedChannelUpdate = "signed channel update", max 512;
    ChannelRecord = "channel", max 1024;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_move_what_is_there() {
        let terms = ChannelTerms {
            opener: AccountId([1; 32]),
            other: AccountId([2; 32]),
            denomination: 0,
            opener_deposit: Amount(10),
            other_deposit: Amount(5),
            valid_until: 9,
            nonce: Digest([3; 32]),
        };
        let first = terms.opening().pay(true, Amount(4)).unwrap();
        assert_eq!(
            (first.version, first.opener_balance, first.other_balance),
            (1, Amount(6), Amount(9))
        );
        let second = first.pay(false, Amount(9)).unwrap();
        assert_eq!((second.opener_balance, second.other_balance), (Amount(15), Amount(0)));
        assert_eq!(second.pay(false, Amount(1)), None);
        let last = ChannelUpdate { version: u64::MAX, ..second };
        assert_eq!(last.pay(true, Amount(1)), None);
        assert_eq!(terms.total(), Some(Amount(15)));
    }
}
