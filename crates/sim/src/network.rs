//! The simulated network: connections, delays, and everything that is wrong with them.

use std::sync::Arc;

use anthill_engine::wire::Request;
use anthill_types::Wire;

use crate::node::Node;
use crate::plan::{Fault, FaultKind};
use crate::trace::What;
use crate::world::{Delivery, Event, World};

/// How long a peer waits for an answer.
const ANSWER_MS: u64 = 4_900;

impl World {
    pub(crate) fn broadcast(&mut self, node: usize, bytes: Vec<u8>) {
        self.check_words(node, &bytes);
        let Some(process) = &self.nodes[node].process else { return };
        let peers: Vec<usize> = process.peers.iter().copied().collect();
        let bytes: Arc<[u8]> = bytes.into();
        for (place, to) in peers.into_iter().enumerate() {
            if self.withholds(node, place == 0, &bytes) {
                continue;
            }
            let altered = self.contradict(node, to, &bytes);
            self.send(node, to, altered.unwrap_or_else(|| bytes.clone()));
        }
    }

    /// Sends a frame over a connection, through whatever is wrong with the network.
    pub(crate) fn send(&mut self, from: usize, to: usize, bytes: Arc<[u8]>) {
        let connected = self.nodes[from].process.as_ref().is_some_and(|p| p.peers.contains(&to));
        if !connected || self.nodes[to].process.is_none() {
            return;
        }
        let Some(delays) = self.travel(from, to) else { return };
        for (delay, corrupt) in delays {
            let (life, sent) = (self.nodes[to].life, self.now);
            let bytes = if corrupt { self.corrupt(&bytes) } else { bytes.clone() };
            let frame = Delivery::Frame { from, sent, altered: corrupt, bytes };
            self.at(delay, Event::Input(to, life, frame));
        }
    }

    fn corrupt(&mut self, bytes: &[u8]) -> Arc<[u8]> {
        let mut altered = bytes.to_vec();
        let place = self.rng.below(altered.len() as u64) as usize;
        if let Some(byte) = altered.get_mut(place) {
            *byte ^= 1 << self.rng.below(8);
        }
        altered.into()
    }

    /// When a message arrives: none when it is lost, two when it is doubled.
    pub(crate) fn travel(&mut self, from: usize, to: usize) -> Option<Vec<(u64, bool)>> {
        if self.is_severed(from, to) {
            self.marks.hit("guard: a quarantine cut a message");
            return None;
        }
        let (mut loss, mut double, mut late, mut corrupt) = (0, 0, 0, 0);
        for fault in self.active.iter().filter_map(|i| self.plan.faults.get(*i)) {
            if let Some(why) = cut_by(fault, from, to, &self.nodes) {
                self.marks.hit(why);
                self.trace.line(self.now, Some(from), || What::Lost { to, why });
                return None;
            }
            match fault.kind {
                FaultKind::Loss(rate) => loss = rate,
                FaultKind::Duplicate(rate) => double = rate,
                FaultKind::Reorder(rate) => late = rate,
                FaultKind::Corrupt(rate) => corrupt = rate,
                _ => {}
            }
        }
        if loss > 0 && self.rng.chance(loss) {
            self.marks.hit("fault: message lost");
            let why = "lost";
            self.trace.line(self.now, Some(from), || What::Lost { to, why });
            return None;
        }
        let copies = if double > 0 && self.rng.chance(double) { 2 } else { 1 };
        self.marks.add("fault: message duplicated", copies - 1);
        let mut delays = Vec::with_capacity(copies as usize);
        for _ in 0..copies {
            delays.push((self.delay(from, to, late), self.is_corrupt(corrupt)));
        }
        Some(delays)
    }

    fn is_corrupt(&mut self, rate: u64) -> bool {
        let corrupt = rate > 0 && self.rng.chance(rate);
        self.marks.add("fault: message corrupted", u64::from(corrupt));
        corrupt
    }

    fn delay(&mut self, from: usize, to: usize, late: u64) -> u64 {
        let (least, most) = self.plan.latency;
        let delay = self.rng.between(least, most);
        if late > 0 && self.rng.chance(late) {
            self.marks.hit("fault: message delayed out of order");
            return delay + self.rng.between(100, 2_000);
        }
        let link = from * self.nodes.len() + to;
        let at = (self.now + delay).max(self.links[link]);
        self.links[link] = at;
        at - self.now
    }

    pub(crate) fn ask(&mut self, node: usize, peer: &[u8; 32], bytes: Vec<u8>) {
        let Some(peer) = self.index(peer) else { return };
        let from = (node, self.nodes[node].life);
        let lives = self.nodes[peer].process.is_some();
        let trip = if lives { self.travel(node, peer) } else { None };
        match trip.and_then(|delays| delays.first().copied()) {
            Some((delay, _)) => {
                let life = self.nodes[peer].life;
                self.at(delay, Event::Input(peer, life, Delivery::Ask { from, bytes }));
            }
            None => self.no_answer(from, peer),
        }
    }

    fn no_answer(&mut self, to: (usize, u32), peer: usize) {
        let reply = Err("no answer".to_string());
        self.at(ANSWER_MS, Event::Input(to.0, to.1, Delivery::Answer { peer, reply }));
    }

    pub(crate) fn answer(&mut self, node: usize, from: (usize, u32), bytes: &[u8]) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Ok(request) = Request::from_bytes(bytes) else { return self.no_answer(from, node) };
        let reply = match process.engine.answer(&request) {
            Ok(reply) => reply,
            Err(_) => return self.no_answer(from, node),
        };
        let reply = self.forge_answer(node, &request, reply);
        match self.travel(node, from.0).and_then(|delays| delays.first().copied()) {
            Some((delay, corrupt)) => {
                let reply = if corrupt { self.corrupt(&reply).to_vec() } else { reply };
                let delivery = Delivery::Answer { peer: node, reply: Ok(reply) };
                self.at(delay, Event::Input(from.0, from.1, delivery));
            }
            None => self.no_answer(from, node),
        }
    }
}

/// Why a fault cuts a link, if it does.
fn cut_by(fault: &Fault, from: usize, to: usize, nodes: &[Node]) -> Option<&'static str> {
    let has = |set: u32, node: usize| set >> node & 1 == 1;
    match fault.kind {
        FaultKind::Partition { side } => {
            (has(side, from) != has(side, to)).then_some("fault: partition cut a message")
        }
        FaultKind::OneWay { from: a, to: b } => {
            (has(a, from) && has(b, to)).then_some("fault: one-way cut took a message")
        }
        FaultKind::Eclipse { victim } if from == victim || to == victim => {
            let other = if from == victim { to } else { from };
            nodes[other].role.is_honest().then_some("fault: eclipse")
        }
        _ => None,
    }
}
