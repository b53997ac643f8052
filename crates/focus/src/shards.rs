//! Focus cut into shards that exchange what flows between them at every step.
//!
//! A particle belongs to the shard that the murmur64 hash of its id names (`docs/spec/protocol.md` 16).
//! Its shard holds its row, its mass, and what leaves it: the owner of a source weighs its edges and
//! forwards those that end elsewhere. In a step every shard sends the masses that others read (the
//! halo), then partial sums of integers: these can be gathered in any order, as push-sum gathers pairs,
//! and every order gives the same bits as one machine alone. Where shards run is the caller's affair:
//! here they are values, and messages between them are vectors.

use std::sync::Mutex;

use anthill_kernels::parallel::{Parallel, Sequential};
use anthill_kernels::pull::LANES;
use anthill_types::Cid;

use crate::damping::Damping;
use crate::fixed::{ONE, transition};
use crate::graph::Graph;
use crate::matrix::{HEAVY, Layout, Matrix, Part};
use crate::solve::{EPSILON, Never, Run, Stepper, settle, start_masses};
use crate::step::{Work, settle_rest};

/// Owners of a shard.
pub const OWNERS: usize = 3;

/// MurmurHash64A with seed 0 (Appleby 2008, public domain definition).
pub fn murmur64(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mix = |k: u64| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> R)).wrapping_mul(M)
    };
    let mut h = (bytes.len() as u64).wrapping_mul(M);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        h = (h ^ mix(u64::from_le_bytes(*word))).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        h = (h ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    h = (h ^ (h >> R)).wrapping_mul(M);
    h ^ (h >> R)
}

/// The shard of a particle, of `shards`; 0 when there is none to choose.
pub fn shard_of(cid: &Cid, shards: u32) -> u32 {
    murmur64(&cid.to_binary()).checked_rem(u64::from(shards)).unwrap_or(0) as u32
}

/// The owners of a shard among candidates, by rendezvous hashing: those with the highest hashes of
/// shard and name. A candidate that comes or goes moves only its own shards.
pub fn owners<'a>(shard: u32, candidates: &'a [[u8; 32]]) -> Vec<&'a [u8; 32]> {
    let mut ranked: Vec<(u64, &'a [u8; 32])> = candidates
        .iter()
        .map(|name| (murmur64(&[&shard.to_be_bytes()[..], name].concat()), name))
        .collect();
    ranked.sort_by(|a, b| b.cmp(a));
    ranked.into_iter().take(OWNERS).map(|(_, name)| name).collect()
}

/// An edge that a shard has weighed for another: slots of its ends, and its weight.
type Forwarded = (u32, u32, u32);

/// One shard: its rows, its masses, and what it reads of others.
struct Shard {
    matrix: Matrix,
    parts: Vec<Part>,
    teleport: Vec<u64>,
    /// Own masses, then those of the halo.
    masses: Vec<u64>,
    sums: Vec<u64>,
    /// Slots of its particles, ascending.
    own: Vec<u32>,
    /// Slots that it reads of others, ascending.
    halo: Vec<u32>,
    /// Place of the lowest id of all, where that is its own.
    lowest: Option<usize>,
    residuals: Vec<u64>,
}

impl Shard {
    fn new(own: Vec<u32>, mut edges: Vec<Forwarded>, teleport: &[u64], masses: &[u64]) -> Self {
        let place = |slots: &[u32], slot: u32| slots.binary_search(&slot).ok();
        let mut halo: Vec<u32> = edges
            .iter()
            .map(|(from, _, _)| *from)
            .filter(|from| place(&own, *from).is_none())
            .collect();
        halo.sort_unstable();
        halo.dedup();
        let row = |to: u32| place(&own, to).unwrap_or(0);
        let mut lengths = vec![0u32; own.len()];
        edges.iter().for_each(|(_, to, _)| lengths[row(*to)] += 1);
        edges.sort_unstable();
        let mut layout = Layout::new(&lengths);
        let mut placed = Vec::with_capacity(edges.len());
        for (from, to, weight) in &edges {
            let source = place(&own, *from)
                .or_else(|| place(&halo, *from).map(|at| own.len() + at))
                .unwrap_or(0);
            let heavy = lengths[row(*to)] > HEAVY;
            placed.push((layout.place(row(*to) as u32, source as u32, heavy), *weight));
        }
        let mut matrix = layout.finish();
        placed.into_iter().for_each(|(entry, weight)| matrix.set_weight(entry, weight));
        let pick = |values: &[u64], slots: &[u32]| -> Vec<u64> {
            slots.iter().map(|slot| values[*slot as usize]).collect()
        };
        let sums = vec![0; own.len().max(matrix.widths().len() * LANES)];
        let teleport = pick(teleport, &own);
        let mut all = pick(masses, &own);
        all.resize(own.len() + halo.len(), 0);
        let parts = matrix.parts(1);
        let residuals = Vec::new();
        Self { matrix, parts, teleport, masses: all, sums, own, halo, lowest: None, residuals }
    }

    /// The masses of the asked slots that are its own, in their order: a message to who asks.
    fn outbox(&self, asked: &[u32]) -> Vec<(u32, u64)> {
        let mass = |slot: &u32| {
            let at = self.own.binary_search(slot).ok()?;
            Some((*slot, self.masses[at]))
        };
        asked.iter().filter_map(mass).collect()
    }

    /// Takes a message of another shard's masses.
    fn inbox(&mut self, message: &[(u32, u64)]) {
        for (slot, mass) in message {
            if let Ok(at) = self.halo.binary_search(slot) {
                self.masses[self.own.len() + at] = *mass;
            }
        }
    }

    /// First half of a step; gives its part of the flow.
    fn pull(&mut self, damping: u32) -> u64 {
        let work = Work { damping, parallel: &Sequential };
        work.pull(&self.matrix, &self.parts, &self.masses, &mut self.sums)
    }

    /// Second half; gives its part of sum and residual.
    fn replace(&mut self, damping: u32, rest: u64) -> (u64, u64) {
        let work = Work { damping, parallel: &Sequential };
        let own = &mut self.masses[..self.own.len()];
        let (sum, residual) = work.replace(rest, &self.sums, &self.teleport, own);
        self.residuals.push(residual);
        (sum, residual)
    }
}

/// A graph in shards.
pub struct Shards<'a> {
    shards: Vec<Mutex<Shard>>,
    slots: usize,
    damping: u32,
    crossing: usize,
    parallel: &'a dyn Parallel,
}

impl<'a> Shards<'a> {
    /// Cuts a graph that is not empty into `count` shards, some of which may be empty. The cost grows with
    /// the number of shards, so callers bound it.
    pub fn new(
        graph: &Graph,
        count: u32,
        damping: Damping,
        start: Option<&[u64]>,
        parallel: &'a dyn Parallel,
    ) -> Self {
        let count = count.max(1);
        let teleport = graph.teleport();
        let masses = start.map_or_else(|| teleport.clone(), |start| start_masses(graph, start));
        let slots = 0..graph.slots() as u32;
        let of: Vec<u32> = slots.map(|slot| shard_of(&graph.cid(slot), count)).collect();
        let (buffers, crossing) = forwarded(graph, &of, count);
        let mut shards = Vec::new();
        for (index, edges) in (0..count).zip(buffers) {
            let own = (0..).zip(&of).filter(|(_, shard)| **shard == index);
            let own: Vec<u32> = own.map(|(slot, _)| slot).collect();
            let mut shard = Shard::new(own, edges, &teleport, &masses);
            let lowest = graph.lowest().filter(|slot| of[*slot as usize] == index);
            shard.lowest = lowest.and_then(|slot| shard.own.binary_search(&slot).ok());
            shards.push(Mutex::new(shard));
        }
        Self { shards, slots: graph.slots(), damping: damping.quantised(), crossing, parallel }
    }

    /// Edges that lead from one shard to another.
    pub fn crossing(&self) -> usize {
        self.crossing
    }

    /// Estimate of each shard's spectral gap, from its part of the residuals; for display.
    pub fn gaps(&self) -> Vec<Option<f64>> {
        let gap = |shard: &Mutex<Shard>| crate::solve::gap(&shard.lock().ok()?.residuals);
        self.shards.iter().map(gap).collect()
    }

    /// Calls `work` with every shard, several at once; gives the sums of what it gives.
    fn each(&self, work: impl Fn(&mut Shard) -> (u64, u64) + Sync) -> (u64, u64) {
        let total = Mutex::new((0u64, 0u64));
        self.parallel.run(self.shards.len(), &|index| {
            let Ok(mut shard) = self.shards[index].lock() else { return };
            let (a, b) = work(&mut shard);
            if let Ok(mut total) = total.lock() {
                *total = (total.0.wrapping_add(a), total.1.wrapping_add(b));
            }
        });
        total.into_inner().unwrap_or_default()
    }

    /// Every shard hears of the masses that it reads of others.
    fn exchange(&self) {
        for (index, shard) in self.shards.iter().enumerate() {
            let Ok(mut shard) = shard.lock() else { continue };
            let others = self.shards.iter().enumerate().filter(|(other, _)| *other != index);
            for (_, other) in others {
                let Ok(other) = other.lock() else { continue };
                let message = other.outbox(&shard.halo);
                shard.inbox(&message);
            }
        }
    }
}

/// The edges that each shard gets, weighed by the shards of their sources; how many of them cross.
fn forwarded(graph: &Graph, of: &[u32], count: u32) -> (Vec<Vec<Forwarded>>, usize) {
    let mut buffers = vec![Vec::new(); count as usize];
    let mut crossing = 0;
    for slot in 0..graph.slots() as u32 {
        let out: u128 = graph.edges_from(slot).map(|(_, stake)| stake).sum();
        for (to, stake) in graph.edges_from(slot).filter(|(_, stake)| *stake > 0) {
            let shard = of[to as usize];
            crossing += usize::from(shard != of[slot as usize]);
            buffers[shard as usize].push((slot, to, transition(stake, out)));
        }
    }
    (buffers, crossing)
}

impl Stepper for Shards<'_> {
    type Error = Never;

    fn step(&mut self) -> Result<u64, Never> {
        self.exchange();
        let damping = self.damping;
        let (flow, _) = self.each(|shard| (shard.pull(damping), 0));
        let before = Mutex::new(0);
        let (sum, residual) = self.each(|shard| {
            if let (Some(lowest), Ok(mut before)) = (shard.lowest, before.lock()) {
                *before = shard.masses[lowest];
            }
            shard.replace(damping, ONE.wrapping_sub(flow))
        });
        let before = before.into_inner().unwrap_or_default();
        let missing = ONE.wrapping_sub(sum);
        let (residual, _) = self.each(|shard| match shard.lowest {
            Some(lowest) => (settle_rest(&mut shard.masses[lowest], before, missing, residual), 0),
            None => (0, 0),
        });
        Ok(residual)
    }

    fn into_masses(self) -> Result<Vec<u64>, Never> {
        let mut masses = vec![0; self.slots];
        for shard in self.shards {
            let Ok(shard) = shard.into_inner() else { continue };
            for (slot, mass) in shard.own.iter().zip(&shard.masses) {
                masses[*slot as usize] = *mass;
            }
        }
        Ok(masses)
    }
}

/// What a run in shards gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShardedRun {
    /// The run: the same bits as on one machine alone.
    pub run: Run,
    /// Estimate of each shard's spectral gap; for display.
    pub gaps: Vec<Option<f64>>,
    /// Edges that lead from one shard to another.
    pub crossing: usize,
}

/// As [`crate::solve()`], in shards.
pub fn solve_sharded(
    graph: &Graph,
    shards: u32,
    damping: Damping,
    start: Option<&[u64]>,
    parallel: &dyn Parallel,
) -> ShardedRun {
    if graph.particles() == 0 {
        let run = Run { converged: true, ..Run::default() };
        return ShardedRun { run, ..ShardedRun::default() };
    }
    let mut shards = Shards::new(graph, shards, damping, start, parallel);
    let settled = settle(&mut shards, EPSILON);
    let (gaps, crossing) = (shards.gaps(), shards.crossing());
    match (settled, shards.into_masses()) {
        (Ok((residuals, converged)), Ok(masses)) => {
            ShardedRun { run: Run { masses, residuals, converged }, gaps, crossing }
        }
        (Err(never), _) | (_, Err(never)) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_murmur_hash_64a() {
        // From an independent implementation.
        assert_eq!(murmur64(b""), 0);
        assert_eq!(murmur64(b"a"), 0x0717_17d2_d36b_6b11);
        assert_eq!(murmur64(b"hello world, how are you?"), 0x5291_5f53_41a7_7732);
    }

    #[test]
    fn owners_stay_when_another_leaves() {
        let names: Vec<[u8; 32]> = (0..20).map(|i| Cid::of(&[i]).0).collect();
        for shard in 0..64 {
            let before = owners(shard, &names);
            assert_eq!(before.len(), OWNERS);
            let gone = names[shard as usize % 20];
            let rest: Vec<[u8; 32]> = names.iter().filter(|n| **n != gone).copied().collect();
            let after = owners(shard, &rest);
            let kept = before.iter().filter(|n| ***n != gone);
            assert!(kept.clone().all(|name| after.contains(name)));
        }
    }
}
