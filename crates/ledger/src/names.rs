//! Names for content ids: held for epochs that are paid ahead, free again without any sweep.

use anthill_types::registry::{NameRecord, name_problem};
use anthill_types::{AccountId, Amount, Cid, keys};

use crate::bank;
use crate::error::{LedgerError, TransactionError};
use crate::state::State;

/// Takes a free name: one that nobody holds, or whose time is over.
pub fn register(
    state: &mut State<'_>,
    sender: &AccountId,
    name: &str,
    target: &Cid,
    epochs: u64,
) -> Result<(), TransactionError> {
    if let Some(problem) = name_problem(name) {
        return Err(TransactionError::Invalid(problem));
    }
    let epoch = state.chain().epoch;
    if let Some(record) = state.get::<NameRecord>(&keys::name(name))? {
        if record.expires > epoch && !anthill_types::planted!(StealName) {
            return Err(wrong(name, "it is held by somebody"));
        }
        state.delete(&keys::name_of(&record.target, &record.owner, name));
    }
    pay(state, sender, epoch, epoch, epochs)?;
    let expires = epoch.saturating_add(epochs);
    let registered = state.height();
    put(state, name, &NameRecord { owner: *sender, target: *target, expires, registered })
}

/// Holds it for more epochs.
pub fn renew(
    state: &mut State<'_>,
    sender: &AccountId,
    name: &str,
    epochs: u64,
) -> Result<(), TransactionError> {
    let mut record = own(state, sender, name)?;
    pay(state, sender, state.chain().epoch, record.expires, epochs)?;
    record.expires = record.expires.saturating_add(epochs);
    Ok(state.put(keys::name(name), &record)?)
}

/// Has it stand for something else.
pub fn set(
    state: &mut State<'_>,
    sender: &AccountId,
    name: &str,
    target: &Cid,
) -> Result<(), TransactionError> {
    let record = own(state, sender, name)?;
    state.delete(&keys::name_of(&record.target, &record.owner, name));
    put(state, name, &NameRecord { target: *target, ..record })
}

/// Gives it to another account.
pub fn transfer(
    state: &mut State<'_>,
    sender: &AccountId,
    name: &str,
    to: &AccountId,
) -> Result<(), TransactionError> {
    let record = own(state, sender, name)?;
    state.delete(&keys::name_of(&record.target, &record.owner, name));
    put(state, name, &NameRecord { owner: *to, ..record })
}

/// Gives it up; nothing is paid back.
pub fn release(
    state: &mut State<'_>,
    sender: &AccountId,
    name: &str,
) -> Result<(), TransactionError> {
    let record = own(state, sender, name)?;
    state.delete(&keys::name_of(&record.target, &record.owner, name));
    state.delete(&keys::name(name));
    Ok(())
}

fn wrong(name: &str, reason: &'static str) -> TransactionError {
    TransactionError::Name { name: name.chars().take(64).collect(), reason }
}

/// The sender's own name, while its time lasts.
fn own(state: &State<'_>, sender: &AccountId, name: &str) -> Result<NameRecord, TransactionError> {
    if let Some(problem) = name_problem(name) {
        return Err(TransactionError::Invalid(problem));
    }
    let record = state.get::<NameRecord>(&keys::name(name))?;
    let record = record.ok_or_else(|| wrong(name, "nobody holds it"))?;
    if record.expires <= state.chain().epoch {
        return Err(wrong(name, "its time is over: register it again"));
    }
    if record.owner != *sender {
        return Err(wrong(name, "another account holds it"));
    }
    Ok(record)
}

/// Burns the price of `epochs` more epochs after `from`; none may lie too far ahead.
fn pay(
    state: &mut State<'_>,
    sender: &AccountId,
    epoch: u64,
    from: u64,
    epochs: u64,
) -> Result<(), TransactionError> {
    let params = state.params()?;
    let last =
        from.checked_add(epochs).filter(|last| *last <= epoch.saturating_add(params.name_epochs));
    if epochs == 0 || last.is_none() {
        return Err(TransactionError::Invalid(
            "a name is held for at least one epoch, and at most `name_epochs` ahead",
        ));
    }
    let price = params.name_price.0.checked_mul(u128::from(epochs));
    let price = Amount(price.ok_or(LedgerError::Overflow("price of a name"))?);
    bank::withdraw(state, sender, price, "the name")?;
    Ok(bank::burn(state, price)?)
}

fn put(state: &mut State<'_>, name: &str, record: &NameRecord) -> Result<(), TransactionError> {
    state.mark(keys::name_of(&record.target, &record.owner, name));
    Ok(state.put(keys::name(name), record)?)
}
