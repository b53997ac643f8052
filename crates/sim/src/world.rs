//! The event loop of a run: time, messages, processes, and what their effects become.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::panic::resume_unwind;
use std::sync::Arc;

use anthill_engine::{Effect, Input};
use anthill_sandbox::Sandbox;
use anthill_store::sim::Crash;
use anthill_types::state::{TaskRecord, TaskResult};
use anthill_types::{Cid, Genesis, TaskId};

use crate::adversary::Adversary;
use crate::bank_model::BankModel;
use crate::checks::Checks;
use crate::focus_model::FocusModel;
use crate::market::Market;
use crate::marks::Marks;
use crate::node::{BASE_MS, BootError, Node, genesis};
use crate::panics::catch;
use crate::plan::{FaultKind, Plan};
use crate::program;
use crate::rng::Rng;
use crate::slots::{Guests, Turn};
use crate::trace::{Trace, What};
use crate::workload::Workload;

/// Events that a run may have at most: a storm is a failure, not a slow test.
const MAX_EVENTS: u64 = 30_000_000;
/// Events that may wait at once.
const MAX_QUEUE: usize = 2_000_000;

/// What happens at a time.
pub enum Event {
    /// Something for a process.
    Input(usize, u32, Delivery),
    /// A fault of the plan begins.
    Begin(usize),
    /// A fault of the plan ends.
    End(usize),
    /// A node's process starts, if none runs.
    Boot(usize),
    /// The workload submits something.
    Work,
    /// A client does something with the bank, the graph or the registry.
    Trade,
    /// The light client asks somebody.
    Probe,
    /// Flooders send.
    Flood,
    /// All faults are over; the rest of the time is for converging.
    Heal,
}

/// What reaches a process.
pub enum Delivery {
    /// Its own wake-up call.
    Wake(u64),
    /// A connection.
    Up(usize),
    /// A lost connection to a peer's process.
    Down(usize, u32),
    /// A frame.
    Frame {
        /// Sender.
        from: usize,
        /// When it was sent.
        sent: u64,
        /// A fault of the plan has changed a byte of it.
        altered: bool,
        /// The frame.
        bytes: Arc<[u8]>,
    },
    /// A request for blocks.
    Ask {
        /// Who asks, in which life.
        from: (usize, u32),
        /// The request.
        bytes: Vec<u8>,
    },
    /// The answer, or none.
    Answer {
        /// Who was asked.
        peer: usize,
        /// What came.
        reply: Result<Vec<u8>, String>,
    },
    /// A task has run.
    Worked(TaskId, Result<TaskResult, String>),
    /// Something for its guests.
    Guest(Turn),
    /// Its controller's next beat.
    Beat,
}

struct Entry {
    at: u64,
    sequence: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// One run.
pub struct World {
    /// What was asked for.
    pub plan: Plan,
    /// The chain's beginning.
    pub genesis: Genesis,
    /// All nodes, founders first.
    pub nodes: Vec<Node>,
    /// Milliseconds from the start.
    pub now: u64,
    /// What happened how often.
    pub marks: Marks,
    /// Digest and log.
    pub trace: Trace,
    /// The first thing that must never happen, if it did.
    pub broken: Option<String>,
    /// Inputs of tasks.
    pub blobs: BTreeMap<Cid, Vec<u8>>,
    pub(crate) checks: Checks,
    pub(crate) adversary: Adversary,
    pub(crate) workload: Workload,
    pub(crate) market: Market,
    pub(crate) guests: Guests,
    /// What a process is given now was altered on its way.
    pub(crate) altered: bool,
    pub(crate) bank_model: BankModel,
    pub(crate) focus_model: FocusModel,
    pub(crate) healed: bool,
    pub(crate) active: Vec<usize>,
    pub(crate) rng: Rng,
    queue: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    /// Last delivery of each link, so that links keep their order.
    pub(crate) links: Vec<u64>,
    sandbox: Sandbox,
    indexes: BTreeMap<[u8; 32], usize>,
}

impl World {
    /// A world before its first event.
    pub fn new(plan: Plan) -> Self {
        let nodes: Vec<Node> = (0..plan.nodes()).map(|i| Node::new(&plan, i)).collect();
        let genesis = genesis(&plan, &nodes);
        let indexes = nodes.iter().map(|n| (n.key(), n.index)).collect();
        let mut world = Self {
            checks: Checks::new(&genesis),
            adversary: Adversary::new(plan.seed),
            workload: Workload::new(plan.seed),
            market: Market::new(plan.seed),
            guests: Guests::new(plan.seed),
            altered: false,
            bank_model: BankModel::new(genesis.params.channel_epochs),
            focus_model: FocusModel::of(&genesis),
            links: vec![0; nodes.len() * nodes.len()],
            rng: Rng::new(plan.seed, 3),
            sandbox: program::sandbox(),
            genesis,
            nodes,
            now: 0,
            marks: Marks::default(),
            trace: Trace::default(),
            broken: None,
            blobs: BTreeMap::new(),
            healed: false,
            active: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            indexes,
            plan,
        };
        world.schedule();
        world
    }

    fn schedule(&mut self) {
        for node in 0..self.plan.founders.len() {
            let delay = self.rng.between(0, 500);
            self.at(delay, Event::Boot(node));
        }
        let times: Vec<(u64, u64)> = self.plan.faults.iter().map(|f| (f.at, f.until)).collect();
        for (index, (begin, end)) in times.into_iter().enumerate() {
            self.at(begin, Event::Begin(index));
            self.at(end, Event::End(index));
        }
        self.at(3_000, Event::Work);
        self.at(4_000, Event::Trade);
        self.at(15_000, Event::Probe);
        self.at(self.plan.safety_ms, Event::Heal);
    }

    /// Runs to the end, or to the first break.
    pub fn run(&mut self) {
        let end = self.plan.safety_ms + self.plan.heal_ms;
        while let Some(Reverse(entry)) = self.queue.pop() {
            if entry.at > end || self.broken.is_some() {
                break;
            }
            self.now = entry.at;
            self.step(entry.event);
            if self.queue.len() > MAX_QUEUE || self.trace.events > MAX_EVENTS {
                self.breaks("a storm of events that does not end");
            }
        }
        self.now = self.now.min(end);
        if self.broken.is_none() {
            self.check_liveness();
        }
    }

    /// Plans an event so many milliseconds from now.
    pub(crate) fn at(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        let (at, sequence) = (self.now + delay, self.sequence);
        self.queue.push(Reverse(Entry { at, sequence, event }));
    }

    /// Notes the first break.
    pub(crate) fn breaks(&mut self, what: impl Into<String>) {
        if self.broken.is_none() {
            let text = what.into();
            self.trace.line(self.now, None, || What::Note(format!("BREAK: {text}")));
            self.broken = Some(text);
        }
    }

    pub(crate) fn note(&mut self, node: Option<usize>, text: impl FnOnce() -> String) {
        self.trace.line(self.now, node, || What::Note(text()));
    }

    /// A node's clock.
    pub(crate) fn clock(&self, node: usize) -> u64 {
        let mut clock = (BASE_MS + self.now) as i64;
        for fault in self.active.iter().filter_map(|i| self.plan.faults.get(*i)) {
            match fault.kind {
                FaultKind::Skew { node: n, ms } | FaultKind::Jump { node: n, ms } if n == node => {
                    clock += ms;
                }
                _ => {}
            }
        }
        clock as u64
    }

    pub(crate) fn index(&self, key: &[u8; 32]) -> Option<usize> {
        self.indexes.get(key).copied()
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Input(node, life, delivery) if self.nodes[node].tainted => {
                self.guarded(node, |world| world.deliver(node, life, delivery));
            }
            Event::Input(node, life, delivery) => self.deliver(node, life, delivery),
            Event::Begin(index) => self.begin_fault(index),
            Event::End(index) => self.end_fault(index),
            Event::Boot(node) => self.guarded(node, |world| world.boot(node)),
            Event::Work => self.work(),
            Event::Trade => self.trade(),
            Event::Probe => {
                self.probe();
                self.at(15_000, Event::Probe);
            }
            Event::Flood => self.flood(),
            Event::Heal => self.heal(),
        }
    }

    /// redb may panic on bytes that it never wrote (`docs/CRASHES.md`). On a disk that misplaces
    /// writes a panic is the end of the process, as it is outside the simulation; on a sound one it
    /// is the end of the run.
    fn guarded(&mut self, node: usize, act: impl FnOnce(&mut Self)) {
        let tainted = self.nodes[node].tainted;
        let Err(panic) = catch(tainted, || act(self)) else { return };
        if !self.nodes[node].tainted {
            resume_unwind(panic);
        }
        self.marks.hit("start: after a panic of the store");
        let process = self.nodes[node].process.take();
        // Closing the store may panic as well.
        let _ = catch(true, || drop(process));
        self.ended(node, None);
    }

    fn heal(&mut self) {
        self.healed = true;
        self.note(None, || "heal".into());
        for index in std::mem::take(&mut self.active) {
            self.undo(index);
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].disk.heal();
            self.nodes[node].crash_in_step = false;
            if self.nodes[node].admitted && !self.nodes[node].left {
                self.at(1_000, Event::Boot(node));
            }
        }
        self.checks.heal_height = self.checks.newest();
    }

    fn deliver(&mut self, node: usize, life: u32, delivery: Delivery) {
        let this = &self.nodes[node];
        if this.life != life || this.process.is_none() {
            return;
        }
        if this.busy_until > self.now {
            let delay = this.busy_until - self.now;
            self.at(delay, Event::Input(node, life, delivery));
            return;
        }
        let input = match delivery {
            Delivery::Wake(at) => {
                let Some(process) = self.nodes[node].process.as_mut() else { return };
                if process.wake != Some(at) {
                    return;
                }
                process.wake = None;
                self.trace.fold(self.now, node, 1, &[]);
                Input::Tick
            }
            Delivery::Up(peer) if self.is_severed(node, peer) => return,
            Delivery::Up(peer) => {
                if let Some(process) = self.nodes[node].process.as_mut() {
                    process.peers.insert(peer);
                }
                Input::PeerUp(self.nodes[peer].key())
            }
            Delivery::Down(peer, gone) => {
                // Its next process has connected meanwhile.
                if self.nodes[peer].process.is_some() && self.nodes[peer].life != gone {
                    return;
                }
                if let Some(process) = self.nodes[node].process.as_mut() {
                    process.peers.remove(&peer);
                }
                Input::PeerDown(self.nodes[peer].key())
            }
            // A connection that is closed brings nothing more.
            Delivery::Frame { from, .. } if self.is_severed(node, from) => {
                return self.marks.hit("guard: a quarantine cut a message");
            }
            Delivery::Frame { from, sent, altered, bytes } => {
                self.altered = altered;
                self.trace.fold(self.now, node, 2, &bytes);
                self.trace.line(self.now, Some(node), || {
                    let kind = crate::reading::describe(&bytes);
                    What::Message { from, sent, kind }
                });
                let decision = crate::reading::is_decision(&bytes);
                self.marks.add("sync: decision received", u64::from(decision));
                self.overhear(node, from, &bytes);
                Input::Frame { from: self.nodes[from].key(), bytes: bytes.to_vec() }
            }
            Delivery::Ask { from, bytes } => return self.answer(node, from, &bytes),
            Delivery::Answer { peer, reply } => {
                self.trace.fold(self.now, node, 3, reply.as_deref().unwrap_or_default());
                let peer = self.nodes[peer].key();
                Input::Fetched { peer, reply }
            }
            Delivery::Worked(task, result) => Input::Worked { task, result },
            Delivery::Guest(turn) => return self.turn(node, turn),
            Delivery::Beat => return self.beat(node),
        };
        self.feed(node, input);
        self.altered = false;
    }

    /// Gives a process an input and carries out its effects.
    pub(crate) fn feed(&mut self, node: usize, input: Input) {
        let clock = self.clock(node);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let result = process.engine.handle(input, clock);
        match result {
            Ok(()) => self.after_step(node),
            Err(error) => {
                // What was decided before the failure is told, as the node's driver does.
                let effects = process.engine.take_effects();
                effects.into_iter().for_each(|effect| self.carry_out(node, effect));
                self.died(node, &error);
            }
        }
    }

    /// Carries out what a step of a process wants, and plans its next tick.
    pub(crate) fn after_step(&mut self, node: usize) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let effects = process.engine.take_effects();
        let cut = (self.nodes[node].crash_in_step && effects.len() > 1)
            .then(|| self.rng.below(effects.len() as u64) as usize);
        self.pay_for_commits(node);
        for (place, effect) in effects.into_iter().enumerate() {
            if cut == Some(place) {
                self.nodes[node].crash_in_step = false;
                self.marks.hit("fault: crash between two effects");
                return self.crash(node, None);
            }
            self.carry_out(node, effect);
            if self.broken.is_some() {
                return;
            }
        }
        self.check_step(node);
        self.plan_wake(node);
    }

    fn plan_wake(&mut self, node: usize) {
        let skew = self.clock(node) as i64 - (BASE_MS + self.now) as i64;
        let (now, life) = (self.now, self.nodes[node].life);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let wake = process.engine.next_wake() as i64 - skew - BASE_MS as i64;
        // A tick that changes nothing comes again a millisecond later, not in the same instant.
        let at = u64::try_from(wake).unwrap_or(0).max(now + 1);
        if process.wake.is_none_or(|planned| at < planned) {
            process.wake = Some(at);
            self.at(at - now, Event::Input(node, life, Delivery::Wake(at)));
        }
    }

    fn pay_for_commits(&mut self, node: usize) {
        let slow = self.active.iter().filter_map(|i| self.plan.faults.get(*i));
        let slow = slow.filter_map(|fault| match fault.kind {
            FaultKind::SlowDisk { node: n, ms } if n == node => Some(ms),
            _ => None,
        });
        let ms: u64 = slow.sum();
        let this = &mut self.nodes[node];
        let commits = this.disk.commits();
        let new = commits.saturating_sub(this.paid_commits);
        this.paid_commits = commits;
        if ms > 0 && new > 0 {
            this.busy_until = self.now + ms * new;
            self.marks.add("fault: slow disk", new);
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Send { to, bytes } => {
                if let Some(to) = self.index(&to) {
                    let bytes = self.flipped(node, bytes);
                    self.send(node, to, bytes);
                }
            }
            Effect::Broadcast(bytes) => self.broadcast(node, bytes),
            Effect::Fetch { peer, request } => self.ask(node, &peer, request),
            Effect::Work(task) if self.guests.has(&task.spec.program) => {
                self.impose(node, &task);
                self.run_guest(node, *task);
            }
            Effect::Work(task) => self.run_task(node, &task),
            // The outcome, which is on its way already, comes too late: that is no harm.
            Effect::Stop(_) => {}
            Effect::Permit { .. } => {}
            Effect::Committed { block, writes } => {
                self.committed(node, &block, &writes);
                self.undersell(node);
            }
            Effect::Adopted(block) => self.adopted(node, &block),
            Effect::Evidence(evidence) => {
                self.wonder(node);
                self.accused(&evidence);
            }
            Effect::Malformed(peer) => self.blame(node, &peer),
        }
    }

    fn run_task(&mut self, node: usize, task: &TaskRecord) {
        let life = self.nodes[node].life;
        let delay = self.rng.between(20, 1_500);
        let result = match self.blobs.get(&task.spec.input) {
            // Now and then nobody who has the input can be reached.
            Some(input) if !self.rng.chance(20) => {
                program::run(&self.sandbox, &task.spec, &input.clone())
            }
            _ => Err("the input cannot be fetched".to_string()),
        };
        let result = self.falsify(node, task, result);
        self.at(delay, Event::Input(node, life, Delivery::Worked(task.id, result)));
    }

    /// Starts a node's process.
    fn boot(&mut self, node: usize) {
        if self.nodes[node].process.is_some() || self.nodes[node].left || self.is_kept_down(node) {
            return;
        }
        let clock = self.clock(node);
        let started = {
            let (this, plan, genesis) = (&mut self.nodes[node], &self.plan, &self.genesis);
            this.boot(genesis, plan, clock)
        };
        match started {
            Ok(()) => self.booted(node),
            Err(BootError::Damaged(what)) if self.nodes[node].tainted => {
                self.note(Some(node), || format!("starts from an empty disk: {what}"));
                self.marks.hit("start: from an empty disk");
                let mut rng = self.rng.clone();
                self.nodes[node].wipe(&mut rng);
                self.rng.draw();
                self.at(500, Event::Boot(node));
            }
            // Its disk still fails; whoever runs it tries again.
            Err(BootError::Other(_)) if self.disk_fails(node) => self.at(2_000, Event::Boot(node)),
            Err(BootError::Damaged(what) | BootError::Other(what)) => {
                self.breaks(format!("node {node} cannot start: {what}"));
            }
        }
    }

    fn booted(&mut self, node: usize) {
        let life = self.nodes[node].life;
        self.note(Some(node), || format!("starts, process {life}"));
        self.trace.fold(self.now, node, 4, &life.to_be_bytes());
        self.nodes[node].paid_commits = self.nodes[node].disk.commits();
        self.nodes[node].busy_until = 0;
        self.marks.add("fault: restart", u64::from(life > 1));
        self.check_boot(node);
        self.feed(node, Input::Start);
        self.begin_beats(node);
        for peer in 0..self.nodes.len() {
            if peer == node || self.nodes[peer].process.is_none() || !self.nodes[peer].admitted {
                continue;
            }
            let delay = self.rng.between(1, 200);
            let peer_life = self.nodes[peer].life;
            self.at(delay, Event::Input(node, life, Delivery::Up(peer)));
            self.at(delay, Event::Input(peer, peer_life, Delivery::Up(node)));
        }
    }

    /// A process ends at once; with `power` the disk loses what was not synced.
    pub(crate) fn crash(&mut self, node: usize, power: Option<Crash>) {
        let Some(process) = self.nodes[node].process.take() else { return };
        let tainted = self.nodes[node].tainted;
        if let Err(panic) = catch(tainted, || drop(process))
            && !tainted
        {
            resume_unwind(panic);
        }
        self.ended(node, power);
    }

    /// What the end of a process brings: its disk as the next one finds it, and lost connections.
    fn ended(&mut self, node: usize, power: Option<Crash>) {
        self.nodes[node].disk.end_process(power);
        self.note(Some(node), || "ends".into());
        self.trace.fold(self.now, node, 5, &[]);
        let gone = self.nodes[node].life;
        for peer in 0..self.nodes.len() {
            let life = self.nodes[peer].life;
            if peer != node && self.nodes[peer].process.is_some() {
                let delay = self.rng.between(1, 2_000);
                self.at(delay, Event::Input(peer, life, Delivery::Down(node, gone)));
            }
        }
        let again = self.rng.between(300, 5_000);
        if self.nodes[node].admitted && !self.nodes[node].left {
            self.at(again, Event::Boot(node));
        }
    }
}
