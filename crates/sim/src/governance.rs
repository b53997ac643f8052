//! Governance in a simulated cluster: proposals and votes, and what must hold of what they decide.

use std::collections::BTreeMap;

use anthill_store::Batch;
use anthill_types::governance::{Action, CastVote, CountedVote, Proposal, Propose, Status};
use anthill_types::params::{ParamChange, ParamInfo};
use anthill_types::{AccountId, Amount, Block, Body, ChainParams, Genesis, Wire, keys};

use crate::world::World;

/// Prefix of all votes.
pub const VOTES: &str = "/kv/gov/vote/";
/// One, in nano.
const ONE: u128 = 1_000_000_000;

/// What governance has decided, rebuilt from what blocks have written.
pub struct Decided {
    params: ChainParams,
    votes: BTreeMap<u64, BTreeMap<AccountId, CountedVote>>,
    proposals: BTreeMap<u64, Proposal>,
}

impl Decided {
    /// Before the first block.
    pub fn new(genesis: &Genesis) -> Self {
        let params = genesis.params.clone();
        Self { params, votes: BTreeMap::new(), proposals: BTreeMap::new() }
    }

    /// The stake for and against a proposal, added up from the single votes.
    fn sums(&self, number: u64) -> (u128, u128) {
        let votes = self.votes.get(&number).into_iter().flat_map(BTreeMap::values);
        let part = |vote: &CountedVote, nano: u64| vote.stake.0 * u128::from(nano) / ONE;
        votes.fold((0, 0), |(yes, no), v| (yes + part(v, v.yes), no + part(v, v.no)))
    }
}

impl World {
    /// A node's vote on the newest open proposal, mostly for it.
    pub(crate) fn ballot(&mut self) -> Option<Body> {
        let mut proposals = self.checks.decided.proposals.values().rev();
        let proposal = proposals.find(|p| p.status == Status::Open)?.number;
        let yes = self.workload.rng.between(6, 10) * 100_000_000;
        Some(Body::Vote(CastVote { proposal, yes, no: 1_000_000_000 - yes }))
    }

    /// A proposal of something that may change, or a vote on an open one; most are for it.
    pub(crate) fn governance_body(&mut self, node: usize) -> Body {
        let open = |p: &&Proposal| p.status == Status::Open;
        let proposals = self.checks.decided.proposals.values();
        let open: Vec<u64> = proposals.filter(open).map(|p| p.number).collect();
        let rng = &mut self.workload.rng;
        match rng.pick(&open).copied() {
            Some(proposal) if open.len() > 2 || rng.chance(900) => {
                let yes = rng.between(0, 10) * 100_000_000;
                let no = if rng.chance(300) { 1_000_000_000 - yes } else { 0 };
                Body::Vote(CastVote { proposal, yes, no })
            }
            _ => {
                let account = self.nodes[node].signers.account_id();
                let action = if rng.chance(200) {
                    Action::Vouch { account, is_person: true }
                } else {
                    Action::SetParams(vec![wish(rng.below(5), rng.between(1, 20))])
                };
                Body::Propose(Propose { action, reason: "simulated".into() })
            }
        }
    }

    /// Parameters change only by proposals that enough stake has voted for, each counted once.
    pub(crate) fn check_governance(&mut self, block: &Block, writes: &Batch) -> Option<String> {
        for (key, value) in writes {
            if let Some(value) = value.as_deref().filter(|_| key.starts_with(VOTES.as_bytes())) {
                self.note_vote(key, value);
            }
        }
        let mut expected = self.checks.decided.params.clone();
        for (key, value) in writes {
            let is_proposal = key.starts_with(keys::PROPOSALS.as_bytes());
            let Some(value) = value.as_deref().filter(|_| is_proposal) else { continue };
            let Ok(proposal) = Proposal::from_bytes(value) else {
                return Some("a proposal cannot be read".into());
            };
            if let Err(problem) = self.check_proposal(block, &proposal, &mut expected) {
                return Some(format!("proposal {}: {problem}", proposal.number));
            }
            self.checks.decided.proposals.insert(proposal.number, proposal);
        }
        if let Some(Some(written)) = writes.get(&keys::params()) {
            let written = ChainParams::from_bytes(written).ok()?;
            if written != expected {
                return Some("the parameters are not those that were decided".into());
            }
        }
        self.checks.decided.params = expected;
        None
    }

    fn note_vote(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.get(VOTES.len()..).unwrap_or_default();
        let Some((number, account)) = rest.split_at_checked(8) else { return };
        let (Ok(number), Ok(account)) = (number.try_into(), account.try_into()) else { return };
        let Ok(vote) = CountedVote::from_bytes(value) else { return };
        self.marks.hit("governance: vote");
        let votes = self.checks.decided.votes.entry(u64::from_be_bytes(number)).or_default();
        votes.insert(AccountId(account), vote);
    }

    fn check_proposal(
        &mut self,
        block: &Block,
        proposal: &Proposal,
        expected: &mut ChainParams,
    ) -> Result<(), String> {
        let before = self.checks.decided.proposals.get(&proposal.number).map(|p| p.status);
        let (yes, no) = self.checks.decided.sums(proposal.number);
        if (proposal.yes.stake.0, proposal.no.stake.0) != (yes, no) {
            return Err(format!("{yes} and {no} were voted, {proposal:?} was counted"));
        }
        match proposal.status {
            status if before == Some(status) => {}
            Status::Open => self.marks.hit("governance: proposed"),
            Status::Passed { .. } => {
                self.marks.hit("governance: passed");
                let stake = |n: &anthill_types::state::NodeRecord| n.bond.0 + n.delegated.tokens.0;
                let all: u128 = self.checks.nodes.values().map(stake).sum();
                // Nodes that nothing was written of since the genesis are not known here, so the
                // bound is weaker than the ledger's; rounding takes at most one part in a million.
                let quorum = u128::from(expected.quorum) * 999_999 / 1_000_000;
                if (yes + no) * ONE < all * quorum || yes <= no {
                    return Err(format!("it passed with {yes} against {no} of {all}"));
                }
            }
            Status::Executed { height } if height == block.header.height => {
                self.marks.hit("governance: executed");
                if !matches!(before, Some(Status::Passed { .. })) {
                    return Err(format!("it was carried out though it was {before:?}"));
                }
                if let Action::SetParams(changes) = &proposal.propose.action {
                    *expected = expected.with(changes).map_err(|e| e.to_string())?;
                }
            }
            Status::Executed { .. } => return Err("it was carried out at another height".into()),
            Status::Expired | Status::Rejected => self.marks.hit("governance: not passed"),
            Status::Failed => {}
        }
        Ok(())
    }
}

/// A change that does no harm to a run.
fn wish(which: u64, value: u64) -> ParamChange {
    let (name, value) = match which {
        0 => ("VN_MAX", u128::from(value)),
        1 => ("Sync_TTL", u128::from(value) * 1000),
        2 => ("unit_price", u128::from(value)),
        3 => ("damping", 7_500 + 100 * u128::from(value)),
        _ => ("link_fee", u128::from(value) * 1000),
    };
    let id = ParamInfo::by_name(name).map_or(0, |row| row.id);
    ParamChange { id, value: Amount(value) }
}
