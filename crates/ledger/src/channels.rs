//! Two-party payment channels: both deposits are held while payments are signed off the chain.
//!
//! Who closes alone with a version gives the other `channel_epochs` whole epochs to show a later
//! one. The payer of a payment signs first, so a party may have signed one version more than it holds
//! with both signatures, and not two: showing the next version only corrects the balances, while
//! showing one that is two or more ahead proves that the closer knew better, and the other gets all.

use anthill_identity as identity;
use anthill_types::channel::{
    ChannelPhase, ChannelRecord, ChannelTerms, ChannelUpdate, SIGN_OPEN, SignedChannelUpdate,
};
use anthill_types::{AccountId, Amount, Digest, GenesisHash, Signature, Wire, keys};

use crate::denominations::{count, deposit, withdraw};
use crate::error::{LedgerError, TransactionError};
use crate::state::State;

/// Opens a channel with the deposits of both; the other's signature is in the transaction.
pub fn open(
    state: &mut State<'_>,
    genesis: &GenesisHash,
    sender: &AccountId,
    terms: &ChannelTerms,
    signature: &Signature,
) -> Result<(), TransactionError> {
    if terms.opener != *sender {
        return Err(TransactionError::Invalid("a channel is opened by its opener"));
    }
    if terms.other == *sender {
        return Err(TransactionError::Invalid("a channel has two parties"));
    }
    let total = terms.total().filter(|t| *t > Amount::ZERO);
    let held = total.ok_or(TransactionError::Invalid("a channel's deposits are 1 to 2^128 - 1"))?;
    if terms.valid_until < state.height() {
        return Err(TransactionError::Invalid("the other's consent is over: agree again"));
    }
    let id = terms.id();
    if state.has(&keys::channel(&id))? {
        return Err(wrong(&id, "it was opened already: agree on another nonce"));
    }
    if !is_signed(genesis, &terms.other, SIGN_OPEN, &terms.to_bytes(), signature) {
        return Err(TransactionError::Signature);
    }
    withdraw(state, terms.denomination, sender, terms.opener_deposit, "the channel's deposit")?;
    let other = "the other's deposit";
    withdraw(state, terms.denomination, &terms.other, terms.other_deposit, other)?;
    count(state, |t| t.channels = t.channels.saturating_add(1))?;
    let phase = ChannelPhase::Open { height: state.height() };
    put(state, &id, &ChannelRecord { terms: *terms, held, phase })
}

/// Closes a channel: at once with an update that both call the last; else by one party, who starts
/// the time of disputes.
pub fn close(
    state: &mut State<'_>,
    genesis: &GenesisHash,
    sender: &AccountId,
    id: &Digest,
    update: Option<&SignedChannelUpdate>,
) -> Result<(), TransactionError> {
    let mut record = find(state, id)?;
    let terms = record.terms;
    if *sender != terms.opener && *sender != terms.other {
        return Err(wrong(id, "it is closed by one of its parties"));
    }
    let agreed = match update {
        Some(signed) => check(genesis, id, &record, signed)?,
        None => terms.opening(),
    };
    if agreed.closing {
        return pay_out(state, id, record, agreed.opener_balance, agreed.other_balance);
    }
    if !matches!(record.phase, ChannelPhase::Open { .. }) {
        return Err(wrong(id, "it is being closed: dispute, or finalise it in time"));
    }
    let epochs = state.params()?.channel_epochs;
    let until = state.chain().epoch.saturating_add(epochs).saturating_add(1);
    record.phase = ChannelPhase::Closing {
        closer: *sender,
        closed_with: agreed.version,
        version: agreed.version,
        opener_balance: agreed.opener_balance,
        other_balance: agreed.other_balance,
        until,
    };
    put(state, id, &record)
}

/// Shows a later version; anybody may, for a party that cannot.
pub fn dispute(
    state: &mut State<'_>,
    genesis: &GenesisHash,
    signed: &SignedChannelUpdate,
) -> Result<(), TransactionError> {
    let id = signed.update.channel;
    let mut record = find(state, &id)?;
    let ChannelPhase::Closing { closer, closed_with, version, until, .. } = record.phase else {
        return Err(wrong(&id, "nobody is closing it"));
    };
    if state.chain().epoch >= until {
        return Err(wrong(&id, "the time of disputes is over: it can be finalised"));
    }
    let shown = check(genesis, &id, &record, signed)?;
    if shown.version <= version && !anthill_types::planted!(ChannelOldState) {
        return Err(wrong(&id, "this version is not later than the one that was shown"));
    }
    if shown.version > closed_with.saturating_add(1) {
        let all = record.held;
        let opener_wins = closer != record.terms.opener;
        let (opener, other) = if opener_wins { (all, Amount::ZERO) } else { (Amount::ZERO, all) };
        return pay_out(state, &id, record, opener, other);
    }
    record.phase = ChannelPhase::Closing {
        closer,
        closed_with,
        version: shown.version,
        opener_balance: shown.opener_balance,
        other_balance: shown.other_balance,
        until,
    };
    put(state, &id, &record)
}

/// Pays out what nobody has disputed in time; anybody may ask for it.
pub fn finalise(state: &mut State<'_>, id: &Digest) -> Result<(), TransactionError> {
    let record = find(state, id)?;
    let ChannelPhase::Closing { opener_balance, other_balance, until, .. } = record.phase else {
        return Err(wrong(id, "nobody is closing it"));
    };
    if state.chain().epoch < until {
        return Err(wrong(id, "a later version can still be shown: wait for the end of its time"));
    }
    pay_out(state, id, record, opener_balance, other_balance)
}

fn wrong(id: &Digest, reason: &'static str) -> TransactionError {
    TransactionError::Channel { channel: *id, reason }
}

/// A channel that is not closed.
fn find(state: &State<'_>, id: &Digest) -> Result<ChannelRecord, TransactionError> {
    let record = state.get::<ChannelRecord>(&keys::channel(id))?;
    let record = record.ok_or_else(|| wrong(id, "there is no such channel"))?;
    if matches!(record.phase, ChannelPhase::Closed { .. }) {
        return Err(wrong(id, "it is closed"));
    }
    Ok(record)
}

fn put(state: &mut State<'_>, id: &Digest, record: &ChannelRecord) -> Result<(), TransactionError> {
    Ok(state.put(keys::channel(id), record)?)
}

/// An update of this channel that shares all of its deposits and that both have signed.
fn check(
    genesis: &GenesisHash,
    id: &Digest,
    record: &ChannelRecord,
    signed: &SignedChannelUpdate,
) -> Result<ChannelUpdate, TransactionError> {
    let update = signed.update;
    if update.channel != *id {
        return Err(wrong(id, "the update is of another channel"));
    }
    if update.version == 0 {
        return Err(wrong(id, "updates count from 1: the opening balances need none"));
    }
    if update.opener_balance.checked_add(update.other_balance) != Some(record.held) {
        return Err(wrong(id, "the balances do not sum to what it holds"));
    }
    let verify = |key: &AccountId, kind, bytes: &[u8], signature: &Signature| {
        is_signed(genesis, key, kind, bytes, signature)
    };
    if !signed.is_signed_by_both(&record.terms, verify) {
        return Err(TransactionError::Signature);
    }
    Ok(update)
}

fn is_signed(
    genesis: &GenesisHash,
    key: &AccountId,
    kind: &'static str,
    bytes: &[u8],
    signature: &Signature,
) -> bool {
    identity::verify(&key.0, kind, &genesis.0, bytes, &signature.0).is_ok()
}

fn pay_out(
    state: &mut State<'_>,
    id: &Digest,
    mut record: ChannelRecord,
    opener_paid: Amount,
    other_paid: Amount,
) -> Result<(), TransactionError> {
    let ChannelTerms { opener, other, denomination, .. } = record.terms;
    if opener_paid.checked_add(other_paid) != Some(record.held) {
        return Err(LedgerError::Overflow("a channel's shares").into());
    }
    deposit(state, denomination, &opener, opener_paid)?;
    deposit(state, denomination, &other, other_paid)?;
    count(state, |t| t.channels = t.channels.saturating_sub(1))?;
    let height = state.height();
    record.held = Amount::ZERO;
    record.phase = ChannelPhase::Closed { opener_paid, other_paid, height };
    put(state, id, &record)
}
