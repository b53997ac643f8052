//! A town of nodes over one ledger: signs, proposes and does its duties without any network.
#![allow(dead_code)]

use std::sync::Arc;

use anthill_identity::KeyPair;
use anthill_ledger::Ledger;
use anthill_store::{Batch, MemoryStore, Store};
use anthill_types::hash::sha3;
use anthill_types::state::{NodeRecord, Phase, TaskRecord, TaskResult};
use anthill_types::task::{commitment, program, steps_commitment, task_id};
use anthill_types::*;

/// A lie about the steps alone: output and cost are right.
pub const STEPS_ALONE: u8 = 255;

pub struct Person {
    pub account: KeyPair,
    pub node: KeyPair,
    pub validator: KeyPair,
    /// Adds this to every output: 0 is honest, [`STEPS_ALONE`] changes no output.
    pub lie: u8,
    /// Does nothing at all.
    pub dead: bool,
}

impl Person {
    pub fn new(i: u8) -> Self {
        let key = |role: u8| KeyPair::from_seed([role.wrapping_mul(64).wrapping_add(i); 32]);
        Self { account: key(0), node: key(1), validator: key(2), lie: 0, dead: false }
    }
    pub fn id(&self) -> AccountId {
        AccountId(self.account.public())
    }
    pub fn node_key(&self) -> NodeKey {
        NodeKey(self.node.public())
    }
    pub fn validator_key(&self) -> ValidatorKey {
        ValidatorKey(self.validator.public())
    }
}

/// A short beacon chain: value i of a person.
pub fn beacon(person: &Person, i: usize) -> BeaconValue {
    let mut value = BeaconValue(sha3(&[b"test beacon", &person.id().0]));
    for _ in 0..i {
        value = BeaconValue(sha3(&[&value.0]));
    }
    value
}

pub const BEACONS: usize = 400;

pub struct Town {
    pub people: Vec<Person>,
    pub ledger: Ledger,
    pub store: Arc<dyn Store>,
    pub now: u64,
    used: Vec<usize>,
}

pub fn params() -> ChainParams {
    ChainParams { epoch_ms: 10_000, reply_blocks: 5, ..ChainParams::default() }
}

pub fn genesis(people: &[Person], params: ChainParams) -> Genesis {
    let mut nodes: Vec<GenesisNode> = people
        .iter()
        .map(|p| GenesisNode {
            account: p.id(),
            node: p.node_key(),
            validator: p.validator_key(),
            beacon_head: beacon(p, BEACONS),
            bond: Amount::credits(100),
            offered: 1000,
            capabilities: vec![],
        })
        .collect();
    nodes.sort_by_key(|n| n.account);
    let mut balances: Vec<GenesisBalance> = people
        .iter()
        .map(|p| GenesisBalance { account: p.id(), amount: Amount::credits(1000) })
        .collect();
    balances.sort_by_key(|b| b.account);
    Genesis {
        version: 1,
        name: "town".into(),
        time_ms: 1_000_000,
        params,
        nodes,
        balances,
        beacon: BeaconValue([7; 32]),
        consensus: Default::default(),
    }
}

impl Town {
    pub fn new(n: u8, params: ChainParams) -> Self {
        Self::on(Arc::new(MemoryStore::new()), n, params)
    }

    /// A town whose state is kept in `store`.
    pub fn on(store: Arc<dyn Store>, n: u8, params: ChainParams) -> Self {
        let people: Vec<Person> = (0..n).map(Person::new).collect();
        let genesis = genesis(&people, params);
        let ledger = Ledger::open(store.clone(), genesis).unwrap();
        let used = vec![0; people.len()];
        Self { people, ledger, store, now: 1_000_000, used }
    }

    pub fn sign(&self, key: &KeyPair, sequence: u64, body: Body) -> SignedTransaction {
        let transaction = Transaction { sender: AccountId(key.public()), sequence, body };
        let genesis = &self.ledger.genesis_hash().0;
        let signature = key.sign("transaction", genesis, &transaction.to_bytes());
        SignedTransaction { transaction, signature: Signature(signature) }
    }

    /// A transaction of person i's account with the right sequence.
    pub fn by(&self, i: usize, body: Body) -> SignedTransaction {
        let key = &self.people[i].account;
        let due = self.ledger.due_sequence(&AccountId(key.public())).unwrap();
        self.sign(key, due, body)
    }

    /// One block with these transactions; returns how many were taken.
    pub fn block(&mut self, transactions: Vec<SignedTransaction>) -> usize {
        self.now += 1000;
        let turn = self.ledger.height() as usize % self.people.len();
        let proposer = self.people[turn].validator_key();
        // Newcomers do not propose: they are not validators.
        let turn = if self
            .ledger
            .state()
            .unwrap()
            .validators()
            .unwrap()
            .validators
            .iter()
            .any(|v| v.key == proposer)
        {
            turn
        } else {
            0
        };
        let proposer = self.people[turn].validator_key();
        self.used[turn] += 1;
        let reveal = beacon(&self.people[turn], BEACONS - self.used[turn]);
        let block = self.ledger.build(proposer, Some(reveal), self.now, transactions).unwrap();
        let taken = block.transactions.len();
        self.ledger.commit(&block, b"certificate", &Batch::new()).unwrap();
        self.ledger.audit().unwrap();
        taken
    }

    /// One block in which everybody does what the state asks of him.
    pub fn step(&mut self, mut transactions: Vec<SignedTransaction>) -> usize {
        for task in self.tasks() {
            for i in 0..self.people.len() {
                transactions.extend(self.duty(i, &task));
            }
        }
        self.block(transactions)
    }

    pub fn add(&mut self, person: Person) {
        self.people.push(person);
        self.used.push(0);
    }

    pub fn tasks(&self) -> Vec<TaskRecord> {
        let rows = self.store.prefix(keys::TASKS.as_bytes(), usize::MAX).unwrap();
        rows.iter().map(|(_, v)| TaskRecord::from_bytes(v).unwrap()).collect()
    }

    pub fn node(&self, i: usize) -> NodeRecord {
        self.ledger.state().unwrap().node(&self.people[i].node_key()).unwrap().unwrap()
    }

    /// The true result of a task, and what person i makes of it.
    pub fn result(&self, i: usize, task: &TaskRecord) -> TaskResult {
        let lie = self.people[i].lie;
        let told = if lie == STEPS_ALONE { 0 } else { lie };
        let output = Cid::of(&[task.id.0[0], task.id.0[1], told]);
        let root = Digest([lie; 32]);
        let steps = steps_commitment(&output, Some(&root).filter(|_| lie == STEPS_ALONE));
        TaskResult { output, cost: task.spec.cost_limit / 2, steps }
    }

    pub fn duty(&self, i: usize, task: &TaskRecord) -> Option<SignedTransaction> {
        let person = &self.people[i];
        if person.dead {
            return None;
        }
        let result = self.result(i, task);
        let TaskResult { output, cost, steps } = result;
        let nonce = Digest([i as u8; 32]);
        let node = person.node_key();
        match &task.phase {
            Phase::Assigned { attempt, assigned_at, reveal_by, .. } => {
                let replica = task
                    .replicas
                    .iter()
                    .find(|r| r.node == node && r.attempt == *attempt && !r.failed)?;
                let body = if replica.commitment.is_none() && *reveal_by == 0 {
                    let commitment = commitment(&output, &node, &task.id, &nonce);
                    Body::Commits(vec![Commit { task_id: task.id, attempt: *attempt, commitment }])
                } else if *reveal_by > 0 && replica.commitment.is_some() && replica.result.is_none()
                {
                    let receipt = Receipt {
                        task_id: task.id,
                        attempt: *attempt,
                        worker: node,
                        assigned_at: *assigned_at,
                        program: task.spec.program,
                        input: task.spec.input,
                        params: task.spec.params_cid(),
                        output,
                        cost,
                        steps,
                    };
                    Body::Reveals(vec![Reveal { receipt, nonce }])
                } else {
                    return None;
                };
                Some(self.sign(&person.node, 0, body))
            }
            Phase::Doubted { round, committee, .. } => {
                let seat = committee.iter().find(|v| v.validator == person.validator_key())?;
                if seat.result.is_some() {
                    return None;
                }
                let verdict = Verdict { task_id: task.id, round: *round, result };
                Some(self.sign(&person.validator, 0, Body::Verdicts(vec![verdict])))
            }
            _ => None,
        }
    }

    pub fn spec(&self) -> TaskSpec {
        TaskSpec {
            program: program::noop(),
            params: Bytes(vec![]),
            input: Cid::of(b""),
            input_len: 0,
            cost_limit: 10_000,
            max_replicas: 2,
            directed: None,
            needs: None,
            deadline_blocks: 100,
        }
    }

    /// Submits n tasks of person i in one block and returns their ids.
    pub fn submit(&mut self, i: usize, n: usize) -> Vec<TaskId> {
        let signed = self.by(i, Body::SubmitTasks(vec![self.spec(); n]));
        let ids: Vec<TaskId> = (0..n as u64)
            .map(|k| task_id(&self.people[i].id(), signed.transaction.sequence + k))
            .collect();
        self.step(vec![signed]);
        for id in &ids {
            self.task(id);
        }
        ids
    }

    pub fn task(&self, id: &TaskId) -> TaskRecord {
        self.ledger.state().unwrap().task(id).unwrap().unwrap()
    }
}
