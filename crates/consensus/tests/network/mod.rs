//! One height of Snowman among many validators, without signatures or bytes: the election of every
//! node, a network whose losses are delays, and Byzantine validators. Fast enough for thousands of
//! seeds of a hundred nodes.
#![allow(dead_code)]

use anthill_consensus::snow::election::{Election, Hash, PollWaits};
use anthill_consensus::snow::parameters::Parameters;
use anthill_consensus::snow::sample::Draw;

/// Length of the time wheel; no delay is longer.
const WHEEL: usize = 4096;
/// Time after which a height counts as stalled, in milliseconds.
pub const LIMIT_MS: u64 = 300_000;
/// A window without a block.
const WINDOW_MS: u64 = 1_000;
const WAITS: PollWaits = PollWaits { poll_ms: 1_000, again_ms: 500, pause_ms: 100 };

/// How a validator behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Honest,
    /// Says nothing.
    Silent,
    /// Proposes two blocks, prefers one before half of the others and one before the rest, and signs
    /// both.
    Equivocating,
    /// Answers with the block that the asker does not prefer, and signs nothing.
    Flipping,
}

/// What one run is about.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub nodes: usize,
    /// Byzantine validators.
    pub byzantine: usize,
    /// Two blocks are proposed at once, and each node hears one of them first.
    pub contested: bool,
    /// All Byzantine validators behave so; each in a way of its own if absent.
    pub only: Option<Role>,
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Blocks with a certificate at some honest node. Two are a fork.
    pub certified: Vec<Hash>,
    /// Blocks that honest nodes have signed. Two are a split: no fork, but perhaps a stall.
    pub signed: Vec<Hash>,
    /// Polls of each honest node when it signed.
    pub rounds: Vec<u32>,
    /// When the last honest node had a certificate; none is a stall.
    pub final_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Block(u32, u8),
    Query { from: u32, to: u32, poll: u32, prefers: u8 },
    Answer { from: u32, to: u32, poll: u32, vote: u8 },
    Signature { from: u32, to: u32, block: u8 },
    Wake(u32),
    Window(u8),
}

struct Node {
    role: Role,
    election: Election,
    /// Blocks that it has or is fetching.
    known: u64,
    wake: u64,
    told: bool,
    done: bool,
}

/// Block numbers are windows times two, plus one for an equivocator's second block.
fn hash(block: u8) -> Hash {
    [block + 1; 32]
}

const NONE: u8 = u8::MAX;

fn number(hash: Option<Hash>) -> u8 {
    hash.map_or(NONE, |hash| hash[0] - 1)
}

struct Network {
    nodes: Vec<Node>,
    wheel: Vec<Vec<Event>>,
    now: u64,
    draw: Draw,
    left: usize,
    outcome: Outcome,
    proposers: Vec<usize>,
}

/// Runs one height.
pub fn run(setup: &Setup) -> Outcome {
    let mut network = Network::new(setup);
    if setup.contested {
        network.contest();
    } else {
        network.open_window(0);
    }
    while network.left > 0 && network.now < LIMIT_MS {
        let due = std::mem::take(&mut network.wheel[network.now as usize % WHEEL]);
        due.into_iter().for_each(|event| network.handle(event));
        network.now += 1;
    }
    let final_ms = (network.left == 0).then_some(network.now);
    Outcome { final_ms, ..network.outcome }
}

impl Network {
    fn new(setup: &Setup) -> Self {
        let mut draw = Draw::new([0x5e; 32], setup.seed);
        let n = setup.nodes;
        let mut roles = vec![Role::Honest; n];
        for role in roles.iter_mut().take(setup.byzantine) {
            let drawn = [Role::Silent, Role::Equivocating, Role::Flipping][draw.below(3) as usize];
            *role = setup.only.unwrap_or(drawn);
        }
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, draw.below(i as u64 + 1) as usize);
        }
        let parameters = Parameters::for_validators(n);
        let node = |(i, role): (usize, Role)| {
            let mut key = [1; 32];
            key[..8].copy_from_slice(&(i as u64).to_be_bytes());
            let draw = Draw::new(key, setup.seed);
            let election = Election::new(parameters, WAITS, vec![1; n], Some(i), draw);
            Node { role, election, known: 0, wake: u64::MAX, told: false, done: false }
        };
        let nodes: Vec<Node> = roles.into_iter().enumerate().map(node).collect();
        let left = n - setup.byzantine;
        let wheel = vec![Vec::new(); WHEEL];
        let outcome = Outcome::default();
        Self { nodes, wheel, now: 0, draw, left, outcome, proposers: order }
    }

    /// Milliseconds of a message: 10 to 90, and for one in twenty, which is lost, those of its
    /// repetition.
    fn delay(&mut self) -> u64 {
        let lost = self.draw.below(20) == 0;
        let again = if lost { 200 + self.draw.below(400) } else { 0 };
        10 + self.draw.below(81) + again
    }

    fn at(&mut self, delay: u64, event: Event) {
        let place = (self.now + delay.max(1)) as usize % WHEEL;
        self.wheel[place].push(event);
    }

    fn send(&mut self, event: Event) {
        let delay = self.delay();
        self.at(delay, event);
    }

    /// Two validators propose at once: each node hears one of the blocks first.
    fn contest(&mut self) {
        for node in 0..self.nodes.len() {
            let first = 2 * self.draw.below(2) as u8;
            self.give(node, first, 0);
            self.give(node, 2 - first, 300);
        }
        self.at(2 * WINDOW_MS, Event::Window(2));
    }

    fn give(&mut self, node: usize, block: u8, later: u64) {
        let delay = self.delay() + later;
        self.at(delay, Event::Block(node as u32, block));
    }

    fn open_window(&mut self, window: u8) {
        let proposer = self.proposers[usize::from(window) % self.proposers.len()];
        let (role, block) = (self.nodes[proposer].role, 2 * window);
        let idle = self.nodes[proposer].known == 0;
        for node in 0..self.nodes.len() {
            match role {
                Role::Silent => {}
                // One half hears one block, the other half the other.
                Role::Equivocating => self.give(node, block + (node % 2) as u8, 0),
                Role::Honest | Role::Flipping if idle => self.give(node, block, 0),
                Role::Honest | Role::Flipping => {}
            }
        }
        if window < 30 {
            self.at(WINDOW_MS + 250 * u64::from(window).min(8), Event::Window(window + 1));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Window(window) => {
                // A validator that has a block proposes none.
                if self.nodes.iter().any(|node| node.role == Role::Honest && node.known == 0) {
                    self.open_window(window);
                }
            }
            Event::Block(node, block) => self.block(node as usize, block),
            Event::Query { from, to, poll, prefers } => self.query(from, to, poll, prefers),
            Event::Answer { from, to, poll, vote } => {
                self.hears_of(to as usize, vote);
                let node = &mut self.nodes[to as usize];
                let vote = (vote != NONE).then(|| hash(vote));
                node.election.answer(poll, from as usize, vote, self.now);
                self.advance(to as usize);
            }
            Event::Signature { from, to, block } => {
                self.hears_of(to as usize, block);
                self.nodes[to as usize].election.signature(from as usize, hash(block));
                self.advance(to as usize);
            }
            Event::Wake(node) => {
                let node = node as usize;
                if self.nodes[node].wake == self.now {
                    self.nodes[node].wake = u64::MAX;
                    let repeat = self.nodes[node].election.tick(self.now);
                    for (poll, validators) in repeat {
                        self.ask(node, poll, &validators);
                    }
                    self.advance(node);
                }
            }
        }
    }

    fn block(&mut self, node: usize, block: u8) {
        self.nodes[node].known |= 1 << block;
        self.nodes[node].election.issue(hash(block), u32::from(block / 2));
        self.advance(node);
    }

    /// A node that hears of a block that it does not have fetches it: a question and an answer.
    fn hears_of(&mut self, node: usize, block: u8) {
        if block != NONE && self.nodes[node].known >> block & 1 == 0 {
            self.nodes[node].known |= 1 << block;
            let delay = self.delay() + self.delay();
            self.at(delay, Event::Block(node as u32, block));
        }
    }

    fn query(&mut self, from: u32, to: u32, poll: u32, prefers: u8) {
        let vote = match self.nodes[to as usize].role {
            Role::Silent => return,
            Role::Honest => {
                self.hears_of(to as usize, prefers);
                number(self.nodes[to as usize].election.vote())
            }
            Role::Flipping => self.another(to as usize, prefers),
            // Even askers hear the lowest block, odd ones the highest.
            Role::Equivocating => self.extreme(to as usize, from.is_multiple_of(2), prefers),
        };
        self.send(Event::Answer { from: to, to: from, poll, vote });
    }

    /// A block other than that one.
    fn another(&mut self, node: usize, block: u8) -> u8 {
        self.hears_of(node, block);
        let known = self.nodes[node].known;
        (0..64).find(|b| known >> b & 1 == 1 && *b != block).unwrap_or(NONE)
    }

    fn extreme(&mut self, node: usize, lowest: bool, heard: u8) -> u8 {
        self.hears_of(node, heard);
        let known = self.nodes[node].known;
        match (known, lowest) {
            (0, _) => NONE,
            (known, true) => known.trailing_zeros() as u8,
            (known, false) => 63 - known.leading_zeros() as u8,
        }
    }

    fn ask(&mut self, from: usize, poll: u32, validators: &[usize]) {
        let prefers = number(self.nodes[from].election.vote());
        for to in validators {
            self.send(Event::Query { from: from as u32, to: *to as u32, poll, prefers });
        }
    }

    fn advance(&mut self, node: usize) {
        match self.nodes[node].role {
            Role::Honest => self.advance_honest(node),
            // Signs two blocks as soon as there are two, each before one half.
            Role::Equivocating
                if !self.nodes[node].told && self.nodes[node].known.count_ones() > 1 =>
            {
                self.nodes[node].told = true;
                let (low, high) = (self.extreme(node, true, NONE), self.extreme(node, false, NONE));
                for to in 0..self.nodes.len() {
                    let block = if to.is_multiple_of(2) { low } else { high };
                    self.send(Event::Signature { from: node as u32, to: to as u32, block });
                }
            }
            _ => {}
        }
    }

    fn advance_honest(&mut self, node: usize) {
        let now = self.now;
        while let Some((poll, asked)) = self.nodes[node].election.begin_poll(now) {
            self.ask(node, poll, &asked);
        }
        let this = &mut self.nodes[node];
        if let Some(block) = this.election.to_sign()
            && this.known >> number(Some(block)) & 1 == 1
        {
            self.outcome.rounds.push(this.election.rounds());
            this.election.sign(block);
            note(&mut self.outcome.signed, block);
            let (from, block) = (node as u32, number(Some(block)));
            for to in (0..self.nodes.len()).filter(|to| *to != node) {
                self.send(Event::Signature { from, to: to as u32, block });
            }
        }
        let this = &mut self.nodes[node];
        if let Some(block) = this.election.certified().filter(|_| !this.done) {
            this.done = true;
            self.left -= 1;
            note(&mut self.outcome.certified, block);
        }
        if let Some(wake) = this.election.next_wake(now).filter(|wake| *wake < this.wake) {
            this.wake = wake.max(now + 1);
            let delay = this.wake - now;
            self.at(delay, Event::Wake(node as u32));
        }
    }
}

fn note(seen: &mut Vec<Hash>, block: Hash) {
    if !seen.contains(&block) {
        seen.push(block);
    }
}

/// Runs seeds on two threads; every other pair of them begins with two blocks.
pub fn campaign(nodes: usize, byzantine: usize, seeds: std::ops::Range<u64>) -> Summary {
    let halves: Vec<Summary> = std::thread::scope(|scope| {
        let half = |odd: u64, seeds: std::ops::Range<u64>| {
            let mut summary = Summary::default();
            for seed in seeds.filter(|seed| seed % 2 == odd) {
                let contested = seed % 4 < 2;
                let setup = Setup { nodes, byzantine, contested, only: None, seed };
                summary.add(seed, &run(&setup));
            }
            summary
        };
        let threads = [0, 1].map(|odd| {
            let seeds = seeds.clone();
            scope.spawn(move || half(odd, seeds))
        });
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let mut all = Summary::default();
    halves.into_iter().for_each(|half| all.merge(half));
    all.sort();
    all
}

/// Times and rounds of many runs.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub runs: usize,
    pub forks: usize,
    pub splits: usize,
    /// Seeds that had no certificate everywhere within [`LIMIT_MS`].
    pub stalled: Vec<u64>,
    /// Milliseconds to finality of the others, ascending.
    pub final_ms: Vec<u64>,
    /// Mean polls of an honest node, by run, ascending.
    pub rounds: Vec<f64>,
}

impl Summary {
    pub fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.runs += 1;
        self.forks += usize::from(outcome.certified.len() > 1);
        self.splits += usize::from(outcome.signed.len() > 1);
        match outcome.final_ms {
            Some(ms) => self.final_ms.push(ms),
            None => self.stalled.push(seed),
        }
        let sum: u32 = outcome.rounds.iter().sum();
        self.rounds.push(f64::from(sum) / outcome.rounds.len().max(1) as f64);
    }

    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.forks += other.forks;
        self.splits += other.splits;
        self.stalled.extend(other.stalled);
        self.final_ms.extend(other.final_ms);
        self.rounds.extend(other.rounds);
    }

    pub fn sort(&mut self) {
        self.final_ms.sort_unstable();
        self.rounds.sort_by(f64::total_cmp);
        self.stalled.sort_unstable();
    }

    /// The time by which `per_mille` of the runs that ended were final.
    pub fn percentile_ms(&self, per_mille: usize) -> u64 {
        let at = (self.final_ms.len() * per_mille / 1000).min(self.final_ms.len().max(1) - 1);
        self.final_ms.get(at).copied().unwrap_or(0)
    }

    /// All of it, with a histogram of the times.
    pub fn describe(&self) -> String {
        let ms = |per_mille| self.percentile_ms(per_mille);
        let mut text = format!(
            "{} seeds: {} forks, {} splits of honest signatures, {} stalls longer than {} s\n\
             final after {} ms (median), {} (90 %), {} (99 %), {} (99.9 %), {} (last)\n",
            self.runs,
            self.forks,
            self.splits,
            self.stalled.len(),
            LIMIT_MS / 1000,
            ms(500),
            ms(900),
            ms(990),
            ms(999),
            ms(1000),
        );
        let bounds = [0, 1, 2, 4, 8, 16, 32, 64, 128, 300];
        for pair in bounds.windows(2) {
            let within = |ms: &&u64| (pair[0] * 1000..pair[1] * 1000).contains(*ms);
            let count = self.final_ms.iter().filter(within).count();
            text += &format!("  {:>3} to {:>3} s: {count}\n", pair[0], pair[1]);
        }
        if !self.stalled.is_empty() {
            text += &format!("  stalled seeds: {:?}\n", self.stalled);
        }
        text
    }

    pub fn mean_rounds(&self) -> f64 {
        self.rounds.iter().sum::<f64>() / self.rounds.len().max(1) as f64
    }

    pub fn mean_ms(&self) -> f64 {
        self.final_ms.iter().sum::<u64>() as f64 / self.final_ms.len().max(1) as f64
    }
}
