//! Stake: pools of delegated and unbonding credits, and evidence against validators.

use minicbor::{Decode, Decoder, Encode};

use crate::amount::Amount;
use crate::genesis::NANO;
use crate::ids::{BlockHash, Bytes, NodeKey, Signature, ValidatorKey};
use crate::wire;

/// Credits that several owners hold in shares, so that one change of the total is borne by all.
///
/// A deposit buys `tokens * shares / total` shares, rounded down, and a withdrawal gives
/// `shares * total / all shares`, rounded down: what rounding leaves stays with the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct Pool {
    /// The credits in it.
    #[n(0)]
    pub tokens: Amount,
    /// The shares given out (a number, no credits).
    #[n(1)]
    pub shares: Amount,
}

impl Pool {
    /// Puts credits in and gives the shares that they buy; `None` when they buy none, when all
    /// that was in it has been slashed, or on overflow.
    #[must_use]
    pub fn deposit(&mut self, tokens: Amount) -> Option<Amount> {
        let bought = if self.shares == Amount::ZERO {
            tokens
        } else {
            self.shares.portion(tokens, self.tokens)?
        };
        if bought == Amount::ZERO {
            return None;
        }
        let (total, shares) = (self.tokens.checked_add(tokens)?, self.shares.checked_add(bought)?);
        (self.tokens, self.shares) = (total, shares);
        Some(bought)
    }

    /// Takes shares out and gives the credits that they stand for; `None` when there are fewer.
    #[must_use]
    pub fn withdraw(&mut self, shares: Amount) -> Option<Amount> {
        let left = self.shares.checked_sub(shares)?;
        let tokens = self.worth(shares)?;
        (self.tokens, self.shares) = (self.tokens.checked_sub(tokens)?, left);
        Some(tokens)
    }

    /// The credits that so many of the shares stand for.
    pub fn worth(&self, shares: Amount) -> Option<Amount> {
        if shares == Amount::ZERO {
            return Some(Amount::ZERO);
        }
        self.tokens.portion(shares, self.shares)
    }

    /// Takes a share (nano) of the credits away from all, and gives what was taken.
    pub fn slash(&mut self, nano: u64) -> Amount {
        let lost = self.tokens.share(nano.min(NANO)).unwrap_or_default();
        self.tokens = self.tokens.checked_sub(lost).unwrap_or_default();
        lost
    }
}

/// One account's part of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct Delegation {
    /// Its shares (a number, no credits).
    #[n(0)]
    pub shares: Amount,
}

/// Whose stake is being unbonded: they are slashed for different things.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum UnbondingKind {
    /// The operator's own bond: slashed for wrong results too.
    #[n(0)]
    Own,
    /// Delegated stake: slashed for contradictory votes only.
    #[n(1)]
    Delegated,
}

/// What was put to unbonding of one node in one epoch: slashed as long as it has not matured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Unbonding {
    /// The node that it was staked on.
    #[n(0)]
    pub node: NodeKey,
    /// The first epoch in which it may be withdrawn.
    #[n(1)]
    pub matures: u64,
    /// Whose it is.
    #[n(2)]
    pub kind: UnbondingKind,
    /// The credits with the shares of their owners.
    #[n(3)]
    pub pool: Pool,
}

/// What a validator signed: the kind of protocol 1's prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum StatementKind {
    /// A vote: `[0 prevote | 1 precommit, height, round, block hash or null]`.
    #[n(0)]
    Vote,
}

impl StatementKind {
    /// The word in the signed bytes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vote => "vote",
        }
    }
}

/// A signed body as protocol 1 says, without the prefix.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct SignedStatement {
    /// The body.
    #[n(0)]
    pub body: Bytes,
    /// The validator's signature.
    #[n(1)]
    pub signature: Signature,
}

/// Two statements of one validator that exclude each other: grounds for slashing.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Evidence {
    /// Who signed both.
    #[n(0)]
    pub validator: ValidatorKey,
    /// What they are.
    #[n(1)]
    pub kind: StatementKind,
    /// The first.
    #[n(2)]
    pub first: SignedStatement,
    /// The second.
    #[n(3)]
    pub second: SignedStatement,
}

/// What a vote's body says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoteBody {
    /// 0 prevote, 1 precommit.
    pub kind: u8,
    /// The height.
    pub height: u64,
    /// The round.
    pub round: u32,
    /// The block; none for a vote for no block.
    pub block: Option<BlockHash>,
}

impl VoteBody {
    /// Reads a body; `None` when the bytes are no vote.
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut d = Decoder::new(body);
        if d.array().ok()? != Some(4) {
            return None;
        }
        let (kind, height, round) = (d.u8().ok()?, d.u64().ok()?, d.u32().ok()?);
        let block = match d.datatype().ok()? {
            minicbor::data::Type::Null => d.null().map(|()| None).ok()?,
            _ => Some(BlockHash(d.bytes().ok()?.try_into().ok()?)),
        };
        (kind <= 1 && d.position() == body.len()).then_some(Self { kind, height, round, block })
    }

    /// True when no honest validator signs both: other blocks in one round, or, where a chain
    /// has a single round for each height (`rounds` is false), other precommits at one height.
    pub fn excludes(&self, other: &Self, rounds: bool) -> bool {
        let same = self.kind == other.kind && self.height == other.height;
        let same_round = self.round == other.round || (!rounds && self.kind == 1);
        same && same_round && self.block != other.block
    }
}

wire! {
    Delegation = "delegation", max 64;
    Unbonding = "unbonding", max 256;
    Evidence = "evidence", max 1024;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn votes_are_read_as_they_are_written() {
        let none = [0x84, 0, 0x07, 0x02, 0xf6];
        let read = VoteBody::read(&none).unwrap();
        assert_eq!(read, VoteBody { kind: 0, height: 7, round: 2, block: None });
        for cut in 0..none.len() {
            assert_eq!(VoteBody::read(&none[..cut]), None);
        }
        assert_eq!(VoteBody::read(&[0x84, 2, 7, 2, 0xf6]), None);
        let other = VoteBody { block: Some(BlockHash([1; 32])), ..read };
        assert!(read.excludes(&other, true) && !read.excludes(&read, true));
        let later = VoteBody { round: 3, ..other };
        assert!(!read.excludes(&later, true) && !read.excludes(&later, false));
        let (one, two) = (VoteBody { kind: 1, ..read }, VoteBody { kind: 1, ..later });
        assert!(one.excludes(&two, false) && !one.excludes(&two, true));
    }

    proptest! {
        #[test]
        fn nobody_gains_by_going_in_and_out(
            first in 1_000_000u128..1 << 80, grown in 0u128..1 << 80, second in 1_000_000u128..1 << 80,
            cut in 0u64..NANO,
        ) {
            let mut pool = Pool::default();
            let mine = pool.deposit(Amount(first)).unwrap();
            pool.tokens = Amount(pool.tokens.0 + grown);
            let lost = pool.slash(cut);
            let before = pool.tokens;
            if let Some(theirs) = pool.deposit(Amount(second)) {
                prop_assert!(pool.withdraw(theirs).unwrap().0 <= second);
                prop_assert!(pool.tokens >= before);
            }
            let out = pool.withdraw(mine).unwrap();
            prop_assert!(out.0 + lost.0 <= first + grown + second);
            prop_assert_eq!(pool.shares, Amount::ZERO);
            prop_assert_eq!(pool.tokens, Amount::ZERO);
        }
    }
}
