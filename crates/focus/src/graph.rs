//! The graph: particles, neurons, links, and the weights that follow from them.

use std::collections::BTreeMap;

use anthill_types::{AccountId, Cid};

use crate::build::Parts;
use crate::error::FocusError;
use crate::forward::{Forward, edges};
use crate::link::Link;
use crate::matrix::{Csc, Matrix};
use crate::neurons::Neurons;
use crate::particles::Particles;
use crate::teleport::teleport;

/// The graph is laid out anew when late entries are more than this part of its edges, or what is gone
/// four times as much.
const MERGE_AT: usize = 16;

/// The knowledge graph. Particles lie in slots; a slot stays a particle's until [`Graph::lay_out`].
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub(crate) particles: Particles,
    pub(crate) neurons: Neurons,
    pub(crate) forward: Forward,
    pub(crate) matrix: Matrix,
    /// By slot: stakes of the distinct neurons that link to it.
    pub(crate) tokens: Vec<u128>,
    pub(crate) links: usize,
    pub(crate) edges: usize,
}

impl Graph {
    /// A graph without links.
    pub fn new() -> Self {
        Self::default()
    }

    /// A graph of links and stakes. (For millions of links [`Graph::build`] is leaner.)
    ///
    /// # Errors
    /// [`FocusError::Stake`], [`FocusError::StakeSum`], [`FocusError::TooLarge`].
    pub fn from_links(
        links: impl IntoIterator<Item = Link>,
        stakes: impl IntoIterator<Item = (AccountId, u128)>,
    ) -> Result<Self, FocusError> {
        let mut parts = Parts::default();
        let (mut particles, mut neurons) = (BTreeMap::new(), BTreeMap::new());
        let mut neuron = |parts: &mut Parts, id: AccountId| {
            *neurons.entry(id).or_insert_with(|| {
                parts.neurons.push(id);
                parts.stakes.push(0);
                parts.neurons.len() as u32 - 1
            })
        };
        for (id, stake) in stakes {
            let index = neuron(&mut parts, id);
            parts.stakes[index as usize] = stake;
        }
        for link in links {
            let index = neuron(&mut parts, link.neuron);
            let [from, to] = [link.from, link.to].map(|cid| {
                *particles.entry(cid).or_insert_with(|| {
                    parts.particles.push(cid);
                    parts.particles.len() as u32 - 1
                })
            });
            parts.links.push([index, from, to]);
        }
        Self::build(parts)
    }

    /// Particles that have links.
    pub fn particles(&self) -> usize {
        self.particles.len()
    }

    /// Links.
    pub fn links(&self) -> usize {
        self.links
    }

    /// Edges: pairs of particles with a link.
    pub fn edges(&self) -> usize {
        self.edges
    }

    /// Slots, those of particles that lost all links included.
    pub fn slots(&self) -> usize {
        self.particles.slots()
    }

    /// The particle in a slot.
    pub fn cid(&self, slot: u32) -> Cid {
        self.particles.cid(slot)
    }

    /// The slot of a particle that has links.
    pub fn slot(&self, cid: &Cid) -> Option<u32> {
        self.particles.find(cid).filter(|slot| self.particles.is_live(*slot))
    }

    /// Slots of the particles that have links, in order of their ids.
    pub fn canonical(&self) -> &[u32] {
        self.particles.canonical()
    }

    /// A particle's position in that order.
    pub fn rank(&self, cid: &Cid) -> Option<usize> {
        self.particles.rank(cid).ok()
    }

    /// Slot of the particle with the lowest id.
    pub fn lowest(&self) -> Option<u32> {
        self.canonical().first().copied()
    }

    /// A neuron's stake; 0 for one that is not known.
    pub fn stake(&self, neuron: &AccountId) -> u128 {
        self.neurons.find(neuron).map_or(0, |index| self.neurons.stake(index))
    }

    /// A neuron's links: slots of their ends.
    pub fn links_of(&self, neuron: &AccountId) -> &[(u32, u32)] {
        self.neurons.find(neuron).map_or(&[], |index| self.neurons.links(index))
    }

    /// Every link by its neuron and the slots of its ends. The order is that of slots, which depends on
    /// the graph's history: no rule may.
    pub fn each_link(&self) -> impl Iterator<Item = (AccountId, u32, u32)> + '_ {
        (0..self.slots() as u32).flat_map(|slot| {
            let of = move |link: &crate::forward::Out| (link.neuron, slot, link.target);
            self.forward
                .get(slot)
                .iter()
                .map(of)
                .map(|(n, from, to)| (self.neurons.id(n), from, to))
        })
    }

    /// The edges that begin in a slot: target, and the sum of link stakes (`s` of the definition).
    pub fn edges_from(&self, slot: u32) -> impl Iterator<Item = (u32, u128)> + '_ {
        edges(self.forward.get(slot), self.neurons.shares()).map(|(to, _, stake)| (to, stake))
    }

    /// Every edge: slots of its ends, and the sum of link stakes, which may be 0; in no fixed order.
    pub fn edge_list(&self) -> impl Iterator<Item = (u32, u32, u128)> + '_ {
        let from = |slot| self.edges_from(slot).map(move |(to, stake)| (slot, to, stake));
        (0..self.slots() as u32).flat_map(from)
    }

    /// The transition matrix.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// The transition matrix as compressed rows, by slot.
    pub fn csc(&self) -> Csc {
        self.matrix.csc(self.slots())
    }

    /// The teleport vector by slot: it sums to 2^62 unless the graph is empty.
    pub fn teleport(&self) -> Vec<u64> {
        teleport(&self.tokens, |slot| self.particles.is_live(slot), self.canonical())
    }

    /// Whether so much was changed since the last layout that a new one pays.
    pub fn wants_layout(&self) -> bool {
        let much = |part: usize, of: usize| part > of / MERGE_AT + 1024;
        let gone = self.matrix.entries() - self.edges;
        much(self.matrix.late(), self.edges)
            || much(gone, 4 * self.edges)
            || much(self.slots() - self.particles(), 4 * self.particles())
    }

    /// Lays everything out anew: slots change, nothing else does.
    ///
    /// # Errors
    /// The graph has become too large.
    pub fn lay_out(&mut self) -> Result<(), FocusError> {
        let mut parts = Parts::default();
        // Neurons without links and stake are forgotten.
        let mut index = vec![0u32; self.neurons.len()];
        for neuron in 0..self.neurons.len() as u32 {
            let stake = self.neurons.stake(neuron);
            if stake > 0 || !self.neurons.links(neuron).is_empty() {
                index[neuron as usize] = parts.neurons.len() as u32;
                parts.neurons.push(self.neurons.id(neuron));
                parts.stakes.push(stake);
            }
        }
        parts.particles = (0..self.slots() as u32).map(|slot| self.cid(slot)).collect();
        parts.links.reserve_exact(self.links);
        for slot in 0..self.slots() as u32 {
            let of = self.forward.get(slot).iter();
            parts.links.extend(of.map(|link| [index[link.neuron as usize], slot, link.target]));
        }
        *self = Self::default();
        *self = Self::build(parts)?;
        Ok(())
    }

    /// Bytes on the heap, about: what the graph costs in memory.
    pub fn heap_bytes(&self) -> usize {
        let particles = self.slots() * (32 + 4 + 4 + 16);
        let neurons = self.neurons.len() * (32 + 4 + 16 + 16);
        let rows = (self.forward.packed_len() + self.forward.apart()) * 12
            + (self.neurons.rows().packed_len() + self.neurons.rows().apart()) * 8
            + (self.slots() + self.neurons.len()) * 4;
        particles + neurons + rows + self.matrix.bytes()
    }
}
