//! The equation that must hold after every block, in each denomination: what is held + what is burned
//! = what was minted. Credits (number 0) are held in accounts, stakes, deposits, escrow and
//! channels.
//!
//! A block is checked by the change that its write set makes to both sides; [`audit`] adds up the
//! whole state, at start-up and in tests. No total is cached.

use std::collections::BTreeMap;

use anthill_store::{Store, prefix_end};
use anthill_types::bank::{Balance, CREDITS, Denomination, EscrowRecord};
use anthill_types::channel::ChannelRecord;
use anthill_types::governance::Proposal;
use anthill_types::stake::Unbonding;
use anthill_types::state::{Account, NodeRecord, Supply, TaskRecord};
use anthill_types::{Amount, Wire, keys};

use crate::error::LedgerError;
use crate::state_tree::WriteSet;

/// Held and burned units on one side, minted on the other.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    /// Balances, bonds, escrow and channels.
    pub held: Amount,
    /// Burned.
    pub burned: Amount,
    /// Minted.
    pub minted: Amount,
}

impl Totals {
    /// True when held + burned = minted.
    pub fn is_conserved(&self) -> bool {
        self.held.checked_add(self.burned) == Some(self.minted)
    }
}

/// Totals by denomination.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Books(pub BTreeMap<u64, Totals>);

fn sum(to: &mut Amount, more: Amount) -> Result<(), LedgerError> {
    *to = to.checked_add(more).ok_or(LedgerError::Overflow("totals"))?;
    Ok(())
}

impl Books {
    /// Totals of a denomination.
    pub fn of(&self, denomination: u64) -> Totals {
        self.0.get(&denomination).copied().unwrap_or_default()
    }

    fn hold(&mut self, denomination: u64, amount: Amount) -> Result<(), LedgerError> {
        sum(&mut self.0.entry(denomination).or_default().held, amount)
    }

    fn supply(&mut self, id: u64, minted: Amount, burned: Amount) -> Result<(), LedgerError> {
        let totals = self.0.entry(id).or_default();
        sum(&mut totals.minted, minted)?;
        sum(&mut totals.burned, burned)
    }

    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), LedgerError> {
        let under = |prefix: &str| key.starts_with(prefix.as_bytes());
        if under(keys::ACCOUNTS) {
            self.hold(CREDITS, Account::from_bytes(value)?.balance)
        } else if under(keys::NODES) {
            let NodeRecord { bond, delegated, .. } = NodeRecord::from_bytes(value)?;
            self.hold(CREDITS, bond)?;
            self.hold(CREDITS, delegated.tokens)
        } else if under(keys::TASKS) {
            let TaskRecord { escrow, deposit, .. } = TaskRecord::from_bytes(value)?;
            self.hold(CREDITS, escrow)?;
            self.hold(CREDITS, deposit)
        } else if under(keys::UNBONDING) {
            self.hold(CREDITS, Unbonding::from_bytes(value)?.pool.tokens)
        } else if under(keys::PROPOSALS) {
            self.hold(CREDITS, Proposal::from_bytes(value)?.deposit)
        } else if under(keys::BALANCES) {
            self.hold(number(key, keys::BALANCES)?, Balance::from_bytes(value)?.amount)
        } else if under(keys::ESCROWS) {
            let terms = EscrowRecord::from_bytes(value)?.terms;
            self.hold(terms.denomination, terms.amount)
        } else if under(keys::CHANNELS) {
            let channel = ChannelRecord::from_bytes(value)?;
            self.hold(channel.terms.denomination, channel.held)
        } else if under(keys::DENOMINATIONS) {
            let Denomination { minted, burned, .. } = Denomination::from_bytes(value)?;
            self.supply(number(key, keys::DENOMINATIONS)?, minted, burned)
        } else if key == keys::supply() {
            let Supply { minted, burned, .. } = Supply::from_bytes(value)?;
            self.supply(CREDITS, minted, burned)
        } else {
            Ok(())
        }
    }
}

/// The denomination that a key names after its prefix.
fn number(key: &[u8], prefix: &str) -> Result<u64, LedgerError> {
    let bytes = key.get(prefix.len()..).and_then(|k| k.get(..8)).and_then(|b| b.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or(LedgerError::Missing("denomination of a key"))
}

/// Checks that the writes keep the equation in every denomination, given that it held before.
///
/// # Errors
/// [`LedgerError::Conservation`] when they do not.
pub fn check_writes(height: u64, writes: &WriteSet) -> Result<(), LedgerError> {
    let (mut before, mut after) = (Books::default(), Books::default());
    for (key, old, new) in writes.changes() {
        if let Some(old) = old {
            before.add(key, old)?;
        }
        if let Some(new) = new {
            after.add(key, new)?;
        }
    }
    for id in before.0.keys().chain(after.0.keys()) {
        let (before, after) = (before.of(*id), after.of(*id));
        // (held + burned) grew by as much as minted, without going through signed numbers.
        let left =
            after.held.0.checked_add(after.burned.0).and_then(|x| x.checked_add(before.minted.0));
        let right =
            before.held.0.checked_add(before.burned.0).and_then(|x| x.checked_add(after.minted.0));
        if left.is_none() || left != right {
            let detail = format!("denomination {id}: before {before:?}, after {after:?}");
            return Err(LedgerError::Conservation { height, detail });
        }
    }
    Ok(())
}

/// Checks that a whole state adds up, in every denomination.
///
/// # Errors
/// [`LedgerError::Conservation`] when it does not.
pub fn check_books(height: u64, books: &Books) -> Result<(), LedgerError> {
    match books.0.iter().find(|(_, totals)| !totals.is_conserved()) {
        Some((id, totals)) => {
            let detail = format!("denomination {id}: {totals:?}");
            Err(LedgerError::Conservation { height, detail })
        }
        None => Ok(()),
    }
}

/// Adds up the whole state: the totals of credits.
///
/// # Errors
/// The store fails, or a value is damaged.
pub fn audit(store: &dyn Store) -> Result<Totals, LedgerError> {
    Ok(audit_all(store)?.of(CREDITS))
}

/// Adds up the whole state, by denomination.
///
/// # Errors
/// The store fails, or a value is damaged.
pub fn audit_all(store: &dyn Store) -> Result<Books, LedgerError> {
    let mut books = Books::default();
    for prefix in [
        keys::ACCOUNTS,
        keys::NODES,
        keys::TASKS,
        keys::UNBONDING,
        keys::PROPOSALS,
        keys::BALANCES,
        keys::ESCROWS,
        keys::CHANNELS,
        keys::DENOMINATIONS,
    ] {
        let end = prefix_end(prefix.as_bytes());
        let mut start = prefix.as_bytes().to_vec();
        loop {
            let rows = store.range(&start, end.as_deref(), 4096)?;
            let Some((last, _)) = rows.last() else { break };
            let mut next = last.clone();
            next.push(0);
            for (key, value) in &rows {
                books.add(key, value)?;
            }
            start = next;
        }
    }
    if let Some(supply) = store.get(&keys::supply())? {
        books.add(&keys::supply(), &supply)?;
    }
    Ok(books)
}
