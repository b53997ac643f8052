//! Governance (PGV; the seed's NAO): proposals, votes by stake, and their execution.
//!
//! Voting power (`docs/spec/protocol.md` 14): a proven identity votes with the square root of its
//! stake; all others with stake / isqrt(all stake), which is linear, so that splitting an account
//! gains nothing. A vote binds the voter's stake until the proposal closes, so no stake votes twice.
//! Proposals are counted at epoch ends.

use anthill_store::prefix_end;
use anthill_types::genesis::NANO;
use anthill_types::governance::{
    Action, CastVote, CountedVote, Counter, MAX_CHANGES, MAX_REASON, Proposal, Propose, Side,
    Status,
};
use anthill_types::state::NodeRecord;
use anthill_types::{AccountId, Amount, ChainParams, keys};

use crate::error::{LedgerError, TransactionError};
use crate::state::State;
use crate::{bank, staking};

/// Most proposals that are open or wait for their execution.
pub const MAX_OPEN: usize = 64;
/// Most identities that can be vouched for: each is looked at when votes are counted.
pub const MAX_IDENTITIES: usize = 4096;

/// Makes a proposal, with a deposit.
pub fn propose(
    state: &mut State<'_>,
    account: &AccountId,
    propose: &Propose,
) -> Result<(), TransactionError> {
    let params = state.params()?;
    check(&params, propose)?;
    if open(state)?.len() >= MAX_OPEN {
        return Err(TransactionError::Invalid("64 proposals are open: wait until one closes"));
    }
    bank::withdraw(state, account, params.proposal_deposit, "the proposal's deposit")?;
    let number = state.get::<Counter>(&keys::proposal_count())?.unwrap_or_default().value;
    state.put(keys::proposal_count(), &Counter { value: number + 1 })?;
    let opened = state.chain().epoch;
    let proposal = Proposal {
        number,
        proposer: *account,
        propose: propose.clone(),
        opened,
        // The running epoch may be nearly over, so it does not count.
        closes: opened.saturating_add(1).saturating_add(params.voting_epochs),
        deposit: params.proposal_deposit,
        yes: Side::default(),
        no: Side::default(),
        status: Status::Open,
    };
    state.mark(keys::open_proposal(number));
    Ok(state.put(keys::proposal(number), &proposal)?)
}

fn check(params: &ChainParams, propose: &Propose) -> Result<(), TransactionError> {
    if propose.reason.len() > MAX_REASON {
        return Err(TransactionError::Invalid("a proposal's reason has 1024 bytes at most"));
    }
    match &propose.action {
        Action::SetParams(changes) => {
            let rise = changes.is_sorted_by(|a, b| a.id < b.id);
            if changes.is_empty() || changes.len() > MAX_CHANGES || !rise {
                return Err(TransactionError::Invalid(
                    "a proposal sets 1 to 64 parameters, each once, in ascending order",
                ));
            }
            params.with(changes)?;
            Ok(())
        }
        Action::Vouch { .. } => Ok(()),
    }
}

/// Takes a vote, or replaces the account's earlier one.
pub fn vote(
    state: &mut State<'_>,
    account: &AccountId,
    vote: &CastVote,
) -> Result<(), TransactionError> {
    if u128::from(vote.yes) + u128::from(vote.no) > u128::from(NANO) {
        return Err(TransactionError::Invalid("a vote gives no more than its whole power"));
    }
    let key = keys::proposal(vote.proposal);
    let proposal = state.get::<Proposal>(&key)?;
    let mut proposal = proposal.ok_or(TransactionError::Invalid("there is no such proposal"))?;
    if proposal.status != Status::Open {
        return Err(TransactionError::Invalid("votes on this proposal are no longer taken"));
    }
    let stake = staking::stake_of(state, account)?;
    if stake == Amount::ZERO {
        return Err(TransactionError::Invalid("only stake votes: bond or delegate first"));
    }
    let identity = is_proven(state, account)?;
    let own = keys::vote(vote.proposal, account);
    if let Some(old) = state.get::<CountedVote>(&own)?
        && !anthill_types::planted!(VoteTwice)
    {
        count(&mut proposal, &old, |sum, part| sum.checked_sub(part))?;
    }
    let counted = CountedVote { stake, identity, yes: vote.yes, no: vote.no };
    count(&mut proposal, &counted, |sum, part| sum.checked_add(part))?;
    state.put(own, &counted)?;
    state.put(key, &proposal)?;
    let lock = keys::vote_lock(account);
    let until = state.get::<Counter>(&lock)?.unwrap_or_default().value.max(proposal.closes);
    Ok(state.put(lock, &Counter { value: until })?)
}

/// Adds a vote to the sums, or takes it away.
fn count(
    proposal: &mut Proposal,
    vote: &CountedVote,
    change: impl Fn(Amount, Amount) -> Option<Amount>,
) -> Result<(), LedgerError> {
    for (side, part) in [(&mut proposal.yes, vote.yes), (&mut proposal.no, vote.no)] {
        let sum = if vote.identity { &mut side.roots } else { &mut side.stake };
        let whole = if vote.identity { Amount(vote.stake.0.isqrt()) } else { vote.stake };
        let given = whole.share(part).ok_or(LedgerError::Overflow("voting power"))?;
        *sum = change(*sum, given).ok_or(LedgerError::Overflow("votes"))?;
    }
    Ok(())
}

/// Refuses to let go of stake that has voted on a proposal that is open.
pub fn check_unlocked(state: &State<'_>, account: &AccountId) -> Result<(), TransactionError> {
    let until = state.get::<Counter>(&keys::vote_lock(account))?.unwrap_or_default().value;
    if state.chain().epoch < until {
        return Err(TransactionError::Invalid(
            "this stake has voted: it can be unbonded when the proposal is closed",
        ));
    }
    Ok(())
}

/// True for an account that governance has vouched for, whose node is trusted and has had final
/// results in enough epochs, as long as governance accepts such identities at all.
fn is_proven(state: &State<'_>, account: &AccountId) -> Result<bool, LedgerError> {
    let params = state.params()?;
    if params.identity_kinds == 0 || !state.has(&keys::identity(account))? {
        return Ok(false);
    }
    Ok(state.node_of_account(account)?.is_some_and(|n| has_worked(&n, &params)))
}

fn has_worked(node: &NodeRecord, params: &ChainParams) -> bool {
    node.trust >= params.trust_threshold && node.active_epochs >= params.identity_epochs
}

/// All stake, and the voting power that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Electorate {
    /// All stake of all nodes.
    pub stake: Amount,
    /// Stake of accounts without a proven identity.
    pub linear: Amount,
    /// Sum of the square roots of the stakes of proven identities.
    pub roots: Amount,
}

impl Electorate {
    /// Counts the stake as it is now.
    ///
    /// # Errors
    /// The store fails, or a sum overflows.
    pub fn now(state: &State<'_>) -> Result<Self, LedgerError> {
        let too_much = || LedgerError::Overflow("stake");
        let mut all = Self::default();
        for node in state.nodes()? {
            let stake = node.bond.checked_add(node.delegated.tokens).ok_or_else(too_much)?;
            all.stake = all.stake.checked_add(stake).ok_or_else(too_much)?;
        }
        all.linear = all.stake;
        let prefix = keys::IDENTITIES.as_bytes();
        let end = prefix_end(prefix).unwrap_or_default();
        for (key, _) in state.range(prefix, &end, MAX_IDENTITIES)? {
            let account = key.get(prefix.len()..).and_then(|k| k.try_into().ok());
            let account = AccountId(account.ok_or(LedgerError::Missing("identity"))?);
            if is_proven(state, &account)? {
                let stake = staking::stake_of(state, &account)?;
                all.linear = all.linear.checked_sub(stake).unwrap_or_default();
                let root = Amount(stake.0.isqrt());
                all.roots = all.roots.checked_add(root).ok_or_else(too_much)?;
            }
        }
        Ok(all)
    }

    /// The power of one side, or of everybody, as one number.
    pub fn power(&self, stake: Amount, roots: Amount) -> u128 {
        let linear = stake.0.checked_div(self.stake.0.isqrt()).unwrap_or(0);
        linear.saturating_add(roots.0)
    }

    /// The power of everybody.
    pub fn whole(&self) -> u128 {
        self.power(self.linear, self.roots)
    }
}

/// The numbers of the proposals that are open or wait for their execution.
///
/// # Errors
/// The store fails.
pub fn open(state: &State<'_>) -> Result<Vec<u64>, LedgerError> {
    let start = keys::open_proposals();
    let end = prefix_end(&start).unwrap_or_default();
    let number = |(key, _): (Vec<u8>, Vec<u8>)| {
        let bytes = key.get(start.len()..).and_then(|k| k.try_into().ok());
        bytes.map(u64::from_be_bytes).ok_or(LedgerError::Missing("open proposal"))
    };
    state.range(&start, &end, MAX_OPEN)?.into_iter().map(number).collect()
}

/// With the beginning of an epoch: counts what is open, and carries out what has passed.
pub fn begin_epoch(state: &mut State<'_>) -> Result<(), LedgerError> {
    let numbers = open(state)?;
    if numbers.is_empty() {
        return Ok(());
    }
    let all = Electorate::now(state)?;
    for number in numbers {
        let key = keys::proposal(number);
        let mut proposal: Proposal =
            state.get(&key)?.ok_or(LedgerError::Missing("open proposal"))?;
        let before = proposal.status;
        match proposal.status {
            Status::Open => decide(state, &mut proposal, &all)?,
            Status::Passed { at } if at <= state.chain().epoch => carry_out(state, &mut proposal)?,
            _ => {}
        }
        if proposal.status != before {
            if !matches!(proposal.status, Status::Passed { .. }) {
                state.delete(&keys::open_proposal(number));
            }
            state.put(key, &proposal)?;
        }
    }
    Ok(())
}

/// Closes a proposal whose time is over, or that more than half of all power is for.
fn decide(
    state: &mut State<'_>,
    proposal: &mut Proposal,
    all: &Electorate,
) -> Result<(), LedgerError> {
    let params = state.params()?;
    let epoch = state.chain().epoch;
    let yes = all.power(proposal.yes.stake, proposal.yes.roots);
    let no = all.power(proposal.no.stake, proposal.no.roots);
    let whole = all.whole();
    let certain = yes > whole / 2 && reaches(params.quorum, yes, no, whole);
    if !certain && epoch < proposal.closes {
        return Ok(());
    }
    let deposit = std::mem::take(&mut proposal.deposit);
    if !reaches(params.quorum, yes, no, whole) {
        proposal.status = Status::Expired;
        return bank::burn(state, deposit);
    }
    bank::deposit(state, &proposal.proposer, deposit)?;
    proposal.status = if yes > no {
        Status::Passed { at: epoch.saturating_add(params.delay_epochs) }
    } else {
        Status::Rejected
    };
    Ok(())
}

/// True when so much of the whole power has voted.
fn reaches(quorum: u64, yes: u128, no: u128, whole: u128) -> bool {
    if anthill_types::planted!(IgnoreQuorum) {
        return true;
    }
    let voted = yes.saturating_add(no);
    whole > 0 && voted.saturating_mul(u128::from(NANO)) >= whole.saturating_mul(quorum.into())
}

fn carry_out(state: &mut State<'_>, proposal: &mut Proposal) -> Result<(), LedgerError> {
    proposal.status = Status::Executed { height: state.height() };
    match &proposal.propose.action {
        Action::SetParams(changes) => match state.params()?.with(changes) {
            Ok(next) => state.put(keys::params(), &next)?,
            Err(_) => proposal.status = Status::Failed,
        },
        Action::Vouch { account, is_person: false } => state.delete(&keys::identity(account)),
        Action::Vouch { account, is_person: true } => {
            let prefix = keys::IDENTITIES.as_bytes();
            let end = prefix_end(prefix).unwrap_or_default();
            if state.range(prefix, &end, MAX_IDENTITIES)?.len() >= MAX_IDENTITIES {
                proposal.status = Status::Failed;
            } else {
                state.mark(keys::identity(account));
            }
        }
    }
    Ok(())
}
