//! One simulated node: its keys, its disk, and the process that runs on them.

use std::collections::{BTreeMap, BTreeSet};

use anthill_engine::beacon::BeaconChain;
use anthill_engine::{Engine, EngineError, Settings, Signers};
use anthill_identity::KeyPair;
use anthill_ledger::{Ledger, LedgerError};
use anthill_store::StoreError;
use anthill_types::{
    Amount, BeaconValue, ChainParams, Genesis, GenesisBalance, GenesisNode, NodeKey, Signature,
    SignedTransaction, Transaction, Wire,
};

use crate::disk::Disk;
use crate::guard::Guard;
use crate::plan::{Plan, Role};
use crate::rng::Rng;
use crate::slots::Slots;

/// The time at which every run begins, milliseconds since the Unix epoch.
pub const BASE_MS: u64 = 1_700_000_000_000;

/// Blocks that a newcomer may be behind before it takes a whole state.
const SNAPSHOT_ABOVE: u64 = 12;

/// The process of a node.
pub struct Process {
    /// The node's own code.
    pub engine: Engine,
    /// When the next tick is planned, in simulated time.
    pub wake: Option<u64>,
    /// Connected peers.
    pub peers: BTreeSet<usize>,
    /// Its guests.
    pub slots: Slots,
    /// Its controller.
    pub guard: Option<Guard>,
}

/// A node with or without a running process.
pub struct Node {
    /// Its place.
    pub index: usize,
    /// How it behaves.
    pub role: Role,
    /// Its keys.
    pub signers: Signers,
    /// Its disk.
    pub disk: Disk,
    /// The process, when one runs.
    pub process: Option<Process>,
    /// Counts processes: what was meant for an earlier one does not reach a later one.
    pub life: u32,
    /// The chain knows it.
    pub admitted: bool,
    /// It will not come back.
    pub left: bool,
    /// Its disk did what no good disk does: nothing is expected of what it kept.
    pub tainted: bool,
    /// It does not read its inbox before this time.
    pub busy_until: u64,
    /// Newest height of which it has told anybody.
    pub told_height: u64,
    /// Commits of the disk that were paid for in time.
    pub paid_commits: u64,
    /// The next process ends between two effects of one of its next steps.
    pub crash_in_step: bool,
    /// Votes that it broadcast while it was honest: height, round and kind to block.
    pub votes: BTreeMap<(u64, u32, u8), Option<[u8; 32]>>,
}

impl Node {
    /// A node of a plan.
    pub fn new(plan: &Plan, index: usize) -> Self {
        let mut rng = Rng::new(plan.seed, 100 + index as u64);
        let kind = plan.disks.get(index).copied();
        let kind = kind.unwrap_or(crate::plan::DiskKind::Memory);
        Self {
            index,
            role: plan.role(index),
            signers: signers(&mut rng),
            disk: Disk::new(kind, rng.draw()),
            process: None,
            life: 0,
            admitted: index < plan.founders.len(),
            left: false,
            tainted: false,
            busy_until: 0,
            told_height: 0,
            paid_commits: 0,
            crash_in_step: false,
            votes: BTreeMap::new(),
        }
    }

    /// Its transport key.
    pub fn key(&self) -> [u8; 32] {
        self.signers.node.public()
    }

    /// True when it follows the protocol and its disk is sound.
    pub fn is_sound(&self) -> bool {
        self.role.is_honest() && !self.tainted
    }

    /// Starts a process on the disk.
    ///
    /// # Errors
    /// What a real node would refuse to start with.
    pub fn boot(&mut self, genesis: &Genesis, plan: &Plan, now_ms: u64) -> Result<(), BootError> {
        let store = self.disk.open()?;
        let ledger = Ledger::open(store, genesis.clone())?;
        // A free-rider has lost the chain that it committed to, and reveals nothing until it renews.
        let lost = self.role == Role::FreeRider;
        let beacon_length = plan.beacon_length / if lost { 2 } else { 1 };
        let settings =
            Settings { beacon_length, snapshot_above: SNAPSHOT_ABOVE, ..Settings::default() };
        let engine = Engine::new(ledger, self.signers.clone(), settings, now_ms)?;
        self.life += 1;
        let (slots, guard) = (Slots::new(now_ms), Guard::new());
        self.process = Some(Process { engine, wake: None, peers: BTreeSet::new(), slots, guard });
        Ok(())
    }

    /// Takes an empty disk; the vote key is replaced, as the log of its votes is lost.
    pub fn wipe(&mut self, rng: &mut Rng) {
        self.disk = Disk::new(crate::plan::DiskKind::Memory, rng.draw());
        self.signers.validator = KeyPair::from_seed(rng.bytes32());
        self.tainted = true;
        (self.told_height, self.paid_commits) = (0, 0);
    }

    /// Signs a transaction with one of its keys.
    pub fn sign(
        &self,
        genesis: &Genesis,
        key: &KeyPair,
        transaction: Transaction,
    ) -> SignedTransaction {
        let signature = key.sign("transaction", &genesis.hash().0, &transaction.to_bytes());
        SignedTransaction { transaction, signature: Signature(signature) }
    }
}

/// Why a process does not start.
#[derive(Debug)]
pub enum BootError {
    /// The disk holds what was never written.
    Damaged(String),
    /// Anything else.
    Other(String),
}

impl From<StoreError> for BootError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupted { .. } => Self::Damaged(error.to_string()),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<LedgerError> for BootError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(inner) => inner.into(),
            LedgerError::Root { .. } | LedgerError::Decode(_) | LedgerError::Missing(_) => {
                Self::Damaged(error.to_string())
            }
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<EngineError> for BootError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Ledger(inner) => inner.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

fn signers(rng: &mut Rng) -> Signers {
    let secret = rng.bytes32();
    Signers {
        account: KeyPair::from_seed(rng.bytes32()),
        node: KeyPair::from_seed(secret),
        validator: KeyPair::from_seed(rng.bytes32()),
        beacon: rng.bytes32(),
        secret,
    }
}

/// Parameters that make minutes out of hours.
fn params() -> ChainParams {
    ChainParams {
        block_interval_ms: 1_000,
        idle_interval_ms: 5_000,
        epoch_ms: 30_000,
        reply_blocks: 8,
        // So that lone workers and audits happen within ten minutes.
        proven_trust: 800_000_000,
        audit_rate: 300_000_000,
        base_pool: Amount::credits(1_000),
        e_ref: 1_000_000,
        channel_epochs: 1,
        // Partitions and crashes make honest nodes late, and a set without them would have more than
        // its share of the dishonest: only wrong results take a seat.
        trust_threshold: 510_000_000,
        // An epoch pays more than all stake here: no validator may grow to a third by its rewards.
        delegator_share: 1_000_000,
        unbonding_epochs: 3,
        jail_epochs: 1,
        missed_blocks: 15,
        quorum: 500_000_000,
        voting_epochs: 4,
        ..ChainParams::default()
    }
}

/// The genesis of a plan's founders.
pub fn genesis(plan: &Plan, nodes: &[Node]) -> Genesis {
    let founder = |node: &Node| GenesisNode {
        account: node.signers.account_id(),
        node: NodeKey(node.key()),
        validator: node.signers.validator_key(),
        beacon_head: BeaconChain::new(&node.signers.beacon, 0, plan.beacon_length).head(),
        bond: Amount::credits(1_000),
        offered: 100_000,
        capabilities: Vec::new(),
    };
    let founders = nodes.iter().take(plan.founders.len());
    let mut list: Vec<GenesisNode> = founders.clone().map(founder).collect();
    list.sort_by_key(|n| n.account);
    let balance = |node: &Node| GenesisBalance {
        account: node.signers.account_id(),
        amount: Amount::credits(100_000),
    };
    let mut balances: Vec<GenesisBalance> = founders.map(balance).collect();
    balances.sort_by_key(|b| b.account);
    Genesis {
        version: 1,
        name: format!("simulated {}", plan.seed),
        time_ms: BASE_MS,
        params: params(),
        nodes: list,
        balances,
        beacon: BeaconValue(Rng::new(plan.seed, 99).bytes32()),
        consensus: plan.consensus,
    }
}
