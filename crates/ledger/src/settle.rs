//! Acceptance, audits, finality with payment, and refunds.

use anthill_scheduler::{DRAW_DELAY, draws_audit};
use anthill_types::state::{DoubtReason, PaymentReason, Phase, Replica, TaskRecord, TaskResult};
use anthill_types::{Amount, NodeKey, keys};

use crate::error::LedgerError;
use crate::state::State;
use crate::{bank, doubt};

/// Most results that become final in one block; the rest follow in the next.
const FINAL_PER_BLOCK: usize = 1024;

/// Makes a result provisional: its challenge window opens.
pub fn accept(
    state: &mut State<'_>,
    task: &mut TaskRecord,
    result: TaskResult,
    checked: bool,
) -> Result<(), LedgerError> {
    let epoch = state.chain().epoch;
    let ends = window_end(state, epoch)?;
    task.phase = Phase::Provisional { result, epoch, checked, until: ends };
    state.mark(keys::window(ends, &task.id));
    // The deadline is for tasks without a result.
    let deadline = task.submitted_at + u64::from(task.spec.deadline_blocks);
    state.delete(&keys::agenda(deadline, &task.id));
    if !checked {
        change_unchecked(state, task, &result, true)?;
        state.wake(state.height() + DRAW_DELAY, &task.id);
    }
    Ok(())
}

/// The epoch with whose beginning a result of this epoch is final: all epochs of the challenge
/// window have passed in full.
fn window_end(state: &State<'_>, epoch: u64) -> Result<u64, LedgerError> {
    Ok(epoch + state.params()?.challenge_epochs + 1)
}

/// Undoes what [`accept`] did, when a provisional result is doubted after all.
pub fn withdraw_acceptance(
    state: &mut State<'_>,
    task: &mut TaskRecord,
) -> Result<(), LedgerError> {
    let Phase::Provisional { result, checked, until, .. } = task.phase else { return Ok(()) };
    state.delete(&keys::window(until, &task.id));
    if !checked {
        change_unchecked(state, task, &result, false)?;
    }
    Ok(())
}

fn change_unchecked(
    state: &mut State<'_>,
    task: &TaskRecord,
    result: &TaskResult,
    add: bool,
) -> Result<(), LedgerError> {
    let value = task.terms.price(result.cost);
    for key in right_replicas(task, result) {
        let Some(mut node) = state.node(&key)? else { continue };
        let changed = if add {
            node.unchecked.checked_add(value)
        } else {
            Some(node.unchecked.checked_sub(value).unwrap_or_default())
        };
        node.unchecked = changed.ok_or(LedgerError::Overflow("unchecked value"))?;
        state.put_node(&node)?;
    }
    Ok(())
}

fn right_replicas(task: &TaskRecord, result: &TaskResult) -> Vec<NodeKey> {
    let right = |r: &&Replica| !r.failed && r.result == Some(*result);
    let most = usize::from(task.spec.max_replicas);
    task.replicas.iter().filter(right).take(most).map(|r| r.node).collect()
}

/// Draws whether an unchecked provisional result is audited.
pub fn maybe_audit(state: &mut State<'_>, task: &mut TaskRecord) -> Result<(), LedgerError> {
    let Phase::Provisional { checked: false, .. } = task.phase else { return Ok(()) };
    let rate = state.params()?.audit_rate;
    if draws_audit(&state.chain().beacon, &task.id, rate) {
        withdraw_acceptance(state, task)?;
        doubt::open(state, task, DoubtReason::Audit, None)?;
    }
    Ok(())
}

/// Makes every result final whose window has passed, and pays for it.
pub fn close_windows(state: &mut State<'_>) -> Result<(), LedgerError> {
    let end = keys::window_end(state.chain().epoch);
    for (key, _) in state.range(&keys::window_start(), &end, FINAL_PER_BLOCK)? {
        state.delete(&key);
        let id = key.get(key.len().saturating_sub(32)..).and_then(|t| t.try_into().ok());
        let id = anthill_types::TaskId(id.ok_or(LedgerError::Missing("window entry"))?);
        if let Some(mut task) = state.task(&id)? {
            finalise(state, &mut task)?;
            state.put_task(&task)?;
        }
    }
    Ok(())
}

fn finalise(state: &mut State<'_>, task: &mut TaskRecord) -> Result<(), LedgerError> {
    let Phase::Provisional { result, checked, .. } = task.phase else { return Ok(()) };
    if !checked {
        change_unchecked(state, task, &result, false)?;
    }
    let (price, share) = (task.terms.price(result.cost), task.terms.worker_pay(result.cost));
    for key in right_replicas(task, &result) {
        let Some(mut node) = state.node(&key)? else { continue };
        task.escrow = task.escrow.checked_sub(price).ok_or(LedgerError::Overflow("escrow"))?;
        if share > Amount::ZERO {
            bank::pay(state, &mut node, share, PaymentReason::Task { task: task.id })?;
            if anthill_types::planted!(PayTwice) && task.escrow > price {
                task.escrow = task.escrow.checked_sub(share).unwrap_or_default();
                bank::pay(state, &mut node, share, PaymentReason::Task { task: task.id })?;
            }
        }
        bank::burn(state, price.checked_sub(share).unwrap_or_default())?;
        if task.spec.directed.is_none() {
            node.counts.work = node.counts.work.saturating_add(result.cost);
            node.counts.tasks += 1;
        }
        if checked {
            node.counts.ok = node.counts.ok.saturating_add(result.cost.max(1));
            node.counts.ok_n += 1;
        }
        state.put_node(&node)?;
    }
    return_escrow(state, task)?;
    task.phase = Phase::Final { result, height: state.height() };
    Ok(())
}

/// Ends a task for its submitter: each drawn worker gets half a price, the rest goes back. Nothing
/// was checked, so nothing counts for anybody's score.
pub fn call_off(
    state: &mut State<'_>,
    task: &mut TaskRecord,
    drawn: &[NodeKey],
) -> Result<(), LedgerError> {
    let limit = task.spec.cost_limit;
    let (price, share) = (task.terms.cancel_price(limit), task.terms.cancel_pay(limit));
    for key in drawn {
        let Some(mut node) = state.node(key)? else { continue };
        task.escrow = task.escrow.checked_sub(price).ok_or(LedgerError::Overflow("escrow"))?;
        if share > Amount::ZERO {
            bank::pay(state, &mut node, share, PaymentReason::Task { task: task.id })?;
        }
        bank::burn(state, price.checked_sub(share).unwrap_or_default())?;
        state.put_node(&node)?;
    }
    return_escrow(state, task)?;
    task.phase = Phase::Cancelled { height: state.height() };
    Ok(())
}

/// Gives a task up: the whole escrow goes back.
pub fn refund(state: &mut State<'_>, task: &mut TaskRecord) -> Result<(), LedgerError> {
    return_escrow(state, task)?;
    task.phase = Phase::Refunded { height: state.height() };
    Ok(())
}

fn return_escrow(state: &mut State<'_>, task: &mut TaskRecord) -> Result<(), LedgerError> {
    let rest = std::mem::take(&mut task.escrow);
    let lost = anthill_types::planted!(LoseEscrow) && task.replicas.len() > 2;
    if rest > Amount::ZERO && !lost {
        bank::deposit(state, &task.submitter, rest)?;
    }
    Ok(())
}
