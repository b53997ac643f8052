//! Writes collected on top of a store, in layers that merge or are dropped.

use crate::{Batch, Row, Store, StoreError, prefix_end};
use std::ops::Bound;

#[derive(Clone, Copy)]
enum Base<'a> {
    Store(&'a dyn Store),
    Parent(&'a Overlay<'a>),
}

/// Reads through to a [`Store`] (or to a parent overlay) and keeps its writes to itself.
///
/// ```
/// use anthill_store::{MemoryStore, Overlay, Store, StoreError};
/// let store = MemoryStore::new();
/// let mut block = Overlay::new(&store);
/// block.put(b"fee".to_vec(), vec![1]);
/// // A transaction that fails leaves no trace.
/// let failed: Result<(), StoreError> = block.nested(|transaction| {
///     transaction.put(b"fee".to_vec(), vec![9]);
///     Err(StoreError::Injected { operation: 1 })
/// });
/// assert!(failed.is_err());
/// assert_eq!(block.get(b"fee")?, Some(vec![1]));
/// store.commit(&block.into_batch())?;
/// # Ok::<(), StoreError>(())
/// ```
pub struct Overlay<'a> {
    base: Base<'a>,
    writes: Batch,
}

impl std::fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("writes", &self.writes.len()).finish_non_exhaustive()
    }
}

impl<'a> Overlay<'a> {
    /// An overlay without writes over `store`.
    pub fn new(store: &'a dyn Store) -> Self {
        Self { base: Base::Store(store), writes: Batch::new() }
    }

    /// A child that reads through this overlay. Keep its writes with
    /// `parent.absorb(child.into_batch())`, or drop it.
    pub fn child(&self) -> Overlay<'_> {
        Overlay { base: Base::Parent(self), writes: Batch::new() }
    }

    /// Runs `change` on a child and keeps its writes only if it succeeds.
    ///
    /// # Errors
    /// Those of `change`; nothing of it is kept then.
    pub fn nested<T, E>(
        &mut self,
        change: impl FnOnce(&mut Overlay<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut child = self.child();
        let result = change(&mut child)?;
        let writes = child.into_batch();
        self.absorb(writes);
        Ok(result)
    }

    /// Takes over the writes of a child.
    pub fn absorb(&mut self, writes: Batch) {
        if self.writes.is_empty() {
            self.writes = writes;
        } else {
            self.writes.extend(writes);
        }
    }

    /// Value of `key`, own writes first.
    ///
    /// # Errors
    /// What the store reports.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut layer = self;
        loop {
            if let Some(value) = layer.writes.get(key) {
                return Ok(value.clone());
            }
            match layer.base {
                Base::Store(store) => return store.get(key),
                Base::Parent(parent) => layer = parent,
            }
        }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    /// Deletes `key`.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    /// At most `limit` rows from `start` (inclusive) to `end` (exclusive), own writes included.
    ///
    /// # Errors
    /// What the store reports.
    pub fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let own = || self.writes.range::<[u8], _>(bounds);
        // Each deletion takes at most one row away from what lies below.
        let deleted = own().filter(|(_, value)| value.is_none()).count();
        let below = match self.base {
            Base::Store(store) => store.range(start, end, limit.saturating_add(deleted))?,
            Base::Parent(parent) => parent.range(start, end, limit.saturating_add(deleted))?,
        };
        Ok(merge(below, own(), limit))
    }

    /// At most `limit` rows whose keys begin with `prefix`, own writes included.
    ///
    /// # Errors
    /// What the store reports.
    pub fn prefix(&self, prefix: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.range(prefix, prefix_end(prefix).as_deref(), limit)
    }

    /// The writes so far.
    pub fn writes(&self) -> &Batch {
        &self.writes
    }

    /// The writes, ready for [`Store::commit`] or [`Overlay::absorb`].
    pub fn into_batch(self) -> Batch {
        self.writes
    }
}

/// Rows `below` with the writes `own` laid over them; both are in key order.
fn merge<'b>(
    below: Vec<Row>,
    own: impl Iterator<Item = (&'b Vec<u8>, &'b Option<Vec<u8>>)>,
    limit: usize,
) -> Vec<Row> {
    let (mut below, mut own) = (below.into_iter().peekable(), own.peekable());
    let mut rows = Vec::new();
    while rows.len() < limit {
        let take_own = match (below.peek(), own.peek()) {
            (None, None) => break,
            (_, None) => false,
            (None, _) => true,
            (Some((low, _)), Some((key, _))) => *key <= low,
        };
        if !take_own {
            rows.extend(below.next());
            continue;
        }
        let Some((key, value)) = own.next() else { break };
        below.next_if(|(low, _)| low == key);
        rows.extend(value.as_ref().map(|value| (key.clone(), value.clone())));
    }
    rows
}
