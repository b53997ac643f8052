//! Denominations: create, mint, move and burn; and one way to move units of any of them.
//!
//! Credits are number 0 and stay in [`crate::bank`]; every other denomination has a record with its
//! supply and one row per account that holds some of it.

use anthill_types::bank::{
    Balance, BankTotals, CREDITS, CreateDenomination, Denomination, MAX_OUTPUTS, Output,
};
use anthill_types::{AccountId, Amount, keys};

use crate::bank;
use crate::error::{LedgerError, TransactionError};
use crate::state::State;

/// How many denominations, escrows and channels there are.
pub fn totals(state: &State<'_>) -> Result<BankTotals, LedgerError> {
    Ok(state.get::<BankTotals>(&keys::bank_totals())?.unwrap_or_default())
}

/// Changes the counts.
pub fn count(
    state: &mut State<'_>,
    change: impl FnOnce(&mut BankTotals),
) -> Result<(), LedgerError> {
    let mut totals = totals(state)?;
    change(&mut totals);
    state.put(keys::bank_totals(), &totals)
}

/// A denomination other than credits.
///
/// # Errors
/// [`TransactionError::NoDenomination`].
pub fn denomination(state: &State<'_>, id: u64) -> Result<Denomination, TransactionError> {
    let found = state.get::<Denomination>(&keys::denomination(id))?;
    found.ok_or(TransactionError::NoDenomination(id))
}

/// What an account holds of a denomination.
pub fn balance(state: &State<'_>, id: u64, account: &AccountId) -> Result<Amount, LedgerError> {
    if id == CREDITS {
        return Ok(bank::account(state, account)?.balance);
    }
    let held = state.get::<Balance>(&keys::balance(id, account))?;
    Ok(held.map_or(Amount::ZERO, |b| b.amount))
}

/// Writes a balance; a row that holds nothing goes.
fn put(
    state: &mut State<'_>,
    id: u64,
    account: &AccountId,
    amount: Amount,
) -> Result<(), LedgerError> {
    let key = keys::balance(id, account);
    if amount == Amount::ZERO {
        state.delete(&key);
        return Ok(());
    }
    let height = state.height();
    state.put(key, &Balance { amount, height })
}

/// Takes units from a balance; the caller gives them to another, or holds or burns them.
///
/// # Errors
/// The denomination does not exist, or there is less.
pub fn withdraw(
    state: &mut State<'_>,
    id: u64,
    account: &AccountId,
    amount: Amount,
    what: &'static str,
) -> Result<(), TransactionError> {
    if id == CREDITS {
        return bank::withdraw(state, account, amount, what);
    }
    denomination(state, id)?;
    let has = balance(state, id, account)?;
    let needed = amount.0;
    let lacking = TransactionError::Lacking { what, denomination: id, needed, has: has.0 };
    let rest = has.checked_sub(amount).ok_or(lacking)?;
    Ok(put(state, id, account, rest)?)
}

/// Adds units that were taken from somewhere else in the same block.
///
/// # Errors
/// [`LedgerError::Overflow`], which a conserved supply below 2^128 cannot give.
pub fn deposit(
    state: &mut State<'_>,
    id: u64,
    account: &AccountId,
    amount: Amount,
) -> Result<(), LedgerError> {
    if amount == Amount::ZERO {
        return Ok(());
    }
    if id == CREDITS {
        return bank::deposit(state, account, amount);
    }
    let sum = balance(state, id, account)?.checked_add(amount);
    put(state, id, account, sum.ok_or(LedgerError::Overflow("balance"))?)
}

/// Makes a denomination with the next number and mints its first supply to the issuer.
pub fn create(
    state: &mut State<'_>,
    issuer: &AccountId,
    terms: &CreateDenomination,
) -> Result<(), TransactionError> {
    if let Some(problem) = terms.problem() {
        return Err(TransactionError::Invalid(problem));
    }
    let fee = state.params()?.denomination_fee;
    bank::withdraw(state, issuer, fee, "the new denomination's fee")?;
    bank::burn(state, fee)?;
    let id = totals(state)?.denominations.checked_add(1);
    let id = id.ok_or(LedgerError::Overflow("number of denominations"))?;
    count(state, |t| t.denominations = id)?;
    let record = Denomination {
        issuer: *issuer,
        terms: terms.clone(),
        minted: terms.supply,
        burned: Amount::ZERO,
        height: state.height(),
    };
    state.put(keys::denomination(id), &record)?;
    Ok(deposit(state, id, issuer, terms.supply)?)
}

/// Mints units: by the issuer, if the denomination allows it, up to the cap.
pub fn mint(
    state: &mut State<'_>,
    sender: &AccountId,
    id: u64,
    to: &AccountId,
    amount: Amount,
) -> Result<(), TransactionError> {
    some(amount)?;
    if id == CREDITS {
        return Err(TransactionError::Invalid("credits are minted by epochs alone"));
    }
    let mut record = denomination(state, id)?;
    if record.issuer != *sender {
        return Err(TransactionError::Invalid("only the issuer of a denomination may mint it"));
    }
    if !record.terms.mintable {
        return Err(TransactionError::Invalid("this denomination is not minted any more"));
    }
    let minted = record.minted.checked_add(amount);
    record.minted = minted
        .ok_or(TransactionError::Invalid("a denomination has less than 2^128 units in all"))?;
    let over = record.terms.cap.is_some_and(|cap| record.minted > cap);
    if over && !anthill_types::planted!(MintBeyondCap) {
        return Err(TransactionError::Invalid("this is more than the denomination's cap allows"));
    }
    state.put(keys::denomination(id), &record)?;
    Ok(deposit(state, id, to, amount)?)
}

/// Moves units from the sender to one account.
pub fn send(
    state: &mut State<'_>,
    sender: &AccountId,
    id: u64,
    to: &AccountId,
    amount: Amount,
) -> Result<(), TransactionError> {
    some(amount)?;
    withdraw(state, id, sender, amount, "the transfer")?;
    Ok(deposit(state, id, to, amount)?)
}

/// Moves units from the sender to many accounts: all of it, or nothing.
pub fn multi_send(
    state: &mut State<'_>,
    sender: &AccountId,
    id: u64,
    outputs: &[Output],
) -> Result<(), TransactionError> {
    if outputs.is_empty() || outputs.len() > MAX_OUTPUTS {
        return Err(TransactionError::Invalid("a multi-send has 1 to 256 outputs"));
    }
    let mut total = Amount::ZERO;
    for output in outputs {
        some(output.amount)?;
        let sum = total.checked_add(output.amount);
        total = sum.ok_or(TransactionError::Invalid("the outputs sum to 2^128 or more"))?;
    }
    withdraw(state, id, sender, total, "the multi-send")?;
    for output in outputs {
        deposit(state, id, &output.to, output.amount)?;
    }
    Ok(())
}

/// Destroys units of the sender (of credits too).
pub fn burn(
    state: &mut State<'_>,
    sender: &AccountId,
    id: u64,
    amount: Amount,
) -> Result<(), TransactionError> {
    some(amount)?;
    withdraw(state, id, sender, amount, "the burning")?;
    if id == CREDITS {
        return Ok(bank::burn(state, amount)?);
    }
    let mut record = denomination(state, id)?;
    let burned = record.burned.checked_add(amount);
    record.burned = burned.ok_or(LedgerError::Overflow("burned"))?;
    Ok(state.put(keys::denomination(id), &record)?)
}

/// Refuses an amount of nothing: it would be a row or a promise for which nothing is held.
///
/// # Errors
/// [`TransactionError::Invalid`].
pub fn some(amount: Amount) -> Result<(), TransactionError> {
    if amount == Amount::ZERO {
        return Err(TransactionError::Invalid("the amount must be above 0"));
    }
    Ok(())
}
