//! The layered graph: levels, greedy search and the choice of neighbours.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use anthill_kernels::dot;
use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};

use crate::{ItemId, MAX_LEVEL, Params};

/// A node seen from a query; ordered by score, then by id (the smaller id is the better one).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub score: f32,
    /// First eight bytes of the id; ids are hashes, so the node number hardly ever decides.
    key: u64,
    pub node: u32,
}

impl Ord for Seen {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(other.key.cmp(&self.key))
            .then(other.node.cmp(&self.node))
    }
}

impl PartialOrd for Seen {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Seen {}

/// A set of node numbers.
struct Visited(Vec<u64>);

impl Visited {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    /// Marks a node; true if it was not marked before.
    fn mark(&mut self, node: u32) -> bool {
        let (word, bit) = (node as usize / 64, 1u64 << (node % 64));
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

/// Nodes with their vectors and links; node numbers are in order of insertion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Graph {
    pub dims: usize,
    pub ids: Vec<ItemId>,
    pub vectors: Vec<f32>,
    /// Node, level, neighbours. The number of levels of a node is its top level plus one.
    pub links: Vec<Vec<Vec<u32>>>,
}

impl Graph {
    /// An empty graph of vectors of this length.
    pub fn new(dims: usize) -> Self {
        Self { dims, ids: Vec::new(), vectors: Vec::new(), links: Vec::new() }
    }

    /// How many vectors it holds.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The vector of a node.
    pub fn vector(&self, node: u32) -> &[f32] {
        let from = node as usize * self.dims;
        &self.vectors[from..from + self.dims]
    }

    /// Top level of a node.
    pub fn level(&self, node: u32) -> usize {
        self.links[node as usize].len() - 1
    }

    /// The node scored against a query.
    pub fn see(&self, query: &[f32], node: u32) -> Seen {
        let id = &self.ids[node as usize];
        let key = id.iter().take(8).fold(0, |n, b| (n << 8) | u64::from(*b));
        Seen { score: dot(query, self.vector(node)), key, node }
    }

    /// Where searches start: the first inserted of the nodes with the highest level.
    pub fn entry(&self) -> Option<u32> {
        (0..self.len() as u32).max_by_key(|n| (self.level(*n), Reverse(*n)))
    }

    /// Goes down greedily from `from` to `target`, exclusive (algorithm 2 with ef 1).
    pub fn descend(&self, query: &[f32], entry: u32, target: usize) -> Seen {
        let mut best = self.see(query, entry);
        let mut level = self.level(entry);
        while level > target {
            loop {
                let next = self.links[best.node as usize][level].iter();
                let next = next.map(|n| self.see(query, *n)).max();
                match next {
                    Some(next) if next > best => best = next,
                    _ => break,
                }
            }
            level -= 1;
        }
        best
    }

    /// The `ef` best nodes of a level that are reached from `starts`, best first (algorithm 2).
    pub fn search_level(
        &self,
        query: &[f32],
        starts: &[Seen],
        ef: usize,
        level: usize,
    ) -> Vec<Seen> {
        let mut visited = Visited::new(self.len());
        let mut open: BinaryHeap<Seen> = BinaryHeap::new();
        let mut best: BinaryHeap<Reverse<Seen>> = BinaryHeap::new();
        for start in starts {
            if visited.mark(start.node) {
                open.push(*start);
                best.push(Reverse(*start));
            }
        }
        while best.len() > ef {
            best.pop();
        }
        while let Some(here) = open.pop() {
            if best.len() >= ef && best.peek().is_some_and(|worst| here < worst.0) {
                break;
            }
            for &next in &self.links[here.node as usize][level] {
                if !visited.mark(next) {
                    continue;
                }
                let seen = self.see(query, next);
                if best.len() < ef || best.peek().is_some_and(|worst| seen > worst.0) {
                    open.push(seen);
                    best.push(Reverse(seen));
                    if best.len() > ef {
                        best.pop();
                    }
                }
            }
        }
        best.into_sorted_vec().into_iter().map(|r| r.0).collect()
    }

    /// Chooses at most `count` of the candidates (best first): those that are nearer to the base
    /// than to any chosen one, then the best of the others (algorithm 4 with kept pruned links).
    pub fn choose(&self, candidates: &[Seen], count: usize) -> Vec<Seen> {
        let mut chosen: Vec<Seen> = Vec::with_capacity(count);
        let mut pruned: Vec<Seen> = Vec::new();
        for candidate in candidates {
            if chosen.len() == count {
                break;
            }
            let vector = self.vector(candidate.node);
            let diverse = chosen.iter().all(|c| dot(vector, self.vector(c.node)) < candidate.score);
            if diverse { chosen.push(*candidate) } else { pruned.push(*candidate) }
        }
        let room = count - chosen.len();
        chosen.extend(pruned.into_iter().take(room));
        chosen
    }

    /// Adds a node and links it on all its levels (algorithm 1).
    pub fn insert(&mut self, id: ItemId, vector: &[f32], entry: Option<u32>, params: &Params) {
        let node = self.len() as u32;
        let top = level_of(&id, params.m);
        self.ids.push(id);
        self.vectors.extend_from_slice(vector);
        self.links.push(vec![Vec::new(); top + 1]);
        let Some(entry) = entry else { return };
        let mut starts = vec![self.descend(vector, entry, top)];
        for level in (0..=top.min(self.level(entry))).rev() {
            let found = self.search_level(vector, &starts, params.ef_construction as usize, level);
            let chosen = self.choose(&found, params.m as usize);
            self.links[node as usize][level] = chosen.iter().map(|c| c.node).collect();
            let most = if level == 0 { params.m0 } else { params.m } as usize;
            for neighbour in chosen {
                self.link_back(neighbour.node, node, level, most);
            }
            starts = found;
        }
    }

    /// Adds `node` to the links of `at`, choosing anew when they are too many.
    fn link_back(&mut self, at: u32, node: u32, level: usize, most: usize) {
        self.links[at as usize][level].push(node);
        if self.links[at as usize][level].len() <= most {
            return;
        }
        let base = self.vector(at);
        let links = &self.links[at as usize][level];
        let mut seen: Vec<Seen> = links.iter().map(|n| self.see(base, *n)).collect();
        seen.sort_by(|a, b| b.cmp(a));
        let chosen = self.choose(&seen, most);
        self.links[at as usize][level] = chosen.iter().map(|c| c.node).collect();
    }
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
