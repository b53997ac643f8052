//! Validators are killed at random moments while jobs and payments go on, and nothing that was
//! acknowledged is lost.
//!
//! `ANTHILL_KILLS=50 cargo test --release -p anthill --test kill -- --nocapture` is the long run;
//! `ANTHILL_SEED` repeats one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Dir, Node, anthill, documents, found, micro, run_with, until};
use serde_json::Value;

const NODES: usize = 4;
const UP: [&str; 4] = ["up", "--quiet", "--virtual-nodes", "1"];

/// Random numbers that a seed repeats (xorshift64, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Everything that some node has acknowledged so far; it only grows.
#[derive(Default)]
struct Seen {
    roots: BTreeMap<u64, String>,
    payments: BTreeMap<u64, Value>,
    /// What the account that only receives held, and when.
    saved: u128,
    height: u64,
    proofs: usize,
}

impl Seen {
    /// Notes a node's tip; two nodes may never show two roots of one height.
    fn tip(&mut self, status: &Value) -> (u64, String) {
        let height = status["height"].as_u64().unwrap();
        let root = status["root"].as_str().unwrap().to_string();
        let known = self.roots.entry(height).or_insert_with(|| root.clone());
        assert_eq!(*known, root, "two state roots at height {height}");
        (height, root)
    }

    /// Notes what a node says now of payments and of the saver.
    fn look(&mut self, node: &Node, saver: &str, genesis: &str) {
        let Some(status) = node.status() else { return };
        self.tip(&status);
        let Some(bank) = node.get("/api/credits?newest=1000") else { return };
        let held = micro(&bank["held"]) + micro(&bank["burned"]);
        assert_eq!(held, micro(&bank["minted"]), "{bank}");
        for payment in bank["newest"].as_array().unwrap() {
            let number = payment["number"].as_u64().unwrap();
            let known = self.payments.entry(number).or_insert_with(|| payment.clone());
            assert_eq!(known, payment, "payment {number} has changed");
        }
        let accounts = bank["accounts"].as_array().unwrap();
        let Some(balance) = accounts.iter().find(|a| a["account"] == saver) else { return };
        if micro(&balance["balance"]) > self.saved {
            self.saved = micro(&balance["balance"]);
            self.height = status["height"].as_u64().unwrap();
        }
        let proof = node.run(&["prove", &format!("account:{saver}")]);
        if proof.code == 0 {
            let verify = ["verify", "-", "--genesis", genesis];
            let verified = run_with(anthill().args(verify), &proof.out);
            assert_eq!(verified.code, 0, "{}", verified.err);
            self.proofs += 1;
        }
    }
}

/// The network under fire.
struct Trial {
    dir: Dir,
    nodes: Vec<Node>,
    random: Random,
    seen: Seen,
    saver: String,
    genesis: String,
    /// Which node each job was given to.
    jobs: Vec<(String, usize)>,
    sent: u32,
    kills: [u32; NODES],
    /// Kills of a node that had unfinished jobs of its own.
    in_the_middle: u32,
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
        let genesis = nodes[0].status().unwrap()["genesis"].as_str().unwrap().to_string();
        // A key that nobody holds: what it receives can never leave it.
        let key = anthill_identity::KeyPair::from_seed([7; 32]).public();
        let saver = anthill_types::AccountId(key).to_string();
        Self {
            dir,
            nodes,
            random: Random(seed | 1),
            seen: Seen::default(),
            saver,
            genesis,
            jobs: Vec::new(),
            sent: 0,
            kills: [0; NODES],
            in_the_middle: 0,
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
        self.sent +=
            u32::from(self.nodes[payer].run(&["credits", "send", &self.saver, "1"]).code == 0);
    }

    /// Kills a node at a random moment, lets the others go on, and starts it again.
    fn kill_one(&mut self) {
        self.nap(900);
        // Every other time the node whose job was begun last.
        let busy = self.jobs.last().map(|(_, node)| *node).filter(|_| self.random.below(2) == 0);
        let (any, witness) = (self.any(), self.any());
        let victim = busy.unwrap_or(any);
        self.seen.look(&self.nodes[witness], &self.saver, &self.genesis);
        let jobs = self.nodes[victim].get("/api/jobs").unwrap_or_default();
        let open = |j: &Value| j["stage"] == "embedding" || j["stage"] == "building";
        let busy = jobs.as_array().is_some_and(|jobs| jobs.iter().any(open));
        self.nap(60);
        self.nodes[victim].kill();
        self.kills[victim] += 1;
        self.in_the_middle += u32::from(busy);
        self.nap(1_500);
        let begun = Instant::now();
        let (least, saved) = (self.seen.height, self.seen.saved);
        self.nodes[victim].start(&UP);
        let node = &self.nodes[victim];
        until("the killed node has caught up", || {
            (node.status()?["height"].as_u64()? >= least).then_some(())
        });
        self.returns.push(begun.elapsed());
        assert!(self.balance(victim) >= saved, "node {victim} has lost acknowledged credits");
    }

    fn balance(&self, node: usize) -> u128 {
        let bank = self.nodes[node].get("/api/credits?newest=1").unwrap();
        let accounts = bank["accounts"].as_array().unwrap().clone();
        let saver = accounts.iter().find(|a| a["account"] == self.saver);
        saver.map_or(0, |a| micro(&a["balance"]))
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

    /// All nodes hold one root, every acknowledged payment, and what the saver was seen to hold.
    fn agree(&mut self) -> (u64, String) {
        let tip = until("all nodes hold one block", || {
            let statuses: Option<Vec<Value>> = self.nodes.iter().map(Node::status).collect();
            let tips: Vec<_> = statuses?.iter().map(|s| self.seen.tip(s)).collect();
            tips.windows(2).all(|w| w[0] == w[1]).then(|| tips[0].clone())
        });
        for (i, node) in self.nodes.iter().enumerate() {
            assert!(self.balance(i) >= self.seen.saved, "node {i} has lost acknowledged credits");
            node.assert_conserved();
            for (number, payment) in &self.seen.payments {
                let held = node.get(&format!("/api/credits/{number}")).unwrap();
                assert_eq!(held, *payment, "payment {number} on node {i}");
            }
        }
        tip
    }
}

#[test]
fn killed_validators_lose_nothing_that_was_acknowledged() {
    let kills = setting("ANTHILL_KILLS").unwrap_or(6);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("ANTHILL_SEED").unwrap_or(clock);
    println!("{kills} kills, seed {seed}");
    let begun = Instant::now();
    let mut trial = Trial::new(seed);
    let folder = documents(&trial.dir, "docs", 32);
    let digest = trial.nodes[0].json(&["index", &folder, "--name", "calm"])["digest"].clone();
    for _ in 0..kills {
        trial.load(&folder);
        trial.kill_one();
    }
    let tasks = trial.end_jobs(&digest);
    // All jobs are final, so their wages are paid and can be seen.
    trial.seen.look(&trial.nodes[0], &trial.saver, &trial.genesis);
    let (height, root) = trial.agree();
    let seen = &trial.seen;
    assert!(seen.payments.len() > 1 && seen.saved > 0 && seen.proofs > 0);
    let slowest = trial.returns.iter().max().unwrap().as_secs_f64();
    let mean = trial.returns.iter().map(Duration::as_secs_f64).sum::<f64>() / kills as f64;
    println!(
        "{kills} kills {:?} ({} of a node with unfinished jobs of its own) in {:.0} s\n\
         jobs ended {}/{} ({tasks} tasks), all with digest {digest}\n\
         payments seen {} and all there; proofs {}\n\
         {} rUv sent to the saver: seen {} micro-rUv, holds {}\n\
         back and caught up after {mean:.2} s on average, {slowest:.2} s at most\n\
         block {height}, one root on {NODES} nodes: {root}",
        trial.kills,
        trial.in_the_middle,
        begun.elapsed().as_secs_f64(),
        trial.jobs.len(),
        trial.jobs.len(),
        seen.payments.len(),
        seen.proofs,
        trial.sent,
        seen.saved,
        trial.balance(0),
    );
}
