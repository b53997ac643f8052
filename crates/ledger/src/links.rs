//! The graph on the state: links between particles, with what is counted of them.
//!
//! An edge is its neuron, `from` and `to`; equal links exist once, none leads to where it begins, and
//! they have no weight of their own and do not decay (`docs/spec/protocol.md` 8).

use anthill_types::graph::{Edge, GraphTotals, MAX_LINKS, Neuron, Pair, Particle};
use anthill_types::{AccountId, Amount, Cid, keys};

use crate::bank;
use crate::error::{LedgerError, TransactionError};
use crate::state::State;

/// Makes links (the seeds' LinkTx): a flat fee for each is burned.
pub fn link(
    state: &mut State<'_>,
    neuron: &AccountId,
    sequence: u64,
    pairs: &[Pair],
) -> Result<(), TransactionError> {
    bounded(pairs)?;
    let fee = state.params()?.link_fee.0.checked_mul(pairs.len() as u128);
    let fee = Amount(fee.ok_or(LedgerError::Overflow("link fees"))?);
    bank::withdraw(state, neuron, fee, "the link fee")?;
    bank::burn(state, fee)?;
    let mut counts = Counts::open(state, neuron)?;
    let height = state.height();
    for Pair { from, to } in pairs {
        if from == to {
            return Err(TransactionError::Invalid("a link does not lead to where it begins"));
        }
        let key = keys::edge(neuron, from, to);
        if state.has(&key)? && !anthill_types::planted!(LinkTwice) {
            return Err(TransactionError::Invalid("this link exists already"));
        }
        state.put(key, &Edge { height, sequence })?;
        state.mark(keys::back_edge(to, from, neuron));
        for cid in [from, to] {
            counts.touch(state, neuron, cid)?;
        }
        counts.links += 1;
        counts.totals.edges += 1;
    }
    Ok(counts.write(state, neuron)?)
}

/// Takes links back (the seeds' UnlinkTx).
pub fn unlink(
    state: &mut State<'_>,
    neuron: &AccountId,
    pairs: &[Pair],
) -> Result<(), TransactionError> {
    bounded(pairs)?;
    let mut counts = Counts::open(state, neuron)?;
    for Pair { from, to } in pairs {
        let key = keys::edge(neuron, from, to);
        if !state.has(&key)? {
            return Err(TransactionError::Invalid("the sender has no such link"));
        }
        state.delete(&key);
        state.delete(&keys::back_edge(to, from, neuron));
        for cid in [from, to] {
            counts.leave(state, cid)?;
        }
        counts.links = less(counts.links)?;
        counts.totals.edges = less(counts.totals.edges)?;
    }
    Ok(counts.write(state, neuron)?)
}

fn bounded(pairs: &[Pair]) -> Result<(), TransactionError> {
    if pairs.is_empty() || pairs.len() > MAX_LINKS {
        return Err(TransactionError::Invalid("a transaction carries 1 to 256 links"));
    }
    Ok(())
}

fn less(count: u64) -> Result<u64, LedgerError> {
    count.checked_sub(1).ok_or(LedgerError::Missing("counted link"))
}

/// What is counted while a batch of links is applied.
struct Counts {
    totals: GraphTotals,
    links: u64,
    had: bool,
}

impl Counts {
    fn open(state: &State<'_>, neuron: &AccountId) -> Result<Self, LedgerError> {
        let totals = state.get::<GraphTotals>(&keys::graph_totals())?.unwrap_or_default();
        let links = state.get::<Neuron>(&keys::neuron(neuron))?.map_or(0, |n| n.links);
        Ok(Self { totals, links, had: links > 0 })
    }

    fn touch(
        &mut self,
        state: &mut State<'_>,
        by: &AccountId,
        cid: &Cid,
    ) -> Result<(), LedgerError> {
        let key = keys::particle(cid);
        let known = state.get::<Particle>(&key)?;
        self.totals.particles += u64::from(known.is_none());
        let mut particle = known.unwrap_or(Particle { height: state.height(), edges: 0, by: *by });
        particle.edges += 1;
        state.put(key, &particle)
    }

    fn leave(&mut self, state: &mut State<'_>, cid: &Cid) -> Result<(), LedgerError> {
        let key = keys::particle(cid);
        let known = state.get::<Particle>(&key)?;
        let mut particle = known.ok_or(LedgerError::Missing("particle"))?;
        particle.edges = less(particle.edges)?;
        if particle.edges > 0 {
            return state.put(key, &particle);
        }
        self.totals.particles = less(self.totals.particles)?;
        state.delete(&key);
        Ok(())
    }

    fn write(mut self, state: &mut State<'_>, neuron: &AccountId) -> Result<(), LedgerError> {
        let height = state.height();
        match (self.had, self.links) {
            (true, 0) => {
                self.totals.neurons = less(self.totals.neurons)?;
                state.delete(&keys::neuron(neuron));
            }
            (had, links) => {
                self.totals.neurons += u64::from(!had);
                state.put(keys::neuron(neuron), &Neuron { links, height })?;
            }
        }
        state.put(keys::graph_totals(), &self.totals)
    }
}
