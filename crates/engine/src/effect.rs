//! What goes into the state machine and what comes out.

use std::collections::BTreeSet;

use anthill_consensus::Evidence;
use anthill_store::Batch;
use anthill_types::state::{TaskRecord, TaskResult};
use anthill_types::{AccountId, Block, Digest, NodeKey, TaskId};

/// A node's transport key.
pub type PeerId = [u8; 32];

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The process has begun; comes once, before all else.
    Start,
    /// Time has passed: [`crate::Engine::next_wake`] is over.
    Tick,
    /// An admitted peer has connected.
    PeerUp(PeerId),
    /// A peer is gone.
    PeerDown(PeerId),
    /// A peer has sent a frame (an encoded [`crate::wire::Frame`]).
    Frame {
        /// The peer.
        from: PeerId,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// The answer to [`Effect::Fetch`], or why none came.
    Fetched {
        /// The peer that was asked.
        peer: PeerId,
        /// An encoded [`crate::wire::Blocks`], or what else was asked for.
        reply: Result<Vec<u8>, String>,
    },
    /// The answer to [`Effect::Work`], or why it could not be run.
    Worked {
        /// The task.
        task: TaskId,
        /// Output id and cost.
        result: Result<TaskResult, String>,
    },
}

/// What the driver has to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a frame to one peer, if it is connected.
    Send {
        /// The peer.
        to: PeerId,
        /// The encoded frame.
        bytes: Vec<u8>,
    },
    /// Send a frame to every connected peer. What is lost is sent again or asked for.
    Broadcast(Vec<u8>),
    /// Ask a peer (an encoded [`crate::wire::Request`]) and give [`Input::Fetched`] within
    /// [`crate::MAX_EFFECT_WAIT_MS`], whatever happens.
    Fetch {
        /// The peer.
        peer: PeerId,
        /// The request.
        request: Vec<u8>,
    },
    /// Run a task on a virtual node and give [`Input::Worked`].
    Work(Box<TaskRecord>),
    /// Stop running a task: it was cancelled, refunded or settled, so that nobody will ask for the result. An
    /// [`Input::Worked`] that is on its way is no harm.
    Stop(TaskId),
    /// From now on these may read the task's blobs here.
    Permit {
        /// The task.
        task: Box<TaskRecord>,
        /// Who.
        readers: Readers,
    },
    /// A block is on disk.
    Committed {
        /// The block.
        block: Box<Block>,
        /// What it wrote.
        writes: Batch,
    },
    /// A whole state was taken over and is on disk; this is its block.
    Adopted(Box<Block>),
    /// A validator signed two statements that exclude each other.
    Evidence(Box<Evidence>),
    /// A peer sent a frame that is none.
    Malformed(PeerId),
}

/// Who may read a task's blobs.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Readers {
    /// Its input.
    pub input: BTreeSet<NodeKey>,
    /// Its outputs.
    pub output: BTreeSet<NodeKey>,
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
