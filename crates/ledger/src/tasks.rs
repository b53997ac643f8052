//! Tasks: submission with escrow, the draw of workers, commitments and reveals.

use anthill_scheduler::{DRAW_DELAY, draw_workers};
use anthill_types::state::{DoubtReason, NodeRecord, Phase, Replica, TaskRecord};
use anthill_types::task::{self, MAX_BATCH, MAX_INPUT, MAX_PARAMS};
use anthill_types::{
    AccountId, Amount, ChainParams, Commit, NodeKey, Reveal, TaskId, TaskSpec, keys,
};
use anthill_verify::{Judgement, exposure_limit, judge, replicas_wanted};

use crate::error::{LedgerError, TransactionError};
use crate::state::State;
use crate::{bank, doubt, nodes, settle};

/// Assignments of a task before it is given up.
pub const MAX_ATTEMPTS: u32 = 4;
/// Bytes of receipts and votes that a task's fee pays for, per replica.
const RECEIPT_BYTES: u64 = 1024;
/// Largest reference cost of one task.
pub const MAX_COST: u64 = 1 << 40;

/// The fee that a task burns at submission: it pays for the bytes of its receipts.
pub fn fee(spec: &TaskSpec, params: &ChainParams) -> Amount {
    let bytes = RECEIPT_BYTES * u64::from(spec.max_replicas);
    Amount(u128::from(bytes) * u128::from(params.base_fee))
}

/// What a task's escrow holds: price times replicas.
pub fn escrow(spec: &TaskSpec, params: &ChainParams) -> Amount {
    Amount(params.terms().price(spec.cost_limit).0 * u128::from(spec.max_replicas))
}

fn check_spec(spec: &TaskSpec) -> Result<(), TransactionError> {
    let problem = match spec {
        s if s.params.0.len() > MAX_PARAMS => "a task's parameters may have 1024 bytes at most",
        s if s.input_len > MAX_INPUT => "a task's input may have 16 MiB at most",
        s if s.cost_limit > MAX_COST => "a task's cost limit may be 2^40 at most",
        s if !(1..=3).contains(&s.max_replicas) => "a task has 1 to 3 replicas",
        s if !(20..=1_000_000).contains(&s.deadline_blocks) => {
            "a task's deadline is 20 to 1,000,000 blocks"
        }
        _ => return Ok(()),
    };
    Err(TransactionError::Invalid(problem))
}

/// Takes the escrow of each task and queues it.
pub fn submit(
    state: &mut State<'_>,
    submitter: &AccountId,
    sequence: u64,
    specs: &[TaskSpec],
) -> Result<(), TransactionError> {
    if specs.is_empty() || specs.len() > MAX_BATCH {
        return Err(TransactionError::Invalid("a transaction submits 1 to 256 tasks"));
    }
    let params = state.params()?;
    let height = state.height();
    for (i, spec) in specs.iter().enumerate() {
        check_spec(spec)?;
        let (escrow, fee) = (escrow(spec, &params), fee(spec, &params));
        let needed = escrow.checked_add(fee).ok_or(LedgerError::Overflow("escrow"))?;
        bank::withdraw(state, submitter, needed, "the task's escrow and fee")?;
        bank::burn(state, fee)?;
        let id = task::task_id(submitter, sequence + i as u64);
        let record = TaskRecord {
            id,
            submitter: *submitter,
            spec: spec.clone(),
            submitted_at: height,
            escrow,
            replicas: Vec::new(),
            phase: Phase::Queued { attempt: 0 },
            terms: params.terms(),
            deposit: Amount::ZERO,
        };
        state.put_task(&record)?;
        state.wake(height + DRAW_DELAY, &id);
        state.wake(height + u64::from(spec.deadline_blocks), &id);
    }
    Ok(())
}

/// Takes a task back for its submitter while no worker of the running assignment has committed.
pub fn cancel(
    state: &mut State<'_>,
    sender: &AccountId,
    id: &TaskId,
) -> Result<(), TransactionError> {
    let mut task = state.task(id)?.ok_or(TransactionError::NoTask(*id))?;
    let refuse = |reason| TransactionError::Task { task: *id, reason };
    if task.submitter != *sender {
        return Err(refuse("only its submitter may cancel it"));
    }
    let drawn = match task.phase {
        Phase::Queued { .. } => Vec::new(),
        Phase::Assigned { attempt, .. } => {
            if active(&task, attempt).any(|r| r.commitment.is_some()) {
                return Err(refuse("a worker has committed to its result: it can end only now"));
            }
            forget_deadlines(state, &task);
            active(&task, attempt).map(|r| r.node).collect()
        }
        _ => return Err(refuse("it is computed, or given up: there is nothing left to cancel")),
    };
    let deadline = task.submitted_at + u64::from(task.spec.deadline_blocks);
    state.delete(&keys::agenda(deadline, id));
    settle::call_off(state, &mut task, &drawn)?;
    Ok(state.put_task(&task)?)
}

/// Draws the workers of a queued task with the beacon of this block.
pub fn assign(
    state: &mut State<'_>,
    task: &mut TaskRecord,
    attempt: u32,
    all: &[NodeRecord],
) -> Result<(), LedgerError> {
    let params = state.params()?;
    let height = state.height();
    let drawn = choose(state, task, attempt, all, &params);
    if drawn.is_empty() {
        // Nobody may work now: look again two blocks later, until the deadline refunds the task.
        state.wake(height + DRAW_DELAY, &task.id);
        return Ok(());
    }
    task.replicas.extend(drawn.into_iter().map(|node| Replica {
        node: node.node,
        account: node.account,
        attempt,
        proven: node.trust >= params.proven_trust,
        commitment: None,
        result: None,
        failed: false,
    }));
    let commit_by = height + params.reply_blocks;
    task.phase = Phase::Assigned { attempt, assigned_at: height, commit_by, reveal_by: 0 };
    state.wake(commit_by + 1, &task.id);
    Ok(())
}

fn choose<'n>(
    state: &State<'_>,
    task: &TaskRecord,
    attempt: u32,
    all: &'n [NodeRecord],
    params: &ChainParams,
) -> Vec<&'n NodeRecord> {
    let find = |key: &NodeKey| all.iter().find(|n| n.node == *key);
    if let Some(directed) = &task.spec.directed {
        return find(directed).filter(|n| n.offered > 0).into_iter().collect();
    }
    let candidates = nodes::candidates(state, all, task.spec.needs.as_ref());
    let most = usize::from(task.spec.max_replicas);
    let drawn = draw_workers(&state.chain().beacon, &task.id, attempt, &candidates, most);
    let mut drawn: Vec<&NodeRecord> = drawn.iter().filter_map(|c| find(&c.node)).collect();
    let alone = drawn.first().is_some_and(|n| may_work_alone(n, task, params));
    drawn.truncate(replicas_wanted(alone, task.spec.max_replicas));
    drawn
}

fn may_work_alone(node: &NodeRecord, task: &TaskRecord, params: &ChainParams) -> bool {
    let unchecked = node.unchecked.checked_add(task.terms.price(task.spec.cost_limit));
    node.trust >= params.proven_trust
        && unchecked.is_some_and(|u| u <= exposure_limit(node.bond, params.audit_rate))
}

fn replica_mut<'t>(
    task: &'t mut TaskRecord,
    node: &NodeKey,
    attempt: u32,
) -> Result<&'t mut Replica, TransactionError> {
    let id = task.id;
    let replica = task.replicas.iter_mut().find(|r| r.node == *node && r.attempt == attempt);
    replica
        .filter(|r| !r.failed)
        .ok_or(TransactionError::Task { task: id, reason: "the sender is not assigned to it" })
}

/// Records a worker's commitment; when it is the last, reveals open.
pub fn commit(
    state: &mut State<'_>,
    node: &NodeKey,
    commit: &Commit,
) -> Result<(), TransactionError> {
    let id = commit.task_id;
    let mut task = state.task(&id)?.ok_or(TransactionError::NoTask(id))?;
    let refuse = |reason| TransactionError::Task { task: id, reason };
    let Phase::Assigned { attempt, reveal_by: 0, .. } = task.phase else {
        return Err(refuse("it does not wait for commitments"));
    };
    if attempt != commit.attempt {
        return Err(refuse("the commitment is for another attempt"));
    }
    let replica = replica_mut(&mut task, node, attempt)?;
    if replica.commitment.is_some() {
        return Err(refuse("the sender has committed already"));
    }
    replica.commitment = Some(commit.commitment);
    if active(&task, attempt).all(|r| r.commitment.is_some()) {
        open_reveals(state, &mut task)?;
    }
    Ok(state.put_task(&task)?)
}

fn active(task: &TaskRecord, attempt: u32) -> impl Iterator<Item = &Replica> {
    task.replicas.iter().filter(move |r| r.attempt == attempt && !r.failed)
}

fn open_reveals(state: &mut State<'_>, task: &mut TaskRecord) -> Result<(), LedgerError> {
    let by = state.height() + state.params()?.reply_blocks;
    if let Phase::Assigned { reveal_by, .. } = &mut task.phase {
        *reveal_by = by;
    }
    state.wake(by + 1, &task.id);
    Ok(())
}

/// Checks a receipt against the task and the commitment; when it is the last, judges the task.
pub fn reveal(
    state: &mut State<'_>,
    node: &NodeKey,
    reveal: &Reveal,
) -> Result<(), TransactionError> {
    let receipt = &reveal.receipt;
    let id = receipt.task_id;
    let mut task = state.task(&id)?.ok_or(TransactionError::NoTask(id))?;
    let refuse = |reason| TransactionError::Task { task: id, reason };
    let Phase::Assigned { attempt, assigned_at, reveal_by, .. } = task.phase else {
        return Err(refuse("it does not wait for reveals"));
    };
    if reveal_by == 0 && !anthill_types::planted!(RevealEarly) {
        return Err(refuse("not all replicas have committed yet"));
    }
    let spec = &task.spec;
    let fits = receipt.worker == *node
        && receipt.attempt == attempt
        && receipt.assigned_at == assigned_at
        && receipt.program == spec.program
        && receipt.input == spec.input
        && receipt.params == spec.params_cid()
        && receipt.cost <= spec.cost_limit;
    if !fits {
        return Err(refuse("the receipt does not fit the assignment"));
    }
    let opened = task::commitment(&receipt.output, node, &id, &reveal.nonce);
    let replica = replica_mut(&mut task, node, attempt)?;
    if replica.result.is_some() || replica.commitment != Some(opened) {
        return Err(refuse("the reveal does not open the sender's commitment"));
    }
    replica.result = Some(receipt.result());
    if active(&task, attempt).all(|r| r.result.is_some()) {
        judge_attempt(state, &mut task, attempt)?;
    }
    Ok(state.put_task(&task)?)
}

/// Takes an assigned task on when one of its deadlines has passed.
pub fn expire(state: &mut State<'_>, task: &mut TaskRecord) -> Result<(), LedgerError> {
    let Phase::Assigned { attempt, commit_by, reveal_by, .. } = task.phase else { return Ok(()) };
    let height = state.height();
    if reveal_by == 0 && height > commit_by {
        fail_late(state, task, attempt, |r| r.commitment.is_none())?;
        if active(task, attempt).next().is_some() {
            open_reveals(state, task)?;
        } else {
            retry(state, task, attempt)?;
        }
    } else if reveal_by > 0 && height > reveal_by {
        fail_late(state, task, attempt, |r| r.result.is_none())?;
        judge_attempt(state, task, attempt)?;
    }
    Ok(())
}

fn fail_late(
    state: &mut State<'_>,
    task: &mut TaskRecord,
    attempt: u32,
    is_late: impl Fn(&Replica) -> bool,
) -> Result<(), LedgerError> {
    for replica in task.replicas.iter_mut().filter(|r| r.attempt == attempt && !r.failed) {
        if is_late(replica) {
            replica.failed = true;
            if let Some(mut node) = state.node(&replica.node)? {
                node.counts.late_n += 1;
                state.put_node(&node)?;
            }
        }
    }
    Ok(())
}

fn judge_attempt(
    state: &mut State<'_>,
    task: &mut TaskRecord,
    attempt: u32,
) -> Result<(), LedgerError> {
    forget_deadlines(state, task);
    let judgement = judge(&active(task, attempt).collect::<Vec<_>>());
    match judgement {
        Judgement::Accept { result, checked: false }
            if !within_exposure(state, task, attempt, result.cost)? =>
        {
            doubt::open(state, task, DoubtReason::Audit, None)
        }
        Judgement::Accept { result, checked } => settle::accept(state, task, result, checked),
        Judgement::Doubt(reason) => doubt::open(state, task, reason, None),
        Judgement::NoAnswer => retry(state, task, attempt),
    }
}

/// Takes this assignment's deadlines off the agenda: later, they would wake the task in another
/// phase, and give the beacon more than one chance to draw an audit.
fn forget_deadlines(state: &mut State<'_>, task: &TaskRecord) {
    if let Phase::Assigned { commit_by, reveal_by, .. } = task.phase {
        state.delete(&keys::agenda(commit_by + 1, &task.id));
        state.delete(&keys::agenda(reveal_by + 1, &task.id));
    }
}

/// True when the lone worker's unchecked value stays within what its bond covers. Many tasks may
/// have been assigned in one block, so the limit at the draw is not enough.
fn within_exposure(
    state: &State<'_>,
    task: &TaskRecord,
    attempt: u32,
    cost: u64,
) -> Result<bool, LedgerError> {
    let params = state.params()?;
    for replica in active(task, attempt) {
        let Some(node) = state.node(&replica.node)? else { return Ok(false) };
        let unchecked = node.unchecked.checked_add(task.terms.price(cost));
        let limit = exposure_limit(node.bond, params.audit_rate);
        if unchecked.is_none_or(|value| value > limit) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn retry(state: &mut State<'_>, task: &mut TaskRecord, attempt: u32) -> Result<(), LedgerError> {
    forget_deadlines(state, task);
    if attempt + 1 >= MAX_ATTEMPTS {
        return settle::refund(state, task);
    }
    task.phase = Phase::Queued { attempt: attempt + 1 };
    state.wake(state.height() + DRAW_DELAY, &task.id);
    Ok(())
}
