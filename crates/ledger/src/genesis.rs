//! The state at height 0, from a genesis file.

use anthill_types::stake::Pool;
use anthill_types::state::{ChainState, EpochCounts, NodeRecord};
use anthill_types::{Amount, ConsensusKind, Genesis, GenesisNode, keys};

use crate::error::LedgerError;
use crate::focus::stakes;
use crate::state::State;
use crate::{bank, nodes};

/// Writes the genesis state.
///
/// # Errors
/// [`LedgerError::Genesis`] when it has no validator, or lists are not in ascending order.
pub fn apply(state: &mut State<'_>, genesis: &Genesis) -> Result<(), LedgerError> {
    check(genesis)?;
    state.put(keys::params(), &genesis.params)?;
    state.set_chain(ChainState {
        time_ms: genesis.time_ms,
        beacon: genesis.beacon,
        epoch_start_ms: genesis.time_ms,
        ..ChainState::default()
    })?;
    for entry in &genesis.balances {
        bank::mint(state, entry.amount)?;
        bank::deposit(state, &entry.account, entry.amount)?;
    }
    for node in &genesis.nodes {
        bank::mint(state, node.bond)?;
        nodes::register(state, &first_record(node))?;
    }
    if genesis.consensus == ConsensusKind::Snowman {
        state.mark(keys::snowman());
    }
    state.put(keys::validator_set(), &genesis.validator_set())?;
    stakes::write(state)
}

fn check(genesis: &Genesis) -> Result<(), LedgerError> {
    genesis.params.check()?;
    if genesis.version != 1 {
        return Err(LedgerError::Genesis("only version 1 is known"));
    }
    if genesis.nodes.is_empty() {
        return Err(LedgerError::Genesis("at least one validator is needed"));
    }
    if !genesis.nodes.windows(2).all(|w| w[0].account < w[1].account) {
        return Err(LedgerError::Genesis("nodes must be in ascending order of account, each once"));
    }
    if !genesis.balances.windows(2).all(|w| w[0].account < w[1].account) {
        return Err(LedgerError::Genesis("balances must be in ascending order, each account once"));
    }
    if genesis.nodes.iter().any(|n| n.bond < Amount::credits(1)) {
        return Err(LedgerError::Genesis("each validator needs a bond of at least one credit"));
    }
    let amounts = genesis.balances.iter().map(|b| b.amount);
    let amounts = amounts.chain(genesis.nodes.iter().map(|n| n.bond));
    let sum = amounts.fold(0u128, |sum, amount| sum.saturating_add(amount.0));
    if sum > bank::MAX_SUPPLY.0 {
        return Err(LedgerError::Genesis("balances and bonds together must be below 2^96"));
    }
    Ok(())
}

fn first_record(node: &GenesisNode) -> NodeRecord {
    NodeRecord {
        account: node.account,
        node: node.node,
        validator: node.validator,
        bond: node.bond,
        offered: node.offered,
        trust_a: 0,
        trust_b: 0,
        trust: nodes::first_trust(),
        counts: EpochCounts { offered: node.offered, ..EpochCounts::default() },
        rests_until: 0,
        unchecked: Amount::ZERO,
        slashed: Amount::ZERO,
        previous_score: None,
        capabilities: node.capabilities.clone(),
        beacon_head: node.beacon_head,
        beacon_generation: 0,
        delegated: Pool::default(),
        validates: true,
        jailed_until: 0,
        last_proposed: 0,
        parent: None,
        active_epochs: 0,
        focus: 0,
    }
}
