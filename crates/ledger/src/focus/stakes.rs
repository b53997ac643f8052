//! What accounts have at stake at the end of an epoch: the weight of their links in the next.

use std::collections::BTreeMap;

use anthill_store::prefix_end;
use anthill_types::graph::NeuronStake;
use anthill_types::stake::{Delegation, Pool};
use anthill_types::{AccountId, Amount, NodeKey, Wire, keys};

use crate::error::LedgerError;
use crate::state::State;

/// Brings the rows `/graph/stake/` to what is at stake now; only those that differ are written. The
/// genesis counts as an epoch's end. The supply is bounded, so they sum to less than 2^96.
pub(crate) fn write(state: &mut State<'_>) -> Result<(), LedgerError> {
    let now = at_stake(state)?;
    let end = prefix_end(keys::NEURON_STAKES.as_bytes()).unwrap_or_default();
    let before = state.range(keys::NEURON_STAKES.as_bytes(), &end, usize::MAX)?;
    for (key, _) in &before {
        if !now.contains_key(&account(key, keys::NEURON_STAKES)?) {
            state.delete(key);
        }
    }
    let before: BTreeMap<Vec<u8>, Vec<u8>> = before.into_iter().collect();
    for (account, stake) in now {
        let (key, row) = (keys::neuron_stake(&account), NeuronStake { stake });
        if before.get(&key) != Some(&row.to_bytes()) {
            state.put(key, &row)?;
        }
    }
    Ok(())
}

/// The account that a key names after its prefix.
pub(crate) fn account(key: &[u8], prefix: &str) -> Result<AccountId, LedgerError> {
    let account = key.get(prefix.len()..).and_then(|rest| rest.first_chunk());
    account.map(|a| AccountId(*a)).ok_or(LedgerError::Missing("account of a key"))
}

/// Own bonds, and what accounts have delegated at its present worth; without zeros.
fn at_stake(state: &State<'_>) -> Result<BTreeMap<AccountId, Amount>, LedgerError> {
    let mut all: BTreeMap<AccountId, Amount> = BTreeMap::new();
    let mut pools: BTreeMap<NodeKey, Pool> = BTreeMap::new();
    for node in state.nodes()? {
        add(&mut all, node.account, node.bond)?;
        pools.insert(node.node, node.delegated);
    }
    let end = prefix_end(keys::DELEGATIONS.as_bytes()).unwrap_or_default();
    for (key, value) in state.range(keys::DELEGATIONS.as_bytes(), &end, usize::MAX)? {
        let node = key.last_chunk().map(|k| NodeKey(*k));
        let pool = node.and_then(|node| pools.get(&node));
        let pool = pool.ok_or(LedgerError::Missing("delegated node"))?;
        let worth = pool.worth(Delegation::from_bytes(&value)?.shares).unwrap_or_default();
        add(&mut all, account(&key, keys::DELEGATIONS)?, worth)?;
    }
    all.retain(|_, stake| *stake > Amount::ZERO);
    Ok(all)
}

fn add(
    all: &mut BTreeMap<AccountId, Amount>,
    account: AccountId,
    more: Amount,
) -> Result<(), LedgerError> {
    let stake = all.entry(account).or_default();
    *stake = stake.checked_add(more).ok_or(LedgerError::Overflow("stake"))?;
    Ok(())
}
