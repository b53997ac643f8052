//! Stake in a simulated cluster: who stakes what, and what must hold of the validator set.

use anthill_store::{Batch, prefix_end};
use anthill_types::amount::MICRO;
use anthill_types::stake::UnbondingKind;
use anthill_types::state::NodeRecord;
use anthill_types::{Amount, Block, Body, Header, NodeKey, ValidatorSet, Wire, keys};

use crate::world::World;

impl World {
    /// The validators change only as headers say, to nodes that may validate, each by its stake.
    pub(crate) fn check_set(&mut self, block: &Block, writes: &Batch) -> Option<String> {
        let Header { validators, next_validators, .. } = block.header;
        if validators != self.checks.set {
            return Some("the header names another set than the one before".into());
        }
        if validators == next_validators {
            return None;
        }
        self.marks.hit("set: changed");
        let Some(Some(written)) = writes.get(&keys::validator_set()) else {
            return Some("the next set is not in the state".into());
        };
        let set = ValidatorSet::from_bytes(written).ok()?;
        if set.hash() != next_validators || !set.validators.is_sorted_by(|a, b| a.key < b.key) {
            return Some("the next set is not the one that the header names".into());
        }
        let before = self.checks.validators.last_key_value().map(|(_, set)| set);
        for validator in &set.validators {
            let of = |n: &&NodeRecord| n.validator == validator.key;
            let Some(node) = self.checks.nodes.values().find(of) else {
                return Some(format!("validator {} is no node", validator.key));
            };
            let stake = (node.bond.0 + node.delegated.tokens.0) / MICRO;
            let jailed = node.jailed_until > self.checks.epochs;
            if u128::from(validator.power) != stake || !node.validates || jailed {
                return Some(format!("{validator:?} may not validate: {node:?}"));
            }
            if before.is_none_or(|set| !set.contains_key(&validator.key.0)) {
                self.marks.hit("set: entered");
            }
        }
        let from = block.header.height + 1;
        self.checks.validators.insert(from, set.powers().into_iter().collect());
        self.checks.set = next_validators;
        None
    }

    pub(crate) fn note_stake(&mut self, record: &NodeRecord) {
        let Some(before) = self.checks.nodes.get(&record.node) else { return };
        if record.delegated.shares > before.delegated.shares {
            self.marks.hit("stake: delegated");
        }
        if record.jailed_until > before.jailed_until {
            self.marks.hit("stake: jailed");
        }
        if record.bond < before.bond && record.slashed == before.slashed {
            self.marks.hit("stake: unbonded");
        }
    }

    /// Something about stake; a node that may validate and does not, wants to.
    pub(crate) fn stake_body(&mut self, node: usize) -> Body {
        let own = NodeKey(self.nodes[node].key());
        let Some(process) = &self.nodes[node].process else { return Body::Validate { on: true } };
        let ledger = process.engine.ledger();
        let Ok(state) = ledger.state() else { return Body::Validate { on: true } };
        let account = self.nodes[node].signers.account_id();
        let record = state.node(&own).ok().flatten();
        let rng = &mut self.workload.rng;
        if record.is_some_and(|r| !r.validates) && rng.chance(700) {
            return Body::Validate { on: true };
        }
        let other = rng.below(self.plan.founders.len() as u64) as usize;
        let other = NodeKey(self.nodes[other].key());
        match rng.below(8) {
            0 => Body::Unbond { amount: Amount::credits(rng.between(1, 3)) },
            1 | 2 => {
                let shares = Amount::credits(rng.between(1, 3));
                Body::Undelegate { node: other, shares }
            }
            3 | 4 => {
                // Something of its own that is on its way out, matured or not.
                let prefix = keys::unbonding_owned_by(&account);
                let end = prefix_end(&prefix).unwrap_or_default();
                let rows = state.range(&prefix, &end, 16).unwrap_or_default();
                let parts = rng
                    .pick(&rows)
                    .and_then(|(key, _)| key.get(prefix.len()..)?.split_at_checked(32));
                let Some((Ok(node), rest)) = parts.map(|(node, rest)| (node.try_into(), rest))
                else {
                    return Body::Unbond { amount: Amount::credits(rng.between(1, 3)) };
                };
                let matures = rest.first_chunk().map_or(0, |epoch| u64::from_be_bytes(*epoch));
                let own = rest.last() == Some(&0);
                let kind = if own { UnbondingKind::Own } else { UnbondingKind::Delegated };
                Body::Withdraw { node: NodeKey(node), matures, kind }
            }
            _ => Body::Delegate { node: other, amount: Amount::credits(rng.between(1, 12)) },
        }
    }
}
