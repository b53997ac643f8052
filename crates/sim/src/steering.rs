//! The controllers of a cluster under faults: who misbehaves is cut off, and let back.
//!
//! A small world of its own beside each seed's cluster, with the state machines that the product has
//! ([`Controller`], [`Warden`]) and random numbers of its own, so that the cluster's run stays the same
//! to the byte. Peers send a frame to each other every half second; some send malformed ones for a
//! while. Frames are lost, doubled and altered on the way, and a node crashes and forgets what it held.

use anthill_scheduler::controller::warden::{LEAST, LONGEST_MS, Order, Warden};
use anthill_scheduler::controller::{Action, Controller, Features, Settings};

use crate::marks::Marks;
use crate::rng::Rng;

/// Milliseconds between two frames of a link.
const FRAME_MS: u64 = 500;
/// Simulated milliseconds.
const LENGTH_MS: u64 = 900_000;
/// Milliseconds of malformed frames after which the sender must be cut off.
const PATIENCE_MS: u64 = 30_000;
/// How much slower than the seed's loop a node's is.
const SLOWER: f64 = 1000.0;

/// One node: its loop, and what it knows of the others.
struct Node {
    controller: Controller,
    warden: Warden<usize>,
    next_beat_ms: u64,
    /// Since when each peer's malformed frames reach it, if they do.
    suffers: Vec<Option<u64>>,
}

impl Node {
    fn start(peers: usize, now_ms: u64) -> Option<Self> {
        Some(Self {
            controller: Controller::new(Settings::default().slowed(SLOWER)).ok()?,
            warden: Warden::default(),
            next_beat_ms: now_ms,
            suffers: vec![None; peers],
        })
    }
}

/// Who misbehaves from when until when, and how many malformed frames a send holds.
struct Bad {
    node: usize,
    from_ms: u64,
    until_ms: u64,
    frames: u64,
}

/// A run.
struct Steering {
    rng: Rng,
    now_ms: u64,
    nodes: Vec<Node>,
    bad: Vec<Bad>,
    /// Per mille of frames lost, doubled and altered while faults last.
    faults: [u64; 3],
    faults_until_ms: u64,
    crash: (usize, u64),
    marks: Marks,
    broken: Option<String>,
}

/// Runs a seed; gives what was met and what must never happen, if it did.
pub fn run(seed: u64) -> (Marks, Option<String>) {
    let Some(mut steering) = Steering::new(seed) else {
        return (Marks::default(), Some("steering: the default settings are refused".into()));
    };
    while steering.now_ms < LENGTH_MS && steering.broken.is_none() {
        steering.frames();
        steering.beats();
        steering.now_ms += FRAME_MS;
    }
    steering.end();
    (steering.marks, steering.broken)
}

impl Steering {
    fn new(seed: u64) -> Option<Self> {
        let mut rng = Rng::new(seed, 14);
        let count = rng.between(4, 10) as usize;
        let nodes: Vec<Node> =
            (0..count).map(|_| Node::start(count, rng.below(4_000))).collect::<Option<_>>()?;
        let most = (count - 1) / 3;
        let bad = (0..rng.between(1, most as u64) as usize)
            .map(|node| {
                let from_ms = rng.between(0, 120_000);
                let until_ms = from_ms + rng.between(40_000, 160_000);
                Bad { node, from_ms, until_ms, frames: rng.between(3, 20) }
            })
            .collect();
        let faults = [rng.below(100), rng.below(50), rng.below(10)];
        let crash = (rng.between(most as u64, count as u64 - 1) as usize, rng.below(LENGTH_MS));
        Some(Self {
            rng,
            now_ms: 0,
            nodes,
            bad,
            faults,
            faults_until_ms: 300_000,
            crash,
            marks: Marks::default(),
            broken: None,
        })
    }

    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(format!("steering: {what}"));
    }

    /// Malformed frames that a node sends at once now.
    fn malice(&self, node: usize) -> u64 {
        let now = self.now_ms;
        let acts = |b: &&Bad| b.node == node && (b.from_ms..b.until_ms).contains(&now);
        self.bad.iter().find(acts).map_or(0, |b| b.frames)
    }

    /// Every node sends to every other.
    fn frames(&mut self) {
        if self.crash.1 / FRAME_MS == self.now_ms / FRAME_MS
            && let Some(fresh) = Node::start(self.nodes.len(), self.now_ms)
        {
            self.nodes[self.crash.0] = fresh;
            self.marks.hit("controller: a node forgot whom it held");
        }
        for from in 0..self.nodes.len() {
            let malice = self.malice(from);
            for to in (0..self.nodes.len()).filter(|to| *to != from) {
                self.frame(from, to, malice);
            }
        }
    }

    fn frame(&mut self, from: usize, to: usize, malice: u64) {
        let [lost, doubled, altered] = match self.now_ms < self.faults_until_ms {
            true => self.faults,
            false => [0; 3],
        };
        if self.nodes[to].warden.holds(&from) {
            self.marks.hit("controller: a quarantine cut a frame");
            self.nodes[to].suffers[from] = None;
            return;
        }
        if self.rng.chance(lost) {
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(doubled));
        let wrong = malice * copies + u64::from(self.rng.chance(altered));
        let now_ms = self.now_ms;
        let node = &mut self.nodes[to];
        if wrong > 0 {
            node.warden.note(from, wrong);
        }
        node.suffers[from] = match node.suffers[from] {
            _ if malice == 0 => None,
            None => Some(now_ms),
            since => since,
        };
    }

    fn beats(&mut self) {
        for at in 0..self.nodes.len() {
            if self.now_ms < self.nodes[at].next_beat_ms {
                continue;
            }
            let most = (self.nodes.len() - 1) / 3;
            let node = &mut self.nodes[at];
            let features = Features { anoms: node.warden.anomalies(), ..Features::default() };
            let beat = node.controller.beat(&features, self.now_ms as f64 / 1000.0);
            let orders = node.warden.act(beat.action, most, self.now_ms);
            node.next_beat_ms = self.now_ms + (beat.t_lambda * 1000.0) as u64;
            let sum = beat.weights.sum();
            if (sum - 1.0).abs() > 1e-9 {
                self.breaks(format!("the weights of node {at} sum to {sum}"));
            }
            self.marks.add("controller: alert", u64::from(beat.action == Action::Alert));
            orders.into_iter().for_each(|order| self.obey(at, order));
            self.check(at, most);
        }
    }

    fn obey(&mut self, at: usize, order: Order<usize>) {
        match order {
            Order::Cut(peer, until_ms) => {
                self.marks.hit("controller: peer cut off");
                if !self.bad.iter().any(|b| b.node == peer && b.from_ms <= self.now_ms) {
                    self.breaks(format!("node {at} cut off node {peer}, which did nothing"));
                }
                if until_ms > self.now_ms + LONGEST_MS {
                    self.breaks(format!("node {at} cuts node {peer} off for too long"));
                }
            }
            Order::Release(_) => self.marks.hit("controller: peer let back"),
        }
    }

    /// Nobody's malformed frames are suffered for long, unless as many are held as may be.
    fn check(&mut self, at: usize, most: usize) {
        let (node, now_ms) = (&self.nodes[at], self.now_ms);
        let late = |since: &Option<u64>| since.is_some_and(|s| now_ms - s > PATIENCE_MS);
        let suffered = node.suffers.iter().position(late);
        let held = node.warden.held();
        if let Some(peer) = suffered.filter(|_| held < most) {
            self.breaks(format!("node {at} suffers node {peer} for more than {PATIENCE_MS} ms"));
        }
        if held > most {
            self.breaks(format!("node {at} holds more than {most} peers"));
        }
    }

    /// Long after the last wrong everybody is let back.
    fn end(&mut self) {
        let kept = self.nodes.iter().position(|node| node.warden.held() > 0);
        if let Some(node) = kept {
            self.breaks(format!("node {node} still holds a peer that behaves"));
        }
    }
}

/// A malformed frame a send, or fewer, is never a reason to cut somebody off at once.
const _: () = assert!(LEAST > 1);
