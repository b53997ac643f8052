//! What is kept in state under each key, in the form that proofs show.

use minicbor::{Decode, Encode};

use crate::amount::Amount;
use crate::genesis::NANO;
use crate::ids::{
    AccountId, BeaconValue, BlockHash, Bytes, Cid, Digest, NodeKey, TaskId, ValidatorKey,
};
use crate::stake::Pool;
use crate::task::TaskSpec;
use crate::wire;

/// An account's money and sequence.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct Account {
    /// Spendable credits.
    #[n(0)]
    pub balance: Amount,
    /// The next sequence number.
    #[n(1)]
    pub sequence: u64,
}

/// Everything that was ever minted and burned.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct Supply {
    /// Total minted.
    #[n(0)]
    pub minted: Amount,
    /// Total burned.
    #[n(1)]
    pub burned: Amount,
    /// Payments made so far; the next payment gets this number.
    #[n(2)]
    pub payments: u64,
}

/// Why a payment was made.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum PaymentReason {
    /// The worker's share of a task's price.
    #[n(0)]
    Task {
        /// The task.
        #[n(0)]
        task: TaskId,
    },
    /// A node's share of an epoch's pool.
    #[n(1)]
    Epoch {
        /// The epoch.
        #[n(0)]
        epoch: u64,
    },
    /// Half of a slashed bond, to those who showed the wrong.
    #[n(2)]
    Slash {
        /// The task whose result was wrong.
        #[n(0)]
        task: TaskId,
        /// Who lost it.
        #[n(1)]
        offender: NodeKey,
    },
    /// Half of a stake that was slashed for contradictory votes, to who showed them.
    #[n(3)]
    Equivocation {
        /// The height of the votes.
        #[n(0)]
        height: u64,
        /// Who lost it.
        #[n(1)]
        offender: NodeKey,
    },
}

/// One payment, numbered from 0 in the order of execution.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Payment {
    /// Its number.
    #[n(0)]
    pub number: u64,
    /// The receiving account.
    #[n(1)]
    pub account: AccountId,
    /// The node that earned it.
    #[n(2)]
    pub node: NodeKey,
    /// How much.
    #[n(3)]
    pub amount: Amount,
    /// How much of it went into the node's bond.
    #[n(4)]
    pub bonded: Amount,
    /// Height of the block that made it.
    #[n(5)]
    pub height: u64,
    /// Why.
    #[n(6)]
    pub reason: PaymentReason,
    /// How much of it went to those who delegated stake to the node.
    #[n(7)]
    pub delegated: Amount,
}

/// What the running epoch has counted of a node (`docs/spec/poei.md`, input and rule 14).
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct EpochCounts {
    /// Reference cost of its final results of drawn tasks.
    #[n(0)]
    pub work: u64,
    /// Final results of drawn tasks.
    #[n(1)]
    pub tasks: u64,
    /// Cost of its checked results that were right.
    #[n(2)]
    pub ok: u64,
    /// Cost of its checked results that were wrong.
    #[n(3)]
    pub bad: u64,
    /// Checked results accepted.
    #[n(4)]
    pub ok_n: u64,
    /// Results proved wrong.
    #[n(5)]
    pub bad_n: u64,
    /// Missed deadlines.
    #[n(6)]
    pub late_n: u64,
    /// The most units that it offered at any time of the epoch.
    #[n(7)]
    pub offered: u64,
    /// How often it changed its offer.
    #[n(8)]
    pub offers: u64,
}

/// A node that may work, bound to an account.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct NodeRecord {
    /// Whose it is.
    #[n(0)]
    pub account: AccountId,
    /// Its transport and receipt key.
    #[n(1)]
    pub node: NodeKey,
    /// Its vote key.
    #[n(2)]
    pub validator: ValidatorKey,
    /// Credits at stake.
    #[n(3)]
    pub bond: Amount,
    /// Resource units that it offers per epoch.
    #[n(4)]
    pub offered: u64,
    /// Trust count of what was right (nano).
    #[n(5)]
    pub trust_a: u64,
    /// Trust count of what was wrong (nano).
    #[n(6)]
    pub trust_b: u64,
    /// Trust at the start of this epoch (nano).
    #[n(7)]
    pub trust: u64,
    /// What this epoch has counted.
    #[n(8)]
    pub counts: EpochCounts,
    /// It draws no work before this epoch: a wrong result rests a node until the next epoch.
    #[n(9)]
    pub rests_until: u64,
    /// Price of its results that nobody has checked yet.
    #[n(10)]
    pub unchecked: Amount,
    /// Total lost by slashing.
    #[n(11)]
    pub slashed: Amount,
    /// Smoothed score of the epoch before, if it took part.
    #[n(12)]
    pub previous_score: Option<u64>,
    /// What it can run beside the plain built-ins (hashes of models), ascending.
    #[n(13)]
    pub capabilities: Vec<Digest>,
    /// The next value of its beacon chain must hash to this.
    #[n(14)]
    pub beacon_head: BeaconValue,
    /// How often its beacon chain was renewed.
    #[n(15)]
    pub beacon_generation: u64,
    /// Stake that others delegated to it.
    #[n(16)]
    pub delegated: Pool,
    /// It wants to validate.
    #[n(17)]
    pub validates: bool,
    /// It does not validate before this epoch: it contradicted itself or was absent.
    #[n(18)]
    pub jailed_until: u64,
    /// The newest block that it proposed, or the one after which it entered the validator set.
    #[n(19)]
    pub last_proposed: u64,
    /// The node of another account through which it reaches the network.
    #[n(20)]
    pub parent: Option<NodeKey>,
    /// Epochs in which results of it became final.
    #[n(21)]
    pub active_epochs: u64,
    /// Focus of its account's particles at the end of the epoch before, of 2^62.
    #[n(22)]
    pub focus: u64,
}

/// One worker's part in a task.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Replica {
    /// The worker.
    #[n(0)]
    pub node: NodeKey,
    /// Its operator.
    #[n(1)]
    pub account: AccountId,
    /// Which assignment it belongs to.
    #[n(2)]
    pub attempt: u32,
    /// It was proven (might work alone) when it was drawn.
    #[n(3)]
    pub proven: bool,
    /// What it committed to.
    #[n(4)]
    pub commitment: Option<Digest>,
    /// Output and cost that it revealed.
    #[n(5)]
    pub result: Option<TaskResult>,
    /// It gave no answer in time, or was proved wrong, and is out.
    #[n(6)]
    pub failed: bool,
}

/// What a run gave.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(array)]
pub struct TaskResult {
    /// The output's content id.
    #[n(0)]
    pub output: Cid,
    /// Reference cost.
    #[n(1)]
    pub cost: u64,
    /// Commitment to the steps ([`crate::task::steps_commitment`]).
    #[n(2)]
    pub steps: Digest,
}

/// A drawn validator's vote on a task in doubt.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct CommitteeVote {
    /// Its own result. (Not the last field: minicbor leaves a trailing `None` out of an array, and
    /// `docs/spec/protocol.md` 1 wants every field written.)
    #[n(0)]
    pub result: Option<TaskResult>,
    /// The drawn validator.
    #[n(1)]
    pub validator: ValidatorKey,
}

/// Why a task is executed again by validators.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum DoubtReason {
    /// The replicas' results differ.
    #[n(0)]
    Unequal,
    /// No replica is proven.
    #[n(1)]
    Unproven,
    /// Drawn for an audit.
    #[n(2)]
    Audit,
    /// Somebody challenged it.
    #[n(3)]
    Challenged,
}

/// Where a task stands.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Phase {
    /// Waits for the beacon that draws its workers.
    #[n(0)]
    Queued {
        /// Which assignment this will be.
        #[n(0)]
        attempt: u32,
    },
    /// Its replicas run it.
    #[n(1)]
    Assigned {
        /// Which assignment this is.
        #[n(0)]
        attempt: u32,
        /// The height of the draw.
        #[n(1)]
        assigned_at: u64,
        /// The last height for commitments while not all have committed.
        #[n(2)]
        commit_by: u64,
        /// The last height for reveals; 0 while commitments are open.
        #[n(3)]
        reveal_by: u64,
    },
    /// Validators re-execute it.
    #[n(2)]
    Doubted {
        /// Why.
        #[n(0)]
        reason: DoubtReason,
        /// Which re-execution.
        #[n(1)]
        round: u32,
        /// The drawn committee with its votes; empty until the beacon draws it.
        #[n(2)]
        committee: Vec<CommitteeVote>,
        /// Who challenged, with a deposit.
        #[n(3)]
        challenger: Option<AccountId>,
        /// The last height for votes; 0 until drawn.
        #[n(4)]
        vote_by: u64,
    },
    /// Accepted, and open to challenge until its window has passed.
    #[n(3)]
    Provisional {
        /// The result.
        #[n(0)]
        result: TaskResult,
        /// The epoch in which it was accepted.
        #[n(1)]
        epoch: u64,
        /// True when more than one operator, or a committee, computed it.
        #[n(2)]
        checked: bool,
        /// The epoch with whose beginning it becomes final.
        #[n(3)]
        until: u64,
    },
    /// Settled and paid.
    #[n(4)]
    Final {
        /// The result.
        #[n(0)]
        result: TaskResult,
        /// Height of the settlement.
        #[n(1)]
        height: u64,
    },
    /// Given up; the escrow went back.
    #[n(5)]
    Refunded {
        /// Height of the refund.
        #[n(0)]
        height: u64,
    },
    /// Taken back by its submitter; who was drawn for it got half a price, and the rest went back.
    #[n(6)]
    Cancelled {
        /// Height of the transaction.
        #[n(0)]
        height: u64,
    },
}

/// A task with all that the state knows of it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct TaskRecord {
    /// Its name.
    #[n(0)]
    pub id: TaskId,
    /// Who pays.
    #[n(1)]
    pub submitter: AccountId,
    /// What was asked.
    #[n(2)]
    pub spec: TaskSpec,
    /// The height at which it was submitted.
    #[n(3)]
    pub submitted_at: u64,
    /// Credits held for it.
    #[n(4)]
    pub escrow: Amount,
    /// Everybody who was assigned, in order.
    #[n(5)]
    pub replicas: Vec<Replica>,
    /// Where it stands.
    #[n(6)]
    pub phase: Phase,
    /// Its prices: those that were in force when it was submitted.
    #[n(7)]
    pub terms: Terms,
    /// What a challenger has put down; it is lost when the result stands.
    #[n(8)]
    pub deposit: Amount,
}

/// The prices of a task. Governance may change them for later tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Terms {
    /// Micro-credits per unit of reference cost.
    #[n(0)]
    pub unit_price: u64,
    /// Share of the price that a worker gets (nano); the rest is burned.
    #[n(1)]
    pub worker_share: u64,
}

impl Terms {
    /// Price of one replica of this reference cost.
    pub fn price(&self, cost: u64) -> Amount {
        Amount(u128::from(cost) * u128::from(self.unit_price))
    }

    /// The part of [`Self::price`] that is paid to the worker; the rest is burned.
    pub fn worker_pay(&self, cost: u64) -> Amount {
        self.price(cost).share(self.worker_share.min(NANO)).unwrap_or_default()
    }

    /// What a submitter who takes a task back pays for each worker that was drawn: half of the price
    /// of the cost limit. A call-off that comes at any time of the work, each as likely as another,
    /// finds half of it done on average.
    pub fn cancel_price(&self, cost_limit: u64) -> Amount {
        Amount(self.price(cost_limit).0 / 2)
    }

    /// The part of [`Self::cancel_price`] that is paid to the worker; the rest is burned.
    pub fn cancel_pay(&self, cost_limit: u64) -> Amount {
        self.cancel_price(cost_limit).share(self.worker_share.min(NANO)).unwrap_or_default()
    }
}

/// A closed epoch.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct EpochRecord {
    /// Its number.
    #[n(0)]
    pub epoch: u64,
    /// Chain time of its end, seconds.
    #[n(1)]
    pub timestamp: u64,
    /// Root over the leaves.
    #[n(2)]
    pub root: Digest,
    /// The TLR before it.
    #[n(3)]
    pub previous_tlr: Digest,
    /// The TLR after it.
    #[n(4)]
    pub tlr: Digest,
    /// What was minted (0 when nobody earned anything).
    #[n(5)]
    pub pool: Amount,
    /// Height of the block that began it; what became final from this block on counts in it.
    #[n(6)]
    pub from_height: u64,
    /// Height of the block that closed it; what became final in this block counts in the next.
    #[n(7)]
    pub to_height: u64,
    /// The participants, in ascending order of node.
    #[n(8)]
    pub rows: Vec<EpochRow>,
}

/// One participant of an epoch.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct EpochRow {
    /// The node.
    #[n(0)]
    pub node: NodeKey,
    /// Final results of drawn tasks.
    #[n(1)]
    pub tasks: u64,
    /// Their reference cost.
    #[n(2)]
    pub work: u64,
    /// Units that it offered.
    #[n(3)]
    pub offered: u64,
    /// The canonical PoEI message whose hash is the leaf.
    #[n(4)]
    pub message: Bytes,
    /// Its share of the pool.
    #[n(5)]
    pub reward: Amount,
    /// The number of the payment, when there was one.
    #[n(6)]
    pub payment: Option<u64>,
    /// Credits slashed so far, at the epoch's end.
    #[n(7)]
    pub slashed: Amount,
}

/// Where the chain stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct ChainState {
    /// Height of the newest block.
    #[n(0)]
    pub height: u64,
    /// Hash of the block before it (a header cannot contain itself).
    #[n(1)]
    pub previous: BlockHash,
    /// Its time.
    #[n(2)]
    pub time_ms: u64,
    /// The beacon after it.
    #[n(3)]
    pub beacon: BeaconValue,
    /// The running epoch.
    #[n(4)]
    pub epoch: u64,
    /// Chain time at which it began.
    #[n(5)]
    pub epoch_start_ms: u64,
    /// Height of the block that began it.
    #[n(6)]
    pub epoch_start_height: u64,
    /// TLR after the newest closed epoch.
    #[n(7)]
    pub tlr: Digest,
}

wire! {
    Account = "account";
    Supply = "supply";
    Payment = "payment";
    NodeRecord = "node record";
    TaskRecord = "task record";
    EpochRecord = "epoch record";
    ChainState = "chain state";
}
