//! What dishonest nodes do: lie, copy, contradict themselves, forge, flood.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anthill_consensus::catch_up_message;
use anthill_consensus::certificate::{Certificate, PRECOMMIT, PREVOTE, vote_bytes};
use anthill_engine::wire::{Blocks, CommittedBlock, Frame, Offer, Request, SnapshotPart, StateRow};
use anthill_identity::KeyPair;
use anthill_types::hash::sha3;
use anthill_types::state::{Phase, TaskRecord, TaskResult};
use anthill_types::task::commitment;
use anthill_types::{
    AccountId, Amount, Block, BlockHash, Body, Bytes, Cid, Commit, ConsensusKind, Digest, NodeKey,
    Receipt, Reveal, SignedTransaction, TaskId, Transaction, Wire,
};
use minicbor::Encoder;

use crate::plan::{FaultKind, Role};
use crate::reading::{read_proposal, read_vote};
use crate::rng::Rng;
use crate::world::{Event, World};

/// Overheard messages that a forger keeps.
const MAX_HEARD: usize = 64;
/// Frames that a flooder sends to each peer at once.
const BURST: u64 = 6;

/// What the dishonest nodes know together.
pub struct Adversary {
    rng: Rng,
    heard: Vec<Arc<[u8]>>,
    /// Results of tasks as workers revealed them, and the first attempt that gave them.
    revealed: BTreeMap<TaskId, (u32, TaskResult)>,
    /// Tasks that a free-rider was asked to run, and did not.
    skipped: BTreeSet<(usize, TaskId)>,
    /// Tasks whose result it knew before it had to commit: revealed in an earlier attempt, which ended before
    /// the reveal was in a block.
    leaked: BTreeSet<(usize, TaskId)>,
    copied: BTreeSet<(usize, TaskId, bool)>,
    /// Blocks that honest nodes preferred in their last questions.
    pub(crate) preferred: Vec<[u8; 32]>,
}

impl Adversary {
    /// The adversary of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed, 6),
            heard: Vec::new(),
            revealed: BTreeMap::new(),
            skipped: BTreeSet::new(),
            leaked: BTreeSet::new(),
            copied: BTreeSet::new(),
            preferred: Vec::new(),
        }
    }

    /// True when the node did not run the task, though it was asked to, and could know its result from nobody:
    /// what leaked in an earlier attempt can be copied (`docs/RELIABILITY.md`).
    pub fn never_ran(&self, node: usize, task: &TaskId) -> bool {
        self.skipped.contains(&(node, *task)) && !self.leaked.contains(&(node, *task))
    }

    fn note_reveal(&mut self, receipt: &Receipt) {
        let new = (receipt.attempt, receipt.result());
        let known = self.revealed.entry(receipt.task_id).or_insert(new);
        if known.1 != new.1 || known.0 > new.0 {
            *known = new;
        }
    }
}

impl World {
    /// What a node reports as a task's result.
    pub(crate) fn falsify(
        &mut self,
        node: usize,
        task: &TaskRecord,
        result: Result<TaskResult, String>,
    ) -> Result<TaskResult, String> {
        let role = self.nodes[node].role;
        if !role.lies() {
            return result;
        }
        let mut result = result?;
        self.marks.hit(match role {
            Role::Colluder => "role: colluding liar",
            Role::Sybil => "role: sybil",
            Role::FreeRider => "role: free-rider",
            _ => "role: liar",
        });
        let salt = match role {
            // Accomplices say the same.
            Role::Colluder | Role::Sybil => sha3(&[b"accomplices", &task.id.0]),
            _ => sha3(&[b"alone", &task.id.0, &self.nodes[node].key()]),
        };
        if role == Role::FreeRider {
            self.adversary.skipped.insert((node, task.id));
        }
        // Now and then it is the cost alone that is wrong.
        if role == Role::Liar && salt[0] < 80 && result.cost != task.spec.cost_limit {
            self.marks.hit("role: liar about the cost alone");
            result.cost = task.spec.cost_limit;
        } else if role == Role::Liar && salt[0] < 160 && self.guests.has(&task.spec.program) {
            // The right output at a unit less, or more where there is none to take.
            self.marks.hit("guest: a lie about the meter");
            result.cost = result.cost.checked_sub(1).unwrap_or(1);
        } else if role == Role::Liar && salt[0] < 185 {
            // The right output at the right cost, by steps that nobody made.
            self.marks.hit("role: liar about the steps alone");
            result.steps = Digest(salt);
        } else {
            result.output = Cid(salt);
        }
        Ok(result)
    }

    /// What dishonest nodes learn from a frame that reaches one of them.
    pub(crate) fn overhear(&mut self, node: usize, _from: usize, bytes: &Arc<[u8]>) {
        let role = self.nodes[node].role;
        if role.is_honest() {
            return;
        }
        self.note_question(bytes);
        if role == Role::FreeRider
            && let Ok(Frame::Transactions(list)) = Frame::from_bytes(bytes)
        {
            self.copy_reveals(node, &list);
        }
        if role == Role::Forger {
            let heard = &mut self.adversary.heard;
            if heard.len() < MAX_HEARD {
                heard.push(bytes.clone());
            } else {
                let place = self.adversary.rng.below(MAX_HEARD as u64) as usize;
                heard[place] = bytes.clone();
            }
            if self.adversary.rng.chance(25) && !self.healed {
                self.forge(node);
            }
        }
    }

    /// A free-rider commits to what others have revealed, and reveals it after that.
    fn copy_reveals(&mut self, node: usize, list: &[SignedTransaction]) {
        for signed in list {
            let Body::Reveals(reveals) = &signed.transaction.body else { continue };
            for reveal in reveals {
                self.adversary.note_reveal(&reveal.receipt);
            }
        }
        let Some(process) = &self.nodes[node].process else { return };
        let Ok(tasks) = anthill_ledger::state::all_tasks(process.engine.ledger().store().as_ref())
        else {
            return;
        };
        for task in tasks.iter().filter(|t| matches!(t.phase, Phase::Assigned { .. })) {
            if let Some(known) = self.adversary.revealed.get(&task.id).copied() {
                self.copy_one(node, task, known);
            }
        }
    }

    fn copy_one(&mut self, node: usize, task: &TaskRecord, (revealed, result): (u32, TaskResult)) {
        let Phase::Assigned { attempt, assigned_at, .. } = task.phase else { return };
        let (own, id) = (NodeKey(self.nodes[node].key()), task.id);
        let mine = |r: &&anthill_types::state::Replica| r.node == own && r.attempt == attempt;
        let Some(replica) = task.replicas.iter().find(mine) else { return };
        let nonce = Digest(sha3(&[b"copied", &id.0]));
        let commitment = commitment(&result.output, &own, &id, &nonce);
        let body = match replica.commitment {
            None => Body::Commits(vec![Commit { task_id: id, attempt, commitment }]),
            Some(made) if made == commitment && replica.result.is_none() => {
                let receipt = Receipt {
                    task_id: id,
                    attempt,
                    worker: own,
                    assigned_at,
                    program: task.spec.program,
                    input: task.spec.input,
                    params: task.spec.params_cid(),
                    output: result.output,
                    cost: result.cost,
                    steps: result.steps,
                };
                Body::Reveals(vec![Reveal { receipt, nonce }])
            }
            Some(_) => return,
        };
        let reveals = matches!(body, Body::Reveals(_));
        if revealed < attempt {
            self.adversary.leaked.insert((node, id));
        }
        if self.adversary.copied.insert((node, id, reveals)) {
            let transaction = Transaction { sender: AccountId(own.0), sequence: 0, body };
            let signed = {
                let this = &self.nodes[node];
                this.sign(&self.genesis, &this.signers.node, transaction)
            };
            self.shout(node, &Frame::Transactions(vec![signed]));
        }
    }

    /// Sends a frame to every peer of a node.
    fn shout(&mut self, node: usize, frame: &Frame) {
        let bytes: Arc<[u8]> = frame.to_bytes().into();
        self.shout_bytes(node, &bytes);
    }

    fn shout_bytes(&mut self, node: usize, bytes: &Arc<[u8]>) {
        let Some(process) = &self.nodes[node].process else { return };
        let peers: Vec<usize> = process.peers.iter().copied().collect();
        for to in peers {
            self.send(node, to, bytes.clone());
        }
    }

    /// What an equivocator tells one of its peers in place of its message.
    pub(crate) fn contradict(
        &mut self,
        node: usize,
        to: usize,
        bytes: &Arc<[u8]>,
    ) -> Option<Arc<[u8]>> {
        if self.nodes[node].role != Role::Equivocator || self.healed {
            return None;
        }
        let Ok(Frame::Consensus(message)) = Frame::from_bytes(bytes) else { return None };
        let votes = read_vote(&message.0).is_some();
        // Two halves hear different things; at some heights all hear of a wrong block.
        let all = !votes
            && read_proposal(&message.0).is_some_and(|(height, _, _)| height.is_multiple_of(3));
        if to.is_multiple_of(2) && !all {
            return None;
        }
        self.marks.hit("role: equivocator");
        let altered = match read_vote(&message.0) {
            Some((kind, height, round, hash, _)) => {
                self.marks.hit("fault: double vote");
                // Snowman knows no vote for nothing.
                let none = hash.is_some() && self.plan.consensus == ConsensusKind::Bft;
                let other = if none { None } else { Some([0xee; 32]) };
                self.vote(node, kind, height, round, other.as_ref())
            }
            None => {
                let altered = self.other_proposal(node, &message.0)?;
                self.marks.hit("fault: wrong block proposed");
                altered
            }
        };
        Some(Frame::Consensus(Bytes(altered)).to_bytes().into())
    }

    fn vote(
        &self,
        node: usize,
        kind: u8,
        height: u64,
        round: u32,
        hash: Option<&[u8; 32]>,
    ) -> Vec<u8> {
        let key = &self.nodes[node].signers.validator;
        let body = vote_bytes(&self.genesis.hash().0, kind, height, round, hash);
        let signature = key.sign_bytes(&body);
        encode_vote(kind, height, round, hash, &key.public(), &signature)
    }

    /// The node's proposal with another block: one whose state root is wrong.
    fn other_proposal(&self, node: usize, message: &[u8]) -> Option<Vec<u8>> {
        let (height, round, mut block) = read_proposal(message)?;
        block.header.state_root.0[0] ^= 1;
        let hash = block.header.hash().0;
        let key = &self.nodes[node].signers.validator;
        let body = encode(|e| e.array(4)?.u64(height)?.u32(round)?.null()?.bytes(&hash)?.ok());
        let signature = key.sign("proposal", &self.genesis.hash().0, &body);
        Some(encode(|e| {
            e.array(3)?.u8(1)?.array(6)?.u64(height)?.u32(round)?.null()?.bytes(&hash)?;
            e.bytes(&key.public())?.bytes(&signature)?.bytes(&block.to_bytes())?.ok()
        }))
    }

    /// One forgery, sent to all peers.
    fn forge(&mut self, node: usize) {
        self.marks.hit("role: forger");
        self.marks.hit("fault: message forged");
        let frame = match self.adversary.rng.below(7) {
            0 => self.forged_vote(),
            1 => self.forged_transaction(node),
            2 => self.thin_certificate(node, true),
            3 => self.thin_certificate(node, false),
            4 => Some(Frame::Status { height: u64::MAX / 2, tip: BlockHash([7; 32]) }),
            5 => return self.long_form(node),
            _ => {
                let heard = self.adversary.rng.pick(&self.adversary.heard).cloned();
                if let Some(bytes) = heard {
                    self.shout_bytes(node, &bytes);
                }
                return;
            }
        };
        if let Some(frame) = frame {
            self.shout(node, &frame);
        }
    }

    /// A vote in another validator's name.
    fn forged_vote(&mut self) -> Option<Frame> {
        let victims: Vec<usize> = (0..self.plan.founders.len()).collect();
        let victim = *self.adversary.rng.pick(&victims)?;
        let height = self.checks.newest() + 1;
        let key = self.nodes[victim].signers.validator_key().0;
        let kind = if self.adversary.rng.chance(500) { PREVOTE } else { PRECOMMIT };
        let (kind, hash) = match self.plan.consensus {
            ConsensusKind::Bft => (kind, None),
            ConsensusKind::Snowman => (PRECOMMIT, Some([0xee; 32])),
        };
        let message = encode_vote(kind, height, 0, hash.as_ref(), &key, &[9; 64]);
        Some(Frame::Consensus(Bytes(message)))
    }

    /// A transfer of another's money.
    fn forged_transaction(&mut self, node: usize) -> Option<Frame> {
        let victims: Vec<usize> = (0..self.plan.founders.len()).filter(|i| *i != node).collect();
        let victim = *self.adversary.rng.pick(&victims)?;
        let sender = self.nodes[victim].signers.account_id();
        let process = self.nodes[node].process.as_ref()?;
        let sequence = process.engine.ledger().due_sequence(&sender).ok()?;
        let to = self.nodes[node].signers.account_id();
        let body = Body::Transfer { to, amount: Amount::credits(1_000) };
        let transaction = Transaction { sender, sequence, body };
        let key = &self.nodes[node].signers.account;
        let signed = self.nodes[node].sign(&self.genesis, key, transaction);
        Some(Frame::Transactions(vec![signed]))
    }

    /// A forger that has a block first sends it on with fewer signatures than it needs.
    pub(crate) fn undersell(&mut self, node: usize) {
        if self.nodes[node].role != Role::Forger || self.healed || !self.adversary.rng.chance(300) {
            return;
        }
        self.marks.hit("fault: message forged");
        if let Some(frame) = self.thin_certificate(node, false) {
            self.shout(node, &frame);
        }
    }

    /// A real or altered block with too few signatures.
    fn thin_certificate(&mut self, node: usize, altered: bool) -> Option<Frame> {
        let process = self.nodes[node].process.as_ref()?;
        let ledger = process.engine.ledger();
        let (mut block, bytes) = ledger.block(ledger.height()).ok()??;
        let mut certificate = Certificate::from_bytes(&bytes).ok()?;
        self.checks.weaken(&mut certificate);
        if altered {
            block.header.time_ms += 1;
            certificate.block_hash = block.header.hash().0;
        }
        let message = catch_up_message(&certificate, &block.to_bytes());
        Some(Frame::Consensus(Bytes(message)))
    }

    /// A message that means the same and is not written in the one canonical way.
    fn long_form(&mut self, node: usize) {
        let heard = self.adversary.rng.pick(&self.adversary.heard).cloned();
        let Some(bytes) = heard.filter(|b| b.first().is_some_and(|b| b >> 5 == 4)) else { return };
        let Some((first, rest)) = bytes.split_first() else { return };
        // The head of the outer array in two bytes where one is enough.
        let altered: Arc<[u8]> = [&[0x98, first & 0x1f], rest].concat().into();
        let accepted = Frame::from_bytes(&altered).is_ok();
        if accepted {
            return self.breaks("a frame that is not canonical is accepted");
        }
        self.shout_bytes(node, &altered);
    }

    /// A forger's answer to a request for blocks.
    pub(crate) fn forge_answer(
        &mut self,
        node: usize,
        request: &Request,
        reply: Vec<u8>,
    ) -> Vec<u8> {
        match request {
            Request::Blocks { .. } => self.forge_blocks(node, reply),
            _ if self.nodes[node].role != Role::Forger || self.healed => reply,
            _ => self.forge_snapshot(reply),
        }
    }

    /// A forger's answer to a request for a state: nothing of it, or some of it wrong.
    fn forge_snapshot(&mut self, reply: Vec<u8>) -> Vec<u8> {
        let choice = self.adversary.rng.below(6);
        let altered = match Offer::from_bytes(&reply) {
            Ok(Offer::Ready { mut committed, links }) => {
                match choice {
                    0 => committed.block.0.truncate(9),
                    1 => empty(&mut committed),
                    // Now and then all is right, and a part is not.
                    2 | 3 => return reply,
                    _ => self.thin(&mut committed),
                }
                Offer::Ready { committed, links }.to_bytes()
            }
            _ => match SnapshotPart::from_bytes(&reply) {
                Ok(SnapshotPart::Rows(mut rows)) => {
                    alter_rows(&mut rows, choice);
                    SnapshotPart::Rows(rows).to_bytes()
                }
                Ok(SnapshotPart::Split(mut hashes)) => {
                    hashes.reverse();
                    SnapshotPart::Split(hashes).to_bytes()
                }
                _ => return reply,
            },
        };
        self.marks.hit("sync: a wrong snapshot");
        altered
    }

    fn forge_blocks(&mut self, node: usize, reply: Vec<u8>) -> Vec<u8> {
        let old = self.old_block(node);
        if self.nodes[node].role != Role::Forger || self.healed {
            self.marks.hit("sync: blocks fetched");
            return reply;
        }
        self.marks.hit("sync: a wrong answer");
        let Ok(mut blocks) = Blocks::from_bytes(&reply) else { return reply };
        match self.adversary.rng.below(5) {
            0 => return vec![0x80; 9],
            // Right, and of no use: it must not be asked again and again.
            3 => blocks.blocks = old.into_iter().collect(),
            1 => blocks.blocks.clear(),
            2 => {
                blocks.blocks.iter_mut().for_each(|block| self.thin(block));
            }
            _ => blocks.blocks.iter_mut().for_each(empty),
        }
        blocks.to_bytes()
    }

    /// The certificate with too few signatures.
    fn thin(&self, committed: &mut CommittedBlock) {
        if let Ok(mut certificate) = Certificate::from_bytes(&committed.certificate.0) {
            self.checks.weaken(&mut certificate);
            committed.certificate = Bytes(certificate.to_bytes());
        }
    }

    /// The first block of a forger's chain.
    fn old_block(&self, node: usize) -> Option<CommittedBlock> {
        let process = self.nodes[node].process.as_ref().filter(|_| !self.healed)?;
        let (block, certificate) = process.engine.ledger().block(1).ok()??;
        let block = Bytes(block.to_bytes());
        Some(CommittedBlock { block, certificate: Bytes(certificate) })
    }

    /// Flooders send garbage, orders of unknown accounts, and their own far ahead of their turn.
    pub(crate) fn flood(&mut self) {
        let flooding = self.active.iter().filter_map(|i| self.plan.faults.get(*i));
        if !flooding.into_iter().any(|f| f.kind == FaultKind::Flood) || self.healed {
            return;
        }
        let flooders = self.nodes.iter().filter(|n| n.role == Role::Flooder);
        let flooders: Vec<usize> = flooders.map(|n| n.index).collect();
        for node in flooders {
            self.marks.hit("role: flooder");
            for turn in 0..BURST {
                let frame = self.noise(node, turn);
                self.shout_bytes(node, &frame);
            }
        }
        self.at(250, Event::Flood);
    }

    fn noise(&mut self, node: usize, turn: u64) -> Arc<[u8]> {
        let salt = self.adversary.rng.bytes32();
        if turn == 0 {
            return salt.repeat(20).into();
        }
        let stranger = KeyPair::from_seed(salt);
        let own = &self.nodes[node].signers.account;
        let (key, sequence) = if turn.is_multiple_of(2) {
            (&stranger, turn)
        } else {
            (own, 100 + self.adversary.rng.below(60_000))
        };
        let sender = AccountId(key.public());
        let body = Body::Transfer { to: sender, amount: Amount::credits(1) };
        let signed =
            self.nodes[node].sign(&self.genesis, key, Transaction { sender, sequence, body });
        Frame::Transactions(vec![signed]).to_bytes().into()
    }
}

/// One row less, one twice, two in the wrong order, or a name that is somebody else's.
fn alter_rows(rows: &mut Vec<StateRow>, choice: u64) {
    match choice {
        0 => drop(rows.pop()),
        1 => rows.extend(rows.first().cloned()),
        2 => rows.reverse(),
        _ => {
            let admission = rows.iter_mut().find(|row| row.value.0.len() == 32);
            if let Some(byte) = admission.and_then(|row| row.value.0.first_mut()) {
                *byte ^= 1;
            }
        }
    }
}

/// The block without its transactions; its header's hash is still the certified one.
fn empty(committed: &mut CommittedBlock) {
    if let Ok(mut block) = Block::from_bytes(&committed.block.0) {
        block.transactions.clear();
        block.header.roots.clear();
        committed.block = Bytes(block.to_bytes());
    }
}

type Writing<'v> = Encoder<&'v mut Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encode(write: impl FnOnce(&mut Writing<'_>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into a Vec cannot fail.
    let _ = write(&mut Encoder::new(&mut bytes));
    bytes
}

fn encode_vote(
    kind: u8,
    height: u64,
    round: u32,
    hash: Option<&[u8; 32]>,
    key: &[u8; 32],
    signature: &[u8; 64],
) -> Vec<u8> {
    encode(|e| {
        e.array(2)?.u8(0)?.array(6)?.u8(kind)?.u64(height)?.u32(round)?;
        match hash {
            Some(hash) => e.bytes(hash)?,
            None => e.null()?,
        };
        e.bytes(key)?.bytes(signature)?.ok()
    })
}
