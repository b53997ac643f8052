//! What the event loop takes in.

use anthill_net::{NetEvent, PeerId};
use anthill_types::{AccountId, Body, Digest, SignedTransaction, TaskId};
use tokio::sync::oneshot;

use crate::proofs::ProveError;
use anthill_light::Subject;

/// One thing that happened.
pub enum Input {
    /// On the network.
    Net(NetEvent),
    /// A virtual node ended a task: output id and cost, or why not.
    Worked {
        /// The task.
        task: TaskId,
        /// Its result.
        result: Result<anthill_types::state::TaskResult, String>,
    },
    /// A peer answered a request for blocks.
    Blocks {
        /// The peer.
        peer: PeerId,
        /// Its answer.
        reply: Result<Vec<u8>, String>,
    },
    /// Somebody in this process asks for something.
    Command(Command),
}

/// A request from inside the process.
pub enum Command {
    /// Sign this with the account key and submit it.
    Submit {
        /// What to do.
        body: Body,
        /// The answer.
        reply: oneshot::Sender<Result<Submitted, SubmitError>>,
    },
    /// Take a transaction that somebody else signed.
    Relay {
        /// The transaction.
        signed: Box<SignedTransaction>,
        /// The answer.
        reply: oneshot::Sender<Result<Submitted, SubmitError>>,
    },
    /// Build a proof bundle.
    Prove {
        /// Of what.
        subject: Subject,
        /// The answer.
        reply: oneshot::Sender<Result<Vec<u8>, ProveError>>,
    },
    /// End the loop.
    Stop,
}

/// A transaction that waits for a block now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its id.
    pub id: Digest,
    /// Its sender.
    pub sender: AccountId,
    /// Its first sequence number.
    pub sequence: u64,
}

/// Why a transaction was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SubmitError(pub String);
