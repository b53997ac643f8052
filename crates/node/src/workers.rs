//! Virtual nodes: worker threads that run tasks step by step, within the owner's limits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anthill_sandbox::{Outcome, Sandbox, SandboxError};
use anthill_types::Cid;
use tokio::sync::oneshot;

/// Most tasks that wait for a virtual node.
pub const MAX_QUEUE: usize = 8192;

/// What the owner lets the node use; changed while it runs.
#[derive(Debug)]
pub struct Limits {
    paused: AtomicBool,
    cpu: AtomicU8,
}

impl Limits {
    /// Limits at start: share of each worker's time in percent, 1 to 100.
    pub fn new(cpu: u8, paused: bool) -> Self {
        Self { paused: AtomicBool::new(paused), cpu: AtomicU8::new(cpu.clamp(1, 100)) }
    }

    /// Share of each worker's time in percent.
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

/// One task to run.
pub struct Job {
    /// The program.
    pub program: Cid,
    /// Its parameters.
    pub params: Vec<u8>,
    /// Its input.
    pub input: Vec<u8>,
    /// The most it may cost.
    pub cost_limit: u64,
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
}

type Waiting = (Job, oneshot::Sender<Result<Outcome, WorkError>>);

struct Queue {
    jobs: Mutex<(VecDeque<Waiting>, bool)>,
    wake: Condvar,
    running: AtomicU64,
    done: AtomicU64,
    busy_us: AtomicU64,
}

/// The virtual nodes of this machine.
#[derive(Clone)]
pub struct Workers {
    queue: Arc<Queue>,
    limits: Arc<Limits>,
    count: usize,
}

/// What the virtual nodes do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WorkerStats {
    /// Virtual nodes.
    pub virtual_nodes: usize,
    /// Tasks that run.
    pub running: u64,
    /// Tasks that wait.
    pub waiting: usize,
    /// Tasks done since the start.
    pub done: u64,
    /// Time spent in tasks, microseconds.
    pub busy_us: u64,
}

impl Workers {
    /// Starts `count` virtual nodes.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(count: usize, sandbox: Sandbox, limits: Arc<Limits>) -> std::io::Result<Self> {
        let queue = Arc::new(Queue {
            jobs: Mutex::new((VecDeque::new(), false)),
            wake: Condvar::new(),
            running: AtomicU64::new(0),
            done: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
        });
        for i in 0..count {
            let (queue, sandbox, limits) = (queue.clone(), sandbox.clone(), limits.clone());
            std::thread::Builder::new()
                .name(format!("virtual-node-{i}"))
                .spawn(move || work(&queue, &sandbox, &limits))?;
        }
        Ok(Self { queue, limits, count })
    }

    /// Runs a task and gives its outcome.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn run(&self, job: Job) -> Result<Outcome, WorkError> {
        let (reply, outcome) = oneshot::channel();
        {
            let mut jobs = self.queue.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            if jobs.0.len() >= MAX_QUEUE {
                return Err(WorkError::Full);
            }
            jobs.0.push_back((job, reply));
        }
        self.queue.wake.notify_one();
        outcome.await.unwrap_or(Err(WorkError::Stopped))
    }

    /// The owner's limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What they do now.
    pub fn stats(&self) -> WorkerStats {
        let waiting = self.queue.jobs.lock().unwrap_or_else(PoisonError::into_inner).0.len();
        WorkerStats {
            virtual_nodes: self.count,
            running: self.queue.running.load(Ordering::Relaxed),
            waiting,
            done: self.queue.done.load(Ordering::Relaxed),
            busy_us: self.queue.busy_us.load(Ordering::Relaxed),
        }
    }

    /// Lets the threads end after their current step.
    pub fn stop(&self) {
        self.queue.jobs.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.queue.wake.notify_all();
    }
}

fn work(queue: &Queue, sandbox: &Sandbox, limits: &Limits) {
    while let Some((job, reply)) = next_job(queue) {
        queue.running.fetch_add(1, Ordering::Relaxed);
        let outcome = run_job(queue, sandbox, limits, &job);
        queue.running.fetch_sub(1, Ordering::Relaxed);
        queue.done.fetch_add(1, Ordering::Relaxed);
        // The asker may have gone; then nobody needs the outcome.
        let _ = reply.send(outcome);
    }
}

fn next_job(queue: &Queue) -> Option<Waiting> {
    let mut jobs = queue.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if jobs.1 {
            return None;
        }
        if let Some(job) = jobs.0.pop_front() {
            return Some(job);
        }
        jobs = queue.wake.wait(jobs).unwrap_or_else(PoisonError::into_inner);
    }
}

fn run_job(
    queue: &Queue,
    sandbox: &Sandbox,
    limits: &Limits,
    job: &Job,
) -> Result<Outcome, WorkError> {
    let mut instance = sandbox.start(&job.program, &job.params, &job.input, job.cost_limit)?;
    loop {
        while limits.is_paused() {
            if queue.jobs.lock().unwrap_or_else(PoisonError::into_inner).1 {
                return Err(WorkError::Stopped);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let begun = Instant::now();
        let outcome = instance.step();
        let spent = begun.elapsed();
        queue.busy_us.fetch_add(spent.as_micros() as u64, Ordering::Relaxed);
        if let Some(outcome) = outcome {
            return Ok(outcome);
        }
        let cpu = u32::from(limits.cpu());
        if cpu < 100 {
            std::thread::sleep(spent * (100 - cpu) / cpu);
        }
    }
}
