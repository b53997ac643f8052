//! The bank: balances, fees, payments, minting and burning; every movement of credits is here.

use anthill_types::stake::Pool;
use anthill_types::state::{Account, NodeRecord, Payment, PaymentReason, Supply};
use anthill_types::{AccountId, Amount, ChainParams, keys};

use crate::error::{LedgerError, TransactionError};
use crate::state::State;

/// Most micro-credits that may ever be minted: what is at stake sums to less than 2^96, as focus
/// needs (`docs/spec/focus.md`).
pub const MAX_SUPPLY: Amount = Amount((1 << 96) - 1);

/// An account, or an empty one.
pub fn account(state: &State<'_>, id: &AccountId) -> Result<Account, LedgerError> {
    Ok(state.get::<Account>(&keys::account(id))?.unwrap_or_default())
}

/// The supply.
pub fn supply(state: &State<'_>) -> Result<Supply, LedgerError> {
    Ok(state.get::<Supply>(&keys::supply())?.unwrap_or_default())
}

/// Adds to a balance what was taken from somewhere else in the same block.
pub fn deposit(state: &mut State<'_>, id: &AccountId, amount: Amount) -> Result<(), LedgerError> {
    let mut account = account(state, id)?;
    account.balance =
        account.balance.checked_add(amount).ok_or(LedgerError::Overflow("balance"))?;
    state.put(keys::account(id), &account)
}

/// Takes from a balance.
///
/// # Errors
/// [`TransactionError::Insufficient`] when there is less.
pub fn withdraw(
    state: &mut State<'_>,
    id: &AccountId,
    amount: Amount,
    what: &'static str,
) -> Result<(), TransactionError> {
    let mut account = account(state, id)?;
    let has = account.balance;
    let rest = has.checked_sub(amount);
    account.balance = rest.ok_or(TransactionError::Insufficient { what, needed: amount, has })?;
    Ok(state.put(keys::account(id), &account)?)
}

/// Counts credits as burned; the caller has taken them from a balance, bond or escrow.
pub fn burn(state: &mut State<'_>, amount: Amount) -> Result<(), LedgerError> {
    let mut supply = supply(state)?;
    supply.burned = supply.burned.checked_add(amount).ok_or(LedgerError::Overflow("burned"))?;
    state.put(keys::supply(), &supply)
}

/// Counts credits as minted; the caller gives them to balances or bonds.
pub fn mint(state: &mut State<'_>, amount: Amount) -> Result<(), LedgerError> {
    let mut supply = supply(state)?;
    let minted = supply.minted.checked_add(amount).filter(|minted| *minted <= MAX_SUPPLY);
    supply.minted = minted.ok_or(LedgerError::Overflow("minted"))?;
    state.put(keys::supply(), &supply)
}

/// What of an epoch's reward goes to those who delegated stake to the node: their part of the whole
/// stake, less what `delegator_share` leaves to the operator. It raises the worth of their shares.
fn delegated_part(
    params: &ChainParams,
    node: &NodeRecord,
    amount: Amount,
    reason: &PaymentReason,
) -> Amount {
    let Pool { tokens, shares } = node.delegated;
    if !matches!(reason, PaymentReason::Epoch { .. }) || shares == Amount::ZERO {
        return Amount::ZERO;
    }
    let part = node.bond.checked_add(tokens).and_then(|all| amount.portion(tokens, all));
    part.and_then(|part| part.share(params.delegator_share)).unwrap_or_default()
}

/// Pays a node's operator and writes the numbered payment; what the bond lacks of its minimum
/// goes into the bond (`docs/spec/protocol.md` 6). Returns the payment's number.
pub fn pay(
    state: &mut State<'_>,
    node: &mut NodeRecord,
    amount: Amount,
    reason: PaymentReason,
) -> Result<u64, LedgerError> {
    let params = state.params()?;
    let delegated = delegated_part(&params, node, amount, &reason);
    let rest = amount.checked_sub(delegated).unwrap_or_default();
    node.delegated.tokens =
        node.delegated.tokens.checked_add(delegated).ok_or(LedgerError::Overflow("stake"))?;
    let lacking = params.min_bond.checked_sub(node.bond).unwrap_or_default();
    let for_slashing =
        matches!(reason, PaymentReason::Slash { .. } | PaymentReason::Equivocation { .. });
    let bonded = if for_slashing { Amount::ZERO } else { lacking.min(rest) };
    node.bond = node.bond.checked_add(bonded).ok_or(LedgerError::Overflow("bond"))?;
    let spendable = rest.checked_sub(bonded).unwrap_or_default();
    if spendable > Amount::ZERO {
        deposit(state, &node.account, spendable)?;
    }
    let mut supply = supply(state)?;
    let number = supply.payments;
    supply.payments += 1;
    state.put(keys::supply(), &supply)?;
    let payment = Payment {
        number,
        account: node.account,
        node: node.node,
        amount,
        bonded,
        height: state.height(),
        reason,
        delegated,
    };
    state.put(keys::payment(number), &payment)?;
    Ok(number)
}
