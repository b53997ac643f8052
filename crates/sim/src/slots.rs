//! Where a simulated node runs guests: a few slots, a step at a time, between which a guest may move.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use anthill_sandbox::wasm::cost::{FUEL_PER_UNIT, PER_STEP};
use anthill_sandbox::wasm::{Kind, Wasm};
use anthill_sandbox::{Instance, Outcome, Program, Sandbox, Step};
use anthill_scheduler::vnode::migration::{Host, Key};
use anthill_types::state::{Payment, TaskRecord, TaskResult, Terms};
use anthill_types::{Amount, Bytes, Cid, TaskId, TaskSpec};

use crate::guests::{Case, draw};
use crate::program;
use crate::rng::Rng;
use crate::visits::{Away, Guest, MOST_HOSTED};
use crate::world::{Delivery, Event, World};

/// Guests of its own that a node runs at once.
const SLOTS: usize = 3;
/// Simulated milliseconds after which a guest that has not ended hangs.
const LONGEST_MS: u64 = 90_000;

/// Which guest of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// That of a task which the network gave to the node.
    Own(TaskId),
    /// One that a partner has sent.
    Hosted(Key),
}

/// What happens to a node's guests.
pub enum Turn {
    /// Module and input are there.
    Begin(Box<TaskRecord>),
    /// The next step.
    Step(Place),
    /// The side that owns a task that moved looks at the time.
    Wake(TaskId),
    /// A message about a move, from a node in a life of it.
    Question {
        /// Who asks.
        from: (usize, u32),
        /// The asker's number for the question and the task.
        number: (TaskId, u64),
        /// The message.
        bytes: Vec<u8>,
    },
    /// Its answer, or none.
    Answer {
        /// The asker's number for the question and the task.
        number: (TaskId, u64),
        /// What came.
        bytes: Option<Vec<u8>>,
    },
    /// A snapshot and an input for a guest from a partner, or none.
    Brought(Key, Option<Vec<u8>>),
    /// The output of a guest that ran elsewhere and its cost, or none.
    Collected((TaskId, u64), Option<Outcome>),
    /// A look for partners that fell silent.
    Sweep,
}

/// A guest that runs.
pub struct Running {
    /// The run.
    pub instance: Instance,
    /// Steps so far, and the most that it can pay for.
    pub steps: (u64, u64),
    /// When it began, simulated time.
    pub since: u64,
}

impl Running {
    /// A run that begins or goes on now.
    pub fn new(instance: Instance, cost_limit: u64, since: u64) -> Self {
        // Each step costs something by itself, so that steps are bounded by the limit.
        let most = cost_limit * FUEL_PER_UNIT / PER_STEP + 1;
        Self { instance, steps: (0, most), since }
    }
}

/// A process's guests.
pub struct Slots {
    /// What this process can run: the modules that it has fetched.
    pub sandbox: Sandbox,
    /// Its own guests.
    pub running: BTreeMap<TaskId, (Box<TaskRecord>, Running)>,
    /// What waits for a slot.
    pub waiting: VecDeque<Box<TaskRecord>>,
    /// Its own guests that are elsewhere.
    pub away: BTreeMap<TaskId, Away>,
    /// The side that takes guests of partners.
    pub host: Host,
    /// Partners' guests here.
    pub hosted: BTreeMap<Key, Guest>,
    /// The next number of a move; a real node draws the first from the time.
    pub ticket: u64,
    /// The next number of a question.
    pub asked: u64,
    /// A sweep is planned.
    pub sweeping: bool,
}

impl Slots {
    /// A process that begins at a time.
    pub fn new(now_ms: u64) -> Self {
        Self {
            sandbox: program::sandbox(),
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            away: BTreeMap::new(),
            host: Host::new(MOST_HOSTED),
            hosted: BTreeMap::new(),
            ticket: now_ms << 16,
            asked: 0,
            sweeping: false,
        }
    }
}

/// A task, as far as its result depends on it.
type Work = (Cid, Cid, Cid, u64);

fn work_of(spec: &TaskSpec) -> Work {
    (spec.program, spec.params_cid(), spec.input, spec.cost_limit)
}

/// All that is known of guests outside of the nodes.
pub struct Guests {
    /// A stream of its own, so that guests leave the rest of a seed's workload as it was.
    pub rng: Rng,
    wasm: Option<Wasm>,
    /// Modules, translated once for all nodes.
    programs: BTreeMap<Cid, Arc<dyn Program>>,
    /// What each must give.
    right: BTreeMap<Work, TaskResult>,
    /// Tasks of guests in the state.
    tasks: BTreeMap<TaskId, (Terms, TaskResult)>,
}

impl Guests {
    /// The guests of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed, 16),
            wasm: Wasm::with(Kind::Interpreter, 1).ok(),
            programs: BTreeMap::new(),
            right: BTreeMap::new(),
            tasks: BTreeMap::new(),
        }
    }

    /// True for a program that is a guest.
    pub fn has(&self, program: &Cid) -> bool {
        self.programs.contains_key(program)
    }

    /// The module of a content id, as a node that has fetched it can run it.
    pub fn program(&self, program: &Cid) -> Option<Arc<dyn Program>> {
        self.programs.get(program).cloned()
    }

    /// What a guest's task must give.
    pub fn right(&self, spec: &TaskSpec) -> Option<TaskResult> {
        self.right.get(&work_of(spec)).copied()
    }

    /// Notes a task of a guest as the state has it.
    pub fn note(&mut self, task: &TaskRecord) {
        if let Some(right) = self.right(&task.spec) {
            self.tasks.insert(task.id, (task.terms, right));
        }
    }

    /// What a worker must be paid for a guest: the price of its cost, faults too, less the burned share.
    pub fn pay(&self, task: &TaskId) -> Option<Amount> {
        let (terms, right) = self.tasks.get(task)?;
        let price = u128::from(right.cost) * u128::from(terms.unit_price);
        Some(Amount(price * u128::from(terms.worker_share) / 1_000_000_000))
    }

    /// Takes a case in; gives its task, or why it cannot be.
    fn take(&mut self, case: Case) -> Result<TaskSpec, String> {
        let wasm = self.wasm.as_ref().ok_or("the interpreter cannot be set up")?;
        let (id, input) = (Cid::of(&case.module), Cid::of(&case.input));
        let program = self.programs.entry(id).or_insert_with(|| wasm.program(&case.module)).clone();
        let right = match case.right {
            Some(right) => right,
            // Once, outside of all nodes, and never moved.
            None => {
                let mut sandbox = Sandbox::new();
                sandbox.install(program);
                let begun = sandbox.start(&id, &case.params, &case.input, case.cost_limit);
                begun.map_err(|e| e.to_string())?.finish()
            }
        };
        let spec = TaskSpec {
            program: id,
            params: Bytes(case.params),
            input,
            input_len: case.input.len() as u64,
            cost_limit: case.cost_limit,
            max_replicas: self.rng.between(1, 3) as u8,
            directed: None,
            needs: None,
            deadline_blocks: self.rng.between(30, 70) as u32,
        };
        let result = right.task_result(Cid::of(&right.to_output()));
        self.right.insert(work_of(&spec), result);
        Ok(spec)
    }
}

impl World {
    /// Now and then a user submits guests.
    pub(crate) fn submit_guests(&mut self, running: &[usize]) {
        if !self.guests.rng.chance(220) {
            return;
        }
        let Some(node) = self.guests.rng.pick(running).copied() else { return };
        let mut specs = Vec::new();
        for _ in 0..self.guests.rng.between(1, 2) {
            let case = draw(&mut self.guests.rng);
            let (mark, input) = (case.mark, case.input.clone());
            match self.guests.take(case) {
                Ok(spec) => {
                    self.blobs.insert(spec.input, input);
                    self.marks.hit(mark);
                    specs.push(spec);
                }
                Err(what) => return self.breaks(what),
            }
        }
        self.submit(node, anthill_types::Body::SubmitTasks(specs));
    }

    /// Plans something for a node's guests.
    pub(crate) fn turn_in(&mut self, delay: u64, node: usize, turn: Turn) {
        let life = self.nodes[node].life;
        self.at(delay, Event::Input(node, life, Delivery::Guest(turn)));
    }

    /// A node is to run a guest: it fetches module and input.
    pub(crate) fn run_guest(&mut self, node: usize, task: TaskRecord) {
        let delay = self.guests.rng.between(20, 400);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let program = task.spec.program;
        if !process.slots.sandbox.has(&program) {
            // Now and then nobody who has it can be reached.
            let found = self.guests.program(&program).filter(|_| !self.guests.rng.chance(30));
            let Some(module) = found else {
                let failed = Err("the module cannot be fetched".to_string());
                let life = self.nodes[node].life;
                return self.at(delay, Event::Input(node, life, Delivery::Worked(task.id, failed)));
            };
            process.slots.sandbox.install(module);
        }
        self.turn_in(delay, node, Turn::Begin(Box::new(task)));
    }

    /// Something happens to a node's guests.
    pub(crate) fn turn(&mut self, node: usize, turn: Turn) {
        match turn {
            Turn::Begin(task) => {
                if let Some(process) = self.nodes[node].process.as_mut() {
                    process.slots.waiting.push_back(task);
                }
                self.fill_slots(node);
            }
            Turn::Step(Place::Own(task)) => self.step_own(node, task),
            Turn::Step(Place::Hosted(key)) => self.step_hosted(node, key),
            Turn::Wake(task) => self.drive_move(node, task),
            Turn::Question { from, number, bytes } => self.asked_of(node, from, number, &bytes),
            Turn::Answer { number, bytes } => self.answered(node, number, bytes.as_deref()),
            Turn::Brought(key, snapshot) => self.brought(node, key, snapshot),
            Turn::Collected(task, outcome) => self.collected(node, task, outcome),
            Turn::Sweep => self.sweep(node),
        }
    }

    pub(crate) fn fill_slots(&mut self, node: usize) {
        loop {
            let Some(process) = self.nodes[node].process.as_mut() else { return };
            let slots = &mut process.slots;
            if slots.running.len() + slots.away.len() >= SLOTS {
                return;
            }
            let Some(task) = slots.waiting.pop_front() else { return };
            let input = self.blobs.get(&task.spec.input).map(Vec::as_slice).unwrap_or_default();
            let spec = &task.spec;
            let (program, params) = (&spec.program, &spec.params.0);
            let begun = slots.sandbox.start(program, params, input, spec.cost_limit);
            match begun {
                Ok(instance) => self.occupy(node, task, instance),
                Err(error) => return self.breaks(format!("node {node}: {error}")),
            }
        }
    }

    /// A guest of the node's own begins, or goes on, in a slot.
    pub(crate) fn occupy(&mut self, node: usize, task: Box<TaskRecord>, instance: Instance) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let running = Running::new(instance, task.spec.cost_limit, self.now);
        let id = task.id;
        process.slots.running.insert(id, (task, running));
        self.plan_step(node, Place::Own(id));
    }

    pub(crate) fn plan_step(&mut self, node: usize, place: Place) {
        let delay = self.guests.rng.between(2, 25);
        self.turn_in(delay, node, Turn::Step(place));
    }

    fn step_own(&mut self, node: usize, id: TaskId) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let Some((_, running)) = process.slots.running.get_mut(&id) else { return };
        let step = running.instance.step();
        running.steps.0 += 1;
        let (steps, most) = running.steps;
        match step {
            Step::Done(outcome) => {
                self.marks.add("guest: ended after several steps", u64::from(steps > 1));
                self.leave_slot(node, &id, Some(outcome));
            }
            Step::Stopped => self.breaks(format!("node {node}: nobody stopped guest {id}")),
            Step::More if steps > most => {
                self.breaks(format!("node {node}: guest {id} holds its slot, {steps} steps"));
            }
            Step::More if self.may_leave(node) => self.send_away(node, id),
            Step::More => self.plan_step(node, Place::Own(id)),
        }
    }

    /// A slot is free: what waits begins. With an outcome the node's state machine is told.
    pub(crate) fn leave_slot(&mut self, node: usize, id: &TaskId, outcome: Option<Outcome>) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let Some((task, _)) = process.slots.running.remove(id) else { return };
        if let Some(outcome) = outcome {
            self.guest_ended(node, &task, &outcome);
        }
        self.fill_slots(node);
    }

    /// A guest has ended: what an honest node found must be what had to be found.
    pub(crate) fn guest_ended(&mut self, node: usize, task: &TaskRecord, outcome: &Outcome) {
        let result = outcome.task_result(Cid::of(&outcome.to_output()));
        let right = self.guests.right(&task.spec);
        if right != Some(result) {
            let (cost, right) = (result.cost, right.map(|r| r.cost));
            let ended = outcome.result.as_ref().map(Vec::len).map_err(|fault| fault.name());
            return self.breaks(format!(
                "node {node} ran guest {} to {ended:?} at cost {cost}, which is not what it gives \
                 (cost {right:?})",
                task.id
            ));
        }
        self.trace.fold(self.now, node, 7, &task.id.0);
        if outcome.result.is_err() {
            self.wonder(node);
        }
        let result = self.falsify(node, task, Ok(result));
        let life = self.nodes[node].life;
        self.at(1, Event::Input(node, life, Delivery::Worked(task.id, result)));
    }

    /// Every final result of a guest was charged and paid to the last unit.
    pub(crate) fn check_guest_pay(&mut self, payment: &Payment, task: &TaskId) -> Option<String> {
        let due = self.guests.pay(task)?;
        if self.workload.cancelled.contains(task) {
            return None;
        }
        self.marks.hit("guest: paid");
        let paid = payment.amount;
        (paid != due).then(|| format!("{paid} was paid for guest {task}, and {due} was due"))
    }

    /// No guest holds anything for long.
    pub(crate) fn check_slots(&mut self) {
        let now = self.now;
        let old = |since: u64| now.saturating_sub(since) > LONGEST_MS;
        for node in 0..self.nodes.len() {
            let Some(process) = &self.nodes[node].process else { continue };
            let slots = &process.slots;
            let hangs = slots.running.values().any(|(_, running)| old(running.since))
                || slots.away.values().any(|away| old(away.since))
                || slots.hosted.values().any(|guest| old(guest.since));
            if hangs {
                return self.breaks(format!("node {node}: a guest holds its slot for ever"));
            }
        }
    }
}
