//! Guests that move between nodes of the cluster over its network: the product's two state machines,
//! and every fault of the plan. A move ends with the bytes and the cost of an unmoved run, or the guest
//! goes on where it was.

use anthill_sandbox::{Limits, Outcome, Step};
use anthill_scheduler::vnode::migration::{
    Answer, Ended, HostOut, Key, Message, Offer, Source, SourceOut,
};
use anthill_types::state::TaskRecord;
use anthill_types::{Cid, TaskId, Wire};

use crate::plan::{Plan, Role};
use crate::slots::{Place, Running, Turn};
use crate::world::World;

/// Guests of partners that a node takes at once.
pub const MOST_HOSTED: usize = 2;
/// How long a question may take, as in the node.
const ASK_MS: u64 = 1_500;
/// Between two looks for partners that fell silent.
const SWEEP_MS: u64 = 1_000;

/// A guest of the node's own that is elsewhere.
pub struct Away {
    /// Its task.
    pub task: Box<TaskRecord>,
    /// The side that owns it.
    pub source: Source,
    /// The move's number.
    pub ticket: u64,
    /// Where it is.
    pub to: usize,
    /// From where it goes on.
    pub snapshot: Vec<u8>,
    /// The question whose answer counts.
    pub asked: u64,
    /// When it left, simulated time.
    pub since: u64,
}

/// A partner's guest.
pub struct Guest {
    /// What was offered.
    pub offer: Offer,
    /// Its run, once its snapshot is here.
    pub running: Option<Running>,
    /// Its outcome, until the partner has it.
    pub outcome: Option<Outcome>,
    /// When it came, simulated time.
    pub since: u64,
}

/// The group of a node: honest nodes in threes trust each other as machines of one owner do.
fn group(plan: &Plan, node: usize) -> Option<usize> {
    if !plan.role(node).is_honest() {
        return None;
    }
    Some((0..node).filter(|n| plan.role(*n) == Role::Honest).count() / 3)
}

fn partners(plan: &Plan, a: usize, b: usize) -> bool {
    a != b && group(plan, a).is_some() && group(plan, a) == group(plan, b)
}

impl World {
    /// Between two steps of a guest: is it to leave?
    pub(crate) fn may_leave(&mut self, node: usize) -> bool {
        self.nodes[node].role.is_honest() && self.guests.rng.chance(120)
    }

    /// A guest that stands between two steps is offered to a partner, if one is connected.
    pub(crate) fn send_away(&mut self, node: usize, id: TaskId) {
        let clock = self.clock(node);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let near: Vec<usize> =
            process.peers.iter().copied().filter(|p| partners(&self.plan, node, *p)).collect();
        let Some(to) = self.guests.rng.pick(&near).copied() else {
            return self.plan_step(node, Place::Own(id));
        };
        let Some((task, mut running)) = process.slots.running.remove(&id) else { return };
        let Some(snapshot) = running.instance.snapshot() else {
            return self.breaks(format!("guest {id} has no snapshot"));
        };
        process.slots.ticket += 1;
        let ticket = process.slots.ticket;
        let source = Source::new(ticket, offer(&task, &snapshot), clock);
        let since = self.now;
        let away = Away { task, source, ticket, to, snapshot, asked: 0, since };
        process.slots.away.insert(id, away);
        self.marks.hit("visit: begun");
        self.drive_move(node, id);
    }

    /// Time has passed for a guest that is elsewhere.
    pub(crate) fn drive_move(&mut self, node: usize, id: TaskId) {
        let clock = self.clock(node);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let Some(away) = process.slots.away.get_mut(&id) else { return };
        let out = away.source.tick(clock);
        self.obey(node, id, out);
    }

    fn obey(&mut self, node: usize, id: TaskId, out: Option<SourceOut>) {
        match out {
            Some(SourceOut::Send(message)) => self.ask_partner(node, id, &message),
            Some(SourceOut::Fetch(ended)) => return self.collect(node, id, ended),
            Some(SourceOut::TakeBack { .. }) => return self.take_back(node, id),
            None => {}
        }
        let clock = self.clock(node);
        let Some(process) = self.nodes[node].process.as_ref() else { return };
        let Some(away) = process.slots.away.get(&id) else { return };
        let wait = away.source.next_wake().saturating_sub(clock).max(1);
        self.turn_in(wait, node, Turn::Wake(id));
    }

    fn ask_partner(&mut self, node: usize, id: TaskId, message: &Message) {
        let life = self.nodes[node].life;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        process.slots.asked += 1;
        let number = (id, process.slots.asked);
        let Some(away) = process.slots.away.get_mut(&id) else { return };
        away.asked = number.1;
        let to = away.to;
        self.question(
            node,
            to,
            Turn::Question { from: (node, life), number, bytes: message.to_bytes() },
        );
        self.turn_in(ASK_MS, node, Turn::Answer { number, bytes: None });
    }

    /// Sends something about a move through whatever is wrong with the network.
    fn question(&mut self, from: usize, to: usize, turn: Turn) -> bool {
        if self.nodes[to].process.is_none() {
            return false;
        }
        let trip = self.travel(from, to).and_then(|delays| delays.first().copied());
        let Some((delay, corrupt)) = trip else { return false };
        // The transport finds altered bytes and drops the connection's frame.
        if !corrupt {
            self.turn_in(delay, to, turn);
        }
        !corrupt
    }

    /// A message about a move has come.
    pub(crate) fn asked_of(
        &mut self,
        node: usize,
        from: (usize, u32),
        number: (TaskId, u64),
        bytes: &[u8],
    ) {
        let Ok(message) = Message::from_bytes(bytes) else { return };
        let (clock, machine) = (self.clock(node), self.nodes[from.0].key());
        let welcome = partners(&self.plan, from.0, node);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let (answer, out) = process.slots.host.on(machine, message, welcome, clock);
        match out {
            Some(HostOut::Begin(key, _)) if !welcome => {
                return self.breaks(format!(
                    "node {node} takes guest {} of a stranger, node {}",
                    key.1, from.0
                ));
            }
            Some(HostOut::Begin(key, offer)) => self.welcome(node, from.0, key, offer),
            Some(HostOut::Drop(key)) => self.forget(node, &key),
            None if !welcome => self.marks.hit("visit: a stranger was refused"),
            None => {}
        }
        let turn = Turn::Answer { number, bytes: Some(answer.to_bytes()) };
        if self.nodes[from.0].life == from.1 {
            self.question(node, from.0, turn);
        }
    }

    /// A partner's guest is taken: its snapshot is asked for.
    fn welcome(&mut self, node: usize, from: usize, key: Key, offer: Offer) {
        self.marks.hit("visit: taken in");
        let since = self.now;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let guest = Guest { offer: offer.clone(), running: None, outcome: None, since };
        process.slots.hosted.insert(key, guest);
        if !std::mem::replace(&mut process.slots.sweeping, true) {
            self.turn_in(SWEEP_MS, node, Turn::Sweep);
        }
        // There and back: the partner's process must still have it.
        let lent = self.nodes[from].process.as_ref().and_then(|process| {
            let away = process.slots.away.values().find(|away| away.ticket == key.1)?;
            (Cid::of(&away.snapshot) == offer.snapshot).then(|| away.snapshot.clone())
        });
        let there = self.travel(node, from).is_some();
        let delay = self.guests.rng.between(5, 200);
        let back = there && self.travel(from, node).is_some();
        let brought = lent.filter(|_| back);
        self.turn_in(delay, node, Turn::Brought(key, brought));
    }

    pub(crate) fn brought(&mut self, node: usize, key: Key, snapshot: Option<Vec<u8>>) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let slots = &mut process.slots;
        let Some(guest) = slots.hosted.get_mut(&key) else { return };
        let Some(snapshot) = snapshot else {
            self.marks.hit("visit: the snapshot did not come");
            return slots.host.ended(&key, Err("the snapshot cannot be fetched".into()));
        };
        let offer = &guest.offer;
        if !slots.sandbox.has(&offer.program)
            && let Some(module) = self.guests.program(&offer.program)
        {
            slots.sandbox.install(module);
        }
        let input = self.blobs.get(&offer.input).map(Vec::as_slice).unwrap_or_default();
        let limits = Limits::cost(offer.cost_limit);
        let resumed =
            slots.sandbox.resume(&offer.program, &offer.params.0, input, &limits, &snapshot);
        match resumed {
            Ok(instance) => {
                guest.running = Some(Running::new(instance, offer.cost_limit, self.now));
                self.plan_step(node, Place::Hosted(key));
            }
            Err(error) => self.breaks(format!("node {node} cannot go on with a guest: {error}")),
        }
    }

    pub(crate) fn step_hosted(&mut self, node: usize, key: Key) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let slots = &mut process.slots;
        let Some(guest) = slots.hosted.get_mut(&key) else { return };
        let Some(running) = guest.running.as_mut() else { return };
        let step = running.instance.step();
        running.steps.0 += 1;
        match step {
            Step::Done(outcome) => {
                let Outcome { cost, chunks, .. } = outcome;
                let output = Cid::of(&outcome.to_output());
                slots.host.ended(&key, Ok(Ended { output, chunks, cost }));
                (guest.running, guest.outcome) = (None, Some(outcome));
            }
            Step::More if running.steps.0 > running.steps.1 => {
                self.breaks(format!("node {node}: the guest of a partner holds its slot"));
            }
            Step::More => {
                slots.host.progress(&key, running.instance.cost());
                self.plan_step(node, Place::Hosted(key));
            }
            Step::Stopped => self.breaks(format!("node {node}: nobody stopped a hosted guest")),
        }
    }

    pub(crate) fn answered(&mut self, node: usize, number: (TaskId, u64), bytes: Option<&[u8]>) {
        let clock = self.clock(node);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let Some(away) = process.slots.away.get_mut(&number.0) else { return };
        // Later copies, and the time that is up, count no more.
        if away.asked != number.1 {
            return;
        }
        away.asked = 0;
        let answer = bytes.and_then(|bytes| Answer::from_bytes(bytes).ok());
        let out = away.source.answered(answer, clock);
        self.obey(node, number.0, out);
    }

    /// The output is fetched from the partner; the move is over, either way.
    fn collect(&mut self, node: usize, id: TaskId, ended: Ended) {
        let machine = self.nodes[node].key();
        let Some(process) = self.nodes[node].process.as_ref() else { return };
        let Some(away) = process.slots.away.get(&id) else { return };
        let (to, ticket) = (away.to, away.ticket);
        let found = self.nodes[to].process.as_ref().and_then(|process| {
            let guest = process.slots.hosted.get(&(machine, ticket))?;
            let outcome = guest.outcome.clone()?;
            (Cid::of(&outcome.to_output()) == ended.output).then_some(outcome)
        });
        let there = self.travel(node, to).is_some();
        let back = there && self.travel(to, node).is_some();
        let outcome = found.filter(|_| back).map(|found| Outcome {
            cost: ended.cost,
            chunks: ended.chunks,
            ..found
        });
        let delay = self.guests.rng.between(5, 200);
        self.turn_in(delay, node, Turn::Collected((id, ticket), outcome));
    }

    pub(crate) fn collected(&mut self, node: usize, task: (TaskId, u64), outcome: Option<Outcome>) {
        let (id, ticket) = task;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let here = process.slots.away.get(&id).filter(|away| away.ticket == ticket);
        let Some(to) = here.map(|away| away.to) else { return };
        let Some(outcome) = outcome else { return self.take_back(node, id) };
        let Some(away) = process.slots.away.remove(&id) else { return };
        self.marks.hit("visit: output fetched");
        self.guest_ended(node, &away.task, &outcome);
        self.release(node, to, (id, ticket));
        self.fill_slots(node);
    }

    fn release(&mut self, node: usize, to: usize, (id, ticket): (TaskId, u64)) {
        let from = (node, self.nodes[node].life);
        let bytes = Message::Release { ticket }.to_bytes();
        self.question(node, to, Turn::Question { from, number: (id, 0), bytes });
    }

    /// The guest goes on here, from where it left.
    fn take_back(&mut self, node: usize, id: TaskId) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let Some(Away { task, snapshot, to, ticket, .. }) = process.slots.away.remove(&id) else {
            return;
        };
        self.marks.hit("visit: taken back");
        let spec = &task.spec;
        let input = self.blobs.get(&spec.input).map(Vec::as_slice).unwrap_or_default();
        let (program, params) = (&spec.program, &spec.params.0);
        let limits = Limits::cost(spec.cost_limit);
        match process.slots.sandbox.resume(program, params, input, &limits, &snapshot) {
            Ok(instance) => self.occupy(node, task, instance),
            Err(error) => {
                return self.breaks(format!("node {node} cannot take {id} back: {error}"));
            }
        }
        self.wonder(node);
        self.release(node, to, (id, ticket));
    }

    fn forget(&mut self, node: usize, key: &Key) {
        if let Some(process) = self.nodes[node].process.as_mut() {
            process.slots.hosted.remove(key);
        }
    }

    /// Drops what silent partners have left here.
    pub(crate) fn sweep(&mut self, node: usize) {
        let clock = self.clock(node);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        for HostOut::Drop(key) | HostOut::Begin(key, _) in process.slots.host.expire(clock) {
            self.marks.hit("visit: a silent partner's guest was dropped");
            process.slots.hosted.remove(&key);
        }
        process.slots.sweeping = !process.slots.hosted.is_empty();
        if process.slots.sweeping {
            self.turn_in(SWEEP_MS, node, Turn::Sweep);
        }
        self.check_slots();
    }

    /// A dishonest node offers a guest of its own to somebody who does not know it.
    pub(crate) fn impose(&mut self, node: usize, task: &TaskRecord) {
        if self.nodes[node].role.is_honest() || !self.guests.rng.chance(300) {
            return;
        }
        let Some(process) = self.nodes[node].process.as_ref() else { return };
        let peers: Vec<usize> = process.peers.iter().copied().collect();
        let Some(to) = self.guests.rng.pick(&peers).copied() else { return };
        let (ticket, from) = (self.guests.rng.draw(), (node, self.nodes[node].life));
        let message = Message::Offer { ticket, offer: offer(task, b"a snapshot, says the liar") };
        let bytes = message.to_bytes();
        self.question(node, to, Turn::Question { from, number: (task.id, 0), bytes });
    }
}

/// What a partner is asked to take.
fn offer(task: &TaskRecord, snapshot: &[u8]) -> Offer {
    Offer {
        program: task.spec.program,
        params: task.spec.params.clone(),
        input: task.spec.input,
        input_len: task.spec.input_len,
        cost_limit: task.spec.cost_limit,
        snapshot: Cid::of(snapshot),
        snapshot_len: snapshot.len() as u64,
    }
}
