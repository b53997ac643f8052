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

    /// Notes where a task stands now; true when it is closed while it runs here, so that its run is of no
    /// use to anybody. While it is open, a run goes on even if this node owes nothing at the moment: a worker
    /// that was late may be drawn again, and needs its result then.
    #[must_use]
    pub(crate) fn observe(&mut self, task: TaskRecord) -> bool {
        if self.step(&task).is_some() {
            self.tasks.insert(task.id, task);
            return false;
        }
        self.tasks.remove(&task.id);
        self.sent.retain(|(id, _), _| *id != task.id);
        let closed = matches!(
            task.phase,
            Phase::Provisional { .. }
                | Phase::Final { .. }
                | Phase::Refunded { .. }
                | Phase::Cancelled { .. }
        );
        closed && matches!(self.work.remove(&task.id), Some(Work::Running))
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
                    verdicts.push(Verdict { task_id: *id, round, result: *result });
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
            steps: result.steps,
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

#[cfg(test)]
mod tests {
    use anthill_types::state::Replica;
    use anthill_types::{Amount, Bytes, Cid, TaskSpec, state::Terms};

    use super::*;

    const NODE: NodeKey = NodeKey([1; 32]);

    fn duties() -> Duties {
        Duties {
            node: NODE,
            validator: ValidatorKey([2; 32]),
            secret: [3; 32],
            tasks: BTreeMap::new(),
            work: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// A task for which this node was drawn in its first assignment.
    fn task(phase: Phase) -> TaskRecord {
        let spec = TaskSpec {
            program: Cid::of(b"p"),
            params: Bytes(vec![]),
            input: Cid::of(b""),
            input_len: 0,
            cost_limit: 9,
            max_replicas: 2,
            directed: None,
            needs: None,
            deadline_blocks: 9,
        };
        let replica = Replica {
            node: NODE,
            account: AccountId([4; 32]),
            attempt: 1,
            proven: true,
            commitment: None,
            result: None,
            failed: false,
        };
        TaskRecord {
            id: TaskId([5; 32]),
            submitter: AccountId([6; 32]),
            spec,
            submitted_at: 1,
            escrow: Amount::ZERO,
            replicas: vec![replica],
            phase,
            terms: Terms { unit_price: 1, worker_share: 1 },
            deposit: Amount::ZERO,
        }
    }

    #[test]
    fn a_run_is_stopped_once_its_task_is_closed_and_not_before() {
        let assigned =
            |attempt| Phase::Assigned { attempt, assigned_at: 2, commit_by: 3, reveal_by: 0 };
        let result = TaskResult { output: Cid::of(b"o"), cost: 1, steps: Digest([7; 32]) };
        let closed = [
            Phase::Provisional { result, epoch: 1, checked: true, until: 2 },
            Phase::Final { result, height: 4 },
            Phase::Refunded { height: 4 },
            Phase::Cancelled { height: 4 },
        ];
        for end in closed {
            let mut duties = duties();
            assert!(!duties.observe(task(end.clone())), "nothing runs");
            assert!(!duties.observe(task(assigned(1))));
            assert_eq!(duties.start_work(2).len(), 1);
            // It was too late, and may be drawn once more: then it needs its result.
            for open in [Phase::Queued { attempt: 2 }, assigned(2)] {
                assert!(!duties.observe(task(open)));
                assert!(duties.tasks.is_empty());
            }
            assert!(!duties.observe(task(assigned(1))));
            assert_eq!(duties.start_work(3).len(), 0, "it runs on");
            assert!(duties.observe(task(end.clone())), "{end:?}");
            assert!(!duties.observe(task(end)), "once");
            // What was on its way when it was stopped is forgotten.
            duties.worked(&TaskId([5; 32]), Ok(result), 4);
            assert!(duties.work.is_empty());
        }
        // What is done needs no stop.
        let mut duties = duties();
        assert!(!duties.observe(task(assigned(1))));
        duties.start_work(2);
        duties.worked(&TaskId([5; 32]), Ok(result), 2);
        assert!(!duties.observe(task(Phase::Cancelled { height: 4 })));
    }
}
