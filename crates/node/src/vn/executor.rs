//! A thread that takes turns with the virtual nodes that have work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anthill_sandbox::{Instance, Limits as RunLimits, Outcome, Step};
use anthill_scheduler::vnode::Change;
use anthill_scheduler::vnode::flow::End;

use super::fleet::Inner;
use super::job::WorkError;
use super::members::{Departure, Hook, Running, VirtualNode, lock};

/// How long a virtual node runs before the next one's turn.
const TURN: Duration = Duration::from_millis(10);
/// Between two looks of a guest's interrupt.
const TICK: Duration = Duration::from_millis(10);
/// How long a thread of a paused node sleeps before it looks again.
const PAUSE: Duration = Duration::from_millis(10);

/// Runs until the fleet stops.
pub(super) fn run(inner: &Inner, place: usize) {
    while let Some(mut node) = next(inner, place) {
        inner.running.fetch_add(1, Ordering::Relaxed);
        let ended = turn(inner, &mut node);
        inner.running.fetch_sub(1, Ordering::Relaxed);
        settle(inner, node, ended);
    }
}

/// The next virtual node: from the own queue, else from the longest one.
fn next(inner: &Inner, place: usize) -> Option<VirtualNode> {
    let mut state = inner.lock();
    loop {
        if inner.stopping.load(Ordering::Relaxed) {
            return None;
        }
        let works = place < inner.active.load(Ordering::Relaxed) && !inner.limits.is_paused();
        if works {
            if let Some(node) = state.queues[place].pop_front() {
                return Some(node);
            }
            let longest = state.queues.iter_mut().max_by_key(|queue| queue.len());
            if let Some(node) = longest.and_then(std::collections::VecDeque::pop_back) {
                node.member.place.store(place as u64, Ordering::Relaxed);
                return Some(node);
            }
        }
        state = if inner.limits.is_paused() {
            drop(state);
            std::thread::sleep(PAUSE);
            inner.lock()
        } else {
            inner.wake.wait(state).unwrap_or_else(PoisonError::into_inner)
        };
    }
}

/// The clock of the modules' engine: while something runs, it lets the guests ask their interrupts.
pub(super) fn tick(inner: &Inner) {
    while !inner.stopping.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        inner.wasm.tick();
    }
    // What still runs is told once more.
    inner.wasm.tick();
}

/// How a turn ended.
pub(super) enum Ended {
    /// The task goes on.
    Turn,
    /// It is done.
    Done(Outcome),
    /// It cannot be run here.
    Failed(WorkError),
    /// The node stops, the virtual node was cut off, or nobody wants the outcome any more.
    Stopped,
}

/// Steps for [`TURN`], or until something is asked of the virtual node.
fn turn(inner: &Inner, node: &mut VirtualNode) -> Ended {
    let begun = Instant::now();
    let member = node.member.clone();
    let Some(running) = node.running.as_mut() else { return Ended::Turn };
    if running.waiting.asker.is_gone() {
        return Ended::Stopped;
    }
    if running.instance.is_none() {
        match begin(inner, &member, running) {
            Ok(instance) => {
                running.counted = instance.cost();
                running.instance = Some(instance);
            }
            Err(error) => return Ended::Failed(error),
        }
    }
    let Some(instance) = running.instance.as_mut() else { return Ended::Turn };
    loop {
        let at = Instant::now();
        let step = instance.step();
        let spent = at.elapsed();
        let micros = spent.as_micros() as u64;
        running.micros += micros;
        inner.busy_us.fetch_add(micros, Ordering::Relaxed);
        let cost = instance.cost();
        inner.work.fetch_add(cost.saturating_sub(running.counted), Ordering::Relaxed);
        running.counted = cost;
        let monitor = &member.monitor;
        monitor.busy_us.fetch_add(micros, Ordering::Relaxed);
        monitor.beats.fetch_add(1, Ordering::Relaxed);
        monitor.running_cost.store(cost, Ordering::Relaxed);
        if let Some((done, all)) = instance.progress() {
            monitor.progress.0.store(done, Ordering::Relaxed);
            monitor.progress.1.store(all, Ordering::Relaxed);
        }
        match step {
            Step::Done(outcome) => return Ended::Done(outcome),
            Step::Stopped => return Ended::Stopped,
            Step::More => {}
        }
        rest(inner, spent);
        let asked = member.orders.suspend.load(Ordering::Relaxed)
            || lock(&member.orders.terminate).is_some()
            || lock(&member.orders.depart).is_some()
            || running.waiting.asker.is_gone()
            || inner.stopping.load(Ordering::Relaxed)
            || inner.limits.is_paused();
        if asked || begun.elapsed() >= TURN {
            return Ended::Turn;
        }
    }
}

/// The owner's share: after work comes rest.
fn rest(inner: &Inner, spent: Duration) {
    let cpu = u32::from(inner.limits.cpu());
    if cpu < 100 {
        std::thread::sleep(spent * (100 - cpu) / cpu);
    }
}

fn begin(
    inner: &Inner,
    member: &Arc<super::members::Member>,
    running: &Running,
) -> Result<Instance, WorkError> {
    let hook = Hook {
        member: member.clone(),
        limits: inner.limits.clone(),
        stopping: inner.stopping.clone(),
        gone: running.waiting.asker.flag(),
        last: Mutex::new(Instant::now()),
    };
    let job = &running.waiting.job;
    let limits = RunLimits { cost: job.cost_limit, interrupt: Some(Arc::new(hook)) };
    let sandbox = inner.sandbox.read().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(match &job.snapshot {
        None => sandbox.start_within(&job.program, &job.params, &job.input, &limits)?,
        Some(from) => sandbox.resume(&job.program, &job.params, &job.input, &limits, from)?,
    })
}

/// Puts the virtual node where it belongs after its turn.
pub(super) fn settle(inner: &Inner, mut node: VirtualNode, ended: Ended) {
    let member = node.member.clone();
    let result = match ended {
        Ended::Turn => return go_on(inner, node),
        Ended::Done(outcome) => Ok(outcome),
        Ended::Failed(error) => Err(error),
        Ended::Stopped => {
            let why = lock(&member.orders.terminate).clone();
            Err(why.map_or(WorkError::Stopped, WorkError::Terminated))
        }
    };
    let Some(running) = node.running.take() else { return };
    match &result {
        Ok(outcome) => report(inner, &mut node, &running, Some(outcome)),
        Err(WorkError::Stopped) if running.waiting.asker.is_gone() => {
            report(inner, &mut node, &running, None);
        }
        Err(_) => {}
    }
    {
        // Orders are given under this lock: whoever waits for it to depart learns that it did not.
        let mut state = inner.lock();
        lock(&member.orders.depart).take();
        *lock(&member.running) = None;
        inner.rest(&mut state, node);
    }
    // The asker, who may have gone, finds the virtual node free.
    running.waiting.asker.answer(result);
}

/// A task that goes on: next turn, unless something was asked of its virtual node.
fn go_on(inner: &Inner, node: VirtualNode) {
    let member = node.member.clone();
    let ended = lock(&member.orders.terminate).clone();
    if let Some(reason) = ended {
        return inner.cut_off(&mut inner.lock(), node, &reason);
    }
    if node.running.as_ref().is_some_and(|running| running.waiting.asker.is_gone()) {
        return settle(inner, node, Ended::Stopped);
    }
    let departs = lock(&member.orders.depart).take();
    if let Some(give) = departs {
        return depart(inner, node, give);
    }
    let mut state = inner.lock();
    if member.orders.suspend.load(Ordering::Relaxed) {
        inner.stand_still(&mut state, node, "asked");
        return;
    }
    let place = member.place.load(Ordering::Relaxed) as usize;
    if place < inner.active.load(Ordering::Relaxed) {
        state.queues[place].push_back(node);
    } else {
        inner.enqueue(&mut state, node);
    }
}

/// Brings what a task did into the flow records; without an outcome it was stopped.
pub(super) fn report(
    inner: &Inner,
    node: &mut VirtualNode,
    running: &Running,
    outcome: Option<&Outcome>,
) {
    let report = node.prove(running, outcome);
    while !node.ring.push(&report) {
        // Nothing is lost: a full ring is emptied by its writer.
        lock(&inner.parent).take(node.member.id);
    }
    if report.end == End::Fault && running.waiting.job.origin != super::job::Origin::Local {
        inner.faults.fetch_add(1, Ordering::Relaxed);
    }
    let count = if report.end == End::Stopped { &inner.stopped } else { &inner.done };
    count.fetch_add(1, Ordering::Relaxed);
    inner.cost.fetch_add(report.cost, Ordering::Relaxed);
}

/// Gives the task away, if it can be moved; else it goes on here.
fn depart(inner: &Inner, mut node: VirtualNode, give: tokio::sync::oneshot::Sender<Departure>) {
    let snapshot = node
        .running
        .as_mut()
        .and_then(|running| running.instance.as_mut())
        .and_then(Instance::snapshot);
    let mut state = inner.lock();
    let (Some(snapshot), Some(running)) = (snapshot, node.running.take_if(|_| !give.is_closed()))
    else {
        return inner.enqueue(&mut state, node);
    };
    inner.change(&node.member, Change::Depart, "its task moves to another machine");
    *lock(&node.member.running) = None;
    let id = node.member.id;
    // It waits aside until its task is done elsewhere or comes back.
    state.suspended.insert(id, node);
    drop(state);
    let Running { waiting, .. } = running;
    let departure = Departure { job: waiting.job, snapshot, asker: waiting.asker };
    if let Err(departure) = give.send(departure) {
        // Whoever asked has gone in this moment: the task must not be lost with it.
        inner.take_back(id, departure, "nobody takes it");
    }
}
