//! The controllers of the cluster's nodes: what each sees go wrong in its own messages and guests, and
//! the peers that it cuts off for it. The checks of the cluster run all the while.

use std::collections::BTreeMap;

use anthill_scheduler::controller::warden::{Order, Warden};
use anthill_scheduler::controller::{Action, Controller, Features, Settings};

use crate::world::{Delivery, Event, World};

/// How much slower than the seed's loop a node's is: a beat takes some four seconds.
const SLOWER: f64 = 1000.0;
/// Simulated milliseconds that the release of a peer may take beyond its time: some beats, and a disk
/// that holds its node up.
const LATE_MS: u64 = 20_000;

/// A node's controller and warden.
pub struct Guard {
    controller: Controller,
    warden: Warden<usize>,
    /// Anomalies of this beat that are nobody's.
    unnamed: u64,
    /// Until when each peer is cut off, in simulated time.
    until: BTreeMap<usize, u64>,
}

impl Guard {
    /// A controller that has seen nothing.
    pub fn new() -> Option<Self> {
        let controller = Controller::new(Settings::default().slowed(SLOWER)).ok()?;
        Some(Self { controller, warden: Warden::default(), unnamed: 0, until: BTreeMap::new() })
    }
}

impl World {
    /// A process begins: its controller beats from now on. In every second cluster only, since
    /// elsewhere floods and forgeries are to go on for longer than a controller lets them.
    pub(crate) fn begin_beats(&mut self, node: usize) {
        if self.plan.seed % 2 == 1 {
            return;
        }
        let life = self.nodes[node].life;
        let delay = self.guests.rng.below(4_000);
        self.at(delay, Event::Input(node, life, Delivery::Beat));
    }

    fn guard(&mut self, node: usize) -> Option<&mut Guard> {
        self.nodes[node].process.as_mut()?.guard.as_mut()
    }

    /// A peer sent a node what is no message. The transport signs what it carries: what a fault of the
    /// plan has altered is not held against its sender.
    pub(crate) fn blame(&mut self, node: usize, peer: &[u8; 32]) {
        let Some(peer) = self.index(peer).filter(|_| !self.altered) else { return };
        if let Some(guard) = self.guard(node) {
            guard.warden.note(peer, 1);
        }
    }

    /// Something went wrong that is no peer's doing: a fault of a guest, a move that came back.
    pub(crate) fn wonder(&mut self, node: usize) {
        if let Some(guard) = self.guard(node) {
            guard.unnamed += 1;
        }
    }

    /// True when one of two nodes has cut the other off.
    pub(crate) fn is_severed(&self, a: usize, b: usize) -> bool {
        let holds = |node: usize, peer: usize| {
            let process = self.nodes[node].process.as_ref();
            let guard = process.and_then(|process| process.guard.as_ref());
            guard.is_some_and(|guard| guard.warden.holds(&peer))
        };
        holds(a, b) || holds(b, a)
    }

    /// One beat of a node's controller.
    pub(crate) fn beat(&mut self, node: usize) {
        let (clock, now, life) = (self.clock(node), self.now, self.nodes[node].life);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        // As the node does: whoever sees ghosts must not cut itself off from everybody.
        let most = (process.peers.len() / 3).max(1);
        let Some(guard) = process.guard.as_mut() else { return };
        let anoms = guard.warden.anomalies() + std::mem::take(&mut guard.unnamed);
        let features = Features { anoms, ..Features::default() };
        let beat = guard.controller.beat(&features, now as f64 / 1000.0);
        let orders = guard.warden.act(beat.action, most, clock);
        self.marks.add("guard: alert", u64::from(beat.action == Action::Alert));
        for order in orders {
            self.obey_order(node, order, clock);
        }
        self.check_guard(node);
        let delay = (beat.t_lambda * 1000.0) as u64;
        self.at(delay.max(1), Event::Input(node, life, Delivery::Beat));
    }

    fn obey_order(&mut self, node: usize, order: Order<usize>, clock: u64) {
        match order {
            Order::Cut(peer, until) => {
                self.marks.hit("guard: peer cut off");
                self.note(Some(node), || format!("cuts node {peer} off"));
                if self.nodes[node].role.is_honest() && self.nodes[peer].role.is_honest() {
                    return self.breaks(format!(
                        "node {node} cuts off node {peer}, which is honest as it is itself"
                    ));
                }
                let ends = self.now + until.saturating_sub(clock);
                if let Some(guard) = self.guard(node) {
                    guard.until.insert(peer, ends);
                }
                self.disconnect(node, peer);
            }
            Order::Release(peer) => {
                self.marks.hit("guard: peer let back");
                if let Some(guard) = self.guard(node) {
                    guard.until.remove(&peer);
                }
                self.connect(node, peer);
            }
        }
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        for (node, peer) in [(a, b), (b, a)] {
            let (life, gone) = (self.nodes[node].life, self.nodes[peer].life);
            self.at(1, Event::Input(node, life, Delivery::Down(peer, gone)));
        }
    }

    /// Two processes connect, if both run and neither has cut the other off.
    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        if self.nodes[a].process.is_none() || self.nodes[b].process.is_none() {
            return;
        }
        let delay = self.guests.rng.between(1, 200);
        for (node, peer) in [(a, b), (b, a)] {
            let life = self.nodes[node].life;
            self.at(delay, Event::Input(node, life, Delivery::Up(peer)));
        }
    }

    /// Never more than a third are cut off, and nobody for longer than ordered.
    fn check_guard(&mut self, node: usize) {
        let (now, all) = (self.now, self.nodes.len());
        let Some(guard) = self.guard(node) else { return };
        let held = guard.warden.held();
        let late = guard.until.iter().find(|(_, until)| now > **until + LATE_MS);
        let late = late.map(|(peer, _)| *peer);
        if held > (all / 3).max(1) {
            return self.breaks(format!("node {node} has cut off {held} of {all}"));
        }
        if let Some(peer) = late {
            self.breaks(format!("node {node} does not let node {peer} back"));
        }
    }
}
