//! The types that the engine is generic over: heights, hashes, votes, proposals, validator sets.

use crate::certificate::{PRECOMMIT, PREVOTE, vote_body};
use crate::wire::Writer;
use crate::{ConsensusError, Statement};
use arc_malachitebft_core_types as engine;
use engine::{LinearTimeouts, NilOrVal, Round, SignedMessage, SigningScheme, VoteType};
use std::fmt;
use std::sync::Arc;

/// Names the types below to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ctx;

pub(crate) type SignedVote = engine::SignedVote<Ctx>;
pub(crate) type SignedProposal = engine::SignedProposal<Ctx>;

/// Hash of a block: what is voted on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockHash(pub(crate) [u8; 32]);

/// Public key of a validator, which is its address too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(pub(crate) [u8; 32]);

/// Height of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Height(pub(crate) u64);

macro_rules! hexadecimal {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
hexadecimal!(BlockHash, Address);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl engine::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl engine::Address for Address {}

impl engine::Value for BlockHash {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// A vote of one validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) kind: VoteType,
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: NilOrVal<BlockHash>,
    pub(crate) validator: Address,
}

/// Number of a round; votes and proposals always have one.
pub(crate) fn number(round: Round) -> u32 {
    round.as_u32().unwrap_or(0)
}

/// The hash voted for, or `None` for a vote for no block.
pub(crate) fn hash_of(value: &NilOrVal<BlockHash>) -> Option<&[u8; 32]> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(hash) => Some(&hash.0),
    }
}

impl Vote {
    pub(crate) fn kind_number(&self) -> u8 {
        match self.kind {
            VoteType::Prevote => PREVOTE,
            VoteType::Precommit => PRECOMMIT,
        }
    }

    /// The signed body.
    pub(crate) fn body(&self) -> Vec<u8> {
        vote_body(self.kind_number(), self.height.0, number(self.round), hash_of(&self.value))
    }
}

impl engine::Vote<Ctx> for Vote {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &NilOrVal<BlockHash> {
        &self.value
    }
    fn take_value(self) -> NilOrVal<BlockHash> {
        self.value
    }
    fn vote_type(&self) -> VoteType {
        self.kind
    }
    fn validator_address(&self) -> &Address {
        &self.validator
    }
    fn extension(&self) -> Option<&SignedMessage<Ctx, ()>> {
        None
    }
    fn take_extension(&mut self) -> Option<SignedMessage<Ctx, ()>> {
        None
    }
    fn extend(self, _: SignedMessage<Ctx, ()>) -> Self {
        self
    }
}

/// A proposal: its block travels beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: BlockHash,
    pub(crate) pol_round: Round,
    pub(crate) proposer: Address,
}

impl Proposal {
    /// The signed body: `[height, round, round of the proof of lock or null, block hash]`.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(4).uint(self.height.0).uint(number(self.round).into());
        writer.optional_uint(self.pol_round.as_u32()).bytes(&self.value.0);
        writer.0
    }
}

impl engine::Proposal<Ctx> for Proposal {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &BlockHash {
        &self.value
    }
    fn take_value(self) -> BlockHash {
        self.value
    }
    fn pol_round(&self) -> Round {
        self.pol_round
    }
    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

/// Parts are not used: the block travels with its proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoPart;

impl engine::ProposalPart<Ctx> for NoPart {
    fn is_first(&self) -> bool {
        true
    }
    fn is_last(&self) -> bool {
        true
    }
}

/// A validator and its voting power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validator {
    address: Address,
    power: u64,
}

impl engine::Validator<Ctx> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }
    fn public_key(&self) -> &Address {
        &self.address
    }
    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// Validators in ascending order of key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValidatorSet {
    validators: Arc<[Validator]>,
    total: u64,
}

impl ValidatorSet {
    /// Checks and sorts a set.
    pub(crate) fn new(height: u64, set: &[([u8; 32], u64)]) -> Result<Self, ConsensusError> {
        let set = crate::set::checked(height, set)?;
        let member =
            |(key, power): &([u8; 32], u64)| Validator { address: Address(*key), power: *power };
        let validators: Vec<Validator> = set.iter().map(member).collect();
        let total = set.iter().map(|(_, power)| power).sum();
        Ok(Self { validators: validators.into(), total })
    }

    /// Keys and powers.
    pub(crate) fn powers(&self) -> Vec<([u8; 32], u64)> {
        self.validators.iter().map(|v| (v.address.0, v.power)).collect()
    }

    /// Whose turn it is: the set in order of key, one further each height and each round.
    pub(crate) fn proposer(&self, height: u64, round: u32) -> &Validator {
        let turn = height.wrapping_add(u64::from(round)) % self.validators.len() as u64;
        &self.validators[turn as usize]
    }

    /// The member with this key.
    pub(crate) fn member(&self, address: &Address) -> Option<&Validator> {
        let found = self.validators.binary_search_by(|v| v.address.cmp(address));
        found.ok().and_then(|at| self.validators.get(at))
    }
}

impl engine::ValidatorSet<Ctx> for ValidatorSet {
    fn count(&self) -> usize {
        self.validators.len()
    }
    fn total_voting_power(&self) -> u64 {
        self.total
    }
    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        self.member(address)
    }
    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.validators.get(index)
    }
}

/// Ed25519, as bytes; signing and checking happen in the effect handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ed25519;

impl SigningScheme for Ed25519 {
    type DecodingError = &'static str;
    type Signature = [u8; 64];
    type PublicKey = Address;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<[u8; 64], &'static str> {
        bytes.try_into().map_err(|_| "a signature has 64 bytes")
    }
    fn encode_signature(signature: &[u8; 64]) -> Vec<u8> {
        signature.to_vec()
    }
    fn decode_public_key(bytes: &[u8]) -> Result<Address, &'static str> {
        bytes.try_into().map(Address).map_err(|_| "a public key has 32 bytes")
    }
    fn encode_public_key(key: &Address) -> Vec<u8> {
        key.0.to_vec()
    }
}

impl engine::Context for Ctx {
    type Address = Address;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = LinearTimeouts;
    type Value = BlockHash;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(
        &self,
        set: &'a ValidatorSet,
        height: Height,
        round: Round,
    ) -> &'a Validator {
        set.proposer(height.0, number(round))
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: BlockHash,
        pol_round: Round,
        proposer: Address,
    ) -> Proposal {
        Proposal { height, round, value, pol_round, proposer }
    }

    fn new_prevote(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockHash>,
        validator: Address,
    ) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, value, validator }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockHash>,
        validator: Address,
    ) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, value, validator }
    }
}

/// A signed vote as evidence.
pub(crate) fn vote_statement(vote: &SignedVote) -> Statement {
    Statement { kind: "vote", body: vote.message.body(), signature: vote.signature }
}

/// A signed proposal as evidence.
pub(crate) fn proposal_statement(proposal: &SignedProposal) -> Statement {
    let body = proposal.message.body();
    Statement { kind: "proposal", body, signature: proposal.signature }
}
