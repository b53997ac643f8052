//! Conditional escrow: an amount that its payer locks for a payee, under a hash, an arbiter's word or
//! his own, until a height.

use anthill_types::bank::{EscrowRecord, OpenEscrow, escrow_id};
use anthill_types::hash::sha3;
use anthill_types::{AccountId, Digest, keys};

use crate::denominations::{self, count, deposit, some};
use crate::error::TransactionError;
use crate::state::State;

/// Locks the sender's units.
pub fn open(
    state: &mut State<'_>,
    payer: &AccountId,
    sequence: u64,
    terms: &OpenEscrow,
) -> Result<(), TransactionError> {
    some(terms.amount)?;
    if terms.payee == *payer {
        return Err(TransactionError::Invalid("an escrow's payee is not its payer"));
    }
    if terms.expires <= state.height() {
        return Err(TransactionError::Invalid("an escrow expires at a height that is to come"));
    }
    denominations::withdraw(state, terms.denomination, payer, terms.amount, "the escrow")?;
    let opened = state.height();
    let record = EscrowRecord { payer: *payer, terms: *terms, opened };
    state.put(keys::escrow(&escrow_id(payer, sequence)), &record)?;
    Ok(count(state, |t| t.escrows = t.escrows.saturating_add(1))?)
}

/// Pays it to the payee, before it expires: payer and arbiter may, and whoever knows the preimage.
pub fn release(
    state: &mut State<'_>,
    sender: &AccountId,
    id: &Digest,
    preimage: Option<&Digest>,
) -> Result<(), TransactionError> {
    let record = find(state, id)?;
    let wrong = |reason| TransactionError::Escrow { escrow: *id, reason };
    if state.height() >= record.terms.expires {
        return Err(wrong("it has expired: it can be refunded"));
    }
    let may = *sender == record.payer || record.terms.arbiter.as_ref() == Some(sender);
    if !may {
        let preimage = preimage.ok_or(wrong("payer or arbiter may release it, or the preimage"))?;
        if record.terms.lock != Some(Digest(sha3(&[&preimage.0]))) {
            return Err(wrong("this is not the preimage of its lock"));
        }
    }
    let payee = record.terms.payee;
    close(state, id, &record, &payee)
}

/// Gives it back to the payer: payee and arbiter may at any time, anybody when it has expired.
pub fn refund(
    state: &mut State<'_>,
    sender: &AccountId,
    id: &Digest,
) -> Result<(), TransactionError> {
    let record = find(state, id)?;
    let expired = state.height() >= record.terms.expires;
    let may = *sender == record.terms.payee || record.terms.arbiter.as_ref() == Some(sender);
    if !expired && !may {
        let reason = "before it expires, payee or arbiter may give it back";
        return Err(TransactionError::Escrow { escrow: *id, reason });
    }
    close(state, id, &record, &record.payer)
}

fn find(state: &State<'_>, id: &Digest) -> Result<EscrowRecord, TransactionError> {
    let found = state.get::<EscrowRecord>(&keys::escrow(id))?;
    let reason = "no such escrow is open";
    found.ok_or(TransactionError::Escrow { escrow: *id, reason })
}

fn close(
    state: &mut State<'_>,
    id: &Digest,
    record: &EscrowRecord,
    to: &AccountId,
) -> Result<(), TransactionError> {
    if !anthill_types::planted!(EscrowTwice) {
        state.delete(&keys::escrow(id));
    }
    count(state, |t| t.escrows = t.escrows.saturating_sub(1))?;
    Ok(deposit(state, record.terms.denomination, to, record.terms.amount)?)
}
