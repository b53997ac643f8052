//! The genesis of a chain: its parameters, first validators and first balances.

use minicbor::{Decode, Encode};

use crate::amount::{Amount, MICRO};
use crate::block::{Validator, ValidatorSet};
use crate::hash::sha3;
use crate::ids::{AccountId, BeaconValue, Digest, GenesisHash, NodeKey, ValidatorKey};
use crate::params::ChainParams;
use crate::wire;
use crate::wire::Wire as _;

/// One whole in fixed point: metrics, rates and shares are integers 0 to `NANO`.
pub const NANO: u64 = 1_000_000_000;

/// A node that validates from the first block.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct GenesisNode {
    /// The account that it is bound to.
    #[n(0)]
    pub account: AccountId,
    /// Transport and receipts.
    #[n(1)]
    pub node: NodeKey,
    /// Votes.
    #[n(2)]
    pub validator: ValidatorKey,
    /// The committed end of its beacon chain.
    #[n(3)]
    pub beacon_head: BeaconValue,
    /// Its bond.
    #[n(4)]
    pub bond: Amount,
    /// Resource units that it offers per epoch.
    #[n(5)]
    pub offered: u64,
    /// What it can run beside the plain built-ins (hashes of models), ascending.
    #[n(6)]
    pub capabilities: Vec<Digest>,
}

/// A balance that exists from the start.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct GenesisBalance {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// How much.
    #[n(1)]
    pub amount: Amount,
}

/// How the nodes of a chain agree on blocks (`docs/CONSENSUS.md` says which to choose when).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum ConsensusKind {
    /// Rounds with votes of all validators.
    #[default]
    #[n(0)]
    Bft,
    /// Polls of small random samples.
    #[n(1)]
    Snowman,
}

impl ConsensusKind {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 2] = [(Self::Bft, "bft"), (Self::Snowman, "snowman")];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bft => "bft",
            Self::Snowman => "snowman",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(kind, _)| kind)
    }
}

/// The first state of a chain.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Genesis {
    /// Format version, 1.
    #[n(0)]
    pub version: u32,
    /// A name for people.
    #[n(1)]
    pub name: String,
    /// Milliseconds since the Unix epoch; epoch 0 begins here.
    #[n(2)]
    pub time_ms: u64,
    /// The parameters.
    #[n(3)]
    pub params: ChainParams,
    /// The first validators, ascending by account.
    #[n(4)]
    pub nodes: Vec<GenesisNode>,
    /// The first balances, ascending by account.
    #[n(5)]
    pub balances: Vec<GenesisBalance>,
    /// The beacon before the first block.
    #[n(6)]
    pub beacon: BeaconValue,
    /// How blocks are agreed on.
    #[n(7)]
    pub consensus: ConsensusKind,
}

impl Genesis {
    /// SHA3-256 of the canonical bytes: the chain's name.
    pub fn hash(&self) -> GenesisHash {
        GenesisHash(sha3(&[&self.to_bytes()]))
    }

    /// The validators of the first block: power is the bond in whole credits.
    pub fn validator_set(&self) -> ValidatorSet {
        let member = |node: &GenesisNode| Validator {
            key: node.validator,
            account: node.account,
            power: u64::try_from(node.bond.0 / MICRO).unwrap_or(u64::MAX),
        };
        let mut validators: Vec<Validator> = self.nodes.iter().map(member).collect();
        validators.sort_unstable();
        ValidatorSet { validators }
    }
}

wire! {
    Genesis = "genesis", max 1024 * 1024;
}
