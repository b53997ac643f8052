//! Tests of the fleet.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anthill_sandbox::wasm::{Kind, Wasm};
use anthill_sandbox::{
    Fault, Limits as RunLimits, Outcome, Program, Progress, Run, Sandbox, SandboxError,
};
use anthill_scheduler::vnode::Phase;
use anthill_types::Cid;

use super::*;

/// Counts up to the number in its input, a unit a step; its state is the count.
struct Counter;

struct Counting {
    at: u64,
    end: u64,
}

fn counter() -> Cid {
    Cid::of(b"counter")
}

impl Program for Counter {
    fn id(&self) -> Cid {
        counter()
    }

    fn start(&self, _: &[u8], input: &[u8]) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        let Ok(end) = input.try_into().map(u64::from_le_bytes) else {
            return Ok(Err(Fault::BadInput));
        };
        Ok(Ok(Box::new(Counting { at: 0, end })))
    }

    fn resume(
        &self,
        _: &[u8],
        input: &[u8],
        _: &RunLimits,
        snapshot: &[u8],
    ) -> Result<Box<dyn Run>, SandboxError> {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap();
        Ok(Box::new(Counting { at: number(snapshot), end: number(input) }))
    }
}

impl Run for Counting {
    fn step(&mut self) -> Result<Progress, Fault> {
        (0..20_000u64).for_each(|i| {
            std::hint::black_box(i);
        });
        self.at += 1;
        if self.at < self.end {
            return Ok(Progress::More);
        }
        Ok(Progress::Done(self.at.to_le_bytes().to_vec()))
    }

    fn cost(&self) -> u64 {
        self.at
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        Some(self.at.to_le_bytes().to_vec())
    }

    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.at, self.end))
    }
}

fn job(steps: u64) -> Job {
    Job {
        program: counter(),
        params: vec![],
        input: steps.to_le_bytes().to_vec(),
        cost_limit: u64::MAX,
        origin: Origin::Network,
        snapshot: None,
    }
}

fn fleet(threads: usize, count: usize) -> Fleet {
    let mut sandbox = Sandbox::new();
    sandbox.install(Arc::new(Counter));
    let wasm = Wasm::with(Kind::Interpreter, 1).unwrap();
    Fleet::start(threads, count, sandbox, wasm, Arc::new(Limits::new(100, false))).unwrap()
}

fn done(steps: u64) -> Result<Outcome, WorkError> {
    Ok(Outcome::of(Ok(steps.to_le_bytes().to_vec()), steps))
}

fn spawn(fleet: &Fleet, job: Job) -> tokio::task::JoinHandle<Result<Outcome, WorkError>> {
    let fleet = fleet.clone();
    tokio::spawn(async move { fleet.run(job).await })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

fn busy(fleet: &Fleet) -> Option<u64> {
    fleet.rows().iter().find(|row| row.running_cost.is_some_and(|cost| cost > 0)).map(|row| row.id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_virtual_nodes_do_mixed_tasks_and_their_records_hold_all_of_them() {
    let fleet = fleet(2, 500);
    assert_eq!((fleet.rows().len(), fleet.stats().threads), (500, 2));
    let tasks: Vec<_> = (0..2_000u64).map(|i| spawn(&fleet, job(1 + i % 37))).collect();
    let mut cost = 0;
    for (i, task) in tasks.into_iter().enumerate() {
        let steps = 1 + i as u64 % 37;
        assert_eq!(task.await.unwrap(), done(steps));
        cost += steps;
    }
    let mut bad = job(1);
    bad.input.push(0);
    assert_eq!(fleet.run(bad).await.unwrap().result, Err(Fault::BadInput));
    until("all are reported", || {
        fleet.sync();
        fleet.flows(usize::MAX).iter().map(|f| f.total().tasks).sum::<u64>() == 2_001
    })
    .await;
    let flows = fleet.flows(usize::MAX);
    let total = flows.iter().map(|f| f.total().cost).sum::<u64>();
    assert_eq!((total, fleet.stats().done), (cost, 2_001));
    assert_eq!(flows.iter().map(|f| f.total().faults).sum::<u64>(), 1);
    assert!(
        flows.windows(2).all(|w| w[1].previous == w[0].digest() && w[1].number == w[0].number + 1)
    );
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_is_told_from_spawn_to_terminate() {
    let fleet = fleet(1, 1);
    let told: Arc<Mutex<Vec<(u64, &'static str)>>> = Arc::default();
    let note = told.clone();
    fleet.listen(move |event| note.lock().unwrap().push((event.vn, event.phase)));
    fleet.set_target(3, "load");
    fleet.set_target(1, "quiet");
    let told = told.lock().unwrap().clone();
    let of = |vn| told.iter().filter(|t| t.0 == vn).map(|t| t.1).collect::<Vec<_>>();
    let merged: Vec<u64> = told.iter().filter(|t| t.1 == "merge").map(|t| t.0).collect();
    assert_eq!(merged.len(), 2);
    for vn in [1, 2] {
        let mut life = vec!["initialize", "active"];
        life.extend(["merge", "terminate"].iter().filter(|_| merged.contains(&vn)));
        assert_eq!(of(vn), life);
    }
    let counts: Vec<u64> = fleet.phases().map(|(_, n)| n).collect();
    assert_eq!(counts, [3, 3, 3, 0, 0, 2, 2]);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_task_stands_still_and_goes_on_to_the_same_result() {
    let fleet = fleet(1, 1);
    let task = spawn(&fleet, job(3_000));
    until("it runs", || busy(&fleet).is_some()).await;
    let id = busy(&fleet).unwrap();
    assert!(fleet.suspend(id, "test") && !fleet.suspend(99, "test"));
    until("it stands still", || fleet.stats().suspended == 1).await;
    let cost = fleet.rows()[0].running_cost;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let row = &fleet.rows()[0];
    assert_eq!((row.running_cost, row.phase), (cost, "suspend"));
    assert!(cost.unwrap() < 3_000 && row.progress.is_some_and(|p| p < 1.0));
    assert!(!fleet.suspend(id, "twice") && fleet.resume(id, "test") && !fleet.resume(id, "twice"));
    assert_eq!(task.await.unwrap(), done(3_000));
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_fleet_does_nothing_and_then_all() {
    let fleet = fleet(2, 4);
    fleet.limits().set_paused(true);
    let tasks: Vec<_> = (0..8).map(|_| spawn(&fleet, job(50))).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fleet.stats().done, 0);
    fleet.limits().set_paused(false);
    for task in tasks {
        assert_eq!(task.await.unwrap(), done(50));
    }
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_cut_off_loses_its_task_and_is_replaced() {
    let fleet = fleet(1, 1);
    let task = spawn(&fleet, job(u64::MAX));
    until("it runs", || busy(&fleet).is_some()).await;
    let id = busy(&fleet).unwrap();
    assert!(fleet.terminate(id, "it misbehaves") && !fleet.terminate(77, "nobody"));
    assert_eq!(task.await.unwrap(), Err(WorkError::Terminated("it misbehaves".into())));
    until("another one is there", || fleet.rows().iter().any(|row| row.id != id)).await;
    assert_eq!(fleet.run(job(3)).await, done(3));
    assert_eq!(fleet.rows().len(), 1);
    // So does one without a task.
    let id = fleet.rows()[0].id;
    assert!(fleet.terminate(id, "idle"));
    until("it is replaced", || {
        fleet.rows().iter().all(|row| row.id != id) && fleet.rows().len() == 1
    })
    .await;
    fleet.stop();
}

/// A task that nobody wants any more leaves the queue, its virtual node's turn, or the virtual node that stands
/// still with it; the flow records say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_asker_has_gone_stops_wherever_it_is() {
    let fleet = fleet(1, 1);
    let (first, second) = (spawn(&fleet, job(u64::MAX)), spawn(&fleet, job(u64::MAX)));
    until("one runs and one waits", || busy(&fleet).is_some() && fleet.stats().waiting == 1).await;
    let idle = || fleet.stats().idle == 1 && fleet.rows()[0].program.is_none();
    // Whichever of the two waits: the other one takes its place or stays alone.
    first.abort();
    until("one is left", || fleet.stats().waiting == 0 && busy(&fleet).is_some()).await;
    second.abort();
    until("nothing is left", idle).await;

    // Stopped while it stands still: the virtual node goes on standing still.
    let third = spawn(&fleet, job(u64::MAX));
    until("it runs", || busy(&fleet).is_some()).await;
    let id = busy(&fleet).unwrap();
    assert!(fleet.suspend(id, "test"));
    until("it stands still", || fleet.stats().suspended == 1).await;
    let stopped = fleet.stats().stopped;
    third.abort();
    until("its task is gone", || fleet.rows()[0].program.is_none()).await;
    assert_eq!((fleet.stats().stopped, fleet.rows()[0].phase), (stopped + 1, "suspend"));
    assert!(fleet.resume(id, "test"));
    assert_eq!(fleet.run(job(3)).await, done(3));

    // Also while the owner has paused the node.
    fleet.limits().set_paused(true);
    let fourth = spawn(&fleet, job(u64::MAX));
    until("it is given out", || fleet.rows()[0].program.is_some()).await;
    fourth.abort();
    until("nothing is left", idle).await;
    fleet.limits().set_paused(false);

    fleet.sync();
    let all = fleet.flows(usize::MAX).iter().map(|f| f.total()).collect::<Vec<_>>();
    let (stats, row) = (fleet.stats(), &fleet.rows()[0]);
    assert_eq!(all.iter().map(|t| t.stopped).sum::<u64>(), stats.stopped);
    assert_eq!(all.iter().map(|t| t.cost).sum::<u64>(), stats.cost);
    assert!(stats.stopped >= 3 && row.stopped == stats.stopped, "{stats:?}");
    assert_eq!((stats.done, row.tasks), (1, stats.stopped + 1));
    assert!(stats.work == stats.cost && stats.cost > 3, "what was done counts as work: {stats:?}");
    fleet.stop();
}

/// A guest that never ends its step is stopped inside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_without_end_stops_when_nobody_wants_its_outcome() {
    let endless = wat::parse_str(
        r#"(module (memory (export "memory") 1)
            (func (export "step") (param i32) (result i32) (loop $on (br $on)) (i32.const 0)))"#,
    );
    for kind in [Kind::Jit, Kind::Interpreter] {
        let wasm = Wasm::with(kind, 1).unwrap();
        let limits = Arc::new(Limits::new(100, false));
        let fleet = Fleet::start(1, 1, Sandbox::new(), wasm, limits).unwrap();
        let program = fleet.install_module(endless.as_ref().unwrap());
        let params = anthill_sandbox::wasm::ModuleParams::new(1, b"").to_bytes();
        let task = spawn(&fleet, Job { program, params, input: vec![], ..job(0) });
        until("it runs", || fleet.stats().running == 1).await;
        task.abort();
        until("its virtual node is idle", || fleet.stats().idle == 1).await;
        assert_eq!((fleet.stats().stopped, fleet.stats().done), (1, 0));
        fleet.stop();
    }
}

/// A module that takes as long to be made ready as it is told to.
struct Slow {
    id: Cid,
    ready: Arc<AtomicU64>,
    go: Mutex<Receiver<()>>,
}

impl Program for Slow {
    fn id(&self) -> Cid {
        self.id
    }

    fn start(&self, _: &[u8], _: &[u8]) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        Ok(Err(Fault::BadInput))
    }

    fn prepare(&self) {
        self.go.lock().unwrap().recv().unwrap();
        self.ready.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_module_that_takes_long_to_be_made_ready_holds_nobody_up() {
    const MODULES: u64 = 300;
    let sandbox = RwLock::new(Sandbox::new());
    let modules = modules::Modules::start().unwrap();
    let ready = Arc::new(AtomicU64::new(0));
    let mut goes = Vec::new();
    let mut slow = |number: u64| {
        let (send, go) = std::sync::mpsc::channel();
        goes.push(send);
        Arc::new(Slow { id: number_id(number), ready: ready.clone(), go: Mutex::new(go) })
    };
    // More than can be kept, and than can wait.
    for number in 0..MODULES {
        assert_eq!(modules.install(slow(number), &sandbox), number_id(number));
    }
    // A module twice is one.
    modules.install(slow(MODULES - 1), &sandbox);
    let has = |number| sandbox.read().unwrap().has(&number_id(number));
    let kept: Vec<u64> = (0..MODULES).filter(|n| has(*n)).collect();
    assert_eq!(kept, (MODULES - 256..MODULES).collect::<Vec<_>>(), "the oldest went");
    assert_eq!(ready.load(Ordering::SeqCst), 0);
    for go in goes {
        let _ = go.send(());
    }
    // The first may have been taken by the thread before the queue was full.
    until("those in the queue are ready", || ready.load(Ordering::SeqCst) >= 64).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(ready.load(Ordering::SeqCst) <= 65);
}

fn number_id(number: u64) -> Cid {
    Cid::of(&number.to_le_bytes())
}

/// A task that moves from fleet to fleet, at random points, gives what it would have given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_departs_gives_the_same_result_and_cost_elsewhere() {
    let (here, there) = (fleet(1, 2), fleet(1, 1));
    let moved = AtomicU64::new(0);
    for round in 0..60u64 {
        let steps = 2_000 + round * 7;
        // Slowly, so that it is met on its way.
        here.limits().set_cpu(2);
        let task = spawn(&here, job(steps));
        until("it runs", || busy(&here).is_some() || task.is_finished()).await;
        let Some(id) = busy(&here) else { continue };
        let departure = here.depart(id).await;
        here.limits().set_cpu(100);
        if let Some(departure) = departure {
            let from = u64::from_le_bytes(departure.snapshot.clone().try_into().unwrap());
            assert!(from < steps);
            assert_eq!(here.rows().iter().find(|r| r.id == id).unwrap().phase, "migrate");
            if round % 3 == 0 {
                // The other machine failed.
                here.take_back(id, departure, "test");
            } else {
                let mut job = departure.job.clone();
                job.snapshot = Some(departure.snapshot.clone());
                let outcome = there.run(job).await;
                departure.asker.answer(outcome);
                here.returned(id, "done elsewhere");
            }
            moved.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(task.await.unwrap(), done(steps));
        until("it is active again", || here.rows().iter().all(|row| row.phase == "active")).await;
    }
    assert!(moved.load(Ordering::Relaxed) > 30, "{moved:?}");
    // What cannot be moved stays: no task, no such virtual node.
    assert!(here.depart(0).await.is_none() && here.depart(999).await.is_none());
    here.stop();
    there.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_evened_and_threads_rest_without_losing_work() {
    let fleet = fleet(3, 30);
    let tasks: Vec<_> = (0..30).map(|_| spawn(&fleet, job(400))).collect();
    until("all are handed out", || fleet.stats().waiting == 0).await;
    assert_eq!(fleet.set_threads(1), 1);
    assert_eq!(fleet.imbalance(), 0.0, "one thread has one queue");
    assert_eq!(fleet.set_threads(9), 3);
    fleet.rebalance();
    assert_eq!(fleet.rows().len(), 30, "the count is kept");
    for task in tasks {
        assert_eq!(task.await.unwrap(), done(400));
    }
    fleet.stop();
}

/// While bandwidth is short, the local task that came last is done first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_tasks_go_first_when_asked() {
    let fleet = fleet(1, 1);
    fleet.set_local_first(true);
    let order: Arc<Mutex<Vec<Origin>>> = Arc::default();
    fleet.limits().set_paused(true);
    let first = spawn(&fleet, job(20));
    until("it is given out", || fleet.rows()[0].program.is_some()).await;
    let mut tasks = vec![];
    for origin in [Origin::Network, Origin::Network, Origin::Local] {
        let (other, order) = (fleet.clone(), order.clone());
        let mut job = job(5_000);
        job.origin = origin;
        let waiting = fleet.stats().waiting;
        tasks.push(tokio::spawn(async move {
            other.run(job).await.unwrap();
            order.lock().unwrap().push(origin);
        }));
        until("it waits", || fleet.stats().waiting == waiting + 1).await;
    }
    fleet.limits().set_paused(false);
    first.await.unwrap().unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(order.lock().unwrap().first(), Some(&Origin::Local));
    fleet.stop();
}

#[tokio::test]
async fn who_shows_no_sign_of_life_is_stale_and_who_is_idle_is_not() {
    let fleet = fleet(1, 2);
    fleet.sync();
    assert!(fleet.stale(60_000).is_empty());
    let active = |row: &VnRow| row.phase == Phase::Active.name();
    assert!(fleet.rows().iter().all(active));
    fleet.stop();
}
