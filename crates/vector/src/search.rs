//! Searches of a level (algorithm 2), with memory that is reused from one search to the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anthill_kernels::distance::prefetch;

use crate::space::{Probe, Source, rank, steer};

/// A node with its score, as one number: smaller is better, equal scores by node number. The lowest
/// bit is free for a mark.
pub(crate) type Key = u64;

/// Packs a score and a node; scores are in total order.
pub(crate) fn key(score: f32, node: u32) -> Key {
    let bits = score.to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(!ascending) << 32 | u64::from(node) << 1
}

/// The node of a key.
pub(crate) fn node_of(key: Key) -> u32 {
    (key as u32) >> 1
}

/// The score of a key.
pub(crate) fn score_of(key: Key) -> f32 {
    let ascending = !((key >> 32) as u32);
    f32::from_bits(if ascending >> 31 == 1 { ascending & !(1 << 31) } else { !ascending })
}

/// A set of node numbers that is emptied at the cost of what it holds.
#[derive(Debug, Clone, Default)]
struct Visited {
    words: Vec<u64>,
    touched: Vec<u32>,
}

impl Visited {
    /// Empties the set and makes room for so many nodes.
    fn reset(&mut self, slots: usize) {
        for at in self.touched.drain(..) {
            self.words[at as usize] = 0;
        }
        if self.words.len() * 64 < slots {
            self.words.resize(slots.div_ceil(64).next_multiple_of(64), 0);
        }
    }

    /// Marks a node; true if it was not marked before. Numbers past the room count as marked.
    #[inline]
    fn mark(&mut self, node: u32) -> bool {
        let Some(word) = self.words.get_mut(node as usize / 64) else { return false };
        let bit = 1u64 << (node % 64);
        if *word == 0 {
            self.touched.push(node / 64);
        }
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// Memory of a search. Reusing one for many searches spares them the allocations; results do not
/// depend on what it was used for before.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    visited: Visited,
    fresh: Vec<u32>,
    scores: Vec<f32>,
    /// The best nodes so far, best first; the mark says that a node's neighbours were looked at.
    pool: Vec<Key>,
    open: BinaryHeap<Reverse<Key>>,
}

impl Scratch {
    /// Collects the unvisited neighbours of a node and scores them.
    #[inline]
    fn expand<S: Source>(&mut self, source: &S, probe: &Probe<'_>, node: u32, level: usize) {
        self.fresh.clear();
        let (slots, codes) = (source.slots(), source.params().storage.has_codes());
        for &next in source.links(node, level) {
            if (next as usize) < slots && self.visited.mark(next) {
                if codes {
                    prefetch(source.codes(next));
                }
                self.fresh.push(next);
            }
        }
        if !codes && let Some(first) = self.fresh.first() {
            prefetch(source.values(*first));
        }
        steer(source, probe, &self.fresh, &mut self.scores);
    }

    /// Puts a key into the pool of at most `ef`; its place, if it is good enough.
    #[inline]
    fn keep(&mut self, key: Key, ef: usize) -> Option<usize> {
        if self.pool.len() >= ef {
            if self.pool.last().is_none_or(|worst| *worst < key) {
                return None;
            }
            self.pool.pop();
        }
        let at = self.pool.partition_point(|k| *k < key);
        self.pool.insert(at, key);
        Some(at)
    }

    /// The `ef` best nodes of a level that are reached from `starts`, best first.
    pub(crate) fn search_level<S: Source>(
        &mut self,
        source: &S,
        probe: &Probe<'_>,
        starts: &[Key],
        (ef, level): (usize, usize),
    ) -> &[Key] {
        self.visited.reset(source.slots());
        self.pool.clear();
        for start in starts {
            if self.visited.mark(node_of(*start)) {
                self.keep(*start & !1, ef);
            }
        }
        let mut at = 0;
        while let Some(here) = self.pool.get_mut(at) {
            if *here & 1 == 1 {
                at += 1;
                continue;
            }
            *here |= 1;
            let node = node_of(*here);
            self.expand(source, probe, node, level);
            at += 1;
            for i in 0..self.fresh.len() {
                let found = key(self.scores[i], self.fresh[i]);
                if let Some(place) = self.keep(found, ef) {
                    prefetch(source.links(self.fresh[i], level));
                    at = at.min(place);
                }
            }
        }
        &self.pool
    }

    /// As [`Self::search_level`], but only nodes that `accept` takes are returned; the others are
    /// walked over.
    pub(crate) fn search_accepted<S: Source>(
        &mut self,
        source: &S,
        probe: &Probe<'_>,
        starts: &[Key],
        (ef, level): (usize, usize),
        accept: impl Fn(u32) -> bool,
    ) -> &[Key] {
        self.visited.reset(source.slots());
        self.pool.clear();
        self.open.clear();
        for start in starts.iter().map(|start| *start & !1) {
            if self.visited.mark(node_of(start)) {
                self.open.push(Reverse(start));
                if accept(node_of(start)) {
                    self.keep(start, ef);
                }
            }
        }
        while let Some(Reverse(here)) = self.open.pop() {
            if self.pool.len() >= ef && self.pool.last().is_some_and(|worst| *worst < here) {
                break;
            }
            self.expand(source, probe, node_of(here), level);
            for i in 0..self.fresh.len() {
                let found = key(self.scores[i], self.fresh[i]);
                if self.pool.len() < ef || self.pool.last().is_some_and(|worst| found < *worst) {
                    self.open.push(Reverse(found));
                    if accept(self.fresh[i]) {
                        self.keep(found, ef);
                    }
                }
            }
        }
        &self.pool
    }

    /// Goes down greedily from the entry to the level above `target` (algorithm 2 with ef 1).
    pub(crate) fn descend<S: Source>(
        &mut self,
        source: &S,
        probe: &Probe<'_>,
        (entry, top): (u32, usize),
        target: usize,
    ) -> Key {
        steer(source, probe, &[entry], &mut self.scores);
        let mut best = key(self.scores.first().copied().unwrap_or(f32::MIN), entry);
        let slots = source.slots();
        for level in (target + 1..=top).rev() {
            loop {
                self.fresh.clear();
                let links = source.links(node_of(best), level).iter();
                self.fresh.extend(links.filter(|n| (**n as usize) < slots));
                steer(source, probe, &self.fresh, &mut self.scores);
                let next = self.fresh.iter().zip(&self.scores).map(|(n, s)| key(*s, *n)).min();
                match next {
                    Some(next) if next < best => best = next,
                    _ => break,
                }
            }
        }
        best
    }

    /// Ranks the nodes of the pool: each with its final score.
    pub(crate) fn ranked<S: Source>(&mut self, source: &S, probe: &Probe<'_>) -> Vec<(u32, f32)> {
        self.fresh.clear();
        self.fresh.extend(self.pool.iter().map(|key| node_of(*key)));
        if source.params().storage.has_codes() {
            rank(source, probe, &self.fresh, &mut self.scores);
            return self.fresh.iter().copied().zip(self.scores.iter().copied()).collect();
        }
        self.pool.iter().map(|key| (node_of(*key), score_of(*key))).collect()
    }
}
