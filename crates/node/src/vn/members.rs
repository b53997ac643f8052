//! One virtual node: its five parts, and what others may see and ask of it while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anthill_sandbox::{Instance, Interrupt, Outcome};
use anthill_scheduler::vnode::flow::{End, Report};
use anthill_scheduler::vnode::{Change, Phase, SignalWeights, VnReceipt};
use anthill_types::Cid;
use serde::Serialize;
use tokio::sync::oneshot;

use super::job::{Job, Limits, Waiting};
use super::recall::Asker;
use super::ring::Writer;

/// How long a paused guest sleeps before it looks again.
const PAUSE: Duration = Duration::from_millis(10);

/// A transition of a virtual node, for logs, metrics and listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VnEvent {
    /// The virtual node.
    pub vn: u64,
    /// Its phase now.
    pub phase: &'static str,
    /// What led to it.
    pub reason: String,
}

/// What was asked of a virtual node; it obeys at its next step boundary.
#[derive(Default)]
pub(super) struct Orders {
    /// Stand still.
    pub suspend: AtomicBool,
    /// End: no later than at the next look of the guest's interrupt.
    pub terminate: Mutex<Option<String>>,
    /// Give the task away: its state goes to this sender.
    pub depart: Mutex<Option<oneshot::Sender<Departure>>>,
}

/// A task that left its virtual node between two steps.
pub struct Departure {
    /// The task.
    pub job: Job,
    /// Its state.
    pub snapshot: Vec<u8>,
    /// Who waits for its outcome.
    pub asker: Asker,
}

/// The resource monitor: what a virtual node has used.
#[derive(Default)]
pub struct Monitor {
    /// Tasks that ended.
    pub tasks: AtomicU64,
    /// Of them with a fault.
    pub faults: AtomicU64,
    /// Of them stopped, because nobody wanted the outcome any more.
    pub stopped: AtomicU64,
    /// Reference cost of ended tasks.
    pub cost: AtomicU64,
    /// Time in steps, microseconds.
    pub busy_us: AtomicU64,
    /// Steps, and looks of the interrupt inside a step: a sign of life.
    pub beats: AtomicU64,
    /// Cost of the running task so far.
    pub running_cost: AtomicU64,
    /// Work done and in all, where the running task says so; in all 0: it does not.
    pub progress: (AtomicU64, AtomicU64),
}

/// What the parent and others see of a virtual node.
pub struct Member {
    /// Its number in this process.
    pub id: u64,
    /// When it was spawned.
    pub born: Instant,
    pub(super) phase: Mutex<Phase>,
    pub(super) monitor: Monitor,
    pub(super) orders: Orders,
    /// The running task's program and origin.
    pub(super) running: Mutex<Option<(Cid, super::job::Origin)>>,
    /// Learned speeds, copied after each task.
    pub(super) weights: Mutex<SignalWeights>,
    /// The thread whose queue it stands in.
    pub(super) place: AtomicU64,
    /// When it last reported, microseconds since its birth.
    pub(super) synced_us: AtomicU64,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Member {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            born: Instant::now(),
            phase: Mutex::new(Phase::Spawn),
            monitor: Monitor::default(),
            orders: Orders::default(),
            running: Mutex::default(),
            weights: Mutex::default(),
            place: AtomicU64::new(0),
            synced_us: AtomicU64::new(0),
        }
    }

    /// Its phase.
    pub fn phase(&self) -> Phase {
        *lock(&self.phase)
    }

    /// Takes a change; false when its phase does not allow it.
    pub(super) fn change(&self, change: Change) -> bool {
        let mut phase = lock(&self.phase);
        phase.after(change).map(|next| *phase = next).is_ok()
    }

    /// True while it stands still because it was asked to.
    pub(super) fn orders_hold(&self) -> bool {
        matches!(self.phase(), Phase::Suspend | Phase::Migrate)
    }

    /// A row of the table.
    pub fn row(&self) -> VnRow {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let running = *lock(&self.running);
        let m = &self.monitor;
        let (done, all) = (get(&m.progress.0), get(&m.progress.1));
        VnRow {
            id: self.id,
            phase: self.phase().name(),
            program: running.map(|(program, _)| program.to_string()),
            origin: running.map(|(_, origin)| origin),
            progress: (all > 0).then(|| done as f64 / all as f64),
            running_cost: running.map(|_| get(&m.running_cost)),
            tasks: get(&m.tasks),
            faults: get(&m.faults),
            stopped: get(&m.stopped),
            cost: get(&m.cost),
            busy_us: get(&m.busy_us),
            age_ms: self.born.elapsed().as_millis() as u64,
            synced_ms_ago: (self.born.elapsed().as_micros() as u64)
                .saturating_sub(get(&self.synced_us))
                / 1000,
            thread: get(&self.place),
            weights: lock(&self.weights).all().map(|(p, s)| (p.to_string(), s)).collect(),
        }
    }
}

/// A virtual node as tables and programs see it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct VnRow {
    /// Its number in this process.
    pub id: u64,
    /// `spawn`, `initialize`, `active`, `suspend`, `migrate`, `merge` or `terminate`.
    pub phase: &'static str,
    /// Program of the running task.
    pub program: Option<String>,
    /// Where the running task comes from.
    #[schema(value_type = Option<String>)]
    pub origin: Option<super::job::Origin>,
    /// Share of the running task that is done, where it says so.
    pub progress: Option<f64>,
    /// Reference cost of the running task so far.
    pub running_cost: Option<u64>,
    /// Tasks that ended.
    pub tasks: u64,
    /// Of them with a fault.
    pub faults: u64,
    /// Of them stopped, because nobody wanted the outcome any more.
    pub stopped: u64,
    /// Reference cost of ended tasks.
    pub cost: u64,
    /// Time in steps, microseconds.
    pub busy_us: u64,
    /// Milliseconds since it was spawned.
    pub age_ms: u64,
    /// Milliseconds since it last reported to its parent.
    pub synced_ms_ago: u64,
    /// The thread whose queue it stands in.
    pub thread: u64,
    /// Signal weights: units per second for each program that it remembers.
    pub weights: std::collections::BTreeMap<String, u64>,
}

/// A task inside a virtual node.
pub(super) struct Running {
    pub waiting: Waiting,
    /// `None` until its first turn: the parameters are read by the thread that runs it.
    pub instance: Option<Instance>,
    pub micros: u64,
    /// Its cost at the last look, so that only what was done here counts as work of this machine.
    pub counted: u64,
}

impl Running {
    /// A task that did no step yet.
    pub fn new(waiting: Waiting) -> Self {
        Self { waiting, instance: None, micros: 0, counted: 0 }
    }
}

/// The virtual node itself, owned by the queue in which it stands or the thread that runs it.
pub(super) struct VirtualNode {
    pub member: Arc<Member>,
    pub ring: Writer,
    pub running: Option<Running>,
    pub weights: SignalWeights,
}

impl VirtualNode {
    /// The proof engine: states what was done, and keeps what was learned. Without an outcome the task was
    /// stopped where it stood.
    pub fn prove(&mut self, running: &Running, outcome: Option<&Outcome>) -> Report {
        let monitor = &self.member.monitor;
        let (cost, output, end) = match outcome {
            None => (running.counted, Vec::new(), End::Stopped),
            Some(done) if done.result.is_ok() => (done.cost, done.to_output(), End::Output),
            Some(done) => (done.cost, done.to_output(), End::Fault),
        };
        let sequence = monitor.tasks.fetch_add(1, Ordering::Relaxed);
        monitor.faults.fetch_add(u64::from(end == End::Fault), Ordering::Relaxed);
        monitor.stopped.fetch_add(u64::from(end == End::Stopped), Ordering::Relaxed);
        monitor.cost.fetch_add(cost, Ordering::Relaxed);
        let job = &running.waiting.job;
        self.weights.learn(&job.program, cost, running.micros);
        *lock(&self.member.weights) = self.weights.clone();
        let receipt = VnReceipt {
            vn: self.member.id,
            sequence,
            program: job.program,
            input: Cid::of(&job.input),
            output: Cid::of(&output),
            cost,
        };
        Report { receipt: receipt.digest(), cost, micros: running.micros, end }
    }
}

/// Asked from inside a guest's step: pauses it where it stands, slows it down, or ends it.
pub(super) struct Hook {
    pub member: Arc<Member>,
    pub limits: Arc<Limits>,
    pub stopping: Arc<AtomicBool>,
    /// Nobody waits for the outcome any more.
    pub gone: Arc<AtomicBool>,
    pub last: Mutex<Instant>,
}

impl Interrupt for Hook {
    fn go_on(&self) -> bool {
        self.member.monitor.beats.fetch_add(1, Ordering::Relaxed);
        let mut last = lock(&self.last);
        let cpu = u32::from(self.limits.cpu());
        if cpu < 100 {
            // What ran since the last look is followed by its share of rest; a pause is not work.
            let ran = last.elapsed().min(Duration::from_millis(100));
            std::thread::sleep(ran * (100 - cpu) / cpu);
        }
        let ends = || {
            self.stopping.load(Ordering::Relaxed)
                || self.gone.load(Ordering::Relaxed)
                || lock(&self.member.orders.terminate).is_some()
        };
        while self.limits.is_paused() && !ends() {
            std::thread::sleep(PAUSE);
        }
        *last = Instant::now();
        !ends()
    }
}
