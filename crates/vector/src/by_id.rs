//! Slots by id, in parts that clones share until one of them writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ItemId;

/// Ids are hashes, so the first byte divides them evenly.
const PARTS: usize = 256;

/// A map from ids to slots, ascending.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ById {
    parts: Vec<Arc<BTreeMap<ItemId, u32>>>,
    len: usize,
}

impl ById {
    /// An empty map.
    pub fn new() -> Self {
        // All parts may begin as one empty map: the first write to a part makes it its own.
        let empty = Arc::new(BTreeMap::new());
        Self { parts: (0..PARTS).map(|_| empty.clone()).collect(), len: 0 }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The slot of an id.
    pub fn get(&self, id: &ItemId) -> Option<u32> {
        self.parts[usize::from(id[0])].get(id).copied()
    }

    /// Sets the slot of an id; the one before.
    pub fn insert(&mut self, id: ItemId, node: u32) -> Option<u32> {
        let before = Arc::make_mut(&mut self.parts[usize::from(id[0])]).insert(id, node);
        self.len += usize::from(before.is_none());
        before
    }

    /// Forgets an id; its slot.
    pub fn remove(&mut self, id: &ItemId) -> Option<u32> {
        let node = Arc::make_mut(&mut self.parts[usize::from(id[0])]).remove(id);
        self.len -= usize::from(node.is_some());
        node
    }

    /// Ids with their slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&ItemId, u32)> {
        self.parts.iter().flat_map(|part| part.iter().map(|(id, node)| (id, *node)))
    }
}
