//! A store in memory whose batches are persisted later, in order, by a back-end that is asynchronous.

use crate::{Batch, MemoryStore, Row, Store, StoreError, check};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows that are asked for with each page when a store is loaded.
const PAGE_ROWS: usize = 1024;
/// What a queued row costs besides its key and value, about, in bytes.
const ROW_BYTES: usize = 64;

/// Ordered key-value rows that are read and persisted asynchronously, such as an IndexedDB.
///
/// Nothing here is [`Send`]: a browser's handles are not. Futures may be dropped at any point.
pub trait AsyncStore {
    /// The first rows whose keys are above `after` (`None`: from the first), in key order, at most
    /// `limit`. Fewer are fine; none means that there are no more.
    ///
    /// # Errors
    /// What the back-end reports.
    fn load(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>>;

    /// Applies `batch` whole or not at all; on `Ok` it survives a crash. After an error, or when its
    /// future was dropped, the same batch comes again before any other.
    ///
    /// # Errors
    /// A [`StoreError`]; after one the batch may or may not be there.
    fn persist(&self, batch: &Batch) -> impl Future<Output = Result<(), StoreError>>;
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
}

/// A [`Store`] in memory; its batches wait in order for the [`Flusher`] that was made with it.
///
/// Reads see every commit at once. A crash loses what was not flushed, whole batches at a time and
/// the newest first, so what is found again is the state after one of the commits. Clones are the
/// same store.
#[derive(Debug, Clone)]
pub struct WriteBehind {
    rows: Arc<MemoryStore>,
    queue: Arc<Mutex<Queue>>,
    limit: usize,
}

impl WriteBehind {
    /// Loads all rows of `inner` into memory, page by page. At most `limit` bytes may wait to be
    /// persisted (keys, values and 64 bytes a row).
    ///
    /// # Errors
    /// What `inner` reports; [`StoreError::Corrupted`] when its rows are not in order.
    pub async fn load<S: AsyncStore>(
        inner: S,
        limit: usize,
    ) -> Result<(Self, Flusher<S>), StoreError> {
        let rows = MemoryStore::new();
        let mut last: Option<Vec<u8>> = None;
        loop {
            let page = inner.load(last.as_deref(), PAGE_ROWS).await?;
            let Some((end, _)) = page.last() else { break };
            let end = end.clone();
            // A page that does not move on would be asked for without end.
            let above = page.first().map(|(key, _)| key) > last.as_ref();
            if !above || !page.is_sorted_by(|a, b| a.0 < b.0) {
                let place = "the asynchronous store".to_owned();
                let detail = "its rows are not in key order".to_owned();
                return Err(StoreError::Corrupted { place, detail });
            }
            rows.commit(&page.into_iter().map(|(key, value)| (key, Some(value))).collect())?;
            last = Some(end);
        }
        let store = Self { rows: Arc::new(rows), queue: Arc::default(), limit };
        Ok((store.clone(), Flusher { inner, store }))
    }

    /// Batches that wait to be persisted.
    pub fn queued_batches(&self) -> usize {
        self.queue().batches.len()
    }

    /// Bytes that wait to be persisted: keys, values and 64 a row.
    pub fn queued_bytes(&self) -> usize {
        self.queue().bytes
    }

    /// Never held across an await, nor while a caller's code runs.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first(&self) -> Option<Arc<Batch>> {
        self.queue().batches.front().cloned()
    }

    fn remove_first(&self) {
        let mut queue = self.queue();
        if let Some(batch) = queue.batches.pop_front() {
            queue.bytes -= size(&batch);
        }
    }
}

fn size(batch: &Batch) -> usize {
    batch
        .iter()
        .map(|(key, value)| ROW_BYTES + key.len() + value.as_ref().map_or(0, Vec::len))
        .sum()
}

impl Store for WriteBehind {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(key)
    }

    fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.rows.range(start, end, limit)
    }

    /// Applies `batch` in memory and queues it; it survives a crash only after a flush.
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        check(batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = size(batch);
        // Locked until the end: the queue has the order in which memory changed.
        let mut queue = self.queue();
        if bytes > self.limit.saturating_sub(queue.bytes) {
            return Err(StoreError::QueueFull { queued: queue.bytes, bytes, limit: self.limit });
        }
        self.rows.commit(batch)?;
        queue.batches.push_back(Arc::new(batch.clone()));
        queue.bytes += bytes;
        Ok(())
    }

    fn frozen(&self) -> Result<Box<dyn Store>, StoreError> {
        self.rows.frozen()
    }
}

/// Persists what the [`WriteBehind`] that it was made with has queued. It need not be [`Send`]: it
/// stays where its back-end lives.
#[derive(Debug)]
pub struct Flusher<S> {
    inner: S,
    store: WriteBehind,
}

impl<S: AsyncStore> Flusher<S> {
    /// Persists, in order, the batches that wait when it is first polled. It may be dropped at any
    /// point; the batch under way then comes again with the next flush.
    ///
    /// # Errors
    /// What the back-end reports; the batch that failed and all after it stay queued.
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        for _ in 0..self.store.queued_batches() {
            let Some(batch) = self.store.first() else { break };
            self.inner.persist(&batch).await?;
            self.store.remove_first();
        }
        Ok(())
    }

    /// The back-end.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}
