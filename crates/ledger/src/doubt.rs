//! Doubt: a drawn committee of validators re-executes a task, and two thirds decide.

use anthill_scheduler::{DRAW_DELAY, draw_committee};
use anthill_types::genesis::NANO;
use anthill_types::state::{
    CommitteeVote, DoubtReason, NodeRecord, PaymentReason, Phase, TaskRecord, TaskResult,
};
use anthill_types::{AccountId, Amount, Digest, NodeKey, TaskId, ValidatorKey, Verdict};
use anthill_verify::{is_split, tally};

use crate::error::{LedgerError, TransactionError};
use crate::nodes::is_capable;
use crate::state::State;
use crate::{bank, settle, staking};

/// Committees that are drawn for a task before it is given up.
pub const MAX_ROUNDS: u32 = 4;

/// Puts a task in doubt; the committee is drawn two blocks later.
pub fn open(
    state: &mut State<'_>,
    task: &mut TaskRecord,
    reason: DoubtReason,
    challenger: Option<AccountId>,
) -> Result<(), LedgerError> {
    task.phase = Phase::Doubted { reason, round: 0, committee: Vec::new(), vote_by: 0, challenger };
    state.wake(state.height() + DRAW_DELAY, &task.id);
    Ok(())
}

/// Takes a task in doubt on when its committee is due, or the time to vote is over.
pub fn advance(state: &mut State<'_>, task: &mut TaskRecord) -> Result<(), LedgerError> {
    let height = state.height();
    let needs = task.spec.needs;
    let Phase::Doubted { round, committee, vote_by, .. } = &mut task.phase else { return Ok(()) };
    if committee.is_empty() && *vote_by == 0 {
        let params = state.params()?;
        let all = capable_validators(state, needs.as_ref())?;
        let beacon = state.chain().beacon;
        let drawn = draw_committee(&beacon, &task.id, *round, &all, params.committee as usize);
        *committee =
            drawn.into_iter().map(|validator| CommitteeVote { validator, result: None }).collect();
        *vote_by = height + params.reply_blocks;
        let wake_at = *vote_by + 1;
        state.wake(wake_at, &task.id);
        return Ok(());
    }
    if height > *vote_by || is_split(committee) {
        return next_round(state, task);
    }
    Ok(())
}

fn capable_validators(
    state: &State<'_>,
    needs: Option<&Digest>,
) -> Result<Vec<ValidatorKey>, LedgerError> {
    let mut keys = Vec::new();
    for validator in state.validators()?.validators {
        let node = state.node_of_validator(&validator.key)?;
        keys.extend(node.filter(|n| is_capable(n, needs)).map(|_| validator.key));
    }
    Ok(keys)
}

fn next_round(state: &mut State<'_>, task: &mut TaskRecord) -> Result<(), LedgerError> {
    let Phase::Doubted { round, committee, vote_by, challenger, .. } = &mut task.phase else {
        return Ok(());
    };
    if *round + 1 >= MAX_ROUNDS {
        let challenger = *challenger;
        return_deposit(state, task, challenger)?;
        return settle::refund(state, task);
    }
    *round += 1;
    committee.clear();
    *vote_by = 0;
    state.wake(state.height() + DRAW_DELAY, &task.id);
    Ok(())
}

/// Records a drawn validator's result; decides when two thirds agree.
pub fn vote(
    state: &mut State<'_>,
    validator: &ValidatorKey,
    verdict: &Verdict,
) -> Result<(), TransactionError> {
    let id = verdict.task_id;
    let mut task = state.task(&id)?.ok_or(TransactionError::NoTask(id))?;
    let refuse = |reason| TransactionError::Task { task: id, reason };
    let Phase::Doubted { round, committee, .. } = &mut task.phase else {
        return Err(refuse("it is not in doubt"));
    };
    if *round != verdict.round {
        return Err(refuse("the verdict is for another round"));
    }
    let seat = committee.iter_mut().find(|v| v.validator == *validator);
    let seat = seat.ok_or(refuse("the sender is not in its committee"))?;
    if seat.result.is_some() || verdict.result.cost > task.spec.cost_limit {
        return Err(refuse("the sender has voted already, or the cost is above the limit"));
    }
    seat.result = Some(verdict.result);
    if let Some(result) = tally(committee) {
        decide(state, &mut task, result)?;
    } else if is_split(committee) {
        next_round(state, &mut task)?;
    }
    Ok(state.put_task(&task)?)
}

/// Asks for a re-execution of a provisional result, with a deposit.
pub fn challenge(
    state: &mut State<'_>,
    account: &AccountId,
    id: &TaskId,
) -> Result<(), TransactionError> {
    let mut task = state.task(id)?.ok_or(TransactionError::NoTask(*id))?;
    let Phase::Provisional { .. } = task.phase else {
        return Err(TransactionError::Task {
            task: *id,
            reason: "only provisional results can be challenged",
        });
    };
    let deposit = state.params()?.challenge_deposit;
    bank::withdraw(state, account, deposit, "the challenge's deposit")?;
    task.deposit = deposit;
    settle::withdraw_acceptance(state, &mut task)?;
    open(state, &mut task, DoubtReason::Challenged, Some(*account))?;
    Ok(state.put_task(&task)?)
}

/// Applies the committee's result: whoever signed another one is slashed.
fn decide(
    state: &mut State<'_>,
    task: &mut TaskRecord,
    result: TaskResult,
) -> Result<(), LedgerError> {
    let Phase::Doubted { committee, challenger, .. } = &task.phase else { return Ok(()) };
    let (committee, challenger) = (committee.clone(), *challenger);
    let liars = wrong_nodes(state, task, &committee, &result)?;
    let rewarded = rewarded_nodes(state, task, &committee, challenger, &result)?;
    for key in &liars {
        slash(state, task, key, &rewarded, result.cost)?;
    }
    for replica in &mut task.replicas {
        replica.failed |= replica.result.is_some_and(|r| r != result);
    }
    match challenger {
        Some(account) if !liars.is_empty() => return_deposit(state, task, Some(account))?,
        Some(_) => burn_deposit(state, task)?,
        None => {}
    }
    settle::accept(state, task, result, true)
}

fn wrong_nodes(
    state: &State<'_>,
    task: &TaskRecord,
    committee: &[CommitteeVote],
    result: &TaskResult,
) -> Result<Vec<NodeKey>, LedgerError> {
    let wrong = |r: &Option<TaskResult>| r.is_some_and(|r| r != *result);
    let silent = |r: &Option<TaskResult>| anthill_types::planted!(SlashSilent) && r.is_none();
    let mut keys: Vec<NodeKey> =
        task.replicas.iter().filter(|r| !r.failed && wrong(&r.result)).map(|r| r.node).collect();
    for vote in committee.iter().filter(|v| wrong(&v.result) || silent(&v.result)) {
        keys.extend(state.node_of_validator(&vote.validator)?.map(|n| n.node));
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// Who shares half of what is slashed: the challenger, else the replicas that were right, else the
/// committee that decided.
fn rewarded_nodes(
    state: &State<'_>,
    task: &TaskRecord,
    committee: &[CommitteeVote],
    challenger: Option<AccountId>,
    result: &TaskResult,
) -> Result<Vec<NodeKey>, LedgerError> {
    if let Some(node) = challenger.map(|c| state.node_of_account(&c)).transpose()?.flatten() {
        return Ok(vec![node.node]);
    }
    let mut keys: Vec<NodeKey> = task
        .replicas
        .iter()
        .filter(|r| !r.failed && r.result == Some(*result))
        .map(|r| r.node)
        .collect();
    if keys.is_empty() {
        for vote in committee.iter().filter(|v| v.result == Some(*result)) {
            keys.extend(state.node_of_validator(&vote.validator)?.map(|n| n.node));
        }
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// Takes `slash_wrong` of the offender's bond: half to those who showed the wrong, the rest burned.
fn slash(
    state: &mut State<'_>,
    task: &TaskRecord,
    offender: &NodeKey,
    rewarded: &[NodeKey],
    cost: u64,
) -> Result<(), LedgerError> {
    let params = state.params()?;
    let epoch = state.chain().epoch;
    let Some(mut node) = state.node(offender)? else { return Ok(()) };
    let own = node.bond.share(params.slash_wrong.min(NANO)).unwrap_or_default();
    node.bond = node.bond.checked_sub(own).unwrap_or_default();
    // Who lies and then unbonds does not get away with it.
    let unbonding = staking::slash_unbonding(state, offender, params.slash_wrong.min(NANO), false)?;
    let lost = own.checked_add(unbonding).ok_or(LedgerError::Overflow("slashed"))?;
    node.slashed = node.slashed.checked_add(lost).ok_or(LedgerError::Overflow("slashed"))?;
    node.counts.bad = node.counts.bad.saturating_add(cost.max(1));
    node.counts.bad_n += 1;
    node.rests_until = epoch + 1;
    state.put_node(&node)?;
    let paid = share_out(state, task.id, offender, rewarded, Amount(lost.0 / 2))?;
    bank::burn(state, lost.checked_sub(paid).unwrap_or_default())
}

fn share_out(
    state: &mut State<'_>,
    task: TaskId,
    offender: &NodeKey,
    rewarded: &[NodeKey],
    half: Amount,
) -> Result<Amount, LedgerError> {
    let each = Amount(half.0 / rewarded.len().max(1) as u128);
    let mut paid = Amount::ZERO;
    for key in rewarded.iter().filter(|k| *k != offender && each > Amount::ZERO) {
        let Some(mut node): Option<NodeRecord> = state.node(key)? else { continue };
        bank::pay(state, &mut node, each, PaymentReason::Slash { task, offender: *offender })?;
        state.put_node(&node)?;
        paid = paid.checked_add(each).ok_or(LedgerError::Overflow("slash"))?;
    }
    Ok(paid)
}

fn return_deposit(
    state: &mut State<'_>,
    task: &mut TaskRecord,
    challenger: Option<AccountId>,
) -> Result<(), LedgerError> {
    let Some(account) = challenger else { return Ok(()) };
    bank::deposit(state, &account, std::mem::take(&mut task.deposit))
}

fn burn_deposit(state: &mut State<'_>, task: &mut TaskRecord) -> Result<(), LedgerError> {
    bank::burn(state, std::mem::take(&mut task.deposit))
}
