//! What the state asks of this node: run a task, commit, reveal, re-execute.
//!
//! Duties are derived from committed state alone, so a node that was killed finds them again: its
//! results are deterministic, and its nonces come from its key.

use std::collections::BTreeMap;

use anthill_types::hash::sha3;
use anthill_types::state::{Phase, TaskRecord, TaskResult};
use anthill_types::task::{MAX_BATCH, commitment};
use anthill_types::{
    AccountId, Body, Commit, Digest, NodeKey, Receipt, Reveal, TaskId, ValidatorKey, Verdict,
};

use crate::effect::Effect;
use crate::engine::Engine;
use crate::signers::Signers;

/// Blocks after which a duty that is not in the state yet is sent again.
const RESEND_BLOCKS: u64 = 4;
/// Blocks after which work that could not be done is tried again.
const RETRY_BLOCKS: u64 = 4;

enum Work {
    Running,
    Done(TaskResult),
    /// It could not be done at this height; the input may arrive yet.
    Failed(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Commit(u32),
    Reveal(u32),
    Verdict(u32),
}

/// The tasks in which this node has something to do.
pub struct Duties {
    node: NodeKey,
    validator: ValidatorKey,
    secret: [u8; 32],
    tasks: BTreeMap<TaskId, TaskRecord>,
    work: BTreeMap<TaskId, Work>,
    sent: BTreeMap<(TaskId, Step), u64>,
}

impl Duties {
    pub(crate) fn new(signers: &Signers) -> Self {
        Self {
            node: signers.node_key(),
            validator: signers.validator_key(),
            secret: signers.secret,
            tasks: BTreeMap::new(),
            work: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Notes where a task stands now.
    pub(crate) fn observe(&mut self, task: TaskRecord) {
        if self.step(&task).is_some() {
            self.tasks.insert(task.id, task);
            return;
        }
        self.tasks.remove(&task.id);
        self.sent.retain(|(id, _), _| *id != task.id);
        let closed = matches!(
            task.phase,
            Phase::Provisional { .. } | Phase::Final { .. } | Phase::Refunded { .. }
        );
        if closed {
            self.work.remove(&task.id);
        }
    }

    /// What this node owes a task, if anything.
    fn step(&self, task: &TaskRecord) -> Option<Step> {
        match &task.phase {
            Phase::Assigned { attempt, reveal_by, .. } => {
                let mine = |r: &&anthill_types::state::Replica| {
                    r.node == self.node && r.attempt == *attempt && !r.failed
                };
                let replica = task.replicas.iter().find(mine)?;
                match (replica.commitment, *reveal_by) {
                    (None, 0) => Some(Step::Commit(*attempt)),
                    // Committed, and the others have not: keep the duty to hear of the reveal.
                    (Some(_), _) if replica.result.is_none() => Some(Step::Reveal(*attempt)),
                    _ => None,
                }
            }
            Phase::Doubted { round, committee, .. } => {
                let mine = committee.iter().find(|v| v.validator == self.validator)?;
                mine.result.is_none().then_some(Step::Verdict(*round))
            }
            _ => None,
        }
    }

    /// A virtual node ended a task.
    pub(crate) fn worked(&mut self, id: &TaskId, result: Result<TaskResult, String>, height: u64) {
        let work = match result {
            Ok(result) => Work::Done(result),
            Err(reason) => {
                tracing::warn!(task = %id, %reason, "a task could not be run");
                Work::Failed(height)
            }
        };
        // A task may have been closed meanwhile.
        if self.tasks.contains_key(id) || self.work.contains_key(id) {
            self.work.insert(*id, work);
        }
    }

    /// The work that is not running yet; it is taken for running from now on.
    fn start_work(&mut self, height: u64) -> Vec<TaskRecord> {
        let mut begun = Vec::new();
        for (id, task) in &self.tasks {
            let idle = match self.work.get(id) {
                None => true,
                Some(Work::Failed(at)) => *at + RETRY_BLOCKS <= height,
                Some(_) => false,
            };
            if idle {
                self.work.insert(*id, Work::Running);
                begun.push(task.clone());
            }
        }
        begun
    }

    fn nonce(&self, task: &TaskId, attempt: u32) -> Digest {
        Digest(sha3(&[b"nonce", &self.secret, &task.0, &attempt.to_be_bytes()]))
    }

    /// Everything that is ready to be sent, and was not sent in the last few blocks.
    fn collect(&mut self, height: u64) -> (Vec<Commit>, Vec<Reveal>, Vec<Verdict>) {
        let (mut commits, mut reveals, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
        for (id, task) in &self.tasks {
            let Some(Work::Done(result)) = self.work.get(id) else { continue };
            let Some(step) = self.step(task) else { continue };
            let recently = |at: &u64| *at + RESEND_BLOCKS > height;
            if self.sent.get(&(*id, step)).is_some_and(recently) {
                continue;
            }
            match step {
                Step::Commit(attempt) if commits.len() < MAX_BATCH => {
                    let nonce = self.nonce(id, attempt);
                    let commitment = commitment(&result.output, &self.node, id, &nonce);
                    commits.push(Commit { task_id: *id, attempt, commitment });
                }
                Step::Reveal(attempt) if reveals.len() < MAX_BATCH / 2 => {
                    let Some(reveal) = self.reveal(task, attempt, result) else { continue };
                    reveals.push(reveal);
                }
                Step::Verdict(round) if verdicts.len() < MAX_BATCH => {
                    let TaskResult { output, cost } = *result;
                    verdicts.push(Verdict { task_id: *id, round, output, cost });
                }
                _ => continue,
            }
            self.sent.insert((*id, step), height);
        }
        (commits, reveals, verdicts)
    }

    /// Opens the commitment, once reveals are open.
    fn reveal(&self, task: &TaskRecord, attempt: u32, result: &TaskResult) -> Option<Reveal> {
        let Phase::Assigned { assigned_at, reveal_by, .. } = task.phase else { return None };
        if reveal_by == 0 && !anthill_types::planted!(RevealEarly) {
            return None;
        }
        let receipt = Receipt {
            task_id: task.id,
            attempt,
            worker: self.node,
            assigned_at,
            program: task.spec.program,
            input: task.spec.input,
            params: task.spec.params_cid(),
            output: result.output,
            cost: result.cost,
            steps: Receipt::single_step(&result.output),
        };
        Some(Reveal { receipt, nonce: self.nonce(&task.id, attempt) })
    }
}

impl Engine {
    /// Does what the state asks of this node, as far as its work is done.
    pub(crate) fn do_duties(&mut self) {
        let height = self.ledger.height();
        for task in self.duties.start_work(height) {
            self.emit(Effect::Work(Box::new(task)));
        }
        let (commits, reveals, verdicts) = self.duties.collect(height);
        let node = AccountId(self.signers.node_key().0);
        let validator = AccountId(self.signers.validator_key().0);
        let mut signed = Vec::new();
        if !commits.is_empty() {
            signed.push(self.sign(&self.signers.node, node, 0, Body::Commits(commits)));
        }
        if !reveals.is_empty() {
            signed.push(self.sign(&self.signers.node, node, 0, Body::Reveals(reveals)));
        }
        if !verdicts.is_empty() {
            signed.push(self.sign(&self.signers.validator, validator, 0, Body::Verdicts(verdicts)));
        }
        for transaction in signed {
            // A full mempool is no reason to stop: the duty is sent again a few blocks later.
            if let Err(error) = self.accept(transaction, true) {
                tracing::warn!(%error, "a duty must wait");
            }
        }
    }
}
