//! Virtual nodes measured: throughput against their number, tasks that move between two nodes, and the
//! autoscaler of a running node under a step load.
//!
//! `cargo run --release -p anthill-node --example virtual_nodes -- throughput | migrate [MOVES] | step [ROUNDS [TRACE]]`
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anthill_learn::StaticModel;
use anthill_node::keyring::KeyRing;
use anthill_node::moving::{MoveError, move_to};
use anthill_node::node::{Node, Options};
use anthill_node::programs::{self, Models, embed_input, embed_params};
use anthill_node::sandbox::wasm::{ModuleParams, Wasm};
use anthill_node::vn::{Fleet, Job, Limits, Origin};
use anthill_node::{Config, Home, setup};
use anthill_types::task::program;
use anthill_types::{ConsensusKind, Digest, NodeKey};

/// 2 MiB of memory, all of it written in the first step; then so many steps of a thousand additions.
const STATE: &str = r#"(module
  (import "anthill" "output" (func $output (param i32 i32)))
  (memory (export "memory") 32 32)
  (global $at (mut i32) (i32.const 0))
  (func (export "step") (param $n i32) (result i32)
    (local $i i32)
    (if (i32.eqz (global.get $at))
      (then
        (loop $fill
          (i32.store (i32.mul (local.get $i) (i32.const 64)) (i32.add (local.get $i) (i32.const 7)))
          (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 32768))))))
    (local.set $i (i32.const 0))
    (loop $add
      (i32.store (i32.const 1024) (i32.add (i32.load (i32.const 1024)) (i32.mul (local.get $i) (global.get $at))))
      (br_if $add (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
    (global.set $at (i32.add (global.get $at) (i32.const 1)))
    (if (i32.lt_u (global.get $at) (i32.const STEPS)) (then (return (i32.const 0))))
    (call $output (i32.const 1024) (i32.const 4))
    (i32.const 1)))"#;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("throughput") => runtime.block_on(throughput()),
        Some("migrate") => {
            let moves = words.get(1).map_or(1_000, |n| n.parse().unwrap());
            runtime.block_on(migrate(moves));
        }
        Some("step") => {
            let rounds = words.get(1).map_or(7, |n| n.parse().unwrap());
            runtime.block_on(step(rounds, words.get(2).map(String::as_str)));
        }
        _ => eprintln!("usage: virtual_nodes throughput | migrate [MOVES] | step [ROUNDS [TRACE]]"),
    }
}

fn module(steps: u32) -> Vec<u8> {
    wat::parse_str(STATE.replace("STEPS", &steps.to_string())).unwrap()
}

fn job(program: anthill_types::Cid, params: Vec<u8>, input: Vec<u8>) -> Job {
    let origin = Origin::Local;
    Job { program, params, input, cost_limit: u64::MAX >> 1, origin, snapshot: None }
}

/// A mix: embeddings of 1 to 16 texts, compression, a module, the no-op.
fn mixed(fleet: &Fleet, model: &Digest) -> Vec<Job> {
    let text = include_str!("virtual_nodes.rs");
    let lines: Vec<&str> = text.lines().filter(|l| l.len() > 20).collect();
    let guest = fleet.install_module(&module(50));
    let mut jobs = Vec::new();
    for i in 0..600usize {
        let texts: Vec<&str> = lines.iter().cycle().skip(i).take(1 + i % 16).copied().collect();
        jobs.push(job(program::embed(), embed_params(model), embed_input(&texts)));
        jobs.push(job(program::compress(), vec![], text.repeat(1 + i % 8).into_bytes()));
        jobs.push(job(guest, ModuleParams::new(1, b"").to_bytes(), vec![]));
        jobs.push(job(program::noop(), vec![], vec![i as u8; 100]));
    }
    jobs
}

async fn run_all(fleet: &Fleet, jobs: &[Job]) -> f64 {
    let begun = Instant::now();
    let tasks: Vec<_> = jobs
        .iter()
        .map(|job| {
            let (fleet, job) = (fleet.clone(), job.clone());
            tokio::spawn(async move { fleet.run(job).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().result.is_ok());
    }
    begun.elapsed().as_secs_f64()
}

async fn throughput() {
    let mut models = Models::default();
    models.add(Arc::new(StaticModel::embedded().clone()));
    let model = models.capabilities()[0];
    let home = Home::new(std::env::temp_dir());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let limits = Arc::new(Limits::new(100, false));
    let wasm = Wasm::new(1_024).unwrap();
    let sandbox = programs::sandbox(&models, &KeyRing(home));
    let fleet = Fleet::start(cores, 1, sandbox, wasm, limits).unwrap();
    let jobs = mixed(&fleet, &model);
    println!("{} mixed tasks, {cores} threads; the median of 5 rounds", jobs.len());
    let counts = [1, 2, 4, 8, 32, 128, 500];
    let mut times = vec![Vec::new(); counts.len()];
    for round in 0..6 {
        for (place, count) in counts.iter().enumerate() {
            fleet.set_target(*count, "bench");
            let seconds = run_all(&fleet, &jobs).await;
            if round > 0 {
                times[place].push(seconds);
            }
        }
    }
    let rates = times.iter_mut().map(|all| {
        all.sort_by(f64::total_cmp);
        jobs.len() as f64 / all[all.len() / 2]
    });
    let rates: Vec<f64> = rates.collect();
    let best = rates.iter().copied().fold(0.0, f64::max);
    for (count, rate) in counts.iter().zip(&rates) {
        println!("{count:>4} virtual nodes: {rate:>8.0} tasks/s, {:.3} of the best", rate / best);
    }
    fleet.stop();
}

async fn node(home: Home, peers: Vec<anthill_engine::wire::PeerAddress>) -> Node {
    let flags = [("listen", "127.0.0.1:0"), ("http", "127.0.0.1:0"), ("partners", "all")];
    let flags = flags.map(|(name, value)| (name, value.to_string()));
    let mut all = flags.to_vec();
    all.push(("virtual_nodes", "2".to_string()));
    let config = Config::load(&home.file("none.toml"), &[], &all).unwrap();
    Node::start(home, &config, Options { peers, ..Options::default() }).await.unwrap()
}

/// Two nodes on loopback; a task with 2 MiB of state is met on its way at the one and done at the other.
async fn migrate(moves: usize) {
    let folder = std::env::temp_dir().join(format!("anthill-moves-{}", std::process::id()));
    let homes = ["a", "b"].map(|name| Home::new(folder.join(name)));
    setup::found(&homes, "moves", setup::fast_params(), 1_000, &[], ConsensusKind::default())
        .unwrap();
    let [first, second] = homes;
    let a = node(first, vec![]).await;
    let b = node(second, a.handle.shared.addresses()).await;
    let to: NodeKey = b.handle.shared.keys.node_key();
    let (here, there) = (&a.handle.shared, &b.handle.shared);
    while !here.connected().contains(&to.0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let guest = here.fleet.install_module(&module(4_000));
    there.fleet.install_module(&module(4_000));
    let task = || job(guest, ModuleParams::new(1, b"").to_bytes(), vec![]);
    let unmoved = here.fleet.run(task()).await.unwrap();
    let (mut times, mut bytes, mut tried) = (Vec::new(), 0, 0);
    while times.len() < moves {
        tried += 1;
        let running = tokio::spawn({
            let fleet = here.fleet.clone();
            let task = task();
            async move { fleet.run(task).await.unwrap() }
        });
        let vn = loop {
            let rows = here.fleet.rows();
            if let Some(row) = rows.iter().find(|row| row.running_cost > Some(0)) {
                break Some(row.id);
            }
            if running.is_finished() {
                break None;
            }
            tokio::task::yield_now().await;
        };
        if let Some(vn) = vn {
            match move_to(here, vn, to.0).await {
                Ok(moved) => {
                    bytes = moved.snapshot_bytes;
                    times.push(moved.moved_ms);
                }
                // It was done before it could leave.
                Err(MoveError::Nothing(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(running.await.unwrap(), unmoved, "another result or another cost");
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{} of {} tasks moved ({tried} tried), each with the result and cost ({}) of the unmoved run",
        times.len(),
        times.len(),
        unmoved.cost
    );
    println!(
        "{bytes} bytes of state; leaving to taken: p50 {:.1} ms, p90 {:.1}, p99 {:.1}, most {:.1}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    a.handle.stop().await;
    b.handle.stop().await;
    let _ = (a.wait().await, b.wait().await);
    let _ = std::fs::remove_dir_all(folder);
}

/// Counts that are compared with the autoscaler.
const FIXED: [usize; 6] = [1, 2, 4, 8, 32, 64];
/// Tasks that are there at any time of the step: more than any count.
const CLIENTS: usize = 256;
/// Intervals (seconds) of the step.
const INTERVALS: usize = 8;
/// Readings in an interval.
const LOOKS: usize = 4;

/// What was read.
struct Reading {
    seconds: f64,
    done: u64,
    count: usize,
    load: Option<f64>,
    waiting: usize,
}

/// Jiffies of all processors at work, and of this process.
fn jiffies() -> Option<(f64, f64)> {
    let number = |text: &str| text.parse::<f64>().ok();
    let all = std::fs::read_to_string("/proc/stat").ok()?;
    let all: Vec<f64> = all.lines().next()?.split_whitespace().skip(1).filter_map(number).collect();
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    let own: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
    Some((all[0] + all[1] + all[2] + all[5] + all[6], number(own[11])? + number(own[12])?))
}

/// A network of one node, new each time: what one left runs on no other.
async fn single(folder: &std::path::Path, count: usize) -> Node {
    static RUNS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let homes = [Home::new(folder.join(run.to_string()))];
    setup::found(&homes, "step", setup::fast_params(), 1_000, &[], ConsensusKind::default())
        .unwrap();
    let [home] = homes;
    let flags = [("listen", "127.0.0.1:0"), ("http", "127.0.0.1:0")];
    let flags = flags.map(|(name, value)| (name, value.to_string()));
    let mut all = flags.to_vec();
    all.push(("virtual_nodes", count.to_string()));
    let config = Config::load(&home.file("none.toml"), &[], &all).unwrap();
    Node::start(home, &config, Options::default()).await.unwrap()
}

async fn read_for(node: &Node, begun: Instant, seconds: f64, readings: &mut Vec<Reading>) {
    let end = begun.elapsed().as_secs_f64() + seconds;
    let pause = Duration::from_secs_f64(1.0 / LOOKS as f64);
    let mut next = tokio::time::Instant::now() + pause;
    loop {
        if !readings.is_empty() {
            tokio::time::sleep_until(next).await;
            next += pause;
        }
        let (work, state) = (node.handle.shared.fleet.stats(), node.handle.shared.steering.state());
        let now = begun.elapsed().as_secs_f64();
        readings.push(Reading {
            seconds: now,
            done: work.done,
            count: work.virtual_nodes,
            load: state.telemetry.cpu,
            waiting: work.waiting,
        });
        // The last reading comes a little early or late.
        if now >= end - 0.1 {
            return;
        }
    }
}

/// Idle, then a queue without end for [`INTERVALS`] seconds, then idle again; `count` 0 is the autoscaler.
async fn under_load(folder: &std::path::Path, count: usize, after: f64) -> (Vec<Reading>, usize) {
    let node = single(folder, count).await;
    let fleet = node.handle.shared.fleet.clone();
    let jobs = Arc::new(mixed(&fleet, &node.handle.shared.models.capabilities()[0]));
    let (begun, mut readings) = (Instant::now(), Vec::new());
    if count == 0 {
        // It merges to one while nothing is to be done.
        while fleet.target() > 1 {
            read_for(&node, begun, 0.25, &mut readings).await;
        }
    }
    read_for(&node, begun, 1.0, &mut readings).await;
    let step = readings.len() - 1;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|first| {
            let (fleet, jobs) = (fleet.clone(), jobs.clone());
            tokio::spawn(async move {
                for job in jobs.iter().cycle().skip(first * 7) {
                    assert!(fleet.run(job.clone()).await.unwrap().result.is_ok());
                }
            })
        })
        .collect();
    read_for(&node, begun, INTERVALS as f64, &mut readings).await;
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    if after > 0.0 {
        read_for(&node, begun, after, &mut readings).await;
    }
    node.handle.stop().await;
    node.wait().await.unwrap();
    (readings, step)
}

/// Tasks per second between two readings.
fn rate(from: &Reading, to: &Reading) -> f64 {
    (to.done - from.done) as f64 / (to.seconds - from.seconds)
}

/// How often a count changed its direction.
fn turns(readings: &[Reading]) -> usize {
    let steps = readings.windows(2).map(|w| w[1].count as i64 - w[0].count as i64);
    let signs: Vec<i64> = steps.filter(|s| *s != 0).map(i64::signum).collect();
    signs.windows(2).filter(|w| w[0] != w[1]).count()
}

fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

async fn step(rounds: usize, trace: Option<&str>) {
    let folder = std::env::temp_dir().join(format!("anthill-step-{}", std::process::id()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} processors, {CLIENTS} mixed tasks at any time of the step, {rounds} rounds");
    let mut fixed = vec![Vec::new(); FIXED.len()];
    let (mut ratios, mut turned, mut ends) = (vec![Vec::new(); INTERVALS], Vec::new(), Vec::new());
    let (mut runs, mut foreign) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (begun, before) = (Instant::now(), jiffies());
        // Each round begins with another one.
        let mut order: Vec<usize> = (0..=FIXED.len()).collect();
        order.rotate_left(round % (FIXED.len() + 1));
        let mut auto = None;
        for place in order {
            match FIXED.get(place) {
                None => auto = Some(under_load(&folder, 0, 0.0).await),
                Some(count) => {
                    let (readings, step) = under_load(&folder, *count, 0.0).await;
                    // The first second warms caches.
                    fixed[place].push(rate(&readings[step + LOOKS], &readings[readings.len() - 1]));
                }
            }
        }
        runs.extend(auto);
        if let (Some((all, own)), Some((all_then, own_then))) = (jiffies(), before) {
            let busy = (all - all_then - own + own_then) / 100.0 / cores as f64;
            foreign.push(busy / begun.elapsed().as_secs_f64());
        }
    }
    let best = (0..FIXED.len())
        .max_by(|a, b| middle(fixed[*a].clone()).total_cmp(&middle(fixed[*b].clone())))
        .unwrap();
    for (count, rates) in FIXED.iter().zip(&fixed) {
        println!("{count:>4} virtual nodes: {:>8.0} tasks/s", middle(rates.clone()));
    }
    for (round, (readings, step)) in runs.iter().enumerate() {
        for (interval, all) in ratios.iter_mut().enumerate() {
            let at = step + interval * LOOKS;
            all.push(rate(&readings[at], &readings[at + LOOKS]) / fixed[best][round]);
        }
        turned.push(turns(&readings[*step..]));
        ends.push(readings[readings.len() - 1].count);
    }
    println!("best fixed count: {}; the autoscaler against it in the same round:", FIXED[best]);
    for (interval, all) in ratios.iter().enumerate() {
        let worst = all.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "  interval {}: median {:.3}, worst {worst:.3}",
            interval + 1,
            middle(all.clone())
        );
    }
    println!("turns of the count: {turned:?}; count at the end: {ends:?}");
    println!("others took {foreign:.2?} of the processors");
    if let Some(file) = trace {
        let (readings, step) = under_load(&folder, 0, 12.0).await;
        let mut text = format!(
            "# step at {:.3}, best fixed count {} does {:.0} tasks/s\n",
            readings[step].seconds,
            FIXED[best],
            middle(fixed[best].clone())
        );
        text += "seconds,tasks,count,load,waiting\n";
        for pair in readings.windows(2) {
            let (load, now) = (pair[1].load.unwrap_or(f64::NAN), &pair[1]);
            let tasks = rate(&pair[0], now);
            text +=
                &format!("{:.3},{tasks:.0},{},{load:.3},{}\n", now.seconds, now.count, now.waiting);
        }
        std::fs::write(file, text).unwrap();
    }
    let _ = std::fs::remove_dir_all(folder);
}
