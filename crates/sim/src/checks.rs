//! What must hold after every event, whatever went wrong.

use std::collections::{BTreeMap, BTreeSet};

use anthill_consensus::Evidence;
use anthill_consensus::certificate::{Certificate, PRECOMMIT, vote_bytes};
use anthill_engine::wire::Frame;
use anthill_ledger::mempool::{MAX_BYTES, MAX_WAITING};
use anthill_store::Batch;
use anthill_types::state::{
    DoubtReason, EpochRecord, NodeRecord, Payment, PaymentReason, Phase, TaskRecord, TaskResult,
};
use anthill_types::{
    AccountId, BeaconValue, Block, BlockHash, Body, ConsensusKind, Digest, Genesis, NodeKey,
    TaskId, ValidatorKey, Wire, keys,
};

use crate::governance::{Decided, VOTES};
use crate::program::reference;
use crate::reading::read_vote;
use crate::rng::Rng;
use crate::trace::What;
use crate::world::World;

/// Most signatures that a weakened certificate is chosen from: all subsets are looked at.
const MOST_SIGNERS: usize = 16;

/// What is known of the chain, built up from the first commit of each height.
pub struct Checks {
    /// Who signs, by the first height from which they do.
    pub(crate) validators: BTreeMap<u64, BTreeMap<[u8; 32], u64>>,
    /// Hash of the set that signs the next block.
    pub(crate) set: Digest,
    /// All nodes as the state has them.
    pub(crate) nodes: BTreeMap<NodeKey, NodeRecord>,
    /// What governance has decided so far.
    pub(crate) decided: Decided,
    pub(crate) blocks: BTreeMap<u64, (BlockHash, Digest)>,
    /// Blocks of states that were taken over.
    pub(crate) adopted: BTreeMap<u64, (BlockHash, Digest)>,
    transactions: BTreeSet<Digest>,
    /// Transactions that honest nodes have made.
    made: BTreeSet<Digest>,
    paid: BTreeSet<(NodeKey, AccountId, Vec<u8>)>,
    /// Who was slashed for the votes of which height.
    punished: BTreeSet<(NodeKey, u64)>,
    reveals: BTreeSet<BeaconValue>,
    pub(crate) tasks: BTreeMap<TaskId, Phase>,
    pub(crate) payments: u64,
    pub(crate) epochs: u64,
    /// Newest height at the time when the faults were over.
    pub heal_height: u64,
    pub(crate) rng: Rng,
}

impl Checks {
    /// Nothing has happened yet.
    pub fn new(genesis: &Genesis) -> Self {
        let validators = genesis.validator_set().powers().into_iter().collect();
        Self {
            validators: BTreeMap::from([(0, validators)]),
            set: genesis.validator_set().hash(),
            nodes: BTreeMap::new(),
            decided: Decided::new(genesis),
            blocks: BTreeMap::new(),
            adopted: BTreeMap::new(),
            transactions: BTreeSet::new(),
            made: BTreeSet::new(),
            paid: BTreeSet::new(),
            punished: BTreeSet::new(),
            reveals: BTreeSet::new(),
            tasks: BTreeMap::new(),
            payments: 0,
            epochs: 0,
            heal_height: 0,
            rng: Rng::new(genesis.time_ms, 5),
        }
    }

    /// The newest height that any honest node has committed.
    pub fn newest(&self) -> u64 {
        self.blocks.last_key_value().map_or(0, |(height, _)| *height)
    }

    /// Notes a transaction that its owner has made.
    pub fn may_commit(&mut self, id: Digest) {
        self.made.insert(id);
    }

    /// Some task that can be challenged.
    pub fn a_provisional_task(&self, rng: &mut Rng) -> Option<TaskId> {
        let open = |(_, phase): &(&TaskId, &Phase)| matches!(phase, Phase::Provisional { .. });
        let ids: Vec<TaskId> = self.tasks.iter().filter(open).map(|(id, _)| *id).collect();
        rng.pick(&ids).copied()
    }

    fn open_tasks(&self) -> usize {
        use Phase::{Cancelled, Final, Refunded};
        let open = |p: &&Phase| !matches!(p, Final { .. } | Refunded { .. } | Cancelled { .. });
        self.tasks.values().filter(open).count()
    }

    /// Leaves the signatures that carry the most power that is not enough: exactly two thirds, where that can be.
    pub(crate) fn weaken(&self, certificate: &mut Certificate) {
        let newest = self.validators.range(..=certificate.height).next_back();
        let Some((_, validators)) = newest else { return certificate.signatures.clear() };
        let total: u128 = validators.values().map(|power| u128::from(*power)).sum();
        certificate.signatures.truncate(MOST_SIGNERS);
        let power = |key| validators.get(key).copied().map_or(0, u128::from);
        let powers: Vec<u128> = certificate.signatures.iter().map(|(key, _)| power(key)).collect();
        // The power of each subset, from that of the subset without its first member.
        let mut sums = vec![0u128; 1 << powers.len()];
        for subset in 1..sums.len() {
            sums[subset] = sums[subset & (subset - 1)] + powers[subset.trailing_zeros() as usize];
        }
        let few = (0..sums.len()).filter(|subset| sums[*subset] * 3 <= total * 2);
        let best = few.max_by_key(|subset| sums[*subset]).unwrap_or_default();
        let mut place = 0;
        certificate.signatures.retain(|_| {
            place += 1;
            best >> (place - 1) & 1 == 1
        });
    }

    /// More than two thirds of the power signed this very block; counted here, not by the product. The signatures
    /// themselves are checked when `whole`: once a block is enough.
    fn certificate(
        &self,
        genesis: &Genesis,
        bytes: &[u8],
        block: &Block,
        whole: bool,
    ) -> Result<u32, String> {
        let certificate = Certificate::from_bytes(bytes).map_err(|e| e.to_string())?;
        let hash = block.header.hash().0;
        if certificate.height != block.header.height || certificate.block_hash != hash {
            return Err("is for another block".into());
        }
        let Certificate { height, round, .. } = certificate;
        let message = vote_bytes(&genesis.hash().0, PRECOMMIT, height, round, Some(&hash));
        let newest = self.validators.range(..=height).next_back();
        let validators = newest.map(|(_, set)| set).ok_or("has no validators")?;
        let (mut seen, mut power) = (BTreeSet::new(), 0u128);
        for (key, signature) in &certificate.signatures {
            let own = validators.get(key).ok_or("is signed by a stranger")?;
            if whole {
                anthill_identity::verify_bytes(key, &message, signature)
                    .map_err(|_| "carries a wrong signature")?;
            }
            if seen.insert(*key) {
                power += u128::from(*own);
            }
        }
        let total: u128 = validators.values().map(|p| u128::from(*p)).sum();
        if power * 3 <= total * 2 {
            return Err(format!("has {power} of {total}"));
        }
        Ok(round)
    }
}

impl World {
    /// A node says that a block is on its disk.
    pub(crate) fn committed(&mut self, node: usize, block: &Block, writes: &Batch) {
        let (height, hash) = (block.header.height, block.header.hash());
        let transactions = block.transactions.len();
        self.trace.fold(self.now, node, 6, &hash.0);
        self.trace.line(self.now, Some(node), || What::Commit {
            height,
            hash: hash.to_string().chars().take(8).collect(),
            transactions,
        });
        if !self.nodes[node].is_sound() {
            return;
        }
        if height != self.nodes[node].told_height + 1 {
            let before = self.nodes[node].told_height;
            return self.breaks(format!("node {node} went from height {before} to {height}"));
        }
        self.nodes[node].told_height = height;
        self.nodes[node].votes.retain(|(h, _, _), _| *h + 2 >= height);
        match self.checks.blocks.get(&height).copied() {
            Some(known) if known == (hash, block.header.state_root) => {
                if let Some(problem) = self.check_certificate(node, block, false) {
                    self.breaks(format!("height {height}, node {node}: {problem}"));
                }
            }
            Some((other, _)) => {
                self.breaks(format!("two blocks at height {height}: {hash} and {other}"));
            }
            None => self.first_commit(node, block, writes),
        }
    }

    fn first_commit(&mut self, node: usize, block: &Block, writes: &Batch) {
        let (height, root) = (block.header.height, block.header.state_root);
        let adopted = self.checks.adopted.get(&height);
        if adopted.is_some_and(|entry| *entry != (block.header.hash(), root)) {
            self.breaks(format!("a state of another block {height} was taken over"));
        }
        self.checks.blocks.insert(height, (block.header.hash(), root));
        let problems = [
            self.check_certificate(node, block, true),
            self.check_reveal(block),
            self.check_transactions(block),
            self.check_writes(writes),
            self.check_set(block, writes),
            self.check_bank(node, block, writes),
            self.check_focus(node, block, writes),
            self.check_governance(block, writes),
            self.check_totals(node),
        ];
        for problem in problems.into_iter().flatten() {
            self.breaks(format!("height {height}: {problem}"));
        }
    }

    pub(crate) fn check_certificate(
        &mut self,
        node: usize,
        block: &Block,
        first: bool,
    ) -> Option<String> {
        let process = self.nodes[node].process.as_ref()?;
        let (_, bytes) = match process.engine.ledger().block(block.header.height) {
            Ok(found) => found?,
            Err(error) => return Some(error.to_string()),
        };
        match self.checks.certificate(&self.genesis, &bytes, block, first) {
            Ok(_) if !first => None,
            Ok(round) => {
                let snowman = self.plan.consensus == ConsensusKind::Snowman;
                self.marks.add("snowman: block agreed", u64::from(snowman));
                self.marks.add("block: agreed in a later round", u64::from(round > 0));
                None
            }
            Err(what) => Some(format!("the certificate {what}")),
        }
    }

    fn check_reveal(&mut self, block: &Block) -> Option<String> {
        match block.header.reveal {
            None => {
                self.marks.hit("block: reveal missed");
                None
            }
            Some(reveal) => (!self.checks.reveals.insert(reveal))
                .then(|| "a beacon value was revealed a second time".to_string()),
        }
    }

    /// Nothing of an honest sender that he did not make; nothing twice.
    fn check_transactions(&mut self, block: &Block) -> Option<String> {
        for signed in &block.transactions {
            let id = signed.id();
            // A batch of duties may apply in parts; what each part changes is checked with the state.
            if !self.checks.transactions.insert(id) && !signed.transaction.body.is_duty() {
                return Some(format!("transaction {id} is in two blocks"));
            }
            match &signed.transaction.body {
                Body::RenewBeacon { .. } => self.marks.hit("block: beacon renewed"),
                Body::Admit(_) => self.admitted(&signed.transaction.sender),
                Body::Withdraw { matures, .. } => {
                    self.marks.hit("stake: withdrawn");
                    if *matures > self.checks.epochs {
                        return Some(format!("stake was paid out before epoch {matures}"));
                    }
                }
                _ => {}
            }
            let sender = signed.transaction.sender.0;
            let owner = self.nodes.iter().find(|n| {
                let s = &n.signers;
                [s.account.public(), s.node.public(), s.validator.public()].contains(&sender)
            });
            let honest = owner.is_some_and(|n| n.is_sound());
            if honest && !self.checks.made.contains(&id) {
                return Some(format!("transaction {id} was not made by its sender"));
            }
            let again = signed.to_bytes();
            let read = anthill_types::SignedTransaction::from_bytes(&again);
            if read.as_ref() != Ok(signed) {
                return Some(format!("transaction {id} does not encode both ways"));
            }
        }
        None
    }

    fn check_writes(&mut self, writes: &Batch) -> Option<String> {
        for (key, value) in writes {
            let Some(value) = value else { continue };
            let problem = if key.starts_with(keys::TASKS.as_bytes()) {
                TaskRecord::from_bytes(value).ok().and_then(|task| self.check_task(&task))
            } else if key.starts_with(keys::PAYMENTS.as_bytes()) {
                Payment::from_bytes(value).ok().and_then(|payment| self.check_payment(&payment))
            } else if key.starts_with(keys::EPOCHS.as_bytes()) {
                EpochRecord::from_bytes(value).ok().and_then(|epoch| self.check_epoch(&epoch))
            } else if key.starts_with(keys::NODES.as_bytes()) {
                NodeRecord::from_bytes(value).ok().and_then(|node| self.check_node(&node))
            } else {
                None
            };
            if problem.is_some() {
                return problem;
            }
        }
        None
    }

    /// Every accepted result is the reference's.
    fn check_task(&mut self, task: &TaskRecord) -> Option<String> {
        let before = self.checks.tasks.insert(task.id, task.phase.clone());
        self.guests.note(task);
        self.mark_task(task, before.as_ref());
        let (result, state) = match &task.phase {
            Phase::Final { result, .. } => (result, "final"),
            _ => return None,
        };
        let input = self.blobs.get(&task.spec.input)?;
        let guest = self.guests.right(&task.spec);
        let right: TaskResult = guest.unwrap_or_else(|| reference(&task.spec, input));
        (*result != right).then(|| format!("task {} has a wrong {state} result", task.id))
    }

    fn mark_task(&mut self, task: &TaskRecord, before: Option<&Phase>) {
        let late = task.replicas.iter().any(|r| r.failed && r.result.is_none());
        self.marks.add("task: worker late", u64::from(late));
        let mark = match &task.phase {
            Phase::Queued { .. } => return,
            Phase::Assigned { attempt: 0, .. } => "task: assigned",
            Phase::Assigned { .. } => "task: assigned again after a failed attempt",
            Phase::Doubted { round: 1.., .. } => "task: second committee",
            Phase::Doubted { reason, .. } => match reason {
                DoubtReason::Unequal => "task: doubt, results differ",
                DoubtReason::Unproven => "task: doubt, nobody proven",
                DoubtReason::Audit => "task: doubt, audit",
                DoubtReason::Challenged => "task: doubt, challenged",
            },
            Phase::Provisional { .. } => "task: provisional",
            Phase::Final { .. } => "task: final",
            Phase::Refunded { .. } => "task: refunded",
            Phase::Cancelled { .. } if task.replicas.is_empty() => {
                "task: cancelled before the draw"
            }
            Phase::Cancelled { .. } => "task: cancelled after the draw",
        };
        if before != Some(&task.phase) {
            self.marks.hit(mark);
        }
    }

    /// One payment per receipt, and none for what was copied.
    fn check_payment(&mut self, payment: &Payment) -> Option<String> {
        if payment.number != self.checks.payments {
            return Some(format!("payment {} follows {}", payment.number, self.checks.payments));
        }
        self.checks.payments += 1;
        let (mark, of) = match &payment.reason {
            PaymentReason::Task { task } => ("pay: task", task.0.to_vec()),
            PaymentReason::Epoch { epoch } => ("pay: epoch", epoch.to_be_bytes().to_vec()),
            PaymentReason::Slash { task, offender } => {
                // Who lies again in a second committee loses again.
                let height = payment.height.to_be_bytes().to_vec();
                ("pay: slash", [task.0.to_vec(), offender.0.to_vec(), height].concat())
            }
            PaymentReason::Equivocation { height, offender } => {
                if self.index(&offender.0).is_some_and(|node| self.nodes[node].is_sound()) {
                    return Some(format!("honest node {offender} was slashed for its votes"));
                }
                if !self.checks.punished.insert((*offender, *height)) {
                    return Some(format!("{offender} was slashed twice for height {height}"));
                }
                let height = height.to_be_bytes().to_vec();
                ("pay: equivocation", [offender.0.to_vec(), height].concat())
            }
        };
        self.marks.hit(mark);
        if !self.checks.paid.insert((payment.node, payment.account, of)) {
            return Some(format!("{payment:?} was made before"));
        }
        let PaymentReason::Task { task } = &payment.reason else { return None };
        if let Some(problem) = self.check_guest_pay(payment, task) {
            return Some(problem);
        }
        let node = self.index(&payment.node.0)?;
        // Who was drawn for a task that was taken back need not have run it.
        let due = !self.workload.cancelled.contains(task);
        let copied = due && self.adversary.never_ran(node, task);
        copied.then(|| format!("node {node} was paid for task {task}, which it did not run"))
    }

    /// The pool is what was paid, and no more than was offered.
    fn check_epoch(&mut self, record: &EpochRecord) -> Option<String> {
        self.marks.hit("epoch: closed");
        if record.epoch != self.checks.epochs {
            return Some(format!("epoch {} follows {}", record.epoch, self.checks.epochs));
        }
        self.checks.epochs += 1;
        let sum: u128 = record.rows.iter().map(|row| row.reward.0).sum();
        let most = self.genesis.params.base_pool.0 * 10;
        if sum != record.pool.0 || sum > most {
            return Some(format!("epoch {} paid {sum} of {}", record.epoch, record.pool));
        }
        None
    }

    /// An honest node is never found wrong.
    fn check_node(&mut self, record: &NodeRecord) -> Option<String> {
        self.note_stake(record);
        self.checks.nodes.insert(record.node, record.clone());
        let node = self.index(&record.node.0)?;
        let wronged = self.nodes[node].role.is_honest() && record.counts.bad_n > 0;
        wronged.then(|| format!("node {node} is honest, and its result was called wrong"))
    }

    /// Accounts + bonds + escrow + burned = minted, added up anew.
    pub(crate) fn check_totals(&self, node: usize) -> Option<String> {
        let process = self.nodes[node].process.as_ref()?;
        process.engine.ledger().audit().err().map(|error| error.to_string())
    }

    /// After every step: bounded queues, and a root that is the header's.
    pub(crate) fn check_step(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let waiting = process.engine.waiting();
        if waiting > MAX_WAITING || process.engine.waiting_bytes() > MAX_BYTES {
            return self.breaks(format!("node {node} holds {waiting} transactions"));
        }
        let ledger = process.engine.ledger();
        if let Some(tip) = ledger.tip()
            && ledger.root() != tip.state_root
        {
            let height = tip.height;
            self.breaks(format!("node {node}: root at height {height} is not the header's"));
        }
        self.check_held_focus(node);
    }

    /// A new process must know what an earlier one has told others.
    pub(crate) fn check_boot(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let height = process.engine.ledger().height();
        let told = self.nodes[node].told_height;
        if self.nodes[node].is_sound() && height < told {
            return self
                .breaks(format!("node {node} has told of height {told} and knows {height}"));
        }
        if process.engine.has_vote_log() {
            self.marks.hit("start: votes replayed");
        }
        // What was committed and not told yet (a crash between two effects).
        // Of a state that was taken over, the newest block alone is there.
        let oldest = process.engine.ledger().oldest_block().unwrap_or(1);
        let missed: Vec<u64> = ((told + 1).max(oldest)..=height).collect();
        for height in missed {
            self.recommit(node, height);
        }
    }

    fn recommit(&mut self, node: usize, height: u64) {
        if !self.nodes[node].is_sound() {
            return;
        }
        let Some(process) = &self.nodes[node].process else { return };
        let Ok(Some((block, _))) = process.engine.ledger().block(height) else {
            return self.breaks(format!("node {node} has lost block {height}"));
        };
        self.nodes[node].told_height = height;
        let entry = (block.header.hash(), block.header.state_root);
        match self.checks.blocks.get(&height).copied() {
            Some(known) if known != entry => {
                self.breaks(format!("two blocks at height {height}"));
            }
            Some(_) => {}
            // Nobody else has it yet: its writes are read back.
            None => {
                let writes = self.read_back(node, &block);
                self.first_commit(node, &block, &writes);
            }
        }
    }

    /// The rows that a block may have written, as they stand now on the node's disk.
    fn read_back(&self, node: usize, _block: &Block) -> Batch {
        let Some(process) = &self.nodes[node].process else { return Batch::new() };
        let store = process.engine.ledger().store().clone();
        let mut rows = Batch::new();
        let tables =
            [keys::TASKS, keys::PAYMENTS, keys::EPOCHS, keys::NODES, keys::PROPOSALS, VOTES];
        for prefix in tables {
            for (key, value) in store.prefix(prefix.as_bytes(), usize::MAX).unwrap_or_default() {
                rows.insert(key, Some(value));
            }
        }
        rows.retain(|key, value| self.is_new(key, value.as_deref()));
        for key in [keys::validator_set(), keys::params()] {
            rows.insert(key.clone(), store.get(&key).unwrap_or_default());
        }
        rows
    }

    fn is_new(&self, key: &[u8], value: Option<&[u8]>) -> bool {
        let Some(value) = value else { return false };
        if key.starts_with(keys::TASKS.as_bytes()) {
            let task = TaskRecord::from_bytes(value).ok();
            return task.is_some_and(|t| self.checks.tasks.get(&t.id) != Some(&t.phase));
        }
        if key.starts_with(keys::PAYMENTS.as_bytes()) {
            return Payment::from_bytes(value).is_ok_and(|p| p.number >= self.checks.payments);
        }
        if key.starts_with(keys::EPOCHS.as_bytes()) {
            return EpochRecord::from_bytes(value).is_ok_and(|e| e.epoch >= self.checks.epochs);
        }
        true
    }

    /// What a sound node says: it never contradicts itself, and its transactions are its own.
    pub(crate) fn check_words(&mut self, node: usize, bytes: &[u8]) {
        match Frame::from_bytes(bytes) {
            Ok(Frame::Transactions(list)) => {
                let s = &self.nodes[node].signers;
                let own = [s.account.public(), s.node.public(), s.validator.public()];
                for signed in list {
                    if own.contains(&signed.transaction.sender.0) {
                        self.checks.may_commit(signed.id());
                    }
                }
            }
            Ok(Frame::Consensus(message)) if self.nodes[node].is_sound() => {
                let Some((kind, height, round, hash, _)) = read_vote(&message.0) else { return };
                let place = (height, round, kind);
                let known = self.nodes[node].votes.insert(place, hash);
                if known.is_some_and(|known| known != hash) {
                    self.breaks(format!(
                        "node {node} voted twice at height {height}, round {round}"
                    ));
                }
            }
            _ => {}
        }
    }

    /// Evidence must be of somebody who did wrong.
    pub(crate) fn accused(&mut self, evidence: &Evidence) {
        self.marks.hit("consensus: evidence");
        let key = ValidatorKey(evidence.validator);
        let accused = self.nodes.iter().find(|n| n.signers.validator_key() == key);
        if let Some(node) = accused.filter(|n| n.is_sound()).map(|n| n.index) {
            self.breaks(format!("node {node} is honest, and accused of contradicting itself"));
        }
    }

    /// At the end: everybody sound has the same chain, it has grown, and all work is settled.
    pub(crate) fn check_liveness(&mut self) {
        let newest = self.checks.newest();
        if newest < self.checks.heal_height + 3 {
            let from = self.checks.heal_height;
            return self.breaks(format!("no progress after the faults: {from} to {newest}"));
        }
        let open = self.checks.open_tasks();
        if open > 0 {
            return self.breaks(format!("{open} tasks are not settled"));
        }
        for node in 0..self.nodes.len() {
            let this = &self.nodes[node];
            if !this.role.is_honest() || !this.admitted || this.left {
                continue;
            }
            let Some(process) = &this.process else {
                return self.breaks(format!("node {node} does not run"));
            };
            let height = process.engine.ledger().height();
            if height + 2 < newest {
                return self.breaks(format!("node {node} is at {height} of {newest}"));
            }
        }
        self.check_slots();
        self.check_supply();
    }
}
