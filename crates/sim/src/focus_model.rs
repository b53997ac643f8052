//! Focus a second time: each block's masses from the state's links and stakes by the plain definition,
//! from the masses that this model had before.

use std::collections::{BTreeMap, BTreeSet};

use anthill_focus::{Damping, Link, ONE, plain};
use anthill_ledger::{Ledger, focus};
use anthill_store::Batch;
use anthill_types::block::ROOT_FOCUS;
use anthill_types::graph::NeuronStake;
use anthill_types::{AccountId, Block, Cid, Digest, Genesis, Header, Wire, keys};

use crate::rng::Rng;
use crate::world::World;

/// Links and stakes.
#[derive(Clone, Default, PartialEq, Eq)]
struct Inputs {
    links: BTreeSet<Link>,
    stakes: BTreeMap<AccountId, u128>,
}

/// What the blocks so far have made of the graph.
#[derive(Default)]
pub struct FocusModel {
    height: u64,
    inputs: Inputs,
    masses: BTreeMap<Cid, u64>,
    /// Ten-thousandths, in force for the next block.
    damping: u64,
}

impl FocusModel {
    /// Before the first block: no links, and the founders' bonds.
    pub fn of(genesis: &Genesis) -> Self {
        let stakes = genesis.nodes.iter().map(|node| (node.account, node.bond.0)).collect();
        let inputs = Inputs { stakes, ..Inputs::default() };
        Self { inputs, damping: genesis.params.damping, ..Self::default() }
    }

    /// Some particle of the newest block that was followed.
    pub fn a_particle(&self, rng: &mut Rng) -> Option<Cid> {
        let all: Vec<Cid> = self.masses.keys().copied().collect();
        rng.pick(&all).copied()
    }

    /// Goes on by a block; gives whether the graph has changed.
    fn follow(&mut self, inputs: Inputs) -> Result<bool, String> {
        if inputs == self.inputs {
            return Ok(false);
        }
        let damping = u32::try_from(self.damping).unwrap_or(0);
        let damping = Damping::from_ten_thousandths(damping).map_err(|e| e.to_string())?;
        let links: Vec<Link> = inputs.links.iter().copied().collect();
        let start = start(&self.masses, &links);
        let found = plain::focus(&links, &inputs.stakes, damping, start.as_ref());
        if !found.converged && !links.is_empty() {
            return Err("a run of focus did not come to an end".into());
        }
        (self.inputs, self.masses) = (inputs, found.masses);
        Ok(true)
    }

    fn commitment(&self) -> Option<Digest> {
        let masses = self.masses.clone();
        let plain = plain::Plain { masses, ..plain::Plain::default() };
        (!self.masses.is_empty()).then(|| plain.commitment())
    }
}

/// Where a run begins: what particles that are gone had lies on the lowest CID.
fn start(before: &BTreeMap<Cid, u64>, links: &[Link]) -> Option<BTreeMap<Cid, u64>> {
    let particles: BTreeSet<Cid> = links.iter().flat_map(|l| [l.from, l.to]).collect();
    let kept: u64 = before.iter().filter(|(c, _)| particles.contains(c)).map(|(_, m)| m).sum();
    let mut start = before.clone();
    *start.entry(*particles.first()?).or_default() += ONE - kept;
    (!before.is_empty()).then_some(start)
}

/// Links and stakes as they stand in a node's state.
fn inputs(ledger: &Ledger) -> Option<Inputs> {
    let rows = |prefix: &str| ledger.store().prefix(prefix.as_bytes(), usize::MAX).ok();
    let mut inputs = Inputs::default();
    for (key, _) in rows(keys::EDGES)? {
        let (parts, _) = key.get(keys::EDGES.len()..)?.as_chunks::<32>();
        let [neuron, from, to] = parts.try_into().ok()?;
        inputs.links.insert(Link { neuron: AccountId(neuron), from: Cid(from), to: Cid(to) });
    }
    for (key, value) in rows(keys::NEURON_STAKES)? {
        let account = AccountId(key.get(keys::NEURON_STAKES.len()..)?.try_into().ok()?);
        inputs.stakes.insert(account, NeuronStake::from_bytes(&value).ok()?.stake.0);
    }
    Some(inputs)
}

fn root(header: &Header) -> Option<Digest> {
    header.roots.iter().find(|root| root.kind == ROOT_FOCUS).map(|root| root.root)
}

impl World {
    /// The block's masses are those of the definition; the header commits to them.
    pub(crate) fn check_focus(
        &mut self,
        node: usize,
        block: &Block,
        writes: &Batch,
    ) -> Option<String> {
        let ledger = self.nodes[node].process.as_ref()?.engine.ledger();
        let height = block.header.height;
        if ledger.height() != height {
            return None;
        }
        let model = &mut self.focus_model;
        let (inputs, params) = (inputs(ledger)?, ledger.state().ok()?.params().ok()?);
        let found = match focus::masses_of(ledger.store().as_ref()) {
            Ok(found) => found.into_iter().collect::<BTreeMap<_, _>>(),
            Err(error) => return Some(error.to_string()),
        };
        // Blocks between were never seen with their state: the model goes on from this one.
        let known = height == model.height + 1 && writes.contains_key(&keys::chain());
        let mut changed = false;
        if known {
            match model.follow(inputs) {
                Ok(is_new) => changed = is_new,
                Err(what) => return Some(what),
            }
        } else {
            (model.inputs, model.masses) = (inputs, found.clone());
        }
        (model.height, model.damping) = (height, params.damping);
        if found != model.masses {
            return Some(format!("the focus is {found:?}, not {:?}", model.masses));
        }
        if root(&block.header) != model.commitment() {
            return Some("the header's focus root is not over its masses".into());
        }
        self.marks.add("focus: computed", u64::from(changed));
        self.marks.add("focus: no particle left", u64::from(changed && found.is_empty()));
        None
    }

    /// After every step: what a node holds in memory is what its newest header commits to, and all
    /// of it is there. (Headers of equal heights are equal, so the nodes' commitments are.)
    pub(crate) fn check_held_focus(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let ledger = process.engine.ledger();
        let Some(tip) = ledger.tip() else { return };
        let (held, sum) = (ledger.focus_commitment(), ledger.focus_sum());
        let whole = if held.is_some() { u128::from(ONE) } else { 0 };
        if held == root(tip) && sum == whole {
            return;
        }
        let height = tip.height;
        self.breaks(format!("node {node} holds another focus than header {height}, {sum} in all"));
    }
}
