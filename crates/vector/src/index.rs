//! The index: checked inserts, updates, removals and searches, and what it can be named by.

use std::collections::BTreeSet;

use anthill_kernels::{check_finite, l2_norm};
use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher, root_of_hashes};

use crate::by_id::ById;
use crate::graph::{Workspace, level_of};
use crate::search::Scratch;
use crate::space::{Query, Source};
use crate::store::{State, Store};
use crate::{
    Answer, Input, ItemId, MAX_DIMENSIONS, MAX_ITEMS, Metric, Params, Storage, VectorError, ask,
};

/// How far from 1 the length of a vector may be.
const UNIT_TOLERANCE: f32 = 1e-4;
/// Longest vector: squared distances of two such vectors are far from the end of `f32`.
const MAX_NORM: f32 = 1e18;
/// The graph is mended when one slot of so many is dead.
const REPAIR_SHARE: usize = 8;

/// A nearest-neighbour index over the vectors of one model.
///
/// A clone costs little: it shares all pages with the original until one of the two writes to them.
/// So a writer hands out clones (in an `Arc`, say) and goes on, and readers search what they got
/// without any lock.
#[derive(Debug, Clone)]
pub struct Index {
    pub(crate) model_hash: [u8; 32],
    pub(crate) store: Store,
    /// Items with their slots.
    pub(crate) nodes: ById,
    /// Slots that an insert may take, smallest first.
    pub(crate) free: BTreeSet<u32>,
    workspace: Workspace,
}

impl PartialEq for Index {
    fn eq(&self, other: &Self) -> bool {
        self.model_hash == other.model_hash && self.store == other.store
    }
}

impl Index {
    /// An empty index for vectors of `dims` values (or bits) made by the model of that hash.
    ///
    /// # Errors
    /// [`VectorError::BadParams`] when a parameter or the number of dimensions is out of range.
    pub fn new(params: Params, dims: usize, model_hash: [u8; 32]) -> Result<Self, VectorError> {
        params.check()?;
        let whole = params.storage != Storage::Bits || dims.is_multiple_of(64);
        if dims == 0 || dims > MAX_DIMENSIONS || !whole {
            return Err(VectorError::BadParams { params });
        }
        Ok(Self {
            model_hash,
            store: Store::new(params, dims),
            nodes: ById::new(),
            free: BTreeSet::new(),
            workspace: Workspace::default(),
        })
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether the index holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of the vectors: values, or bits.
    pub fn dimensions(&self) -> usize {
        self.store.dims
    }

    /// Hash of the model whose vectors are held.
    pub fn model_hash(&self) -> [u8; 32] {
        self.model_hash
    }

    /// The parameters.
    pub fn params(&self) -> Params {
        self.store.params
    }

    /// Bytes of the vectors as they are stored (values, codes, factors), and of the whole index.
    pub fn memory(&self) -> (usize, usize) {
        let (vectors, all) = self.store.bytes();
        // An entry of the map: the id, the slot, and about half as much for the tree.
        (vectors, all + self.len() * 54)
    }

    /// Whether the item is there.
    pub fn contains(&self, id: &ItemId) -> bool {
        self.nodes.get(id).is_some()
    }

    /// The item's values, where the storage keeps them.
    pub fn vector(&self, id: &ItemId) -> Option<&[f32]> {
        let node = self.nodes.get(id)?;
        self.params().storage.has_values().then(|| self.store.values(node))
    }

    /// The item's words of bits, where the storage keeps bits.
    pub fn bits(&self, id: &ItemId) -> Option<&[u64]> {
        let node = self.nodes.get(id)?;
        (self.params().storage == Storage::Bits).then(|| self.store.bits(node))
    }

    /// The ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = &ItemId> {
        self.nodes.iter().map(|(id, _)| id)
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

    /// Inserts one item.
    ///
    /// # Errors
    /// [`VectorError::Duplicate`] or [`VectorError::Full`], or what [`Input`] says of the vector;
    /// the index is then unchanged.
    pub fn insert<'a>(
        &mut self,
        id: ItemId,
        vector: impl Into<Input<'a>>,
    ) -> Result<(), VectorError> {
        self.insert_input(id, vector.into())
    }

    // What does the work takes no type parameter, so that it is compiled here, for speed.
    fn insert_input(&mut self, id: ItemId, vector: Input<'_>) -> Result<(), VectorError> {
        let query = prepare(&self.store, vector)?;
        if self.contains(&id) {
            return Err(VectorError::Duplicate { id });
        }
        self.place(id, &query)
    }

    /// Gives an item another vector.
    ///
    /// # Errors
    /// [`VectorError::Unknown`], or what [`Input`] says of the vector; the index is then unchanged.
    pub fn update<'a>(
        &mut self,
        id: ItemId,
        vector: impl Into<Input<'a>>,
    ) -> Result<(), VectorError> {
        self.update_input(id, vector.into())
    }

    fn update_input(&mut self, id: ItemId, vector: Input<'_>) -> Result<(), VectorError> {
        let query = prepare(&self.store, vector)?;
        let node = self.nodes.get(&id).ok_or(VectorError::Unknown { id })?;
        if self.free.is_empty() && self.store.slots() >= MAX_ITEMS {
            return Err(VectorError::Full);
        }
        self.bury(node);
        self.nodes.remove(&id);
        self.place(id, &query)
    }

    /// Removes an item. Searches do not return it any more; its links serve as ways until the graph
    /// is mended, which happens when an eighth of the slots is dead. Then nodes that led to it are
    /// linked anew, its vector is wiped, and later inserts take its slot.
    ///
    /// # Errors
    /// [`VectorError::Unknown`].
    pub fn remove(&mut self, id: &ItemId) -> Result<(), VectorError> {
        let node = self.nodes.remove(id).ok_or(VectorError::Unknown { id: *id })?;
        self.bury(node);
        Ok(())
    }

    /// Marks a slot dead, and mends the graph when it is time.
    fn bury(&mut self, node: u32) {
        self.store.states.row_mut(node as usize)[0] = State::Dead;
        self.store.dead += 1;
        let used = self.store.slots() - self.free.len();
        if self.store.dead * REPAIR_SHARE >= used {
            self.repair();
        }
    }

    /// Mends the graph around all dead slots now, whatever their number.
    pub fn repair(&mut self) {
        self.free.extend(self.workspace.repair(&mut self.store));
    }

    /// Puts an item that is not there into the smallest free slot and links it.
    pub(crate) fn place(&mut self, id: ItemId, query: &Query) -> Result<(), VectorError> {
        let node = match self.free.pop_first() {
            Some(node) => node,
            None if self.store.slots() >= MAX_ITEMS => return Err(VectorError::Full),
            None => self.store.grow(),
        };
        self.store.fill(node, id, query, level_of(&id, self.params().m));
        self.workspace.link(&mut self.store, node, query);
        self.nodes.insert(id, node);
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
        if self.store.slots().saturating_add(items.len()) > MAX_ITEMS {
            return Err(VectorError::Full);
        }
        for (id, vector) in &items {
            check(&self.store, vector[..].into())?;
            if self.contains(id) {
                return Err(VectorError::Duplicate { id: *id });
            }
        }
        items.iter().try_for_each(|(id, vector)| self.insert(*id, &vector[..]))
    }

    /// The `k` items that the graph finds nearest to a query, best first, equal scores by ascending
    /// id. `ef` is the number of candidates kept (0: the
    /// index's `ef_search`); it is raised to `k`, and more of them find more of the true neighbours.
    ///
    /// # Errors
    /// [`VectorError::Empty`], [`VectorError::TooMany`], or what [`Input`] says of the query.
    pub fn search<'a>(
        &self,
        query: impl Into<Input<'a>>,
        k: usize,
        ef: usize,
    ) -> Result<Answer, VectorError> {
        self.search_with(&mut Scratch::default(), query, k, ef)
    }

    /// As [`Self::search`], with memory that is reused from one search to the next.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn search_with<'a>(
        &self,
        scratch: &mut Scratch,
        query: impl Into<Input<'a>>,
        k: usize,
        ef: usize,
    ) -> Result<Answer, VectorError> {
        self.search_input(scratch, query.into(), k, ef)
    }

    fn search_input(
        &self,
        scratch: &mut Scratch,
        query: Input<'_>,
        k: usize,
        ef: usize,
    ) -> Result<Answer, VectorError> {
        let query = question(&self.store, self.len(), query, k)?;
        Ok(ask::search(&self.store, scratch, &query, k, ef))
    }

    /// The `k` items truly nearest to a query, by looking at all of them.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn exact<'a>(&self, query: impl Into<Input<'a>>, k: usize) -> Result<Answer, VectorError> {
        self.exact_input(query.into(), k)
    }

    fn exact_input(&self, query: Input<'_>, k: usize) -> Result<Answer, VectorError> {
        let query = question(&self.store, self.len(), query, k)?;
        let all: Vec<u32> =
            (0..self.store.slots() as u32).filter(|n| self.store.alive(*n)).collect();
        Ok(ask::scan(&self.store, &query, &all, k))
    }

    /// Refuses to look for more than there is.
    /// Score of an item for a query, if it is there: what [`Self::search`] would say of it.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn score<'a>(
        &self,
        query: impl Into<Input<'a>>,
        id: &ItemId,
    ) -> Result<Option<f32>, VectorError> {
        self.score_input(query.into(), id)
    }

    fn score_input(&self, query: Input<'_>, id: &ItemId) -> Result<Option<f32>, VectorError> {
        let query = prepare(&self.store, query)?;
        let Some(node) = self.nodes.get(id) else { return Ok(None) };
        Ok(ask::scan(&self.store, &query, &[node], 1).first().map(|found| found.1))
    }

    /// SHA-256 of the whole graph: parameters, model, and each slot with its vector and links.
    /// Equal logs of operations give equal digests.
    pub fn digest(&self) -> [u8; 32] {
        Sha256Tree::digest(&[b"anthill/1/index-graph\0", &self.body()])
    }

    /// What the index is, whatever order it was built in: SHA-256 of a tag, the parameters, the
    /// model hash and the RFC 9162 root over (id, stored vector little-endian) sorted by id.
    pub fn identity(&self) -> [u8; 32] {
        let leaves: Vec<[u8; 32]> = self
            .nodes
            .iter()
            .map(|(id, node)| {
                let mut leaf = id.to_vec();
                self.vector_bytes(node, &mut leaf);
                Sha256Tree::leaf(&leaf)
            })
            .collect();
        let root = root_of_hashes::<Sha256Tree>(&leaves);
        Sha256Tree::digest(&[b"anthill/1/index\0", &self.head(), &root])
    }

    /// The vector by which an item is known: its values; its codes and their scale where only these
    /// are stored; its bits.
    fn vector_bytes(&self, node: u32, out: &mut Vec<u8>) {
        let store = &self.store;
        store.values(node).iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        store.bits(node).iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        if self.params().storage == Storage::Int8 {
            out.extend_from_slice(store.codes(node));
            out.extend_from_slice(&store.factors(node).scale.to_le_bytes());
        }
    }
}

/// Refuses what cannot be stored or asked.
pub(crate) fn check(store: &impl Source, input: Input<'_>) -> Result<(), VectorError> {
    let (dims, found, bits) = match input {
        Input::Values(values) => (store.dims(), values.len(), false),
        Input::Bits(words) => (store.dims() / 64, words.len(), true),
    };
    if bits != (store.params().storage == Storage::Bits) {
        return Err(VectorError::Kind { bits });
    }
    if dims != found {
        return Err(VectorError::Dimensions { expected: dims, found });
    }
    let Input::Values(values) = input else { return Ok(()) };
    check_finite(values)?;
    let norm = l2_norm(values);
    match store.params().metric {
        Metric::Cosine if norm == 0.0 => Err(VectorError::Zero),
        Metric::Cosine if (norm - 1.0).abs() > UNIT_TOLERANCE => Err(VectorError::NotUnit { norm }),
        _ if norm > MAX_NORM => Err(VectorError::TooLong { norm }),
        _ => Ok(()),
    }
}

/// Checks a question for `k` of so many items.
pub(crate) fn question(
    source: &impl Source,
    items: usize,
    query: Input<'_>,
    k: usize,
) -> Result<Query, VectorError> {
    let query = prepare(source, query)?;
    match items {
        0 => Err(VectorError::Empty),
        items if k > items => Err(VectorError::TooMany { k, items }),
        _ => Ok(query),
    }
}

/// Checks a vector and derives what it is scored by.
pub(crate) fn prepare(store: &impl Source, input: Input<'_>) -> Result<Query, VectorError> {
    check(store, input)?;
    Ok(match input {
        Input::Values(values) => Query::of_values(store.params(), values),
        Input::Bits(words) => Query::of_bits(words),
    })
}
