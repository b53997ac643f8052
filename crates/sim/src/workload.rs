//! What the users of a simulated cluster ask for, and who joins it.

use std::collections::BTreeSet;

use anthill_engine::beacon::BeaconChain;
use anthill_identity::KeyPair;
use anthill_types::task::{program, task_id};
use anthill_types::{
    AccountId, Admission, Admit, Amount, Body, Bytes, Cid, Digest, NodeKey, Signature,
    SignedAdmission, TaskId, TaskSpec, Transaction, Wire,
};

use crate::node::BASE_MS;
use crate::program::chain_id;
use crate::rng::Rng;
use crate::world::{Event, World};

/// The workload's own state.
pub struct Workload {
    pub(crate) rng: Rng,
    /// Joiners that have been asked for and are not in the state yet.
    pub waiting: Vec<usize>,
    /// The newest tasks, with the node that submitted each.
    recent: Vec<(usize, TaskId)>,
    /// Tasks that their submitter has asked to take back.
    pub(crate) cancelled: BTreeSet<TaskId>,
    /// A stream of its own, so that cancellations leave the rest of a seed's workload as it was.
    cancels: Rng,
}

/// Tasks among which one to cancel is picked.
const RECENT: usize = 12;

impl Workload {
    /// The workload of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed, 4),
            waiting: Vec::new(),
            recent: Vec::new(),
            cancelled: BTreeSet::new(),
            cancels: Rng::new(seed, 11),
        }
    }
}

impl World {
    /// Submits one thing and plans the next; nothing new comes after the faults are over.
    pub(crate) fn work(&mut self) {
        if self.healed {
            return;
        }
        self.invite();
        let running: Vec<usize> = self
            .nodes
            .iter()
            .filter(|n| n.process.is_some() && !n.tainted)
            .map(|n| n.index)
            .collect();
        if self.workload.rng.chance(80) {
            for node in &running {
                let ballot = self.ballot();
                if let Some(body) = ballot {
                    self.submit(*node, body);
                }
            }
        }
        if let Some(node) = self.workload.rng.pick(&running).copied() {
            let body = self.body(node);
            self.submit(node, body);
        }
        self.cancel();
        self.submit_guests(&running);
        let mean = self.plan.work_every_ms;
        let delay = self.workload.rng.between(mean / 4, mean * 7 / 4);
        self.at(delay, Event::Work);
    }

    pub(crate) fn submit(&mut self, node: usize, body: Body) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let count = if let Body::SubmitTasks(specs) = &body { specs.len() as u64 } else { 0 };
        let taken = process.engine.submit(body);
        if let Ok(submitted) = &taken {
            let id = |n| (node, task_id(&submitted.sender, submitted.sequence + n));
            self.workload.recent.extend((0..count).map(id));
            let old = self.workload.recent.len().saturating_sub(RECENT);
            self.workload.recent.drain(..old);
        }
        match taken {
            Ok(submitted) => self.note(Some(node), || format!("submits {}", submitted.id)),
            Err(_) => self.marks.hit("transaction: refused"),
        }
        self.after_step(node);
    }

    /// Now and then a submitter takes one of its newest tasks back, or tries to.
    fn cancel(&mut self) {
        if !self.workload.cancels.chance(60) {
            return;
        }
        let Workload { cancels, recent, cancelled, .. } = &mut self.workload;
        let Some((node, task_id)) = cancels.pick(recent).copied() else { return };
        cancelled.insert(task_id);
        self.submit(node, Body::CancelTask { task_id });
    }

    fn body(&mut self, node: usize) -> Body {
        let rng = &mut self.workload.rng;
        if rng.chance(150) {
            return self.stake_body(node);
        }
        if rng.chance(100) {
            return self.governance_body(node);
        }
        match rng.below(20) {
            0..=10 => {
                let count = rng.between(1, 6) as usize;
                Body::SubmitTasks((0..count).map(|_| self.spec()).collect())
            }
            11..=14 => {
                let to = rng.below(self.nodes.len() as u64) as usize;
                // Now and then more than there is.
                let most = if rng.chance(100) { 1_000_000 } else { 50 };
                let amount = Amount::credits(rng.between(1, most));
                Body::Transfer { to: self.nodes[to].signers.account_id(), amount }
            }
            15 | 16 => Body::Bond { amount: Amount::credits(rng.between(1, 5)) },
            17 => Body::Offer { units: rng.between(50_000, 200_000), capabilities: Vec::new() },
            _ => match self.checks.a_provisional_task(rng) {
                Some(task_id) => Body::Challenge { task_id },
                None => Body::Transfer {
                    to: self.nodes[node].signers.account_id(),
                    amount: Amount::credits(1),
                },
            },
        }
    }

    fn spec(&mut self) -> TaskSpec {
        let rng = &mut self.workload.rng;
        let input = rng.bytes32().to_vec();
        let cid = Cid::of(&input);
        let rounds = rng.between(1, 60) as u32;
        let (program, params) = match rng.below(10) {
            0 => (program::noop(), Vec::new()),
            1 => (chain_id(), vec![1, 2, 3]),
            _ => (chain_id(), rounds.to_be_bytes().to_vec()),
        };
        let directed = rng.chance(50).then(|| {
            let worker = rng.below(self.plan.founders.len() as u64) as usize;
            NodeKey(self.nodes[worker].key())
        });
        let spec = TaskSpec {
            program,
            params: Bytes(params),
            input: cid,
            input_len: input.len() as u64,
            cost_limit: if rng.chance(50) { 20 } else { 10_000 },
            max_replicas: rng.between(1, 3) as u8,
            directed,
            needs: None,
            deadline_blocks: rng.between(30, 70) as u32,
        };
        self.blobs.insert(cid, input);
        spec
    }

    /// Lets nodes in whose time has come.
    fn invite(&mut self) {
        for place in 0..self.plan.joiners.len() {
            let index = self.plan.founders.len() + place;
            let due = self.plan.joiners.get(place).is_some_and(|(_, at)| *at <= self.now);
            if due && !self.nodes[index].admitted {
                self.admit(index);
            }
        }
    }

    fn admit(&mut self, index: usize) {
        let host = self.nodes.iter().find(|n| n.process.is_some() && n.is_sound());
        let Some(host) = host.map(|n| n.index) else { return };
        let signed = {
            let (issuer, node) = (&self.nodes[host], &self.nodes[index]);
            let genesis = self.genesis.hash();
            let admission = Admission {
                genesis,
                nonce: Digest(node.key()),
                issuer: issuer.signers.account_id(),
                expires_ms: BASE_MS + 3_600_000,
                sponsored_bond: Amount::credits(100),
            };
            let right = issuer.signers.account.sign("admission", &genesis.0, &admission.to_bytes());
            let account = node.signers.account_id();
            let bind = |key: &KeyPair| Signature(key.sign("bind", &genesis.0, &account.0));
            let chain = BeaconChain::new(&node.signers.beacon, 0, self.plan.beacon_length);
            let body = Body::Admit(Admit {
                admission: SignedAdmission { admission, signature: Signature(right) },
                node: NodeKey(node.key()),
                validator: node.signers.validator_key(),
                node_proof: bind(&node.signers.node),
                validator_proof: bind(&node.signers.validator),
                beacon_head: chain.head(),
                offered: 100_000,
                capabilities: Vec::new(),
            });
            let transaction = Transaction { sender: account, sequence: 0, body };
            node.sign(&self.genesis, &node.signers.account, transaction)
        };
        self.checks.may_commit(signed.id());
        if let Some(process) = self.nodes[host].process.as_mut() {
            // Refused when it waits already.
            let _ = process.engine.relay(signed);
        }
        self.after_step(host);
        if !self.workload.waiting.contains(&index) {
            self.workload.waiting.push(index);
        }
    }

    /// A joiner is in the state: its process may start.
    pub(crate) fn admitted(&mut self, account: &AccountId) {
        let found = self.nodes.iter().find(|n| n.signers.account_id() == *account);
        let Some(index) = found.map(|n| n.index).filter(|i| !self.nodes[*i].admitted) else {
            return;
        };
        self.workload.waiting.retain(|i| *i != index);
        self.nodes[index].admitted = true;
        self.marks.hit("fault: node joined");
        self.at(500, Event::Boot(index));
    }
}
