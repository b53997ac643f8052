//! The equation that must hold after every block: accounts + stakes + escrow + burned = minted.
//!
//! A block is checked by the change that its write set makes to both sides; [`audit`] adds up the
//! whole state, at start-up and in tests. No total is cached.

use anthill_store::{Batch, Store, prefix_end};
use anthill_types::governance::Proposal;
use anthill_types::stake::Unbonding;
use anthill_types::state::{Account, NodeRecord, Supply, TaskRecord};
use anthill_types::{Amount, Wire, keys};

use crate::error::LedgerError;

/// Held and burned credits on one side, minted on the other.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    /// Balances, bonds and escrow.
    pub held: Amount,
    /// Burned.
    pub burned: Amount,
    /// Minted.
    pub minted: Amount,
}

impl Totals {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), LedgerError> {
        let sum = |a: Amount, b: Amount| a.checked_add(b).ok_or(LedgerError::Overflow("totals"));
        if key.starts_with(keys::ACCOUNTS.as_bytes()) {
            self.held = sum(self.held, Account::from_bytes(value)?.balance)?;
        } else if key.starts_with(keys::NODES.as_bytes()) {
            let node = NodeRecord::from_bytes(value)?;
            self.held = sum(sum(self.held, node.bond)?, node.delegated.tokens)?;
        } else if key.starts_with(keys::PROPOSALS.as_bytes()) {
            self.held = sum(self.held, Proposal::from_bytes(value)?.deposit)?;
        } else if key.starts_with(keys::UNBONDING.as_bytes()) {
            self.held = sum(self.held, Unbonding::from_bytes(value)?.pool.tokens)?;
        } else if key.starts_with(keys::TASKS.as_bytes()) {
            let task = TaskRecord::from_bytes(value)?;
            self.held = sum(sum(self.held, task.escrow)?, task.deposit)?;
        } else if key == keys::supply() {
            let supply = Supply::from_bytes(value)?;
            self.burned = sum(self.burned, supply.burned)?;
            self.minted = sum(self.minted, supply.minted)?;
        }
        Ok(())
    }
}

/// Checks that the writes keep the equation, given that it held before.
///
/// # Errors
/// [`LedgerError::Conservation`] when they do not.
pub fn check_writes(store: &dyn Store, height: u64, writes: &Batch) -> Result<(), LedgerError> {
    let (mut before, mut after) = (Totals::default(), Totals::default());
    for (key, new) in writes.iter() {
        if let Some(old) = store.get(key)? {
            before.add(key, &old)?;
        }
        if let Some(new) = new {
            after.add(key, new)?;
        }
    }
    // (held + burned) grew by as much as minted, without going through signed numbers.
    let left =
        after.held.0.checked_add(after.burned.0).and_then(|x| x.checked_add(before.minted.0));
    let right =
        before.held.0.checked_add(before.burned.0).and_then(|x| x.checked_add(after.minted.0));
    if left.is_none() || left != right {
        let detail = format!("before {before:?}, after {after:?}");
        return Err(LedgerError::Conservation { height, detail });
    }
    Ok(())
}

/// Adds up the whole state.
pub fn audit(store: &dyn Store) -> Result<Totals, LedgerError> {
    let mut totals = Totals::default();
    for prefix in [keys::ACCOUNTS, keys::NODES, keys::TASKS, keys::UNBONDING, keys::PROPOSALS] {
        let end = prefix_end(prefix.as_bytes());
        let mut start = prefix.as_bytes().to_vec();
        loop {
            let rows = store.range(&start, end.as_deref(), 4096)?;
            let Some((last, _)) = rows.last() else { break };
            let mut next = last.clone();
            next.push(0);
            for (key, value) in &rows {
                totals.add(key, value)?;
            }
            start = next;
        }
    }
    if let Some(supply) = store.get(&keys::supply())? {
        totals.add(&keys::supply(), &supply)?;
    }
    Ok(totals)
}
