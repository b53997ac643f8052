//! State in memory: for tests, light nodes and the browser.

use crate::{Batch, Row, Store, StoreError, check};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A [`Store`] in memory; it survives nothing. A frozen view costs nothing until the next commit,
/// which then copies the rows.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: RwLock<Arc<Rows>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// All rows, for comparing and for snapshots.
    pub fn snapshot(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.shared().as_ref().clone()
    }

    fn shared(&self) -> Arc<Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(Vec::new());
        }
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let found = rows.range::<[u8], _>((Bound::Included(start), end));
        Ok(found.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        check(batch)?;
        let mut shared = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let rows = Arc::make_mut(&mut shared);
        for (key, value) in batch {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(())
    }

    fn frozen(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Self { rows: RwLock::new(self.shared()) }))
    }
}
