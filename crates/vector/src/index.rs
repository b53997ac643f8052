//! The index: checked inserts, searches, and what it can be named by.

use std::collections::BTreeMap;

use anthill_kernels::{check_finite, dot, l2_norm};
use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher, root_of_hashes};

use crate::graph::{Graph, Seen};
use crate::{ItemId, MAX_DIMENSIONS, MAX_ITEMS, Params, VectorError};

/// How far from 1 the length of a vector may be.
const UNIT_TOLERANCE: f32 = 1e-4;

/// A nearest-neighbour index over the unit vectors of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    pub(crate) params: Params,
    pub(crate) model_hash: [u8; 32],
    pub(crate) graph: Graph,
    pub(crate) entry: Option<u32>,
    /// Items by id, with their node numbers.
    pub(crate) nodes: BTreeMap<ItemId, u32>,
}

impl Index {
    /// An empty index for vectors of `dims` values made by the model of that hash.
    ///
    /// # Errors
    /// [`VectorError::BadParams`] when a parameter or the number of dimensions is out of range.
    pub fn new(params: Params, dims: usize, model_hash: [u8; 32]) -> Result<Self, VectorError> {
        params.check()?;
        if dims == 0 || dims > MAX_DIMENSIONS {
            return Err(VectorError::BadParams { params });
        }
        let graph = Graph::new(dims);
        Ok(Self { params, model_hash, graph, entry: None, nodes: BTreeMap::new() })
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.graph.len()
    }

    /// Whether the index holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of the vectors.
    pub fn dimensions(&self) -> usize {
        self.graph.dims
    }

    /// Hash of the model whose vectors are held.
    pub fn model_hash(&self) -> [u8; 32] {
        self.model_hash
    }

    /// The parameters.
    pub fn params(&self) -> Params {
        self.params
    }

    /// Whether the item is there.
    pub fn contains(&self, id: &ItemId) -> bool {
        self.nodes.contains_key(id)
    }

    /// The item's vector.
    pub fn vector(&self, id: &ItemId) -> Option<&[f32]> {
        self.nodes.get(id).map(|node| self.graph.vector(*node))
    }

    /// The items in ascending order of id, with their vectors.
    pub fn items(&self) -> impl Iterator<Item = (&ItemId, &[f32])> {
        self.nodes.iter().map(|(id, node)| (id, self.graph.vector(*node)))
    }

    /// Refuses vectors of another model.
    ///
    /// # Errors
    /// [`VectorError::OtherModel`].
    pub fn check_model(&self, model_hash: &[u8; 32]) -> Result<(), VectorError> {
        if *model_hash == self.model_hash {
            return Ok(());
        }
        Err(VectorError::OtherModel { expected: self.model_hash, found: *model_hash })
    }

    /// Refuses a vector that is of another length, not finite or not of unit length.
    pub(crate) fn check_vector(&self, vector: &[f32]) -> Result<(), VectorError> {
        if vector.len() != self.dimensions() {
            return Err(VectorError::Dimensions {
                expected: self.dimensions(),
                found: vector.len(),
            });
        }
        check_finite(vector)?;
        let norm = l2_norm(vector);
        if (norm - 1.0).abs() <= UNIT_TOLERANCE {
            Ok(())
        } else {
            Err(VectorError::NotUnit { norm })
        }
    }

    fn check_item(&self, id: &ItemId, vector: &[f32]) -> Result<(), VectorError> {
        if self.contains(id) {
            return Err(VectorError::Duplicate { id: *id });
        }
        if self.len() >= MAX_ITEMS {
            return Err(VectorError::Full);
        }
        self.check_vector(vector)
    }

    /// Inserts one item.
    ///
    /// # Errors
    /// [`VectorError::Duplicate`], [`VectorError::Dimensions`], [`VectorError::NotFinite`],
    /// [`VectorError::NotUnit`] or [`VectorError::Full`]; the index is then unchanged.
    pub fn insert(&mut self, id: ItemId, vector: &[f32]) -> Result<(), VectorError> {
        self.check_item(&id, vector)?;
        let node = self.len() as u32;
        self.graph.insert(id, vector, self.entry, &self.params);
        self.nodes.insert(id, node);
        if self.entry.is_none_or(|entry| self.graph.level(node) > self.graph.level(entry)) {
            self.entry = Some(node);
        }
        Ok(())
    }

    /// Inserts a batch of one model's vectors in ascending order of id, whatever order they come
    /// in, so that all nodes build the same graph from the same batch.
    ///
    /// # Errors
    /// [`VectorError::OtherModel`], or what [`Self::insert`] says of any item; nothing of the batch
    /// is then inserted.
    pub fn insert_batch(
        &mut self,
        model_hash: &[u8; 32],
        mut items: Vec<(ItemId, Vec<f32>)>,
    ) -> Result<(), VectorError> {
        self.check_model(model_hash)?;
        items.sort_by_key(|item| item.0);
        if let Some(pair) = items.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(VectorError::Duplicate { id: pair[0].0 });
        }
        if self.len().saturating_add(items.len()) > MAX_ITEMS {
            return Err(VectorError::Full);
        }
        items.iter().try_for_each(|(id, vector)| self.check_item(id, vector))?;
        items.iter().try_for_each(|(id, vector)| self.insert(*id, vector))
    }

    /// The `k` items that the graph finds nearest to a unit query, best first, equal scores by
    /// ascending id. `ef` is the number of candidates kept (0: the index's `ef_search`); it is
    /// raised to `k`, and more of them find more of the true neighbours.
    ///
    /// # Errors
    /// As [`Self::insert`] for the query's vector.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        ef: usize,
    ) -> Result<Vec<(ItemId, f32)>, VectorError> {
        self.check_vector(query)?;
        let Some(entry) = self.entry else { return Ok(Vec::new()) };
        let ef = if ef == 0 { self.params.ef_search as usize } else { ef };
        let ef = ef.max(k).max(1).min(self.len());
        let start = self.graph.descend(query, entry, 0);
        let found = self.graph.search_level(query, &[start], ef, 0);
        Ok(self.ranked(found, k))
    }

    /// The `k` items truly nearest to a unit query, by looking at all of them.
    ///
    /// # Errors
    /// As [`Self::insert`] for the query's vector.
    pub fn exact(&self, query: &[f32], k: usize) -> Result<Vec<(ItemId, f32)>, VectorError> {
        self.check_vector(query)?;
        let all = (0..self.len() as u32).map(|node| self.graph.see(query, node)).collect();
        Ok(self.ranked(all, k))
    }

    /// The `k` best, in order: only these are sorted.
    fn ranked(&self, mut found: Vec<Seen>, k: usize) -> Vec<(ItemId, f32)> {
        let order = |a: &Seen, b: &Seen| {
            let id = |s: &Seen| self.graph.ids[s.node as usize];
            b.score.total_cmp(&a.score).then_with(|| id(a).cmp(&id(b)))
        };
        if k < found.len() {
            found.select_nth_unstable_by(k, order);
            found.truncate(k);
        }
        found.sort_unstable_by(order);
        found.into_iter().map(|s| (self.graph.ids[s.node as usize], s.score)).collect()
    }

    /// Cosine of two items, if both are there.
    pub fn similarity(&self, a: &ItemId, b: &ItemId) -> Option<f32> {
        Some(dot(self.vector(a)?, self.vector(b)?))
    }

    /// SHA-256 of the whole graph: parameters, model, and each node with its vector and links in
    /// order of insertion. Equal logs of inserts give equal digests.
    pub fn digest(&self) -> [u8; 32] {
        Sha256Tree::digest(&[b"anthill/1/index-graph\0", &self.body()])
    }

    /// What the index is, whatever order it was built in: SHA-256 of a tag, the parameters, the
    /// model hash and the RFC 9162 root over (id, vector bytes little-endian) sorted by id.
    pub fn identity(&self) -> [u8; 32] {
        let leaves: Vec<[u8; 32]> = self
            .items()
            .map(|(id, vector)| {
                let mut leaf = id.to_vec();
                vector.iter().for_each(|v| leaf.extend_from_slice(&v.to_le_bytes()));
                Sha256Tree::leaf(&leaf)
            })
            .collect();
        let root = root_of_hashes::<Sha256Tree>(&leaves);
        Sha256Tree::digest(&[b"anthill/1/index\0", &self.head(), &root])
    }
}
