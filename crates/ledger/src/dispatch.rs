//! Which module handles which of the bank's, graph's and registry's transactions.

use anthill_types::{Body, GenesisHash, Transaction};

use crate::error::TransactionError;
use crate::state::State;
use crate::{channels, denominations, escrow, links, names, properties};

/// Applies an account's transaction whose sequence and fee were taken.
///
/// # Errors
/// Why it is refused; the caller drops its writes then.
pub fn apply(
    state: &mut State<'_>,
    genesis: &GenesisHash,
    transaction: &Transaction,
) -> Result<(), TransactionError> {
    let (sender, sequence) = (&transaction.sender, transaction.sequence);
    match &transaction.body {
        Body::CreateDenomination(terms) => denominations::create(state, sender, terms),
        Body::Mint { denomination, to, amount } => {
            denominations::mint(state, sender, *denomination, to, *amount)
        }
        Body::Send { denomination, to, amount } => {
            denominations::send(state, sender, *denomination, to, *amount)
        }
        Body::Burn { denomination, amount } => {
            denominations::burn(state, sender, *denomination, *amount)
        }
        Body::MultiSend { denomination, outputs } => {
            denominations::multi_send(state, sender, *denomination, outputs)
        }
        Body::OpenEscrow(terms) => escrow::open(state, sender, sequence, terms),
        Body::ReleaseEscrow { preimage, escrow } => {
            escrow::release(state, sender, escrow, preimage.as_ref())
        }
        Body::RefundEscrow { escrow } => escrow::refund(state, sender, escrow),
        Body::Link { pairs } => links::link(state, sender, sequence, pairs),
        Body::Unlink { pairs } => links::unlink(state, sender, pairs),
        Body::RegisterName { name, target, epochs } => {
            names::register(state, sender, name, target, *epochs)
        }
        Body::RenewName { name, epochs } => names::renew(state, sender, name, *epochs),
        Body::SetName { name, target } => names::set(state, sender, name, target),
        Body::TransferName { name, to } => names::transfer(state, sender, name, to),
        Body::ReleaseName { name } => names::release(state, sender, name),
        Body::Properties { set, unset } => properties::change(state, sender, set, unset),
        Body::OpenChannel { terms, signature } => {
            channels::open(state, genesis, sender, terms, signature)
        }
        Body::CloseChannel { update, channel } => {
            channels::close(state, genesis, sender, channel, update.as_ref())
        }
        Body::DisputeChannel(update) => channels::dispute(state, genesis, update),
        Body::FinaliseChannel { channel } => channels::finalise(state, channel),
        _ => Err(TransactionError::Invalid("not an account's transaction")),
    }
}
