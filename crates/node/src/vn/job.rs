//! What a virtual node is given, and what its owner allows.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use anthill_sandbox::SandboxError;
use anthill_types::Cid;

use super::recall::Asker;

/// Most tasks that wait for a virtual node.
pub const MAX_QUEUE: usize = 8192;

/// What the owner lets the node use; changed while it runs.
#[derive(Debug)]
pub struct Limits {
    paused: AtomicBool,
    cpu: AtomicU8,
}

impl Limits {
    /// Limits at start: share of each thread's time in percent, 1 to 100.
    pub fn new(cpu: u8, paused: bool) -> Self {
        Self { paused: AtomicBool::new(paused), cpu: AtomicU8::new(cpu.clamp(1, 100)) }
    }

    /// Share of each thread's time in percent.
    pub fn cpu(&self) -> u8 {
        self.cpu.load(Ordering::Relaxed)
    }

    /// Sets the share, 1 to 100.
    pub fn set_cpu(&self, percent: u8) {
        self.cpu.store(percent.clamp(1, 100), Ordering::Relaxed);
    }

    /// True while the owner has paused the node.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Pauses or resumes.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
}

/// Where a task comes from: when bandwidth is short, local ones go first (seed 0, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A request of this node's own user.
    Local,
    /// A task that the network assigned to this node.
    Network,
    /// A task that another machine moved here.
    Moved,
}

/// One task to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The program.
    pub program: Cid,
    /// Its parameters.
    pub params: Vec<u8>,
    /// Its input.
    pub input: Vec<u8>,
    /// The most it may cost.
    pub cost_limit: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// Go on from here instead of beginning.
    pub snapshot: Option<Vec<u8>>,
}

/// Why no outcome came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// This node cannot run it.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Too many tasks wait.
    #[error("{MAX_QUEUE} tasks wait for a virtual node already")]
    Full,
    /// The node stops.
    #[error("the node is stopping")]
    Stopped,
    /// Its virtual node was cut off.
    #[error("its virtual node was terminated: {0}")]
    Terminated(String),
}

/// A task and who waits for its outcome.
pub(super) struct Waiting {
    pub job: Job,
    pub asker: Asker,
    /// How often later tasks were taken before it.
    pub passed: u32,
}
