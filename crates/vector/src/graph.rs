//! How the graph grows and is mended: levels, the choice of neighbours, links back, repair.

use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};

use crate::search::{Key, Scratch, key, node_of, score_of};
use crate::space::{Probe, Query, Source, flip, steer};
use crate::store::{State, Store};
use crate::{ItemId, MAX_LEVEL};

/// Neighbours that a candidate is compared with before one near enough ends the comparison.
const COMPARED_AT_ONCE: usize = 8;
/// Most candidates that are looked at closely when a node is linked anew: more than a row holds.
const MOST_CANDIDATES: usize = 520;

/// Memory of an insert.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workspace {
    scratch: Scratch,
    codes: Vec<i8>,
    scores: Vec<f32>,
    chosen: Vec<u32>,
    keys: Vec<Key>,
}

/// A stored vector as the one that others are scored against.
fn probe_of<'a>(store: &'a Store, node: u32, codes: &'a mut Vec<i8>) -> Probe<'a> {
    codes.clear();
    codes.extend(store.codes(node).iter().map(|c| flip(*c)));
    Probe {
        values: store.values(node),
        codes,
        factors: store.factors(node),
        bits: store.bits(node),
    }
}

impl Workspace {
    /// Adds candidates (best first) to those already chosen, until there are `count`: those that are
    /// nearer to the base than to any chosen one (algorithm 4).
    fn choose(&mut self, store: &Store, candidates: &[Key], count: usize) {
        for candidate in candidates {
            if self.chosen.len() == count {
                break;
            }
            let (node, score) = (node_of(*candidate), score_of(*candidate));
            let probe = probe_of(store, node, &mut self.codes);
            let near = self.chosen.chunks(COMPARED_AT_ONCE).any(|some| {
                steer(store, &probe, some, &mut self.scores);
                self.scores.iter().any(|s| *s >= score)
            });
            if !near {
                self.chosen.push(node);
            }
        }
    }

    /// Adds `node` to the links of `at`, choosing anew when they are too many.
    fn link_back(&mut self, store: &mut Store, at: u32, node: u32, level: usize) {
        if store.push_link(at, level, node) {
            return;
        }
        let mut links = store.links(at, level).to_vec();
        links.push(node);
        self.chosen.clear();
        self.relink(store, at, &links, level, store.most(level));
    }

    /// Links `at` to those already chosen and to the best of `candidates`, `count` in all.
    fn relink(
        &mut self,
        store: &mut Store,
        at: u32,
        candidates: &[u32],
        level: usize,
        count: usize,
    ) {
        let probe = probe_of(store, at, &mut self.codes);
        steer(store, &probe, candidates, &mut self.scores);
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(candidates.iter().zip(&self.scores).map(|(n, s)| key(*s, *n)));
        keys.sort_unstable();
        keys.truncate(MOST_CANDIDATES);
        self.choose(store, &keys, count);
        store.set_links(at, level, self.chosen.iter().copied());
        self.keys = keys;
    }

    /// Mends the links of a node on a level: those to living nodes stay, and each one to a dead node
    /// gives way to one that the dead node led to.
    fn mend(&mut self, store: &mut Store, node: u32, level: usize) {
        let links = store.links(node, level);
        let count = links.len();
        self.chosen.clear();
        self.chosen.extend(links.iter().filter(|n| store.alive(**n)));
        if self.chosen.len() < count {
            let candidates = behind(store, node, level);
            self.relink(store, node, &candidates, level, count);
        }
    }

    /// Links a filled slot on all its levels (algorithm 1).
    pub fn link(&mut self, store: &mut Store, node: u32, vector: &Query) {
        let top = store.level(node);
        let Some((entry, highest)) = Source::entry(store) else {
            store.entry = Some(node);
            return;
        };
        let probe = vector.probe();
        let mut starts = vec![self.scratch.descend(store, &probe, (entry, highest), top)];
        for level in (0..=top.min(highest)).rev() {
            let wide = (store.params.ef_construction as usize, level);
            let found = if store.dead == 0 {
                self.scratch.search_level(store, &probe, &starts, wide)
            } else {
                let alive = |n| store.alive(n);
                self.scratch.search_accepted(store, &probe, &starts, wide, alive)
            };
            let found: Vec<Key> = found.iter().map(|k| *k & !1).collect();
            self.chosen.clear();
            self.choose(store, &found, store.params.m as usize);
            let chosen = std::mem::take(&mut self.chosen);
            store.set_links(node, level, chosen.iter().copied());
            for neighbour in &chosen {
                self.link_back(store, *neighbour, node, level);
            }
            self.chosen = chosen;
            // Where all that was found is dead, the way down goes on from where it came.
            if !found.is_empty() {
                starts = found;
            }
        }
        if top > highest || (top == highest && node < entry) {
            store.entry = Some(node);
        }
    }

    /// Mends the links around all dead slots, then frees these: a node that led to a dead one may
    /// now lead to what the dead one led to. The slots that became free, ascending.
    pub fn repair(&mut self, store: &mut Store) -> Vec<u32> {
        let all: Vec<u32> = store.linked().collect();
        for node in all.iter().copied() {
            if !store.alive(node) {
                continue;
            }
            for level in 0..=store.level(node) {
                self.mend(store, node, level);
            }
        }
        let dead: Vec<u32> = all.into_iter().filter(|n| store.state(*n) == State::Dead).collect();
        dead.iter().for_each(|node| store.free(*node));
        store.dead = 0;
        store.entry = store.find_entry();
        dead
    }
}

/// What the dead neighbours of a node lead to: living nodes, ascending, each once, that the node is
/// not yet linked to.
fn behind(store: &Store, node: u32, level: usize) -> Vec<u32> {
    let links = store.links(node, level);
    let mut out: Vec<u32> = links
        .iter()
        .filter(|n| !store.alive(**n))
        .flat_map(|dead| store.links(*dead, level))
        .copied()
        .filter(|n| store.alive(*n) && *n != node && !links.contains(n))
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// A node's top level: level l or higher with probability `m^-l`, drawn from a hash of the id in
/// integer arithmetic.
pub(crate) fn level_of(id: &ItemId, m: u32) -> usize {
    let digest = Sha256Tree::digest(&[b"anthill hnsw level\0", id]);
    let draw = digest.iter().take(8).fold(0u64, |n, b| (n << 8) | u64::from(*b));
    let mut bound = u64::MAX / u64::from(m);
    let mut level = 0;
    while draw < bound && level < usize::from(MAX_LEVEL) {
        level += 1;
        bound /= u64::from(m);
    }
    level
}
