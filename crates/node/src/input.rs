//! What the driver takes in.

use anthill_engine::proofs::ProveError;
use anthill_engine::{SubmitError, Submitted};
use anthill_net::{NetEvent, PeerId};
use anthill_types::{Body, SignedTransaction, TaskId};
use tokio::sync::oneshot;

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
    Fetched {
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
        body: Box<Body>,
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
