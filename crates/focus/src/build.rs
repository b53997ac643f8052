//! Building a graph at once: slots, lists and matrix from indexed links.

use anthill_types::{AccountId, Cid};

use crate::error::FocusError;
use crate::forward::{Forward, Out, quantise_all};
use crate::graph::Graph;
use crate::matrix::{HEAVY, Layout, Matrix};
use crate::neurons::{Ends, Neurons};
use crate::particles::Particles;
use crate::rows::Rows;

/// Most links: an entry's place is 32 bits.
pub(crate) const MAX_LINKS: usize = 1 << 31;

/// A link by indexes: neuron, from, to.
pub type IndexedLink = [u32; 3];

/// Everything that a graph is built from. Indexes point into `particles` and `neurons`.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Ids of particles, each once, in any order; those without links are left out of the graph.
    pub particles: Vec<Cid>,
    /// Ids of neurons, each once, in any order.
    pub neurons: Vec<AccountId>,
    /// Stakes of the neurons.
    pub stakes: Vec<u128>,
    /// Links, in any order; links to oneself and repeated ones are passed over.
    pub links: Vec<IndexedLink>,
}

impl Graph {
    /// Builds a graph from indexed links: the lean way for large ones.
    ///
    /// # Errors
    /// [`FocusError::Stake`], [`FocusError::StakeSum`], [`FocusError::TooLarge`].
    ///
    /// # Panics
    /// An index points beyond its list.
    pub fn build(parts: Parts) -> Result<Self, FocusError> {
        let Parts { particles, neurons, stakes, mut links } = parts;
        if links.len() >= MAX_LINKS {
            return Err(FocusError::TooLarge(links.len(), "links"));
        }
        if particles.len() > i32::MAX as usize {
            return Err(FocusError::TooLarge(particles.len(), "particles"));
        }
        links.retain(|[_, from, to]| from != to);
        links.sort_unstable_by_key(|[neuron, from, to]| (*from, *to, *neuron));
        links.dedup();
        let slots = slot_order(particles.len(), &links);
        for link in &mut links {
            link[1] = slots[link[1] as usize];
            link[2] = slots[link[2] as usize];
        }
        let particles = open_particles(&particles, &slots, &links);
        let neurons = open_neurons(neurons, stakes, &mut links)?;
        let tokens = tokens(particles.slots(), &neurons);
        let (forward, mut matrix, edges) = lay_out(particles.slots(), &links);
        let sources: Vec<u32> = (0..particles.slots() as u32).collect();
        quantise_all(&sources, &forward, neurons.shares(), &mut matrix);
        let links = links.len();
        Ok(Self { particles, neurons, forward, matrix, tokens, links, edges })
    }
}

/// The slot of each particle: first those from which most edges begin, since their masses are read
/// most often; within a power of two by edges that end there, so that rows of a group are alike; of
/// equal ones by the first row that reads them, so that what is read seldom is read in order.
/// Particles without links come last.
fn slot_order(particles: usize, links: &[IndexedLink]) -> Vec<u32> {
    let edges = || links.chunk_by(|a, b| a[1] == b[1] && a[2] == b[2]).map(|run| run[0]);
    let mut degrees = vec![(0u32, 0u32); particles];
    for [_, from, to] in edges() {
        degrees[from as usize].0 += 1;
        degrees[to as usize].1 += 1;
    }
    let class = |out: u32| u32::BITS - out.leading_zeros();
    let rank = |(out, into): (u32, u32)| !((u64::from(class(out)) << 32) | u64::from(into));
    let mut keys: Vec<(u64, u32, u32)> =
        (0..).zip(&degrees).map(|(index, degree)| (rank(*degree), 0, index)).collect();
    keys.sort_unstable();
    let slots = places(&keys);
    keys.iter_mut().for_each(|key| key.1 = u32::MAX);
    for [_, from, to] in edges() {
        let first = &mut keys[slots[from as usize] as usize].1;
        *first = slots[to as usize].min(*first);
    }
    keys.sort_unstable();
    places(&keys)
}

/// The place of each index in an order.
fn places(order: &[(u64, u32, u32)]) -> Vec<u32> {
    let mut places = vec![0; order.len()];
    for (place, (_, _, index)) in (0..).zip(order) {
        places[*index as usize] = place;
    }
    places
}

fn open_particles(ids: &[Cid], slots: &[u32], links: &[IndexedLink]) -> Particles {
    let mut touches = vec![0u32; ids.len()];
    for [_, from, to] in links {
        touches[*from as usize] += 1;
        touches[*to as usize] += 1;
    }
    // Those without links have the last slots: they are cut off.
    let live = touches.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    touches.truncate(live);
    let mut by_slot = vec![Cid::default(); live];
    for (cid, slot) in ids.iter().zip(slots) {
        if let Some(place) = by_slot.get_mut(*slot as usize) {
            *place = *cid;
        }
    }
    let mut canonical: Vec<u32> = (0..live as u32).collect();
    canonical.sort_unstable_by_key(|slot| by_slot[*slot as usize]);
    Particles::new(by_slot, touches, canonical)
}

/// Puts neurons in order of their ids, and lists each one's links.
fn open_neurons(
    ids: Vec<AccountId>,
    stakes: Vec<u128>,
    links: &mut [IndexedLink],
) -> Result<Neurons, FocusError> {
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_unstable_by_key(|i| ids[*i as usize]);
    let mut place = vec![0u32; ids.len()];
    for (at, index) in order.iter().enumerate() {
        place[*index as usize] = at as u32;
    }
    links.iter_mut().for_each(|link| link[0] = place[link[0] as usize]);
    let pick = |i: &u32| stakes.get(*i as usize).copied().unwrap_or(0);
    let sorted_stakes = order.iter().map(pick).collect();
    let sorted_ids: Vec<AccountId> = order.iter().map(|i| ids[*i as usize]).collect();
    let starts = starts(sorted_ids.len(), links.iter().map(|link| link[0]));
    let mut next = starts.clone();
    let mut ends: Vec<Ends> = vec![(0, 0); links.len()];
    for [neuron, from, to] in links.iter() {
        let at = &mut next[*neuron as usize];
        ends[*at as usize] = (*from, *to);
        *at += 1;
    }
    Neurons::from_sorted(sorted_ids, sorted_stakes, Rows::packed(starts, ends))
}

/// Where each of `count` lists begins when the items' lists are given.
fn starts(count: usize, items: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut starts = vec![0u32; count + 1];
    items.for_each(|list| starts[list as usize + 1] += 1);
    for list in 0..count {
        starts[list + 1] += starts[list];
    }
    starts
}

/// Stakes of the distinct neurons that link to each slot.
fn tokens(slots: usize, neurons: &Neurons) -> Vec<u128> {
    let mut tokens = vec![0u128; slots];
    let mut targets = Vec::new();
    for neuron in 0..neurons.len() as u32 {
        targets.clear();
        targets.extend(neurons.links(neuron).iter().map(|(_, to)| *to));
        targets.sort_unstable();
        targets.dedup();
        targets.iter().for_each(|to| tokens[*to as usize] += neurons.stake(neuron));
    }
    tokens
}

/// Lists of links by source, and the matrix with all weights 0. The links lie by their edges.
fn lay_out(slots: usize, links: &[IndexedLink]) -> (Forward, Matrix, usize) {
    let mut lengths = vec![0u32; slots];
    let runs = || links.chunk_by(|a, b| a[1] == b[1] && a[2] == b[2]);
    runs().for_each(|run| lengths[run[0][2] as usize] += 1);
    let starts = starts(slots, links.iter().map(|link| link[1]));
    let mut next = starts.clone();
    let blank = Out { target: 0, neuron: 0, entry: 0 };
    let mut outs = vec![blank; links.len()];
    for run in runs() {
        for [neuron, from, target] in run {
            let at = &mut next[*from as usize];
            outs[*at as usize] = Out { target: *target, neuron: *neuron, entry: 0 };
            *at += 1;
        }
    }
    let mut layout = Layout::new(&lengths);
    let mut edges = 0;
    // By source in order of slots, so that a row's entries read masses in rising order.
    for slot in 0..slots {
        let row = &mut outs[starts[slot] as usize..starts[slot + 1] as usize];
        for run in row.chunk_by_mut(|a, b| a.target == b.target) {
            let target = run[0].target;
            let heavy = lengths[target as usize] > HEAVY;
            let entry = layout.place(target, slot as u32, heavy);
            run.iter_mut().for_each(|link| link.entry = entry);
            edges += 1;
        }
    }
    (Rows::packed(starts, outs), layout.finish(), edges)
}
