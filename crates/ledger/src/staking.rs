//! Stake on validators: delegation, unbonding, and slashing for contradictory votes.
//!
//! Delegated and unbonding credits are held in pools of shares ([`Pool`]), so that a reward or a
//! slashing touches a few records, however many owners there are. What is unbonded can be slashed
//! until it matures; it is paid out when its owner asks.

use anthill_identity as identity;
use anthill_store::prefix_end;
use anthill_types::genesis::NANO;
use anthill_types::stake::{
    Delegation, Evidence, Pool, StatementKind, Unbonding, UnbondingKind, VoteBody,
};
use anthill_types::state::{EpochRecord, NodeRecord, PaymentReason};
use anthill_types::{
    AccountId, Amount, ConsensusKind, GenesisHash, NodeKey, ValidatorKey, Wire, keys,
};

use crate::error::{LedgerError, TransactionError};
use crate::state::State;
use crate::{bank, governance};

/// Least amount of one delegation: one credit.
pub const MIN_DELEGATION: Amount = Amount::credits(1);
/// Most nodes that one account delegates to.
pub const MAX_DELEGATIONS: usize = 64;
/// Most unbonding pools of a node that one slashing looks at: there are two for each of the at most
/// 2,000 epochs (`unbonding_epochs`) that are not over.
const MAX_UNBONDING: usize = 4096;

/// Takes own bond out; it matures after `unbonding_epochs`.
pub fn unbond(
    state: &mut State<'_>,
    account: &AccountId,
    amount: Amount,
) -> Result<(), TransactionError> {
    governance::check_unlocked(state, account)?;
    let mut node = state.node_of_account(account)?.ok_or(TransactionError::NotANode)?;
    if amount == Amount::ZERO {
        return Err(TransactionError::Invalid("nothing to unbond"));
    }
    let has = node.bond;
    let what = "unbonding";
    let short = TransactionError::Insufficient { what, needed: amount, has };
    node.bond = has.checked_sub(amount).ok_or(short)?;
    state.put_node(&node)?;
    begin_unbonding(state, &node.node, account, UnbondingKind::Own, amount)
}

/// Stakes credits on a validator.
pub fn delegate(
    state: &mut State<'_>,
    account: &AccountId,
    key: &NodeKey,
    amount: Amount,
) -> Result<(), TransactionError> {
    if amount < MIN_DELEGATION {
        return Err(TransactionError::Invalid("a delegation is one credit at least"));
    }
    let mut node = state.node(key)?.ok_or(TransactionError::NotANode)?;
    if !node.validates {
        return Err(TransactionError::Invalid("this node does not want to validate"));
    }
    let all = keys::delegations_of(account);
    let end = prefix_end(&all).unwrap_or_default();
    let known = state.has(&keys::delegation(account, key))?;
    if !known && state.range(&all, &end, MAX_DELEGATIONS)?.len() >= MAX_DELEGATIONS {
        return Err(TransactionError::Invalid("an account delegates to 64 nodes at most"));
    }
    bank::withdraw(state, account, amount, "the delegation")?;
    let all_lost = "nothing can be delegated to this node: what was is slashed to nothing";
    let bought = node.delegated.deposit(amount).ok_or(TransactionError::Invalid(all_lost))?;
    state.put_node(&node)?;
    let key = keys::delegation(account, key);
    let mut own = state.get::<Delegation>(&key)?.unwrap_or_default();
    own.shares = own.shares.checked_add(bought).ok_or(LedgerError::Overflow("shares"))?;
    Ok(state.put(key, &own)?)
}

/// Takes delegated stake back; it matures after `unbonding_epochs`.
pub fn undelegate(
    state: &mut State<'_>,
    account: &AccountId,
    key: &NodeKey,
    shares: Amount,
) -> Result<(), TransactionError> {
    governance::check_unlocked(state, account)?;
    let mut node = state.node(key)?.ok_or(TransactionError::NotANode)?;
    take_shares(state, keys::delegation(account, key), shares)?;
    let amount = node.delegated.withdraw(shares).ok_or(LedgerError::Overflow("shares"))?;
    state.put_node(&node)?;
    if amount == Amount::ZERO {
        return Ok(()); // all of it has been slashed
    }
    begin_unbonding(state, key, account, UnbondingKind::Delegated, amount)
}

/// Takes shares from the record of an owner; an empty record goes.
fn take_shares(
    state: &mut State<'_>,
    key: Vec<u8>,
    shares: Amount,
) -> Result<(), TransactionError> {
    let mut own = state.get::<Delegation>(&key)?.unwrap_or_default();
    match own.shares.checked_sub(shares) {
        _ if shares == Amount::ZERO => Err(TransactionError::Invalid("no shares were named")),
        None => Err(TransactionError::Invalid("the sender has fewer shares")),
        Some(Amount::ZERO) => {
            state.delete(&key);
            Ok(())
        }
        Some(left) => {
            own.shares = left;
            Ok(state.put(key, &own)?)
        }
    }
}

fn begin_unbonding(
    state: &mut State<'_>,
    node: &NodeKey,
    owner: &AccountId,
    kind: UnbondingKind,
    amount: Amount,
) -> Result<(), TransactionError> {
    let matures = state.chain().epoch.saturating_add(state.params()?.unbonding_epochs);
    let key = keys::unbonding(node, matures, kind);
    let empty = Unbonding { node: *node, matures, kind, pool: Pool::default() };
    let mut unbonding = state.get::<Unbonding>(&key)?.unwrap_or(empty);
    let all_lost = "what unbonds in this epoch is slashed to nothing: try again in the next";
    let bought = unbonding.pool.deposit(amount).ok_or(TransactionError::Invalid(all_lost))?;
    state.put(key, &unbonding)?;
    let key = keys::unbonding_owner(node, matures, kind, owner);
    let mut own = state.get::<Delegation>(&key)?.unwrap_or_default();
    own.shares = own.shares.checked_add(bought).ok_or(LedgerError::Overflow("shares"))?;
    Ok(state.put(key, &own)?)
}

/// Pays out what has matured.
pub fn withdraw(
    state: &mut State<'_>,
    account: &AccountId,
    node: &NodeKey,
    matures: u64,
    kind: UnbondingKind,
) -> Result<(), TransactionError> {
    if state.chain().epoch < matures && !anthill_types::planted!(UnbondAtOnce) {
        return Err(TransactionError::Invalid("it has not matured yet"));
    }
    let owner = keys::unbonding_owner(node, matures, kind, account);
    let own = state.get::<Delegation>(&owner)?;
    let own = own.ok_or(TransactionError::Invalid("the sender has nothing unbonding there"))?;
    let key = keys::unbonding(node, matures, kind);
    let mut unbonding: Unbonding = state.get(&key)?.ok_or(LedgerError::Missing("unbonding"))?;
    let amount = unbonding.pool.withdraw(own.shares).ok_or(LedgerError::Overflow("shares"))?;
    state.delete(&owner);
    if unbonding.pool == Pool::default() {
        state.delete(&key);
    } else {
        state.put(key, &unbonding)?;
    }
    if amount > Amount::ZERO {
        bank::deposit(state, account, amount)?;
    }
    Ok(())
}

/// All stake of an account: its node's own bond and the worth of its delegations.
pub fn stake_of(state: &State<'_>, account: &AccountId) -> Result<Amount, LedgerError> {
    let own = state.node_of_account(account)?.map(|n| n.bond).unwrap_or_default();
    let all = keys::delegations_of(account);
    let end = prefix_end(&all).unwrap_or_default();
    let mut stake = own;
    for (key, value) in state.range(&all, &end, MAX_DELEGATIONS)? {
        let node = key.get(all.len()..).and_then(|k| k.try_into().ok());
        let node = NodeKey(node.ok_or(LedgerError::Missing("delegation"))?);
        let node = state.node(&node)?.ok_or(LedgerError::Missing("delegated node"))?;
        let worth = node.delegated.worth(Delegation::from_bytes(&value)?.shares);
        stake =
            stake.checked_add(worth.unwrap_or_default()).ok_or(LedgerError::Overflow("stake"))?;
    }
    Ok(stake)
}

/// Takes a share (nano) of what a node's owners are unbonding and can still lose; returns it.
/// Delegated stake is spared unless `delegated` is set.
pub fn slash_unbonding(
    state: &mut State<'_>,
    node: &NodeKey,
    nano: u64,
    delegated: bool,
) -> Result<Amount, LedgerError> {
    let first_open = state.chain().epoch.saturating_add(1);
    let start = keys::unbonding(node, first_open, UnbondingKind::Own);
    let end = prefix_end(&keys::unbonding_of(node)).unwrap_or_default();
    let mut lost = Amount::ZERO;
    for (key, value) in state.range(&start, &end, MAX_UNBONDING)? {
        let mut unbonding = Unbonding::from_bytes(&value)?;
        if unbonding.kind == UnbondingKind::Own || delegated {
            let part = unbonding.pool.slash(nano);
            lost = lost.checked_add(part).ok_or(LedgerError::Overflow("slashed"))?;
            state.put(key, &unbonding)?;
        }
    }
    Ok(lost)
}

/// Slashes a validator that contradicted itself: `slash_equivocation` of its bond, of what was
/// delegated to it and of what is unbonding; half goes to who showed it. It is jailed.
pub fn punish(
    state: &mut State<'_>,
    genesis: &GenesisHash,
    sender: &AccountId,
    evidence: &Evidence,
) -> Result<(), TransactionError> {
    let refuse = |reason| Err(TransactionError::Evidence(reason));
    let reporter = match state.node_of_validator(&ValidatorKey(sender.0))? {
        Some(node) => Some(node),
        None => state.node(&NodeKey(sender.0))?,
    };
    let reporter = reporter.ok_or(TransactionError::NotANode)?.node;
    let Some(offender) = state.node_of_validator(&evidence.validator)? else {
        return refuse("it accuses nobody of this chain");
    };
    let rounds = state.consensus()? == ConsensusKind::Bft;
    let height = check_evidence(genesis, rounds, evidence)?;
    // A contradiction shows while its height is being agreed on, one above what is committed.
    if height > state.height() + 1 {
        return refuse("its height has not been reached");
    }
    if height < oldest_punishable(state)? {
        return refuse("it is older than any stake that could be slashed");
    }
    let known = keys::evidence(&evidence.validator, height);
    if state.has(&known)? && !anthill_types::planted!(SlashTwice) {
        return refuse("this validator was slashed for this height already");
    }
    state.mark(known);
    Ok(slash_validator(state, offender, height, &reporter)?)
}

/// Checks both signatures and that the statements exclude each other; returns their height.
fn check_evidence(
    genesis: &GenesisHash,
    rounds: bool,
    evidence: &Evidence,
) -> Result<u64, TransactionError> {
    let Evidence { validator, kind, first, second } = evidence;
    let StatementKind::Vote = kind;
    let one = VoteBody::read(&first.body.0);
    let Some((one, two)) = one.zip(VoteBody::read(&second.body.0)) else {
        return Err(TransactionError::Evidence("a statement is no vote"));
    };
    if !one.excludes(&two, rounds) {
        return Err(TransactionError::Evidence("the two votes do not exclude each other"));
    }
    for statement in [first, second] {
        let body = &statement.body.0;
        identity::verify(&validator.0, kind.word(), &genesis.0, body, &statement.signature.0)
            .map_err(|_| TransactionError::Evidence("a signature is not the validator's"))?;
    }
    Ok(one.height)
}

/// The first height whose contradictions can be punished: stake that voted before it is out.
fn oldest_punishable(state: &State<'_>) -> Result<u64, LedgerError> {
    let back = state.params()?.unbonding_epochs;
    let Some(epoch) = state.chain().epoch.checked_sub(back) else { return Ok(0) };
    let record: Option<EpochRecord> = state.get(&keys::epoch(epoch))?;
    Ok(record.map_or(0, |r| r.from_height))
}

fn slash_validator(
    state: &mut State<'_>,
    mut node: NodeRecord,
    height: u64,
    reporter: &NodeKey,
) -> Result<(), LedgerError> {
    let params = state.params()?;
    let nano = params.slash_equivocation.min(NANO);
    let own = node.bond.share(nano).unwrap_or_default();
    node.bond = node.bond.checked_sub(own).unwrap_or_default();
    let delegated = node.delegated.slash(nano);
    let unbonding = slash_unbonding(state, &node.node, nano, true)?;
    let lost = [own, delegated, unbonding].into_iter().sum::<Amount>();
    node.slashed = node.slashed.checked_add(lost).ok_or(LedgerError::Overflow("slashed"))?;
    node.jailed_until = state.chain().epoch.saturating_add(params.jail_epochs);
    node.validates = false;
    node.counts.bad_n += 1;
    let offender = node.node;
    state.put_node(&node)?;
    let mut paid = Amount(lost.0 / 2);
    if *reporter == offender || paid == Amount::ZERO {
        paid = Amount::ZERO;
    } else if let Some(mut node) = state.node(reporter)? {
        bank::pay(state, &mut node, paid, PaymentReason::Equivocation { height, offender })?;
        state.put_node(&node)?;
    }
    bank::burn(state, lost.checked_sub(paid).unwrap_or_default())
}

/// Says whether a node wants to validate.
pub fn validate(
    state: &mut State<'_>,
    account: &AccountId,
    on: bool,
) -> Result<(), TransactionError> {
    let mut node = state.node_of_account(account)?.ok_or(TransactionError::NotANode)?;
    let params = state.params()?;
    if on && state.chain().epoch < node.jailed_until {
        return Err(TransactionError::Invalid(
            "this validator is jailed: wait until its term is over",
        ));
    }
    if on && node.bond < params.min_bond {
        let (what, needed) = ("a validator's own bond", params.min_bond);
        return Err(TransactionError::Insufficient { what, needed, has: node.bond });
    }
    if on && node.trust < params.trust_threshold {
        return Err(TransactionError::Invalid("its trust is below the threshold for validators"));
    }
    node.validates = on;
    Ok(state.put_node(&node)?)
}
