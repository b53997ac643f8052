//! Where a particle's focus comes from: its incoming edges and the teleport, for one step.
//!
//! The step of `docs/spec/focus.md` 8 is written as a sum: `y(v)` is what the edges bring, the rest is
//! teleport (with the units that go to the lowest particle). At the fixed point a step changes nothing,
//! so its parts are the parts of the focus; the residual bounds what is off.

use crate::{Damping, Graph, ONE};

/// An edge that ends in the particle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Slot of the particle in which it begins.
    pub from: u32,
    /// Mass that it brings in a step.
    pub mass: u64,
    /// Its weight: the part of that particle's mass that follows it, in units of 2^-32.
    pub weight: u32,
}

/// What a particle's focus is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Its mass after a step from the given masses: teleport and all sources together.
    pub mass: u64,
    /// What comes by teleport.
    pub teleport: u64,
    /// The edges that end in it, those that bring most first, ties by content id.
    pub sources: Vec<Source>,
}

/// Explains the focus of the particle in a slot; `masses` are by slot.
pub fn why(graph: &Graph, damping: Damping, masses: &[u64], slot: u32) -> Why {
    let csc = graph.csc();
    let q = u128::from(damping.quantised());
    let row = |slot: usize| {
        let bound = |at: usize| csc.row_start.get(at).copied().unwrap_or_default() as usize;
        let range = bound(slot)..bound(slot + 1);
        let sources = csc.sources.get(range.clone()).unwrap_or_default();
        sources.iter().copied().zip(csc.weights.get(range).unwrap_or_default().iter().copied())
    };
    let mass = |from: u32| u128::from(masses.get(from as usize).copied().unwrap_or_default());
    let flow = |(from, weight): (u32, u32)| (mass(from) * u128::from(weight)) >> 32;
    let damped = |slot: usize| ((q * row(slot).map(flow).sum::<u128>()) >> 32) as u64;
    let moved: u64 = (0..graph.slots()).map(damped).sum();
    let rest = u128::from(ONE.saturating_sub(moved));
    let teleports = graph.teleport();
    let share = |t: &u64| ((rest * u128::from(*t)) >> 62) as u64;
    let mut teleport = teleports.get(slot as usize).map(share).unwrap_or_default();
    if graph.lowest() == Some(slot) {
        let given: u64 = teleports.iter().map(share).sum();
        teleport += ONE.saturating_sub(moved).saturating_sub(given);
    }
    let source = |(from, weight): (u32, u32)| {
        let mass = ((q * flow((from, weight))) >> 32) as u64;
        Source { from, mass, weight }
    };
    let mut sources: Vec<Source> =
        row(slot as usize).map(source).filter(|source| source.weight > 0).collect();
    sources.sort_by_key(|s| (std::cmp::Reverse(s.mass), graph.cid(s.from)));
    Why { mass: damped(slot as usize) + teleport, teleport, sources }
}
