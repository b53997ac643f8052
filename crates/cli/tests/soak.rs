//! Nodes under steady work for minutes or hours: memory, open files and queues must not grow.
//!
//! `cargo xtask soak --hours 8` is the long run. By hand: `ANTHILL_SOAK_MINUTES=60 cargo test
//! --release -p anthill --test soak -- --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::{Duration, Instant};

use common::{Dir, Node, documents, found, setting, until};
use serde_json::json;

const NODES: usize = 3;
const UP: [&str; 4] = ["up", "--quiet", "--virtual-nodes", "1"];
/// Samples of a run, whatever its length.
const SAMPLES: usize = 60;
/// From this length on a slope says something.
const MINUTES_FOR_SLOPES: u64 = 30;
/// Most growth an hour that is still called none: KiB of memory, open files, waiting transactions.
const LIMITS: [(&str, f64); 3] = [("memory KiB", 16_384.0), ("open files", 4.0), ("waiting", 10.0)];

/// What a node was seen to hold at a time, in hours.
struct Sample {
    hours: f64,
    values: [f64; 3],
}

fn sample(node: &Node, begun: Instant) -> Option<Sample> {
    let waiting = metric(node, "anthill_mempool_transactions")?;
    let values = [node.memory()? as f64, node.open_files()? as f64, waiting];
    Some(Sample { hours: begun.elapsed().as_secs_f64() / 3600.0, values })
}

fn metric(node: &Node, name: &str) -> Option<f64> {
    let text = String::from_utf8(node.get_bytes("/metrics")?).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.trim().parse().ok()
}

/// Slope and its standard error by least squares.
fn slope(samples: &[Sample], of: usize) -> (f64, f64) {
    let n = samples.len() as f64;
    let (x, y) =
        samples.iter().fold((0.0, 0.0), |(x, y), s| (x + s.hours / n, y + s.values[of] / n));
    let spread: f64 = samples.iter().map(|s| (s.hours - x).powi(2)).sum();
    let slope = samples.iter().map(|s| (s.hours - x) * (s.values[of] - y)).sum::<f64>() / spread;
    let rest = |s: &Sample| (s.values[of] - y - slope * (s.hours - x)).powi(2);
    let error = (samples.iter().map(rest).sum::<f64>() / (n - 2.0) / spread).sqrt();
    (slope, error)
}

#[test]
fn steady_work_does_not_make_nodes_grow() {
    let minutes = setting("ANTHILL_SOAK_MINUTES").unwrap_or(1);
    let dir = Dir::new("soak");
    let mut nodes = found(&dir, NODES);
    nodes.iter_mut().for_each(|n| n.spawn(&UP));
    nodes.iter_mut().for_each(Node::wait);
    let folder = documents(&dir, "docs", 4);
    let begun = Instant::now();
    let step = Duration::from_secs(minutes * 60) / SAMPLES as u32;
    let mut samples: Vec<Vec<Sample>> = (0..NODES).map(|_| Vec::new()).collect();
    for round in 0..SAMPLES {
        let worker = &nodes[round % NODES];
        // One name a node: an index that is made again replaces the one before.
        worker.ok(&["index", &folder, "--name", &format!("soak-{}", round % NODES), "--detach"]);
        worker.ok(&["credits", "send", &account(&nodes[(round + 1) % NODES]), "1"]);
        std::thread::sleep((step * (round as u32 + 1)).saturating_sub(begun.elapsed()));
        for (node, list) in nodes.iter().zip(&mut samples) {
            list.extend(sample(node, begun));
        }
    }
    let mut grown = Vec::new();
    for (node, list) in samples.iter().enumerate() {
        assert!(list.len() >= SAMPLES / 2, "node {node} gave {} samples", list.len());
        // The first third warms caches up.
        let steady = &list[list.len() / 3..];
        for (of, (name, limit)) in LIMITS.iter().enumerate() {
            let (slope, error) = slope(steady, of);
            let last = steady.last().unwrap().values[of];
            println!("node {node}: {name} {last}, {slope:+.1} an hour (standard error {error:.1})");
            if minutes >= MINUTES_FOR_SLOPES && slope - 2.0 * error > *limit {
                grown.push(format!("node {node}: {name} {slope:+.1} an hour"));
            }
        }
    }
    assert!(grown.is_empty(), "{grown:?}");
    for node in &nodes {
        until("the queue is empty", || {
            (metric(node, "anthill_mempool_transactions")? == 0.0).then_some(())
        });
        node.assert_conserved();
    }
    let heights: Vec<_> = nodes.iter().map(|n| n.status().unwrap()["height"].clone()).collect();
    println!("{}", json!({"minutes": minutes, "heights": heights}));
}

fn account(node: &Node) -> String {
    node.status().unwrap()["account"].as_str().unwrap().to_string()
}
