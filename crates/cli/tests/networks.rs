//! Real nodes in networks that lose, delay, repeat, reorder and cut, in both directions or in one:
//! there is never a second block of one height, and when the networks are well again the chain goes
//! on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::process::Command;
use std::time::Duration;

use common::chain::{Acknowledged, assert_one_chain, one_tip};
use common::lab::{Lab, Permission, address, permission};
use common::{Dir, Node, Random, documents, found, found_with, seed, until};

const NODES: usize = 5;
const UP: [&str; 4] = ["up", "--quiet", "--virtual-nodes", "1"];
/// Rounds of random weather.
const ROUNDS: u64 = 6;

fn height(node: &Node) -> u64 {
    until("the node answers", || node.status())["height"].as_u64().unwrap()
}

/// Waits until these nodes are so many blocks above the highest of them now.
#[track_caller]
fn progress(nodes: &[Node], which: &[usize], blocks: u64) {
    let goal = which.iter().map(|i| height(&nodes[*i])).max().unwrap() + blocks;
    for i in which {
        until(&format!("node {i} is at height {goal}"), || {
            (height(&nodes[*i]) >= goal).then_some(())
        });
    }
}

fn nap(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Asserts that no node can go on: too few hear each other. What was under way may still end.
fn assert_stuck(nodes: &[Node]) {
    nap(500);
    let before: Vec<u64> = nodes.iter().map(height).collect();
    nap(2_000);
    for (i, node) in nodes.iter().enumerate() {
        let now = height(node);
        assert!(now <= before[i] + 1, "node {i} went from {} to {now} without a quorum", before[i]);
    }
}

struct Trial {
    dir: Dir,
    lab: Lab,
    nodes: Vec<Node>,
    acknowledged: Acknowledged,
    random: Random,
    jobs: Vec<(String, usize)>,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let dir = Dir::new("networks");
        let lab = Lab::new(NODES, seed);
        let place = |i: usize| {
            let mut node = Node::at(dir.join(&format!("node-{i}")), address(i));
            node.network = Some(lab.path(i));
            node
        };
        let mut nodes = found_with((0..NODES).map(place).collect());
        nodes.iter_mut().for_each(|n| n.spawn(&UP));
        nodes.iter_mut().for_each(Node::wait);
        for node in &nodes {
            until("all are connected", || (node.status()?["peers"] == NODES - 1).then_some(()));
        }
        let acknowledged = Acknowledged::new(&dir, &nodes[0]);
        Self { dir, lab, nodes, acknowledged, random: Random::new(seed), jobs: Vec::new() }
    }

    /// Gives a node some work.
    fn load(&mut self, node: usize) {
        let name = format!("job-{}", self.jobs.len());
        let folder = documents(&self.dir, &name, 4);
        self.nodes[node].ok(&["index", &folder, "--name", &name, "--detach"]);
        self.jobs.push((name, node));
    }

    fn heal(&self) {
        self.lab.cut(|_, _| false);
        let all: Vec<usize> = (0..NODES).collect();
        progress(&self.nodes, &all, 2);
    }

    /// Two sides, neither of which is enough; then four against one.
    fn partitions(&mut self) {
        self.load(0);
        self.lab.cut(|i, j| (i < 2) != (j < 2));
        assert_stuck(&self.nodes);
        self.heal();
        let alone = self.random.below(NODES as u64) as usize;
        let others: Vec<usize> = (0..NODES).filter(|i| *i != alone).collect();
        self.lab.cut(|i, j| (i == alone) != (j == alone));
        self.load(others[0]);
        progress(&self.nodes, &others, 3);
        self.acknowledged.look(&self.nodes[others[1]]);
        self.heal();
    }

    /// One that is heard and does not hear, one that hears and is not heard, and two sides of which
    /// only one hears the other.
    fn one_way(&mut self) {
        let odd = self.random.below(NODES as u64) as usize;
        let others: Vec<usize> = (0..NODES).filter(|i| *i != odd).collect();
        self.lab.cut(|_, j| j == odd);
        progress(&self.nodes, &others, 3);
        self.lab.cut(|i, _| i == odd);
        self.load(others[2]);
        progress(&self.nodes, &others, 3);
        self.heal();
        self.lab.cut(|i, j| i < 2 && j >= 2);
        assert_stuck(&self.nodes);
        self.acknowledged.look(&self.nodes[odd]);
        self.heal();
    }

    /// Links cut at random, one way each, with heavy loss and long, uneven delays.
    fn storms(&mut self) {
        for round in 0..ROUNDS {
            let (loss, jitter) = (self.random.below(25), self.random.below(150));
            self.lab.weather(|w| (w.loss, w.twice, w.jitter_ms) = (loss, 5, jitter));
            let cuts: Vec<bool> = (0..NODES * NODES).map(|_| self.random.percent(30)).collect();
            self.lab.cut(|i, j| cuts[i * NODES + j]);
            nap(500 + self.random.below(1_000));
            let witness = self.random.below(NODES as u64) as usize;
            self.acknowledged.look(&self.nodes[witness]);
            if round % 3 == 2 {
                fair(&self.lab);
                self.heal();
            }
        }
    }

    /// A whole network goes down under a node, and comes back.
    fn link_down(&mut self) {
        let victim = self.random.below(NODES as u64) as usize;
        let others: Vec<usize> = (0..NODES).filter(|i| *i != victim).collect();
        self.lab.run(victim, &["ip", "link", "set", "lo", "down"]).unwrap();
        progress(&self.nodes, &others, 3);
        self.lab.run(victim, &["ip", "link", "set", "lo", "up"]).unwrap();
        self.heal();
    }

    /// The kernel's own faults, where it has them, with the relay's turned off.
    fn netem(&mut self) {
        let add =
            ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "5%", "delay", "30ms"];
        if let Err(said) = self.lab.run(0, &add) {
            println!(
                "netem is left out, the relay alone loses and delays: tc says {}",
                said.trim()
            );
            return;
        }
        (1..NODES).for_each(|i| self.lab.run(i, &add).unwrap());
        self.lab.weather(|w| (w.loss, w.twice, w.delay_ms, w.jitter_ms) = (0, 0, 0, 0));
        self.heal();
        (0..NODES).for_each(|i| {
            self.lab.run(i, &["tc", "qdisc", "del", "dev", "lo", "root"]).unwrap();
        });
        println!("netem: loss 5% and delay 30 ms on every node's own link");
        fair(&self.lab);
    }

    /// All that must hold at the end.
    fn end(mut self) {
        for (name, node) in &self.jobs {
            self.nodes[*node].job(name, &["final"]);
        }
        self.acknowledged.look(&self.nodes[0]);
        let (height, root) = one_tip(&self.nodes);
        let heights = assert_one_chain(&self.nodes);
        let proofs = self.acknowledged.assert_kept(&self.nodes);
        assert!(self.acknowledged.count() > 0);
        println!(
            "{:?}\n{} jobs ended; {heights} heights with one certified block each on {NODES} nodes; \
             {} payments kept, {proofs} proofs verified; block {height}, root {root}",
            self.lab.counts(),
            self.jobs.len(),
            self.acknowledged.count(),
        );
    }
}

/// The weather of a long line with some loss.
fn fair(lab: &Lab) {
    lab.weather(|w| (w.loss, w.twice, w.delay_ms, w.jitter_ms) = (5, 1, 20, 20));
}

#[test]
fn lost_late_and_cut_messages_never_make_two_blocks_of_one_height() {
    match permission() {
        Permission::Granted => {}
        Permission::AsUser if std::env::var_os("ANTHILL_AGAIN").is_none() => return again(),
        _ => {
            println!(
                "network namespaces are not permitted here: nodes are stopped instead of cut off"
            );
            return without_networks();
        }
    }
    let mut trial = Trial::new(seed());
    fair(&trial.lab);
    trial.partitions();
    trial.one_way();
    trial.storms();
    trial.link_down();
    trial.netem();
    trial.end();
}

/// Runs this test once more, as the owner of a user namespace.
fn again() {
    println!("not root: the test runs in a user namespace");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(std::env::current_exe().unwrap());
    command.args(["--nocapture", "lost_late"]).env("ANTHILL_AGAIN", "1");
    assert!(command.status().unwrap().success());
}

/// Where no network can be made: who is stopped hears nothing and says nothing, then hears all at
/// once and late.
fn without_networks() {
    let dir = Dir::new("stopped");
    let mut nodes = found(&dir, NODES);
    nodes.iter_mut().for_each(|n| n.start(&UP));
    let all: Vec<usize> = (0..NODES).collect();
    progress(&nodes, &all, 2);
    for stopped in [vec![0, 1], vec![2, 3, 4], vec![4], vec![0, 2]] {
        stopped.iter().for_each(|i| nodes[*i].signal("-STOP"));
        nap(1_500);
        if stopped.len() == 1 {
            let others: Vec<usize> = (0..NODES).filter(|i| !stopped.contains(i)).collect();
            progress(&nodes, &others, 2);
        }
        stopped.iter().for_each(|i| nodes[*i].signal("-CONT"));
        progress(&nodes, &all, 2);
    }
    one_tip(&nodes);
    println!("{} heights with one certified block each", assert_one_chain(&nodes));
}

/// Stopped in the middle of agreement and continued much later: its timers have all run out at once,
/// and that must neither fork the chain nor keep it in high rounds.
#[test]
fn validators_that_were_stopped_come_back_to_the_first_round() {
    let dir = Dir::new("stop");
    let mut random = Random::new(seed());
    let mut nodes = found(&dir, 4);
    nodes.iter_mut().for_each(|n| n.start(&UP));
    let all: Vec<usize> = (0..4).collect();
    progress(&nodes, &all, 2);
    let genesis = common::chain::genesis(&nodes[0]);
    for round in 0..4 {
        // One of four leaves a quorum; two do not, and the others' rounds go up meanwhile.
        let stopped = random.draw(1 + round % 2, 4);
        nap(random.below(500));
        stopped.iter().for_each(|i| nodes[*i].signal("-STOP"));
        nap(3_000 + random.below(2_000));
        stopped.iter().for_each(|i| nodes[*i].signal("-CONT"));
        progress(&nodes, &all, 3);
        let mut next = height(&nodes[0]);
        until("a block is agreed on in the first round", || {
            if height(&nodes[0]) < next {
                return None;
            }
            let (_, certificate) = common::chain::header(&nodes[0], &genesis, next);
            next += 1;
            (certificate.round == 0).then_some(())
        });
    }
    one_tip(&nodes);
    assert_one_chain(&nodes);
}
