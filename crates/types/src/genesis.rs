//! The genesis of a chain: its parameters, first validators and first balances.

use minicbor::{Decode, Encode};

use crate::amount::{Amount, MICRO};
use crate::block::{Validator, ValidatorSet};
use crate::hash::sha3;
use crate::ids::{AccountId, BeaconValue, Digest, GenesisHash, NodeKey, ValidatorKey};
use crate::wire;
use crate::wire::Wire as _;

/// One whole in fixed point: metrics, rates and shares are integers 0 to `NANO`.
pub const NANO: u64 = 1_000_000_000;

/// Parameters of a chain; every value marked with a star in `docs/spec/protocol.md` is here.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct ChainParams {
    /// Milliseconds between blocks when there is something to do.
    #[n(0)]
    pub block_interval_ms: u64,
    /// Milliseconds between blocks otherwise.
    #[n(1)]
    pub idle_interval_ms: u64,
    /// Length of an epoch in milliseconds.
    #[n(2)]
    pub epoch_ms: u64,
    /// Epochs during which a provisional result may be challenged.
    #[n(3)]
    pub challenge_epochs: u64,
    /// Micro-credits per unit of reference cost.
    #[n(4)]
    pub unit_price: u64,
    /// Micro-credits per byte of a transaction, burned.
    #[n(5)]
    pub base_fee: u64,
    /// Bond up to which a newcomer's rewards are bonded.
    #[n(6)]
    pub min_bond: Amount,
    /// Share of the price that a worker gets (nano); the rest is burned.
    #[n(7)]
    pub worker_share: u64,
    /// Share of unreplicated results that are audited (nano).
    #[n(8)]
    pub audit_rate: u64,
    /// Trust from which a worker may work alone (nano).
    #[n(9)]
    pub proven_trust: u64,
    /// Most validators drawn to re-execute a task in doubt.
    #[n(10)]
    pub committee: u64,
    /// Bond lost for a wrong result (nano).
    #[n(11)]
    pub slash_wrong: u64,
    /// Bond lost for a missed beacon reveal.
    #[n(12)]
    pub missed_reveal: Amount,
    /// Blocks that replicas have to commit, then again to reveal.
    #[n(13)]
    pub reply_blocks: u64,
    /// Deposit of a challenge.
    #[n(14)]
    pub challenge_deposit: Amount,
    /// PoEI: credits that an epoch may mint before the growth multiplier.
    #[n(15)]
    pub base_pool: Amount,
    /// PoEI: reference efficiency (nano).
    #[n(16)]
    pub e_ref: u64,
}

impl ChainParams {
    /// Price of one replica of this reference cost.
    pub fn price(&self, cost: u64) -> Amount {
        Amount(u128::from(cost) * u128::from(self.unit_price))
    }

    /// The part of [`Self::price`] that is paid to the worker; the rest is burned.
    pub fn worker_pay(&self, cost: u64) -> Amount {
        self.price(cost).share(self.worker_share.min(NANO)).unwrap_or_default()
    }
}

impl Default for ChainParams {
    /// The starting values of `docs/spec/protocol.md` and `docs/spec/poei.md`.
    fn default() -> Self {
        Self {
            block_interval_ms: 1_000,
            idle_interval_ms: 10_000,
            epoch_ms: 600_000,
            challenge_epochs: 2,
            unit_price: 10,
            base_fee: 1,
            min_bond: Amount::credits(100),
            worker_share: 900_000_000,
            audit_rate: 50_000_000,
            proven_trust: 900_000_000,
            committee: 7,
            slash_wrong: 100_000_000,
            missed_reveal: Amount::credits(1),
            reply_blocks: 30,
            challenge_deposit: Amount::credits(1),
            base_pool: Amount::credits(1_000_000),
            e_ref: NANO,
        }
    }
}

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
    ChainParams = "chain parameters", max 1024;
    Genesis = "genesis", max 1024 * 1024;
}
