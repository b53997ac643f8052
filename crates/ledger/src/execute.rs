//! One block on one state: beacon, transactions, agenda, epoch, windows.

use anthill_identity as identity;
use anthill_store::Store;
use anthill_types::hash::sha3;
use anthill_types::state::Phase;
use anthill_types::{
    Amount, BeaconValue, BlockHash, Body, Digest, GenesisHash, NodeKey, SignedTransaction, TaskId,
    ValidatorKey, ValidatorSet, Wire, keys,
};

use crate::Parallel;
use crate::error::{BlockError, LedgerError, TransactionError};
use crate::focus::{Change, Ranking};
use crate::state::State;
use crate::state_tree::WriteSet;
use crate::{bank, conservation, dispatch, doubt, epochs, nodes, settle, staking, tasks};

/// Most agenda entries handled in one block; the rest follow in the next.
const AGENDA_PER_BLOCK: usize = 4096;

/// What a proposer decides about a block.
#[derive(Clone, Debug)]
pub struct BlockInput {
    /// Its height.
    pub height: u64,
    /// The header before it.
    pub previous: BlockHash,
    /// Its time, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Who proposes it.
    pub proposer: ValidatorKey,
    /// The next preimage of the proposer's beacon chain.
    pub reveal: Option<BeaconValue>,
}

/// What executing a block gave.
#[derive(Clone, Debug)]
pub struct Executed {
    /// All writes.
    pub writes: WriteSet,
    /// TLR after the block, for its header.
    pub tlr: Digest,
    /// The set that signs the next block.
    pub next_validators: ValidatorSet,
    /// Indexes of the given transactions that applied (all of them, when verifying).
    pub applied: Vec<usize>,
    /// What it makes of the graph and its focus.
    pub graph: Change,
}

/// Whether transactions that fail are left out (building) or refuse the block (verifying).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Leave failing transactions out.
    Build,
    /// Refuse the block when one fails.
    Verify,
}

/// What a block is executed on; none of it is changed.
pub struct Base<'a> {
    /// The committed state.
    pub store: &'a dyn Store,
    /// The chain.
    pub genesis: &'a GenesisHash,
    /// The graph of that state.
    pub ranking: &'a mut Ranking,
    /// Threads for the focus.
    pub parallel: &'a dyn Parallel,
}

/// Executes a block's contents on the committed state; writes nothing to the store.
///
/// `signed_right` says of each transaction whether its signature is right.
///
/// # Errors
/// [`BlockError`] when a header input or, in [`Mode::Verify`], a transaction is wrong.
pub fn execute(
    base: Base<'_>,
    input: &BlockInput,
    transactions: &[SignedTransaction],
    mode: Mode,
    signed_right: &[bool],
) -> Result<Executed, BlockError> {
    let Base { store, genesis, ranking, parallel } = base;
    let mut state = State::open(store)?;
    begin(&mut state, input)?;
    let mut applied = Vec::with_capacity(transactions.len());
    for (index, signed) in transactions.iter().enumerate() {
        let right = signed_right.get(index).copied().unwrap_or(false);
        let result = if right {
            state.attempt(|s| apply(s, genesis, signed))
        } else {
            Err(TransactionError::Signature)
        };
        match (result, mode) {
            (Ok(()), _) => applied.push(index),
            (Err(TransactionError::Ledger(e)), _) => return Err(e.into()),
            (Err(_), Mode::Build) => {}
            (Err(error), Mode::Verify) => {
                return Err(BlockError::Transaction { height: input.height, index, error });
            }
        }
    }
    run_agenda(&mut state)?;
    epochs::close_if_due(&mut state, store)?;
    settle::close_windows(&mut state)?;
    let tlr = state.chain().tlr;
    let next_validators = state.validators()?;
    let mut batch = state.into_batch();
    let graph = ranking.follow(store, input.height, &mut batch, parallel)?;
    let writes = WriteSet::new(store, batch).map_err(LedgerError::from)?;
    conservation::check_writes(input.height, &writes)?;
    Ok(Executed { writes, tlr, next_validators, applied, graph })
}

fn begin(state: &mut State<'_>, input: &BlockInput) -> Result<(), BlockError> {
    let mut chain = state.chain().clone();
    let wrong = |field| BlockError::Header { height: input.height, field };
    if input.height != chain.height + 1 {
        return Err(wrong("height"));
    }
    if input.time_ms <= chain.time_ms {
        return Err(wrong("time"));
    }
    let proposer = state.node_of_validator(&input.proposer)?.ok_or(wrong("proposer"))?;
    chain.beacon = match input.reveal {
        Some(reveal) => {
            if BeaconValue(sha3(&[&reveal.0])) != proposer.beacon_head {
                return Err(wrong("beacon reveal"));
            }
            let mut node = proposer;
            node.last_proposed = input.height;
            if !anthill_types::planted!(ReuseBeacon) {
                node.beacon_head = reveal;
            }
            state.put_node(&node)?;
            next_beacon(&chain.beacon, &reveal)
        }
        None => {
            let mut node = proposer;
            let lost = state.params()?.missed_reveal.min(node.bond);
            node.bond = node.bond.checked_sub(lost).unwrap_or_default();
            node.slashed = node.slashed.checked_add(lost).unwrap_or_default();
            node.last_proposed = input.height;
            state.put_node(&node)?;
            bank::burn(state, lost)?;
            BeaconValue(sha3(&[&chain.beacon.0]))
        }
    };
    chain.height = input.height;
    chain.previous = input.previous;
    chain.time_ms = input.time_ms;
    Ok(state.set_chain(chain)?)
}

/// `B_h = SHA3-256("beacon" || B_(h-1) || reveal_h)` (`docs/spec/protocol.md` 7).
pub fn next_beacon(previous: &BeaconValue, reveal: &BeaconValue) -> BeaconValue {
    BeaconValue(sha3(&[b"beacon", &previous.0, &reveal.0]))
}

/// Checks a transaction's signature.
pub(crate) fn verify(
    genesis: &GenesisHash,
    signed: &SignedTransaction,
) -> Result<(), TransactionError> {
    if anthill_types::planted!(SkipTransactionSignature) {
        return Ok(());
    }
    let body = signed.transaction.to_bytes();
    let sender = &signed.transaction.sender.0;
    identity::verify(sender, "transaction", &genesis.0, &body, &signed.signature.0)
        .map_err(|_| TransactionError::Signature)
}

/// Applies one transaction whose signature was checked.
pub fn apply(
    state: &mut State<'_>,
    genesis: &GenesisHash,
    signed: &SignedTransaction,
) -> Result<(), TransactionError> {
    let transaction = &signed.transaction;
    let sender = &transaction.sender;
    if transaction.body.is_duty() {
        if transaction.sequence != 0 {
            return Err(TransactionError::Invalid("a duty carries sequence 0"));
        }
        return apply_duty(state, genesis, sender.0, &transaction.body);
    }
    take_sequence(state, signed)?;
    match &transaction.body {
        Body::Transfer { to, amount } => {
            bank::withdraw(state, sender, *amount, "the transfer")?;
            Ok(bank::deposit(state, to, *amount)?)
        }
        Body::Bond { amount } => nodes::bond(state, sender, *amount),
        Body::Admit(join) => nodes::admit(state, genesis, sender, join),
        Body::Offer { units, capabilities } => nodes::offer(state, sender, *units, capabilities),
        Body::SubmitTasks(specs) => tasks::submit(state, sender, transaction.sequence, specs),
        Body::CancelTask { task_id } => tasks::cancel(state, sender, task_id),
        Body::Challenge { task_id } => doubt::challenge(state, sender, task_id),
        _ => dispatch::apply(state, genesis, transaction),
    }
}

/// Checks and takes the sequence numbers, and burns the fee. A newcomer has no credits yet, so
/// joining and offering are free; both are bounded in the state itself.
fn take_sequence(
    state: &mut State<'_>,
    signed: &SignedTransaction,
) -> Result<(), TransactionError> {
    let transaction = &signed.transaction;
    let sender = &transaction.sender;
    let mut account = bank::account(state, sender)?;
    if transaction.sequence != account.sequence {
        let (given, due) = (transaction.sequence, account.sequence);
        return Err(TransactionError::Sequence { given, due });
    }
    if !anthill_types::planted!(ReuseSequence) {
        let taken = transaction.body.sequence_numbers();
        account.sequence =
            account.sequence.checked_add(taken).ok_or(LedgerError::Overflow("sequence"))?;
    }
    if matches!(transaction.body, Body::Admit(_) | Body::Offer { .. }) {
        return Ok(state.put(keys::account(sender), &account)?);
    }
    let bytes = signed.to_bytes().len() as u128;
    let needed = Amount(bytes * u128::from(state.params()?.base_fee));
    let (what, has) = ("the transaction fee", account.balance);
    let rest = has.checked_sub(needed);
    account.balance = rest.ok_or(TransactionError::Insufficient { what, needed, has })?;
    state.put(keys::account(sender), &account)?;
    Ok(bank::burn(state, needed)?)
}

/// Applies each duty by itself: those whose time is over are passed by, and the transaction is
/// refused only when none applies (so it cannot be included twice).
fn apply_duty(
    state: &mut State<'_>,
    genesis: &GenesisHash,
    sender: [u8; 32],
    body: &Body,
) -> Result<(), TransactionError> {
    match body {
        Body::Commits(list) => each(list, |c| tasks::commit(state, &NodeKey(sender), c)),
        Body::Reveals(list) => each(list, |r| tasks::reveal(state, &NodeKey(sender), r)),
        Body::Verdicts(list) => each(list, |v| doubt::vote(state, &ValidatorKey(sender), v)),
        Body::RenewBeacon { head, generation } => {
            nodes::renew_beacon(state, &anthill_types::AccountId(sender), head, *generation)
        }
        Body::Evidence(evidence) => {
            staking::punish(state, genesis, &anthill_types::AccountId(sender), evidence)
        }
        _ => Err(TransactionError::Invalid("not a duty")),
    }
}

fn each<T>(
    list: &[T],
    mut apply: impl FnMut(&T) -> Result<(), TransactionError>,
) -> Result<(), TransactionError> {
    if list.is_empty() || list.len() > anthill_types::task::MAX_BATCH {
        return Err(TransactionError::Invalid("a transaction carries 1 to 256 duties"));
    }
    let mut refused = None;
    let mut applied = 0;
    for item in list {
        match apply(item) {
            Ok(()) => applied += 1,
            Err(TransactionError::Ledger(e)) => return Err(e.into()),
            Err(e) => refused = Some(e),
        }
    }
    match refused {
        Some(e) if applied == 0 => Err(e),
        _ => Ok(()),
    }
}

/// Looks at every task whose time has come.
fn run_agenda(state: &mut State<'_>) -> Result<(), LedgerError> {
    let height = state.height();
    let entries =
        state.range(&keys::agenda_start(), &keys::agenda_end(height), AGENDA_PER_BLOCK)?;
    if entries.is_empty() {
        return Ok(());
    }
    let all = state.nodes()?;
    for (key, _) in entries {
        state.delete(&key);
        let id = key.get(key.len().saturating_sub(32)..).and_then(|t| t.try_into().ok());
        let id = TaskId(id.ok_or(LedgerError::Missing("agenda entry"))?);
        let Some(mut task) = state.task(&id)? else { continue };
        let before = task.clone();
        let deadline = task.submitted_at + u64::from(task.spec.deadline_blocks);
        match task.phase {
            Phase::Final { .. } | Phase::Refunded { .. } | Phase::Cancelled { .. } => {}
            Phase::Provisional { .. } => settle::maybe_audit(state, &mut task)?,
            // Its rounds bound a doubt; the deadline must not help a liar, nor a late challenger.
            Phase::Doubted { .. } => doubt::advance(state, &mut task)?,
            _ if height >= deadline => settle::refund(state, &mut task)?,
            Phase::Queued { attempt } => tasks::assign(state, &mut task, attempt, &all)?,
            Phase::Assigned { .. } => tasks::expire(state, &mut task)?,
        }
        if task != before {
            state.put_task(&task)?;
        }
    }
    Ok(())
}
