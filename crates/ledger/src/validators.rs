//! The validator set: who is in it from one epoch to the next.

use std::cmp::Reverse;

use anthill_types::amount::MICRO;
use anthill_types::state::NodeRecord;
use anthill_types::{Amount, ChainParams, Validator, ValidatorSet, keys};

use crate::bank;
use crate::error::LedgerError;
use crate::state::State;

/// A set stays as it is while no member's stake has moved by more than this part of itself: every
/// change is one more link that light clients follow.
const DRIFT: u64 = 10;

/// Stake of a node in whole credits: its own bond and what is delegated to it.
pub fn power(node: &NodeRecord) -> u64 {
    let stake = node.bond.0.saturating_add(node.delegated.tokens.0);
    u64::try_from(stake / MICRO).unwrap_or(u64::MAX)
}

/// Jails who was absent and chooses the next set from the nodes as they stand at an epoch's end.
/// The set stays when nobody else could take over.
pub fn elect(state: &mut State<'_>, nodes: &mut [NodeRecord]) -> Result<(), LedgerError> {
    let params = state.params()?;
    let current = state.validators()?;
    jail_absent(state, &params, &current, nodes)?;
    let next = choose(state.chain().epoch, &params, nodes);
    if next.validators.is_empty() || !differs(&current, &next) {
        return Ok(());
    }
    let height = state.height();
    for node in nodes.iter_mut() {
        let is_in = |set: &ValidatorSet| set.validators.iter().any(|v| v.key == node.validator);
        if is_in(&next) && !is_in(&current) {
            node.last_proposed = height;
            state.put_node(node)?;
        }
    }
    state.put(keys::validator_set(), &next)
}

/// Who validates in the epoch after `epoch`: with the bond, the trust and the wish, and not jailed;
/// of more than `max_validators`, those with the most stake.
fn choose(epoch: u64, params: &ChainParams, nodes: &[NodeRecord]) -> ValidatorSet {
    let may = |n: &&NodeRecord| {
        n.validates && n.jailed_until <= epoch + 1 && n.bond >= params.min_bond && power(n) > 0
    };
    let trusted = trusted(nodes.iter().filter(may).collect(), params.trust_threshold);
    let mut members: Vec<Validator> = trusted.into_iter().map(member).collect();
    members.sort_unstable_by_key(|v| (Reverse(v.power), v.key));
    members.truncate(usize::try_from(params.max_validators).unwrap_or(usize::MAX));
    members.sort_unstable();
    ValidatorSet { validators: members }
}

fn member(node: &NodeRecord) -> Validator {
    Validator { key: node.validator, account: node.account, power: power(node) }
}

/// Leaves out who is below the trust threshold, those with the least trust first, as long as what
/// is left out stays below a third of the stake: a bad epoch, in which many honest nodes miss their
/// deadlines, must not hand the chain to the few that did not.
fn trusted(mut candidates: Vec<&NodeRecord>, threshold: u64) -> Vec<&NodeRecord> {
    candidates.sort_unstable_by_key(|n| (Reverse(n.trust), Reverse(power(n)), n.node));
    let all: u128 = candidates.iter().map(|n| u128::from(power(n))).sum();
    let mut left_out = 0u128;
    while let Some(last) = candidates.last().filter(|n| n.trust < threshold) {
        left_out += u128::from(power(last));
        if left_out * 3 >= all {
            break;
        }
        candidates.pop();
    }
    candidates
}

/// True when the members differ, or one's stake has moved by more than a [`DRIFT`]th.
fn differs(current: &ValidatorSet, next: &ValidatorSet) -> bool {
    let moved = |(old, new): (&Validator, &Validator)| {
        old.key != new.key || old.power.abs_diff(new.power) > old.power / DRIFT
    };
    current.validators.len() != next.validators.len()
        || current.validators.iter().zip(&next.validators).any(moved)
}

/// Jails members that have proposed nothing although `missed_blocks` proposals of theirs were due,
/// by the smaller of an equal share and the share of their stake; each costs one `missed_reveal`.
fn jail_absent(
    state: &mut State<'_>,
    params: &ChainParams,
    current: &ValidatorSet,
    nodes: &mut [NodeRecord],
) -> Result<(), LedgerError> {
    let total: u128 = current.validators.iter().map(|v| u128::from(v.power)).sum();
    let members = current.validators.len() as u128;
    for member in &current.validators {
        let Some(node) = nodes.iter_mut().find(|n| n.validator == member.key) else { continue };
        let blocks = u128::from(state.height().saturating_sub(node.last_proposed));
        let by_stake = (blocks * u128::from(member.power)).checked_div(total).unwrap_or(0);
        let due = by_stake.min(blocks / members.max(1));
        if due < u128::from(params.missed_blocks) {
            continue;
        }
        let lost = params.missed_reveal.min(node.bond);
        node.bond = node.bond.checked_sub(lost).unwrap_or(Amount::ZERO);
        node.slashed = node.slashed.checked_add(lost).ok_or(LedgerError::Overflow("slashed"))?;
        node.jailed_until = (state.chain().epoch + 1).saturating_add(params.jail_epochs);
        node.validates = false;
        state.put_node(node)?;
        bank::burn(state, lost)?;
    }
    Ok(())
}
