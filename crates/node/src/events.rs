//! What the driver tells the outside: status, and one event for each thing that happened.

use anthill_engine::PeerId;
use anthill_store::Batch;
use anthill_types::state::{EpochRecord, Payment, PaymentReason, Phase, TaskRecord};
use anthill_types::{Block, NodeKey, Wire, keys};
use serde::Serialize;

use crate::shared::Shared;

/// Something that happened, as dashboards and jobs see it.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A block was committed.
    Block {
        /// Its height.
        height: u64,
        /// Its time, milliseconds since the Unix epoch.
        time_ms: u64,
        /// Number of its transactions.
        transactions: usize,
        /// The state root.
        root: String,
        /// The running epoch.
        epoch: u64,
    },
    /// A task moved on.
    Task {
        /// Its id.
        id: String,
        /// `queued`, `assigned`, `doubted`, `provisional`, `final`, `refunded` or `cancelled`.
        phase: &'static str,
        /// Its workers so far.
        workers: Vec<String>,
        /// Workers that were late or wrong.
        failed: Vec<String>,
    },
    /// A payment was made.
    Payment {
        /// Its number.
        number: u64,
        /// The node.
        node: String,
        /// How much, in rUv.
        amount: String,
        /// `task`, `epoch` or `slash`.
        reason: &'static str,
        /// Who lost it, for `slash`.
        offender: Option<String>,
    },
    /// An epoch was closed.
    Epoch {
        /// Its number.
        epoch: u64,
        /// What was shared out, in rUv.
        pool: String,
        /// Participants.
        nodes: usize,
        /// TLR after it.
        tlr: String,
    },
    /// A peer came or went.
    Peer {
        /// The node.
        node: String,
        /// It is connected now.
        up: bool,
    },
    /// A job of this node moved on.
    Job {
        /// The index's name.
        name: String,
        /// What it does.
        stage: String,
        /// Done.
        done: u64,
        /// Of so many.
        total: u64,
    },
}

/// The name of a phase.
pub fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Queued { .. } => "queued",
        Phase::Assigned { .. } => "assigned",
        Phase::Doubted { .. } => "doubted",
        Phase::Provisional { .. } => "provisional",
        Phase::Final { .. } => "final",
        Phase::Refunded { .. } => "refunded",
        Phase::Cancelled { .. } => "cancelled",
    }
}

impl Shared {
    pub(crate) fn publish_peer(&self, peer: &PeerId, up: bool) {
        let _ = self.events.send(Event::Peer { node: NodeKey(*peer).to_string(), up });
    }

    /// One event for the block and each task, payment and epoch that it wrote. Nobody may listen.
    pub(crate) fn publish_block(&self, block: &Block, writes: &Batch) {
        for (key, value) in writes {
            let Some(value) = value else { continue };
            let event = if key.starts_with(keys::TASKS.as_bytes()) {
                TaskRecord::from_bytes(value).ok().map(|t| task_event(&t))
            } else if key.starts_with(keys::PAYMENTS.as_bytes()) {
                Payment::from_bytes(value).ok().map(|p| payment_event(&p))
            } else if key.starts_with(keys::EPOCHS.as_bytes()) {
                EpochRecord::from_bytes(value).ok().map(|e| epoch_event(&e))
            } else {
                None
            };
            if let Some(event) = event {
                let _ = self.events.send(event);
            }
        }
        let _ = self.events.send(Event::Block {
            height: block.header.height,
            time_ms: block.header.time_ms,
            transactions: block.transactions.len(),
            root: block.header.state_root.to_string(),
            epoch: self.status().epoch,
        });
    }
}

fn task_event(task: &TaskRecord) -> Event {
    let failed = task.replicas.iter().filter(|r| r.failed).map(|r| r.node.to_string()).collect();
    Event::Task {
        id: task.id.to_string(),
        phase: phase_name(&task.phase),
        workers: task.replicas.iter().map(|r| r.node.to_string()).collect(),
        failed,
    }
}

fn payment_event(payment: &Payment) -> Event {
    let (reason, offender) = match &payment.reason {
        PaymentReason::Task { .. } => ("task", None),
        PaymentReason::Epoch { .. } => ("epoch", None),
        PaymentReason::Slash { offender, .. } => ("slash", Some(offender.to_string())),
        PaymentReason::Equivocation { offender, .. } => {
            ("equivocation", Some(offender.to_string()))
        }
    };
    Event::Payment {
        number: payment.number,
        node: payment.node.to_string(),
        amount: payment.amount.to_string(),
        reason,
        offender,
    }
}

fn epoch_event(epoch: &EpochRecord) -> Event {
    Event::Epoch {
        epoch: epoch.epoch,
        pool: epoch.pool.to_string(),
        nodes: epoch.rows.len(),
        tlr: epoch.tlr.to_string(),
    }
}
