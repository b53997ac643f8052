//! Properties: what an account says of itself, in bounded entries that are paid by the byte.

use anthill_types::registry::{
    MAX_PROPERTIES, MAX_PROPERTY_VALUE, Property, PropertyRecord, property_key_problem,
};
use anthill_types::{AccountId, Amount, keys};

use crate::bank;
use crate::error::{LedgerError, TransactionError};
use crate::state::State;

/// Sets some properties of the sender, then deletes others.
pub fn change(
    state: &mut State<'_>,
    sender: &AccountId,
    set: &[Property],
    unset: &[String],
) -> Result<(), TransactionError> {
    let count = set.len() + unset.len();
    if count == 0 || count > MAX_PROPERTIES {
        return Err(TransactionError::Invalid("a transaction changes 1 to 64 properties"));
    }
    let mut bytes = 0;
    for Property { key, value } in set {
        check_key(key)?;
        if value.0.len() > MAX_PROPERTY_VALUE {
            return Err(TransactionError::Invalid("a property's value has at most 1024 bytes"));
        }
        bytes += (key.len() + value.0.len()) as u128;
        let record = PropertyRecord { value: value.clone(), height: state.height() };
        state.put(keys::property(sender, key), &record)?;
    }
    let fee = state.params()?.property_fee.0.checked_mul(bytes);
    let fee = Amount(fee.ok_or(LedgerError::Overflow("property fees"))?);
    bank::withdraw(state, sender, fee, "the properties")?;
    bank::burn(state, fee)?;
    for key in unset {
        check_key(key)?;
        let at = keys::property(sender, key);
        if !state.has(&at)? {
            return Err(TransactionError::Invalid("the sender has no property of this key"));
        }
        state.delete(&at);
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), TransactionError> {
    property_key_problem(key).map_or(Ok(()), |problem| Err(TransactionError::Invalid(problem)))
}
