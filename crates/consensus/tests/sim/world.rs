//! The simulated network: an event heap, one random stream, nodes with disks.
use anthill_consensus::certificate::{PRECOMMIT, PREVOTE};
use anthill_consensus::{
    Bft, Certificate, Config, Consensus, ConsensusError, Evidence, In, Out, Snowman, Timeouts,
    TimerId, catch_up_message, snow, vote_bytes,
};
use anthill_identity::{KeyPair, verify};
use minicbor::{Decoder, Encoder};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

pub const GENESIS: [u8; 32] = [0x6e; 32];

/// Which back-end runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bft,
    Snowman,
}

/// Both back-ends.
pub const BOTH: [Kind; 2] = [Kind::Bft, Kind::Snowman];

#[derive(Debug, Clone)]
pub struct Plan {
    pub kind: Kind,
    pub nodes: usize,
    pub observers: usize,
    pub seed: u64,
    /// Least and largest delay of a message, in ms: a wide span reorders.
    pub delay: (u64, u64),
    /// Per cent of messages lost.
    pub loss: u64,
    /// Per cent of messages that come twice.
    pub duplicates: u64,
    /// Crashes at random moments, one node at a time, each followed by a restart.
    pub crashes: usize,
    pub equivocator: Option<usize>,
    pub bad_builder: Option<usize>,
    /// Whether a crash loses the log too.
    pub amnesia: bool,
    /// The validator set of a height leaves out one node in turn, from the third height on.
    pub changes: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            kind: Kind::Bft,
            nodes: 4,
            observers: 0,
            seed: 1,
            delay: (1, 30),
            loss: 0,
            duplicates: 0,
            crashes: 0,
            equivocator: None,
            bad_builder: None,
            amnesia: false,
            changes: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Input(usize, u64, Pending),
    Crash(usize),
    Restart(usize),
}

/// An input under way; those of an earlier life of the node are dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Start,
    Message([u8; 32], Vec<u8>),
    Timer(TimerId, u64),
    Build(u64, u32),
    Verified([u8; 32], bool),
}

pub struct Node {
    pub key: KeyPair,
    pub voter: bool,
    pub honest: bool,
    machine: Option<Box<dyn Consensus>>,
    life: u64,
    disk: Vec<Vec<u8>>,
    timers: BTreeMap<TimerId, u64>,
    /// Committed blocks: they are on disk too.
    pub chain: Vec<(Vec<u8>, Certificate)>,
    /// Whom it fetches committed blocks from.
    source: Option<usize>,
    evidence: Vec<Evidence>,
    /// Signed votes that left this node: (height, round, kind) to the hashes voted for.
    votes: BTreeMap<(u64, u32, u8), Voted>,
}

/// Hashes that one node voted for at one place.
type Voted = Vec<Option<[u8; 32]>>;

pub struct World {
    plan: Plan,
    pub validators: Vec<([u8; 32], u64)>,
    pub nodes: Vec<Node>,
    rng: ChaCha8Rng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    pub now: u64,
    pub delivered: u64,
    pub restarts: usize,
    crashes_left: usize,
    /// What nodes said of heights that did not move.
    pub stalls: Vec<String>,
}

fn hash(block: &[u8]) -> [u8; 32] {
    Sha256::digest(block).into()
}

/// Blocks of the tests: `block` or `bad!!`, parent hash, height, builder, a salt.
fn block_hash(block: &[u8]) -> Option<[u8; 32]> {
    (block.len() == 5 + 32 + 8 + 8 + 8).then(|| hash(block))
}

fn machine(kind: Kind, key: Option<KeyPair>) -> Box<dyn Consensus> {
    match kind {
        Kind::Bft => Box::new(Bft::new(Config {
            genesis: GENESIS,
            key,
            timeouts: Timeouts::default(),
            max_block_bytes: 1000,
            block_hash,
        })),
        Kind::Snowman => Box::new(Snowman::new(snow::Config {
            genesis: GENESIS,
            seed: key.as_ref().map_or([0; 32], KeyPair::public),
            key,
            waits: snow::Waits::default(),
            max_block_bytes: 1000,
            block_hash,
            parameters: snow::parameters::Parameters::for_validators,
        })),
    }
}

pub fn is_bad(block: &[u8]) -> bool {
    block.starts_with(b"bad!!")
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut keys: Vec<KeyPair> =
            (0..plan.nodes as u8).map(|i| KeyPair::from_seed([i + 1; 32])).collect();
        keys.sort_by_key(KeyPair::public);
        let validators = keys.iter().map(|key| (key.public(), 10)).collect();
        keys.extend((0..plan.observers as u8).map(|i| KeyPair::from_seed([i + 100; 32])));
        let node = |(i, key): (usize, KeyPair)| Node {
            key,
            voter: i < plan.nodes,
            honest: plan.equivocator != Some(i) && plan.bad_builder != Some(i),
            machine: None,
            life: 0,
            disk: Vec::new(),
            timers: BTreeMap::new(),
            chain: Vec::new(),
            source: None,
            evidence: Vec::new(),
            votes: BTreeMap::new(),
        };
        let nodes = keys.into_iter().enumerate().map(node).collect();
        let rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let mut world = Self {
            validators,
            nodes,
            rng,
            events: BinaryHeap::new(),
            sequence: 0,
            now: 0,
            delivered: 0,
            restarts: 0,
            stalls: Vec::new(),
            crashes_left: plan.crashes,
            plan,
        };
        for node in 0..world.nodes.len() {
            world.boot(node);
        }
        if world.crashes_left > 0 {
            world.plan_crash();
        }
        world
    }

    /// The validators of a height.
    pub fn set(&self, height: u64) -> Vec<([u8; 32], u64)> {
        let mut set = self.validators.clone();
        if self.plan.changes && height > 2 {
            set.remove(height as usize % set.len());
        }
        set
    }

    fn draw(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.now + delay, self.sequence, event)));
    }

    fn input(&mut self, node: usize, delay: u64, pending: Pending) {
        let life = self.nodes[node].life;
        self.at(delay, Event::Input(node, life, pending));
    }

    fn plan_crash(&mut self) {
        self.crashes_left -= 1;
        let (when, node) = (self.draw(900), self.draw(self.plan.nodes as u64));
        // The liar does not crash: more than a third would then be faulty at a time.
        let node = node as usize;
        let node = if self.nodes[node].honest { node } else { (node + 1) % self.plan.nodes };
        self.at(when, Event::Crash(node));
    }

    pub fn honest(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.honest)
    }

    pub fn up_to(&self, height: u64) -> bool {
        self.honest().all(|node| node.machine.is_none() || node.chain.len() as u64 >= height)
            && self.crashes_left == 0
    }

    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.honest().flat_map(|node| &node.evidence)
    }

    pub fn summary(&self) -> String {
        let heights: Vec<usize> = self.nodes.iter().map(|node| node.chain.len()).collect();
        format!("{heights:?} at {} ms; {:?}", self.now, self.stalls)
    }

    /// A node as a new process, with what is on its disk.
    fn boot(&mut self, node: usize) {
        let kind = self.plan.kind;
        let this = &mut self.nodes[node];
        let mut machine = machine(kind, this.voter.then(|| this.key.clone()));
        let entries = this.disk.clone();
        assert!(machine.step(In::Replay(entries), self.now).unwrap().is_empty());
        this.machine = Some(machine);
        this.life += 1;
        this.timers.clear();
        self.input(node, 1, Pending::Start);
    }

    pub fn crash(&mut self, node: usize) {
        self.nodes[node].machine = None;
        self.nodes[node].life += 1;
        if self.plan.amnesia {
            self.nodes[node].disk.clear();
        }
    }

    pub fn restart(&mut self, node: usize) {
        self.restarts += 1;
        self.boot(node);
    }

    pub fn run_for(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.events.peek().is_some_and(|Reverse((at, _, _))| *at <= end) {
            self.next();
        }
        self.now = end;
    }

    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool, limit_ms: u64) {
        while !done(self) && self.now < limit_ms && !self.events.is_empty() {
            self.next();
        }
    }

    fn next(&mut self) {
        let Some(Reverse((at, _, event))) = self.events.pop() else { return };
        self.now = at;
        match event {
            Event::Crash(node) => {
                self.crash(node);
                let down = 50 + self.draw(1500);
                self.at(down, Event::Restart(node));
            }
            Event::Restart(node) => {
                self.restart(node);
                if self.crashes_left > 0 {
                    self.plan_crash();
                }
            }
            Event::Input(node, life, pending) => {
                if self.nodes[node].life == life && self.nodes[node].machine.is_some() {
                    self.feed(node, pending);
                }
            }
        }
    }

    fn feed(&mut self, node: usize, pending: Pending) {
        let this = &mut self.nodes[node];
        let input = match pending {
            Pending::Start => {
                let height = this.chain.len() as u64 + 1;
                // Fetching goes on while the source has more.
                if let Some(source) = this.source {
                    self.send_block(source, node, height);
                }
                In::Start { height, validators: self.set(height), beacon: [height as u8; 32] }
            }
            Pending::Message(from, bytes) => {
                self.delivered += 1;
                In::Message { from, bytes }
            }
            Pending::Timer(id, set) => {
                if this.timers.get(&id) != Some(&set) {
                    return;
                }
                this.timers.remove(&id);
                In::Timer(id)
            }
            Pending::Build(height, round) => {
                let block = self.build(node, height);
                In::Built { height, round, hash: hash(&block), block }
            }
            Pending::Verified(hash, ok) => In::Verified { hash, ok },
        };
        let outs = self.nodes[node].machine.as_mut().unwrap().step(input, self.now);
        let outs = match outs {
            Ok(outs) => outs,
            // What the liar sends may be refused; nothing else may fail.
            Err(ConsensusError::Refused(_)) if self.plan.equivocator.is_some() => return,
            Err(error) => panic!("node {node}: {error}; {}", self.summary()),
        };
        // A crash may come between any two effects: what follows it never happens.
        let cut = (self.crashes_left > 0 && self.draw(400) == 0)
            .then(|| self.draw(outs.len() as u64 + 1));
        for (i, out) in outs.into_iter().enumerate() {
            if cut == Some(i as u64) && self.nodes[node].honest {
                self.crash(node);
                let down = 50 + self.draw(500);
                self.at(down, Event::Restart(node));
                return;
            }
            self.carry_out(node, out);
        }
    }

    fn build(&mut self, node: usize, height: u64) -> Vec<u8> {
        let salt = self.draw(u64::MAX);
        let tag = if self.plan.bad_builder == Some(node) { b"bad!!" } else { b"block" };
        let parent = self.nodes[node].chain.last().map_or([0; 32], |(block, _)| hash(block));
        let numbers = [height, node as u64, salt].map(u64::to_be_bytes).concat();
        [tag.as_slice(), &parent, &numbers].concat()
    }

    fn is_valid(&self, node: usize, height: u64, block: &[u8]) -> bool {
        let chain = &self.nodes[node].chain;
        let parent = chain.last().map_or([0; 32], |(block, _)| hash(block));
        !is_bad(block)
            && height == chain.len() as u64 + 1
            && block[5..37] == parent
            && block[37..45] == height.to_be_bytes()
    }

    fn carry_out(&mut self, node: usize, out: Out) {
        match out {
            Out::Broadcast(bytes) => self.broadcast(node, bytes),
            Out::Ask { validator: to, bytes } | Out::Reply { to, bytes } => {
                let to = self.position(to);
                let bytes = self.flipped(node, bytes);
                self.post(node, to, bytes);
            }
            Out::Stalled { detail, .. } => self.stalls.push(detail),
            Out::Help { to, height } => {
                let to = self.position(to);
                self.send_block(node, to, height);
            }
            Out::Behind { peer, .. } => {
                let peer = self.position(peer);
                let next = self.nodes[node].chain.len() as u64 + 1;
                self.nodes[node].source = Some(peer);
                self.send_block(peer, node, next);
            }
            Out::SetTimer { id, after_ms } => {
                self.sequence += 1;
                let set = self.sequence;
                self.nodes[node].timers.insert(id, set);
                self.input(node, after_ms, Pending::Timer(id, set));
            }
            Out::CancelTimer(id) => {
                self.nodes[node].timers.remove(&id);
            }
            Out::BuildBlock { height, round, deadline_ms } => {
                assert!(deadline_ms > self.now);
                let delay = 1 + self.draw(40);
                self.input(node, delay, Pending::Build(height, round));
            }
            Out::Verify { height, hash: of, block, .. } => {
                assert_eq!(hash(&block), of);
                let ok = self.is_valid(node, height, &block);
                let delay = 1 + self.draw(40);
                self.input(node, delay, Pending::Verified(of, ok));
            }
            Out::Persist(entry) => self.nodes[node].disk.push(entry),
            Out::Evidence(evidence) => self.nodes[node].evidence.push(evidence),
            Out::Commit { height, hash: of, block, certificate, .. } => {
                assert_eq!((hash(&block), certificate.block_hash), (of, of));
                assert!(self.is_valid(node, height, &block), "an invalid block was committed");
                let this = &mut self.nodes[node];
                assert_eq!(height, this.chain.len() as u64 + 1);
                this.chain.push((block, certificate));
                this.disk.clear();
                let pause = 1 + self.draw(60);
                self.input(node, pause, Pending::Start);
            }
        }
    }

    fn position(&self, key: [u8; 32]) -> usize {
        self.nodes.iter().position(|node| node.key.public() == key).unwrap()
    }

    /// Sends a committed block from the disk of `from`, if it is there.
    fn send_block(&mut self, from: usize, to: usize, height: u64) {
        let found = self.nodes[from].chain.get(height as usize - 1);
        if let Some((block, certificate)) = found {
            let message = catch_up_message(certificate, block);
            self.post(from, to, message);
        }
    }

    fn broadcast(&mut self, node: usize, bytes: Vec<u8>) {
        self.note_vote(node, &bytes);
        let other = (self.plan.equivocator == Some(node)).then(|| self.contradiction(node, &bytes));
        for to in 0..self.nodes.len() {
            if to == node {
                continue;
            }
            // The liar tells the two halves different things, and some both.
            let message = match other.clone().flatten() {
                Some(other) if to % 2 == 0 => {
                    if self.draw(2) == 0 {
                        self.post(node, to, bytes.clone());
                    }
                    other
                }
                _ => bytes.clone(),
            };
            self.post(node, to, message);
        }
    }

    fn post(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let (least, most) = self.plan.delay;
        let copies = 1 + u64::from(self.draw(100) < self.plan.duplicates);
        for _ in 0..copies {
            let delay = least + self.draw(most - least + 1);
            if self.draw(100) >= self.plan.loss {
                let sender = self.nodes[from].key.public();
                self.input(to, delay, Pending::Message(sender, bytes.clone()));
            }
        }
    }

    /// Reads a vote message: `[0, [kind, height, round, hash or null, validator, signature]]`.
    fn note_vote(&mut self, node: usize, bytes: &[u8]) {
        let Some((kind, height, round, hash, validator)) = read_vote(bytes) else { return };
        let this = &mut self.nodes[node];
        assert_eq!(validator, this.key.public(), "a vote of another was broadcast");
        let seen = this.votes.entry((height, round, kind)).or_default();
        if !seen.contains(&hash) {
            seen.push(hash);
        }
    }

    /// Places at which an honest node signed two different votes.
    pub fn conflicting_votes(&self) -> usize {
        let votes = self.honest().flat_map(|node| node.votes.values());
        votes.filter(|hashes| hashes.len() > 1).count()
    }

    pub fn check_no_honest_equivocation(&self) {
        for (i, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.honest) {
            for (place, hashes) in &node.votes {
                assert_eq!(hashes.len(), 1, "node {i} signed {hashes:?} at {place:?}");
            }
        }
    }

    /// The liar's answers to polls (`[6, height, poll, nonce, hash]`) name a block that nobody has.
    fn flipped(&self, node: usize, mut bytes: Vec<u8>) -> Vec<u8> {
        let answer = bytes.get(1) == Some(&6);
        if let Some(last) = bytes.last_mut().filter(|_| answer && !self.nodes[node].honest) {
            *last = if *last == 0xf6 { 0xf6 } else { !*last };
        }
        bytes
    }

    /// A message that contradicts `bytes`, signed by the same node.
    fn contradiction(&mut self, node: usize, bytes: &[u8]) -> Option<Vec<u8>> {
        let key = self.nodes[node].key.clone();
        if let Some((kind, height, round, hash, _)) = read_vote(bytes) {
            let none = hash.is_some() && self.plan.kind == Kind::Bft;
            let other = if none { None } else { Some([0xee; 32]) };
            assert!(kind == PREVOTE || kind == PRECOMMIT);
            let message = vote_bytes(&GENESIS, kind, height, round, other.as_ref());
            let signature = key.sign_bytes(&message);
            return Some(encode(|e| {
                e.array(2)?.u8(0)?.array(6)?.u8(kind)?.u64(height)?.u32(round)?;
                match other {
                    Some(hash) => e.bytes(&hash)?,
                    None => e.null()?,
                };
                e.bytes(&key.public())?.bytes(&signature)?;
                Ok(())
            }));
        }
        let (height, round) = read_proposal(bytes)?;
        let block = self.build(node, height);
        let of = hash(&block);
        let body = encode(|e| {
            e.array(4)?.u64(height)?.u32(round)?.null()?.bytes(&of)?;
            Ok(())
        });
        let signature = key.sign("proposal", &GENESIS, &body);
        Some(encode(|e| {
            e.array(3)?.u8(1)?.array(6)?.u64(height)?.u32(round)?.null()?.bytes(&of)?;
            e.bytes(&key.public())?.bytes(&signature)?.bytes(&block)?;
            Ok(())
        }))
    }
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encode(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).unwrap();
    bytes
}

type VoteFields = (u8, u64, u32, Option<[u8; 32]>, [u8; 32]);

fn read_vote(bytes: &[u8]) -> Option<VoteFields> {
    let mut d = Decoder::new(bytes);
    d.array().unwrap();
    if d.u8().unwrap() != 0 {
        return None;
    }
    d.array().unwrap();
    let (kind, height, round) = (d.u8().unwrap(), d.u64().unwrap(), d.u32().unwrap());
    let hash = match d.datatype().unwrap() {
        minicbor::data::Type::Null => {
            d.null().unwrap();
            None
        }
        _ => Some(d.bytes().unwrap().try_into().unwrap()),
    };
    Some((kind, height, round, hash, d.bytes().unwrap().try_into().unwrap()))
}

/// Height and round of a proposal message.
fn read_proposal(bytes: &[u8]) -> Option<(u64, u32)> {
    let mut d = Decoder::new(bytes);
    d.array().unwrap();
    if d.u8().unwrap() != 1 {
        return None;
    }
    d.array().unwrap();
    Some((d.u64().unwrap(), d.u32().unwrap()))
}

pub fn check_evidence(evidence: &Evidence) {
    let Evidence { validator, first, second, .. } = evidence;
    assert_ne!(first.body, second.body);
    for statement in [first, second] {
        verify(validator, statement.kind, &GENESIS, &statement.body, &statement.signature).unwrap();
    }
}
