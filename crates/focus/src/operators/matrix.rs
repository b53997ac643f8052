//! The links of a graph in canonical order, as the views read them.

use anthill_types::Cid;

use crate::Graph;

/// Weighted links by place in canonical order, sorted by beginning and end.
pub struct Matrix {
    /// The particles, ascending.
    pub cids: Vec<Cid>,
    /// `from`, `to` and link stake.
    pub links: Vec<(u32, u32, u128)>,
    /// Teleport of each particle.
    pub teleport: Vec<u64>,
}

impl Matrix {
    /// The links of a graph.
    pub fn of(graph: &Graph) -> Self {
        let canonical = graph.canonical();
        let teleport_by_slot = graph.teleport();
        let mut place = vec![0u32; teleport_by_slot.len()];
        for (at, slot) in canonical.iter().enumerate() {
            if let Some(entry) = place.get_mut(*slot as usize) {
                *entry = at as u32;
            }
        }
        let at = |slot: u32| place.get(slot as usize).copied().unwrap_or_default();
        let edges = graph.edge_list().filter(|(_, _, stake)| *stake > 0);
        let links = edges.map(|(from, to, stake)| (at(from), at(to), stake));
        let mut links: Vec<(u32, u32, u128)> = links.collect();
        links.sort_unstable();
        let mass = |slot: &u32| teleport_by_slot.get(*slot as usize).copied().unwrap_or_default();
        Self {
            cids: canonical.iter().map(|slot| graph.cid(*slot)).collect(),
            teleport: canonical.iter().map(mass).collect(),
            links,
        }
    }

    /// Number of particles.
    pub fn len(&self) -> usize {
        self.cids.len()
    }

    /// The sum of the links' stakes out of each particle.
    pub fn out(&self) -> Vec<u128> {
        let mut out = vec![0u128; self.len()];
        for (from, _, stake) in &self.links {
            if let Some(sum) = out.get_mut(*from as usize) {
                *sum = sum.saturating_add(*stake);
            }
        }
        out
    }

    /// For each particle, the places of its links in `pairs`, which are sorted by their first part.
    pub fn ranges<T>(&self, pairs: &[T], first: impl Fn(&T) -> u32) -> Vec<std::ops::Range<usize>> {
        let mut found = vec![0..0; self.len()];
        let mut begin = 0;
        for group in pairs.chunk_by(|a, b| first(a) == first(b)) {
            let range = group.first().and_then(|pair| found.get_mut(first(pair) as usize));
            if let Some(range) = range {
                *range = begin..begin + group.len();
            }
            begin += group.len();
        }
        found
    }
}
