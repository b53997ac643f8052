//! The parent of this machine's virtual nodes: spawns, hands out, moves between threads, dissolves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};

use anthill_sandbox::wasm::Wasm;
use anthill_sandbox::{Outcome, Program, Sandbox};
use anthill_scheduler::vnode::{Change, FlowRecord, Phase, SignalWeights};
use anthill_types::Cid;
use tokio::sync::oneshot;

use super::executor;
use super::job::{Job, Limits, MAX_QUEUE, Waiting, WorkError};
use super::members::{Departure, Member, Running, VirtualNode, VnEvent, VnRow, lock};
use super::modules::Modules;
use super::recall::Wish;
use super::ring::ring;
use super::sync::Parent;

/// Most virtual nodes of a machine, whatever governance allows.
const MOST: usize = 100_000;

/// Virtual nodes that may stand still at once.
const MOST_SUSPENDED: usize = 1_024;

type Listener = Box<dyn Fn(&VnEvent) + Send + Sync>;

/// The virtual nodes of this machine; cheap to clone.
#[derive(Clone)]
pub struct Fleet(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub state: Mutex<State>,
    pub wake: Condvar,
    pub sandbox: RwLock<Sandbox>,
    pub wasm: Wasm,
    pub limits: Arc<Limits>,
    pub stopping: Arc<AtomicBool>,
    /// Threads that take turns now, of all that were started.
    pub active: AtomicUsize,
    pub running: AtomicU64,
    pub done: AtomicU64,
    pub cost: AtomicU64,
    /// Cost of all steps made here, of whatever task.
    pub work: AtomicU64,
    pub stopped: AtomicU64,
    pub busy_us: AtomicU64,
    /// Tasks of the network and of other machines that ended with a fault.
    pub faults: AtomicU64,
    pub parent: Mutex<Parent>,
    pub phases: [AtomicU64; Phase::ALL.len()],
    listener: RwLock<Option<Listener>>,
    modules: Modules,
}

/// Where every virtual node stands.
pub(super) struct State {
    pub waiting: VecDeque<Waiting>,
    /// For each thread the virtual nodes that have work, in turn.
    pub queues: Vec<VecDeque<VirtualNode>>,
    pub idle: Vec<VirtualNode>,
    pub suspended: BTreeMap<u64, VirtualNode>,
    pub members: BTreeMap<u64, Arc<Member>>,
    pub target: usize,
    pub local_first: bool,
    next_id: u64,
}

/// What the virtual nodes do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FleetStats {
    /// Virtual nodes.
    pub virtual_nodes: usize,
    /// Threads that take turns with them.
    pub threads: usize,
    /// Tasks that run.
    pub running: u64,
    /// Tasks that wait.
    pub waiting: usize,
    /// Tasks done since the start.
    pub done: u64,
    /// Tasks stopped because nobody wanted the outcome any more.
    pub stopped: u64,
    /// Reference cost of both.
    pub cost: u64,
    /// Reference cost of all steps made here since the start, also of tasks that run or went away.
    pub work: u64,
    /// Time spent in tasks, microseconds.
    pub busy_us: u64,
    /// Virtual nodes that stand still.
    pub suspended: usize,
    /// Virtual nodes without a task.
    pub idle: usize,
}

impl Fleet {
    /// Starts `threads` threads and `count` virtual nodes on them.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        threads: usize,
        count: usize,
        sandbox: Sandbox,
        wasm: Wasm,
        limits: Arc<Limits>,
    ) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let state = State {
            waiting: VecDeque::new(),
            queues: (0..threads).map(|_| VecDeque::new()).collect(),
            idle: Vec::new(),
            suspended: BTreeMap::new(),
            members: BTreeMap::new(),
            target: 0,
            local_first: false,
            next_id: 0,
        };
        let inner = Arc::new(Inner {
            state: Mutex::new(state),
            wake: Condvar::new(),
            sandbox: RwLock::new(sandbox),
            wasm,
            limits,
            stopping: Arc::default(),
            active: AtomicUsize::new(threads),
            running: AtomicU64::new(0),
            done: AtomicU64::new(0),
            cost: AtomicU64::new(0),
            work: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            parent: Mutex::new(Parent::new()),
            phases: Default::default(),
            listener: RwLock::default(),
            modules: Modules::start()?,
        });
        for place in 0..threads {
            let inner = inner.clone();
            std::thread::Builder::new()
                .name(format!("virtual-nodes-{place}"))
                .spawn(move || executor::run(&inner, place))?;
        }
        let clock = inner.clone();
        std::thread::Builder::new()
            .name("virtual-nodes-clock".into())
            .spawn(move || executor::tick(&clock))?;
        let parent = inner.clone();
        std::thread::Builder::new()
            .name("virtual-nodes-sync".into())
            .spawn(move || super::sync::run(&parent))?;
        let fleet = Self(inner);
        fleet.set_target(count, "start");
        Ok(fleet)
    }

    /// Runs a task and gives its outcome. Whoever drops the future takes the task back: it leaves the queue,
    /// or stops where it runs.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn run(&self, job: Job) -> Result<Outcome, WorkError> {
        let (wish, asker, outcome) = Wish::new(&self.0);
        self.submit(Waiting { job, asker, passed: 0 })?;
        let outcome = outcome.await.unwrap_or(Err(WorkError::Stopped));
        wish.granted();
        outcome
    }

    pub(super) fn submit(&self, waiting: Waiting) -> Result<(), WorkError> {
        let mut state = self.0.lock();
        if self.0.stopping.load(Ordering::Relaxed) {
            return Err(WorkError::Stopped);
        }
        if state.waiting.len() >= MAX_QUEUE {
            return Err(WorkError::Full);
        }
        let program = waiting.job.program;
        let best = (0..state.idle.len()).max_by_key(|i| state.idle[*i].weights.fit(&program));
        match best {
            Some(best) => {
                let node = state.idle.swap_remove(best);
                self.0.assign(&mut state, node, waiting);
            }
            None => state.waiting.push_back(waiting),
        }
        Ok(())
    }

    /// Adds a program to what can be run here.
    pub fn install(&self, program: Arc<dyn Program>) {
        self.0.sandbox.write().unwrap_or_else(std::sync::PoisonError::into_inner).install(program);
    }

    /// Adds a module to what can be run here, in place of the oldest one where there are many; gives its
    /// program's id.
    pub fn install_module(&self, bytes: &[u8]) -> Cid {
        self.0.modules.install(self.0.wasm.program(bytes), &self.0.sandbox)
    }

    /// True when the program can be run here.
    pub fn has(&self, program: &Cid) -> bool {
        self.0.sandbox.read().unwrap_or_else(std::sync::PoisonError::into_inner).has(program)
    }

    /// The owner's limits.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Tells a listener of every transition; it must be quick.
    pub fn listen(&self, listener: impl Fn(&VnEvent) + Send + Sync + 'static) {
        let mut place = self.0.listener.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *place = Some(Box::new(listener));
    }

    /// What they do now.
    pub fn stats(&self) -> FleetStats {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let state = self.0.lock();
        FleetStats {
            virtual_nodes: state.members.len(),
            threads: self.threads(),
            running: get(&self.0.running),
            waiting: state.waiting.len(),
            done: get(&self.0.done),
            stopped: get(&self.0.stopped),
            cost: get(&self.0.cost),
            work: get(&self.0.work),
            busy_us: get(&self.0.busy_us),
            suspended: state.suspended.len(),
            idle: state.idle.len(),
        }
    }

    /// Tasks of the network and of other machines that ended with a fault.
    pub fn faults(&self) -> u64 {
        self.0.faults.load(Ordering::Relaxed)
    }

    /// Threads that take turns now.
    pub fn threads(&self) -> usize {
        self.0.active.load(Ordering::Relaxed)
    }

    /// Lets so many of the started threads work, one at least; gives how many do.
    pub fn set_threads(&self, threads: usize) -> usize {
        let mut state = self.0.lock();
        let threads = threads.clamp(1, state.queues.len());
        self.0.active.store(threads, Ordering::Relaxed);
        // What stands in the queue of a thread that rests is taken over by the others.
        let stranded: Vec<VirtualNode> =
            state.queues.iter_mut().skip(threads).flat_map(std::mem::take).collect();
        for node in stranded {
            self.0.enqueue(&mut state, node);
        }
        self.0.wake.notify_all();
        threads
    }

    /// Threads that were started.
    pub fn most_threads(&self) -> usize {
        self.0.lock().queues.len()
    }

    /// A row for each virtual node, ascending.
    pub fn rows(&self) -> Vec<VnRow> {
        let members: Vec<Arc<Member>> = self.0.lock().members.values().cloned().collect();
        members.iter().map(|member| member.row()).collect()
    }

    /// How often each phase was entered since the start.
    pub fn phases(&self) -> impl Iterator<Item = (Phase, u64)> {
        Phase::ALL.into_iter().zip(&self.0.phases).map(|(p, n)| (p, n.load(Ordering::Relaxed)))
    }

    /// The newest flow records, oldest first.
    pub fn flows(&self, most: usize) -> Vec<FlowRecord> {
        lock(&self.0.parent).newest(most)
    }

    /// Takes over what the virtual nodes have reported until now.
    pub fn sync(&self) -> usize {
        super::sync::sync(&self.0)
    }

    /// Virtual nodes that showed no sign of life for so long while they had work.
    pub fn stale(&self, ttl_ms: u64) -> Vec<u64> {
        let state = self.0.lock();
        let stale = |member: &&Arc<Member>| member.row().synced_ms_ago > ttl_ms;
        state.members.values().filter(stale).map(|member| member.id).collect()
    }

    /// Has so many virtual nodes that can take tasks (who stands still, or whose task is away, does not
    /// count): spawns what is missing, merges idle ones; those with work merge when
    /// their task has ended.
    pub fn set_target(&self, count: usize, reason: &str) {
        let count = count.clamp(1, MOST);
        let mut state = self.0.lock();
        state.target = count;
        while state.taking() < count {
            self.0.spawn(&mut state, reason);
        }
        while state.taking() > count {
            let Some(node) = state.idle.pop() else { break };
            self.0.merge(&mut state, node, reason);
        }
    }

    /// The number of virtual nodes that are wanted.
    pub fn target(&self) -> usize {
        self.0.lock().target
    }

    /// Lets local tasks go first, because bandwidth is short.
    pub fn set_local_first(&self, yes: bool) {
        self.0.lock().local_first = yes;
    }

    /// Lets a virtual node stand still after its step; false when there is none, or its phase forbids it.
    pub fn suspend(&self, id: u64, reason: &str) -> bool {
        let mut state = self.0.lock();
        let Some(member) = state.members.get(&id).cloned() else { return false };
        if member.phase() != Phase::Active || state.suspended.len() >= MOST_SUSPENDED {
            return false;
        }
        if let Some(at) = state.idle.iter().position(|node| node.member.id == id) {
            let node = state.idle.swap_remove(at);
            return self.0.stand_still(&mut state, node, reason);
        }
        member.orders.suspend.store(true, Ordering::Relaxed);
        true
    }

    /// Lets a suspended virtual node go on.
    pub fn resume(&self, id: u64, reason: &str) -> bool {
        let mut state = self.0.lock();
        let Some(member) = state.members.get(&id).cloned() else { return false };
        member.orders.suspend.store(false, Ordering::Relaxed);
        if member.phase() != Phase::Suspend {
            return false;
        }
        let Some(node) = state.suspended.remove(&id) else { return false };
        self.0.change(&node.member, Change::Resume, reason);
        match node.running {
            Some(_) => self.0.enqueue(&mut state, node),
            None => self.0.rest(&mut state, node),
        }
        true
    }

    /// Cuts a virtual node off: its task ends without an outcome, within one look of the interrupt. Another
    /// takes its place if one is wanted.
    pub fn terminate(&self, id: u64, reason: &str) -> bool {
        let mut state = self.0.lock();
        let Some(member) = state.members.get(&id).cloned() else { return false };
        *lock(&member.orders.terminate) = Some(reason.to_string());
        let idle = state.idle.iter().position(|node| node.member.id == id);
        let node =
            idle.map(|at| state.idle.swap_remove(at)).or_else(|| state.suspended.remove(&id));
        if let Some(node) = node {
            self.0.cut_off(&mut state, node, reason);
        }
        true
    }

    /// Takes the task of a virtual node away between two steps, with its state, for another machine.
    /// `None` when it has none, ends before, or cannot be moved.
    pub async fn depart(&self, id: u64) -> Option<Departure> {
        let (give, departure) = oneshot::channel();
        {
            let mut state = self.0.lock();
            let member = state.members.get(&id)?.clone();
            if lock(&member.running).is_none() || lock(&member.orders.depart).is_some() {
                return None;
            }
            *lock(&member.orders.depart) = Some(give);
            if let Some(node) = state.suspended.remove(&id) {
                // Its thread takes the state; from there it departs.
                self.0.change(&member, Change::Resume, "to be moved");
                self.0.enqueue(&mut state, node);
            }
        }
        departure.await.ok()
    }

    /// Gives a moved task back to its virtual node, to go on here from its snapshot.
    pub fn take_back(&self, id: u64, departure: Departure, reason: &str) {
        self.0.take_back(id, departure, reason);
    }

    /// A virtual node whose task was moved takes tasks again.
    pub fn returned(&self, id: u64, reason: &str) {
        let mut state = self.0.lock();
        let Some(node) = state.suspended.remove(&id) else { return };
        self.0.change(&node.member, Change::Return, reason);
        self.0.rest(&mut state, node);
    }

    /// Spread of the work over the threads, 0 (even) to 1: the largest queue against the smallest.
    pub fn imbalance(&self) -> f64 {
        let (least, most) = self.0.loads(&self.0.lock());
        if most <= 1 { 0.0 } else { (most - least) as f64 / most as f64 }
    }

    /// Evens the queues of the threads without changing the number of virtual nodes; gives how many moved.
    pub fn rebalance(&self) -> usize {
        let mut state = self.0.lock();
        let active = self.threads().min(state.queues.len());
        let mut moved = 0;
        loop {
            let sizes = state.queues.iter().take(active).map(VecDeque::len).enumerate();
            let (Some((to, least)), Some((from, most))) =
                (sizes.clone().min_by_key(|s| s.1), sizes.max_by_key(|s| s.1))
            else {
                return moved;
            };
            if most <= least + 1 {
                return moved;
            }
            let Some(node) = state.queues[from].pop_back() else { return moved };
            node.member.place.store(to as u64, Ordering::Relaxed);
            state.queues[to].push_back(node);
            moved += 1;
        }
    }

    /// Lets the threads end after their current step.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
        // A thread that looked before the flag was set waits by now.
        drop(self.0.lock());
        self.0.wake.notify_all();
    }
}

impl Inner {
    /// Where every virtual node stands.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes a change and tells of it.
    pub fn change(&self, member: &Member, change: Change, reason: &str) -> bool {
        if !member.change(change) {
            return false;
        }
        let phase = member.phase();
        let place = Phase::ALL.iter().position(|p| *p == phase).unwrap_or_default();
        self.phases[place].fetch_add(1, Ordering::Relaxed);
        let event = VnEvent { vn: member.id, phase: phase.name(), reason: reason.to_string() };
        tracing::debug!(vn = event.vn, phase = event.phase, reason, "virtual node");
        let listener = self.listener.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(listener) = listener.as_ref() {
            listener(&event);
        }
        true
    }

    /// A task that left goes on here, in its own virtual node if that is still there.
    pub fn take_back(&self, id: u64, departure: Departure, reason: &str) {
        let Departure { mut job, snapshot, asker } = departure;
        job.snapshot = Some(snapshot);
        let waiting = Waiting { job, asker, passed: 0 };
        let mut state = self.lock();
        match state.suspended.remove(&id) {
            Some(node) => {
                self.change(&node.member, Change::Return, reason);
                self.assign(&mut state, node, waiting);
            }
            None => {
                state.waiting.push_front(waiting);
                if let Some(node) = state.idle.pop() {
                    self.rest(&mut state, node);
                }
            }
        }
    }

    fn loads(&self, state: &State) -> (usize, usize) {
        let active = self.active.load(Ordering::Relaxed).min(state.queues.len());
        let sizes = state.queues.iter().take(active).map(VecDeque::len);
        (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0))
    }

    /// Spawn, then Initialize (its id, its thread, its ring to the parent), then Active.
    fn spawn(&self, state: &mut State, reason: &str) {
        let id = state.next_id;
        state.next_id += 1;
        let member = Arc::new(Member::new(id));
        self.phases[0].fetch_add(1, Ordering::Relaxed);
        let (writer, reader) = ring();
        self.change(&member, Change::Register, reason);
        lock(&self.parent).adopt(id, reader);
        member.place.store(id % state.queues.len().max(1) as u64, Ordering::Relaxed);
        state.members.insert(id, member.clone());
        self.change(&member, Change::Begin, reason);
        let weights = SignalWeights::default();
        self.rest(state, VirtualNode { member, ring: writer, running: None, weights });
    }

    /// Takes its last reports over and lets it go.
    fn merge(&self, state: &mut State, node: VirtualNode, reason: &str) {
        self.change(&node.member, Change::Merge, reason);
        self.dissolve(state, &node, "merged");
    }

    fn dissolve(&self, state: &mut State, node: &VirtualNode, reason: &str) {
        lock(&self.parent).part(node.member.id);
        state.members.remove(&node.member.id);
        self.change(&node.member, Change::Terminate, reason);
    }

    /// Ends a virtual node with what it has.
    pub fn cut_off(&self, state: &mut State, mut node: VirtualNode, reason: &str) {
        if let Some(running) = node.running.take() {
            running.waiting.asker.answer(Err(WorkError::Terminated(reason.to_string())));
        }
        self.dissolve(state, &node, reason);
        if state.taking() < state.target {
            self.spawn(state, "in place of one that was cut off");
        }
    }

    /// Keeps a virtual node aside until it is resumed.
    pub fn stand_still(&self, state: &mut State, node: VirtualNode, reason: &str) -> bool {
        node.member.orders.suspend.store(false, Ordering::Relaxed);
        let done = self.change(&node.member, Change::Suspend, reason);
        state.suspended.insert(node.member.id, node);
        done
    }

    /// A virtual node without work: it takes the next task, merges if there are too many, or waits.
    pub fn rest(&self, state: &mut State, node: VirtualNode) {
        let ended = lock(&node.member.orders.terminate).clone();
        if let Some(reason) = ended {
            return self.cut_off(state, node, &reason);
        }
        if state.taking() > state.target {
            return self.merge(state, node, "more than wanted");
        }
        if node.member.orders.suspend.load(Ordering::Relaxed) {
            self.stand_still(state, node, "asked");
            return;
        }
        match state.pick(&node.weights) {
            Some(waiting) => self.assign(state, node, waiting),
            None => state.idle.push(node),
        }
    }

    /// The flow handler: gives a virtual node its task.
    fn assign(&self, state: &mut State, mut node: VirtualNode, waiting: Waiting) {
        *lock(&node.member.running) = Some((waiting.job.program, waiting.job.origin));
        node.member.monitor.running_cost.store(0, Ordering::Relaxed);
        node.member.monitor.progress.1.store(0, Ordering::Relaxed);
        node.running = Some(Running::new(waiting));
        self.enqueue(state, node);
    }

    /// Puts a virtual node that has work into the shortest queue, its own where that is as short.
    pub fn enqueue(&self, state: &mut State, node: VirtualNode) {
        let active = self.active.load(Ordering::Relaxed).clamp(1, state.queues.len());
        let own = node.member.place.load(Ordering::Relaxed) as usize;
        let key = |place: &usize| (state.queues[*place].len(), usize::from(*place != own));
        let place = (0..active).min_by_key(key).unwrap_or(0);
        node.member.place.store(place as u64, Ordering::Relaxed);
        state.queues[place].push_back(node);
        self.wake.notify_all();
    }
}
