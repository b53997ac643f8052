//! Validators are killed and paused at random moments while jobs and payments go on, and nothing that
//! was acknowledged is lost.
//!
//! `cargo xtask kill --kills 100` is the long run. By hand: `ANTHILL_KILLS=50 ANTHILL_SEED=7 cargo
//! test --release -p anthill --test kill -- --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::{Duration, Instant};

use common::chain::{Acknowledged, assert_one_chain, one_tip};
use common::{Dir, Node, Random, documents, found, micro, seed, setting, until};
use serde_json::{Value, json};

const NODES: usize = 5;
/// Validators that may fail while agreement goes on.
const FAULTY: usize = 1;
const UP: [&str; 4] = ["up", "--quiet", "--virtual-nodes", "1"];
const FILES: usize = 8;
const DEFAULT_KILLS: u64 = 20;

/// What was done.
#[derive(Default)]
struct Counts {
    kills: u64,
    pauses: u64,
    /// Times when more than the tolerated number was down at once.
    outages: u64,
    /// Times when all were down at once.
    blackouts: u64,
    /// Kills of a node that had unfinished jobs of its own.
    in_the_middle: u64,
    sent: u64,
}

/// The network under fire.
struct Trial {
    dir: Dir,
    nodes: Vec<Node>,
    random: Random,
    acknowledged: Acknowledged,
    saver: String,
    /// What the saver was seen to hold, micro-rUv.
    saved: u128,
    /// Which node each job was given to.
    jobs: Vec<(String, usize)>,
    counts: Counts,
    returns: Vec<Duration>,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let dir = Dir::new("kill");
        let mut nodes = found(&dir, NODES);
        nodes.iter_mut().for_each(|n| n.spawn(&UP));
        nodes.iter_mut().for_each(Node::wait);
        for node in &nodes {
            until("all are connected", || (node.status()?["peers"] == NODES - 1).then_some(()));
        }
        // A key that nobody holds: what it receives can never leave it.
        let key = anthill_identity::KeyPair::from_seed([7; 32]).public();
        Self {
            acknowledged: Acknowledged::new(&dir, &nodes[0]),
            dir,
            nodes,
            random: Random::new(seed),
            saver: anthill_types::AccountId(key).to_string(),
            saved: 0,
            jobs: Vec::new(),
            counts: Counts::default(),
            returns: Vec::new(),
        }
    }

    fn any(&mut self) -> usize {
        self.random.below(NODES as u64) as usize
    }

    fn nap(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.random.below(most_ms)));
    }

    /// Gives a node a job and has another send credits.
    fn load(&mut self, folder: &str) {
        let (worker, payer) = (self.any(), self.any());
        let name = format!("job-{}", self.jobs.len());
        self.nodes[worker].ok(&["index", folder, "--name", &name, "--detach"]);
        self.jobs.push((name, worker));
        let sent = self.nodes[payer].run(&["credits", "send", &self.saver, "1"]);
        self.counts.sent += u64::from(sent.code == 0);
    }

    /// Notes what a node shows.
    fn look(&mut self, node: usize) {
        self.acknowledged.look(&self.nodes[node]);
        self.saved = self.saved.max(self.balance(node).unwrap_or(0));
    }

    fn balance(&self, node: usize) -> Option<u128> {
        let bank = self.nodes[node].get("/api/credits?newest=1")?;
        let saver = bank["accounts"].as_array()?.iter().find(|a| a["account"] == self.saver);
        Some(saver.map_or(0, |a| micro(&a["balance"])))
    }

    /// One to five nodes to kill at once: mostly as many as agreement bears, sometimes more or all.
    fn victims(&mut self, left: u64) -> Vec<usize> {
        let most = match self.random.below(10) {
            0..6 => FAULTY,
            6..9 => 2 + self.random.below(2) as usize,
            _ => NODES,
        };
        let mut drawn = self.random.draw(most.min(left as usize), NODES);
        let busy = self.jobs.last().map(|(_, node)| *node);
        // Every other time the node whose job was begun last.
        if let (Some(busy), true) = (busy, self.random.percent(50))
            && !drawn.contains(&busy)
        {
            drawn[0] = busy;
        }
        drawn
    }

    /// Stops nodes that are not killed at random moments, and lets them go on later.
    fn pause(&mut self, victims: &[usize]) -> Vec<usize> {
        let mut paused = self.random.draw(NODES, NODES);
        paused.retain(|n| !victims.contains(n));
        paused.truncate(self.random.below(3) as usize);
        for node in &paused {
            self.nodes[*node].signal("-STOP");
        }
        self.counts.pauses += paused.len() as u64;
        paused
    }

    /// Kills some nodes at random moments, pauses others, lets the rest go on, and brings all back.
    fn strike(&mut self, left: u64) {
        self.nap(900);
        let victims = self.victims(left);
        let witness = self.any();
        self.look(witness);
        let open = |j: &Value| j["stage"] == "embedding" || j["stage"] == "building";
        for victim in &victims {
            let jobs = self.nodes[*victim].get("/api/jobs").unwrap_or_default();
            let busy = jobs.as_array().is_some_and(|jobs| jobs.iter().any(open));
            self.counts.in_the_middle += u64::from(busy);
        }
        let paused = self.pause(&victims);
        for victim in &victims {
            self.nap(60);
            self.nodes[*victim].kill();
        }
        let down = victims.len() + paused.len();
        self.counts.kills += victims.len() as u64;
        self.counts.outages += u64::from(down > FAULTY);
        self.counts.blackouts += u64::from(victims.len() == NODES);
        self.nap(1_500);
        for node in paused {
            self.nodes[node].signal("-CONT");
        }
        self.bring_back(&victims);
    }

    fn bring_back(&mut self, victims: &[usize]) {
        let (least, begun) = (self.acknowledged.height(), Instant::now());
        for victim in victims {
            self.nap(200);
            self.nodes[*victim].spawn(&UP);
        }
        for victim in victims {
            self.nodes[*victim].wait();
            let node = &self.nodes[*victim];
            until("the killed node has caught up", || {
                (node.status()?["height"].as_u64()? >= least).then_some(())
            });
            self.returns.push(begun.elapsed());
            let held = self.balance(*victim).unwrap();
            assert!(held >= self.saved, "node {victim} has lost acknowledged credits");
        }
    }

    /// Every job ends with the right index, whoever was killed.
    fn end_jobs(&self, digest: &Value) -> u64 {
        let ended = self.jobs.iter().map(|(name, node)| {
            let job = self.nodes[*node].job(name, &["final"]);
            assert_eq!(job["digest"], *digest, "{name}");
            job["tasks"].as_u64().unwrap()
        });
        ended.sum()
    }

    /// What `cargo xtask kill` adds up.
    fn report(&self, proofs: usize, heights: u64, begun: Instant) -> Value {
        let counts = &self.counts;
        json!({
            "kills": counts.kills,
            "pauses": counts.pauses,
            "outages": counts.outages,
            "blackouts": counts.blackouts,
            "kills_with_unfinished_jobs": counts.in_the_middle,
            "jobs": self.jobs.len(),
            "acknowledged_credits": self.acknowledged.count(),
            "proofs_verified": proofs,
            "headers_compared": heights,
            "seconds": begun.elapsed().as_secs(),
        })
    }
}

#[test]
fn killed_and_paused_validators_lose_nothing_that_was_acknowledged() {
    let kills = setting("ANTHILL_KILLS").unwrap_or(DEFAULT_KILLS);
    let begun = Instant::now();
    let mut trial = Trial::new(seed());
    let folder = documents(&trial.dir, "docs", FILES);
    let digest = trial.nodes[0].json(&["index", &folder, "--name", "calm"])["digest"].clone();
    while trial.counts.kills < kills {
        trial.load(&folder);
        trial.strike(kills - trial.counts.kills);
    }
    let tasks = trial.end_jobs(&digest);
    // All jobs are final, so their wages are paid and can be seen.
    trial.look(0);
    let (height, root) = one_tip(&trial.nodes);
    let heights = assert_one_chain(&trial.nodes);
    let proofs = trial.acknowledged.assert_kept(&trial.nodes);
    for node in 0..NODES {
        let held = trial.balance(node).unwrap();
        assert!(held >= trial.saved, "node {node} has lost acknowledged credits");
    }
    assert!(trial.acknowledged.count() > 1 && trial.saved > 0);
    let report = trial.report(proofs, heights * NODES as u64, begun);
    let slowest = trial.returns.iter().max().unwrap().as_secs_f64();
    println!(
        "{report:#}\n{tasks} tasks, {} rUv sent to the saver: seen {} micro-rUv; back and caught up \
         after {slowest:.2} s at most\nblock {height}, one root on {NODES} nodes: {root}",
        trial.counts.sent, trial.saved,
    );
    if let Some(file) = std::env::var_os("ANTHILL_KILL_REPORT") {
        std::fs::write(file, report.to_string()).unwrap();
    }
}
