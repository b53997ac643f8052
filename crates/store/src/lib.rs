//! Keep key-value state behind one trait: redb, fjall, memory, fault-injecting.
//!
//! A [`Store`] reads keys and applies one atomic [`Batch`]; an [`Overlay`] collects the writes of a
//! block on top of it, so that all modules end in a single commit.
//!
//! | back-end | for |
//! |---|---|
//! | `RedbStore` (feature `redb`, on) | nodes: one file, two-phase commits, crash-tested on a simulated disk |
//! | `FjallStore` (feature `fjall`, off) | much larger or much changed state: one folder, a log and sorted tables |
//! | [`MemoryStore`] | tests, light nodes |
//! | [`WriteBehind`] over an [`AsyncStore`] | places that only persist asynchronously, as browsers do |
//!
//! Architecture Invariant: there is one batch per block and a back-end applies it whole or not at
//! all; after a crash the state is the one before or after a commit.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod error;
mod faulty;
pub mod files;
#[cfg(feature = "fjall")]
mod fjall_store;
mod memory;
mod overlay;
mod random;
#[cfg(feature = "redb")]
mod redb_store;
#[cfg(feature = "sim-disk")]
pub mod sim;
mod write_behind;

pub use error::StoreError;
pub use faulty::{Fault, FaultyStore};
#[cfg(feature = "fjall")]
pub use fjall_store::{DEFAULT_MEMTABLE_BYTES, FjallStore};
pub use memory::MemoryStore;
pub use overlay::Overlay;
#[cfg(feature = "redb")]
pub use redb_store::RedbStore;
pub use write_behind::{AsyncStore, Flusher, WriteBehind};

use std::collections::BTreeMap;
use std::sync::Arc;

/// Writes that belong together, in key order; `None` deletes.
pub type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Cache of a durable store that is opened without saying otherwise, in bytes.
pub const DEFAULT_CACHE_BYTES: usize = 64 << 20;
/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4 << 10;
/// Longest value, in bytes: larger things belong into the blob store, with their CID in state.
pub const MAX_VALUE_BYTES: usize = 256 << 20;

/// Ordered key-value state with one atomic, durable batch commit.
pub trait Store: Send + Sync {
    /// Value of `key`.
    ///
    /// # Errors
    /// What the back-end reports.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows from `start` (inclusive) to `end` (exclusive; `None`: to the last key).
    ///
    /// # Errors
    /// What the back-end reports.
    fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize)
    -> Result<Vec<Row>, StoreError>;

    /// Applies `batch` whole or not at all; on `Ok` it survives a crash (but in memory).
    ///
    /// # Errors
    /// A [`StoreError`]; after one the batch may or may not be there: reopen and look.
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// The rows as they are now, unmoved by later commits: for reading values that belong together.
    /// It is no place to commit to, and holds the room of what is replaced meanwhile: let it go soon.
    ///
    /// # Errors
    /// What the back-end reports.
    fn frozen(&self) -> Result<Box<dyn Store>, StoreError>;

    /// At most `limit` rows whose keys begin with `prefix`.
    ///
    /// # Errors
    /// What the back-end reports.
    fn prefix(&self, prefix: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.range(prefix, prefix_end(prefix).as_deref(), limit)
    }
}

macro_rules! forward {
    ($($outer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $outer {
            fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
                (**self).get(key)
            }
            fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize)
                -> Result<Vec<Row>, StoreError> {
                (**self).range(start, end, limit)
            }
            fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
                (**self).commit(batch)
            }
            fn frozen(&self) -> Result<Box<dyn Store>, StoreError> {
                (**self).frozen()
            }
        }
    )*};
}
forward!(&S, Box<S>, Arc<S>);

/// First key after all keys that begin with `prefix`; `None` when there is none (all bytes 0xff).
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

/// Entries that [`each`] reads at once.
const PAGE: usize = 16_384;

/// Shows every entry whose key begins with `prefix`, ascending, in pages so that memory stays bounded.
///
/// # Errors
/// The store fails, or whoever sees an entry.
pub fn each<E: From<StoreError>>(
    store: &dyn Store,
    prefix: &[u8],
    mut see: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let end = prefix_end(prefix);
    let mut start = prefix.to_vec();
    loop {
        let page = store.range(&start, end.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        start = [last.as_slice(), &[0]].concat();
        page.iter().try_for_each(|(key, value)| see(key, value))?;
    }
}

/// Refuses a batch with a key or value over the limits.
fn check(batch: &Batch) -> Result<(), StoreError> {
    for (key, value) in batch {
        if key.len() > MAX_KEY_BYTES {
            return Err(StoreError::TooLarge {
                what: "key",
                bytes: key.len(),
                limit: MAX_KEY_BYTES,
            });
        }
        let bytes = value.as_ref().map_or(0, Vec::len);
        if bytes > MAX_VALUE_BYTES {
            return Err(StoreError::TooLarge { what: "value", bytes, limit: MAX_VALUE_BYTES });
        }
    }
    Ok(())
}
