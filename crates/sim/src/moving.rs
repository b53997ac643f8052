//! A task that moves between machines under faults: settled once, with the bytes of an unmoved run.
//!
//! A small world of its own beside each seed's cluster: one machine that owns a task, two hosts, the
//! product's state machines ([`Source`], [`Host`]) and sandbox. The task is a WebAssembly guest of many
//! steps, good or without an end, or a built-in program. Questions and answers are lost, doubled and
//! late; hosts crash and forget, and so does the owner, which then begins anew; clocks are put right.

use anthill_sandbox::wasm::{Kind, Wasm};
use anthill_sandbox::{Instance, Limits, Outcome, Sandbox, Step};
use anthill_scheduler::vnode::migration::{
    Answer, Ended, Host, HostOut, Message, Offer, Source, SourceOut,
};
use anthill_types::{Bytes, Cid};

use crate::guests::{self, Case};
use crate::marks::Marks;
use crate::program::{self, chain_id};
use crate::rng::Rng;

/// Simulated milliseconds.
const LENGTH_MS: u64 = 60_000;
/// Milliseconds of one step of the task.
const STEP_MS: u64 = 20;
/// Milliseconds after which a question has no answer.
const TIMEOUT_MS: u64 = 400;
/// Place of the owner among the machines.
const OWNED: usize = 2;
/// The owner's key.
const OWNER: [u8; 32] = [1; 32];

/// A run on a machine, with the time of its next step.
struct Work {
    instance: Instance,
    next_ms: u64,
}

/// A machine that takes tasks of others.
struct Other {
    host: Host,
    work: Option<(u64, Work)>,
    output: Option<(Cid, Vec<u8>)>,
    life: u32,
}

/// What is run.
struct Task {
    program: Cid,
    params: Vec<u8>,
    input: Vec<u8>,
    cost_limit: u64,
    /// What it must give, where that can be said without a run.
    right: Option<Outcome>,
}

impl Task {
    fn draw(rng: &mut Rng, sandbox: &mut Sandbox) -> Self {
        let rounds = rng.between(100, 3_000) as u32;
        let input = rng.bytes32().to_vec();
        let wasm = Wasm::with(Kind::Interpreter, 1).ok().filter(|_| rng.chance(700));
        let Some(wasm) = wasm else {
            let (program, params) = (chain_id(), rounds.to_be_bytes().to_vec());
            return Self { program, params, input, cost_limit: u64::MAX, right: None };
        };
        let Case { module, params, input, cost_limit, right, .. } = guests::long(rng);
        let guest = wasm.program(&module);
        let program = guest.id();
        sandbox.install(guest);
        Self { program, params, input, cost_limit, right }
    }

    fn start(&self, sandbox: &Sandbox) -> Result<Instance, String> {
        let begun = sandbox.start(&self.program, &self.params, &self.input, self.cost_limit);
        begun.map_err(|e| e.to_string())
    }
}

/// What travels.
enum Packet {
    Question { to: usize, message: Message, number: u64 },
    Answer { number: u64, answer: Option<Answer> },
}

/// A run.
struct Moving {
    rng: Rng,
    now_ms: u64,
    sandbox: Sandbox,
    task: Task,
    /// How far each machine's clock is ahead; the owner's is the last.
    ahead_ms: [u64; 3],
    /// When which clock is put right.
    jump: (u64, usize),
    /// The owner's own run, unless the task is away.
    own: Option<Work>,
    snapshot: Vec<u8>,
    source: Option<(Source, usize)>,
    ticket: u64,
    /// The question whose answer counts.
    asked: u64,
    others: Vec<Other>,
    packets: Vec<(u64, Packet)>,
    loss: u64,
    double: u64,
    crashes: Vec<(u64, usize)>,
    settled: u32,
    marks: Marks,
    broken: Option<String>,
}

/// Runs a seed; gives what was met and what must never happen, if it did.
pub fn run(seed: u64) -> (Marks, Option<String>) {
    let mut moving = Moving::new(seed);
    while moving.now_ms < LENGTH_MS && moving.broken.is_none() {
        moving.step();
        moving.now_ms += 1;
    }
    if moving.settled != 1 {
        let times = moving.settled;
        moving.breaks(format!("the task was settled {times} times"));
    }
    (moving.marks, moving.broken)
}

impl Moving {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 15);
        let other = |_| Other { host: Host::new(2), work: None, output: None, life: 0 };
        let crashes = (0..rng.below(4)).map(|_| (rng.below(8_000), rng.below(3) as usize));
        let crashes: Vec<(u64, usize)> = crashes.collect();
        let mut sandbox = program::sandbox();
        let task = Task::draw(&mut rng, &mut sandbox);
        let mut moving = Self {
            now_ms: 0,
            sandbox,
            task,
            ahead_ms: [0; 3].map(|_| rng.below(3_600_000)),
            jump: (rng.below(4_000), rng.below(3) as usize),
            own: None,
            snapshot: Vec::new(),
            source: None,
            // A machine never uses a number again: a real one draws them.
            ticket: rng.draw() >> 8,
            asked: 0,
            others: (0..2).map(other).collect(),
            packets: Vec::new(),
            loss: rng.below(500),
            double: rng.below(200),
            crashes,
            settled: 0,
            marks: Marks::default(),
            broken: None,
            rng,
        };
        moving.begin();
        moving
    }

    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(format!("moving: {what}"));
    }

    /// A machine's clock; the owner is the last machine.
    fn clock(&self, who: usize) -> u64 {
        self.now_ms + self.ahead_ms[who]
    }

    /// The owner begins the task at its beginning.
    fn begin(&mut self) {
        match self.task.start(&self.sandbox) {
            Ok(instance) => self.own = Some(Work { instance, next_ms: self.now_ms }),
            Err(error) => self.breaks(error),
        }
    }

    fn step(&mut self) {
        let due: Vec<usize> =
            self.crashes.iter().filter(|(at, _)| *at == self.now_ms).map(|(_, who)| *who).collect();
        due.into_iter().for_each(|who| self.crash(who));
        if self.jump.0 == self.now_ms {
            self.ahead_ms[self.jump.1] = 0;
            self.marks.hit("move: a clock was put right");
        }
        self.deliver();
        self.work_at_home();
        (0..self.others.len()).for_each(|at| self.work_away(at));
        self.drive();
    }

    fn crash(&mut self, who: usize) {
        let Some(other) = self.others.get_mut(who) else {
            if self.settled == 0 {
                self.marks.hit("move: the owner crashed");
                (self.source, self.asked) = (None, self.asked + 1);
                self.begin();
            }
            return;
        };
        let life = other.life + 1;
        *other = Other { host: Host::new(2), work: None, output: None, life };
        self.marks.hit("move: a host crashed");
    }

    fn work_at_home(&mut self) {
        let Some(work) = &mut self.own else { return };
        if self.now_ms < work.next_ms || self.settled > 0 {
            return;
        }
        work.next_ms = self.now_ms + STEP_MS;
        match work.instance.step() {
            Step::Done(outcome) => {
                let ended = ended(&outcome);
                self.own = None;
                self.settle(ended);
            }
            // Between two steps a task may be moved.
            _ if self.source.is_none() && self.rng.chance(100) => self.send_away(),
            _ => {}
        }
    }

    fn send_away(&mut self) {
        let Some(snapshot) = self.own.as_mut().and_then(|work| work.instance.snapshot()) else {
            return self.breaks("the program cannot be moved".into());
        };
        self.marks.hit("move: begun");
        self.ticket += 1;
        let task = &self.task;
        let offer = Offer {
            program: task.program,
            params: Bytes(task.params.clone()),
            input: Cid::of(&task.input),
            input_len: task.input.len() as u64,
            cost_limit: task.cost_limit,
            snapshot: Cid::of(&snapshot),
            snapshot_len: snapshot.len() as u64,
        };
        let to = self.rng.below(2) as usize;
        self.source = Some((Source::new(self.ticket, offer, self.clock(OWNED)), to));
        (self.snapshot, self.own) = (snapshot, None);
    }

    fn drive(&mut self) {
        let clock = self.clock(OWNED);
        if let Some((source, to)) = &mut self.source {
            let (out, to) = (source.tick(clock), *to);
            self.obey(out, to);
        }
        for (place, other) in self.others.iter_mut().enumerate() {
            for out in other.host.expire(self.now_ms + self.ahead_ms[place]) {
                drop_work(other, &out);
            }
        }
    }

    fn obey(&mut self, out: Option<SourceOut>, to: usize) {
        match out {
            Some(SourceOut::Send(message)) => self.ask(to, message),
            Some(SourceOut::Fetch(ended)) => {
                let is_there = |(id, _): &(Cid, Vec<u8>)| *id == ended.output;
                let found = self.others[to].output.as_ref().is_some_and(is_there);
                let ticket = self.ticket;
                if found && !self.rng.chance(self.loss) {
                    self.marks.hit("move: output fetched");
                    self.settle(ended);
                    self.ask(to, Message::Release { ticket });
                } else {
                    self.take_back();
                }
            }
            Some(SourceOut::TakeBack { .. }) => self.take_back(),
            None => {}
        }
        if self.source.as_ref().is_some_and(|(source, _)| source.ended()) {
            self.source = None;
        }
    }

    fn take_back(&mut self) {
        self.marks.hit("move: taken back");
        match self.resumed() {
            Ok(instance) => self.own = Some(Work { instance, next_ms: self.now_ms }),
            Err(error) => self.breaks(error),
        }
    }

    fn resumed(&self) -> Result<Instance, String> {
        let limits = Limits::cost(self.task.cost_limit);
        let Task { program, params, input, .. } = &self.task;
        let resumed = self.sandbox.resume(program, params, input, &limits, &self.snapshot);
        resumed.map_err(|e| e.to_string())
    }

    fn ask(&mut self, to: usize, message: Message) {
        self.asked += 1;
        let number = self.asked;
        let copies = 1 + u64::from(self.rng.chance(self.double));
        self.marks.add("move: question doubled", copies - 1);
        for _ in 0..copies {
            if self.rng.chance(self.loss) {
                self.marks.hit("move: question or answer lost");
                continue;
            }
            let at = self.now_ms + self.rng.between(1, 120);
            self.packets.push((at, Packet::Question { to, message: message.clone(), number }));
        }
        self.packets.push((self.now_ms + TIMEOUT_MS, Packet::Answer { number, answer: None }));
    }

    fn deliver(&mut self) {
        let now_ms = self.now_ms;
        let due: Vec<(u64, Packet)> =
            self.packets.extract_if(.., |(at, _)| *at <= now_ms).collect();
        for (_, packet) in due {
            match packet {
                Packet::Question { to, message, number } => self.asked_of(to, message, number),
                Packet::Answer { number, answer } if number == self.asked => {
                    // Later copies and the timeout of this question count no more.
                    self.asked += 1;
                    let clock = self.clock(OWNED);
                    if let Some((source, to)) = &mut self.source {
                        let (out, to) = (source.answered(answer, clock), *to);
                        self.obey(out, to);
                    }
                }
                Packet::Answer { .. } => {}
            }
        }
    }

    fn asked_of(&mut self, to: usize, message: Message, number: u64) {
        let clock = self.clock(to);
        let (answer, out) = self.others[to].host.on(OWNER, message, true, clock);
        match out {
            Some(HostOut::Begin(key, _)) if self.rng.chance(self.loss / 4) => {
                self.others[to].host.ended(&key, Err("the snapshot cannot be fetched".into()));
            }
            Some(HostOut::Begin(key, _)) => match self.resumed() {
                Ok(instance) => {
                    let next_ms = self.now_ms + STEP_MS;
                    self.others[to].work = Some((key.1, Work { instance, next_ms }));
                }
                Err(error) => self.breaks(error),
            },
            Some(out) => drop_work(&mut self.others[to], &out),
            None => {}
        }
        if self.rng.chance(self.loss) {
            self.marks.hit("move: question or answer lost");
            return;
        }
        let at = self.now_ms + self.rng.between(1, 120);
        self.packets.push((at, Packet::Answer { number, answer: Some(answer) }));
    }

    fn work_away(&mut self, at: usize) {
        let now_ms = self.now_ms;
        let other = &mut self.others[at];
        let Some((ticket, work)) = &mut other.work else { return };
        if now_ms < work.next_ms {
            return;
        }
        work.next_ms = now_ms + STEP_MS;
        let key = (OWNER, *ticket);
        match work.instance.step() {
            Step::Done(outcome) => {
                let ended = ended(&outcome);
                other.host.ended(&key, Ok(ended));
                other.output = Some((ended.output, outcome.to_output()));
                other.work = None;
            }
            _ => other.host.progress(&key, work.instance.cost()),
        }
    }

    /// The owner signs a receipt.
    fn settle(&mut self, found: Ended) {
        self.settled += 1;
        if self.settled > 1 {
            return self.breaks("the task was settled twice".into());
        }
        let unmoved = match self.task.right.clone() {
            Some(right) => right,
            None => match self.task.start(&self.sandbox) {
                Ok(instance) => instance.finish(),
                Err(error) => return self.breaks(error),
            },
        };
        let right = ended(&unmoved);
        if right != found {
            self.breaks(format!("{found:?} differs from the unmoved {right:?}"));
        }
    }
}

/// What is said of an outcome.
fn ended(outcome: &Outcome) -> Ended {
    let output = Cid::of(&outcome.to_output());
    Ended { output, chunks: outcome.chunks, cost: outcome.cost }
}

fn drop_work(other: &mut Other, out: &HostOut) {
    if let HostOut::Drop((_, ticket)) = out
        && other.work.as_ref().is_some_and(|(running, _)| running == ticket)
    {
        other.work = None;
    }
}
