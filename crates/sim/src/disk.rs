//! What a simulated node's state is kept on, and how it fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anthill_store::sim::{Crash, Faults, SimDisk};
use anthill_store::{Batch, MemoryStore, RedbStore, Row, Store, StoreError};

use crate::plan::DiskKind;

/// Memory whose commits are atomic, with orders to fail.
#[derive(Default)]
pub struct SimStore {
    inner: MemoryStore,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    full: bool,
    lose_reply: bool,
    commits: u64,
}

impl SimStore {
    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for SimStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.inner.range(start, end, limit)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut orders = self.orders();
        orders.commits += 1;
        let error = Err(StoreError::Injected { operation: orders.commits });
        if orders.full {
            return error;
        }
        let lost = std::mem::take(&mut orders.lose_reply);
        drop(orders);
        self.inner.commit(batch)?;
        if lost { error } else { Ok(()) }
    }

    fn frozen(&self) -> Result<Box<dyn Store>, StoreError> {
        self.inner.frozen()
    }
}

/// One node's disk; it outlives the node's processes.
pub enum Disk {
    /// Atomic commits in memory.
    Memory(Arc<SimStore>),
    /// redb on bytes that can be lost, torn and misplaced.
    Simulated {
        /// The disk.
        disk: SimDisk,
        /// Whether a store was ever made on it whole.
        made: AtomicBool,
    },
}

impl Disk {
    /// An empty disk.
    pub fn new(kind: DiskKind, seed: u64) -> Self {
        match kind {
            DiskKind::Memory => Self::Memory(Arc::default()),
            DiskKind::Simulated => {
                Self::Simulated { disk: SimDisk::new(seed), made: AtomicBool::new(false) }
            }
        }
    }

    /// Opens the store as a new process does.
    ///
    /// # Errors
    /// What the store finds damaged.
    pub fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.clone()),
            Self::Simulated { disk, made } => {
                let store = match RedbStore::with_backend(disk.clone()) {
                    // A node makes its file under another name first, and throws away what is left
                    // of one that was never finished (`RedbStore::open`).
                    Err(StoreError::Corrupted { .. }) if !made.load(Ordering::Relaxed) => {
                        disk.clear();
                        RedbStore::with_backend(disk.clone())
                    }
                    other => other,
                };
                made.fetch_or(store.is_ok(), Ordering::Relaxed);
                Ok(Arc::new(store?))
            }
        }
    }

    /// The process is gone (its store is closed): what the next one will find. `mode` says what is
    /// left of unsynced writes when the power went too.
    pub fn end_process(&mut self, mode: Option<Crash>) {
        if let Self::Simulated { disk, .. } = self {
            *disk = match mode {
                Some(mode) => disk.crash(mode),
                None => disk.reopen(),
            };
        }
    }

    /// Whether the disk takes anything more.
    pub fn set_full(&self, full: bool) {
        match self {
            Self::Memory(store) => store.orders().full = full,
            Self::Simulated { disk, .. } => {
                let capacity = full.then_some(0);
                disk.set_faults(Faults { capacity, ..Faults::default() });
            }
        }
    }

    /// The next commit is written and reported as failed.
    pub fn lose_reply(&self) {
        match self {
            Self::Memory(store) => store.orders().lose_reply = true,
            // The nearest that a disk can do: the sync fails after the writes.
            Self::Simulated { disk, .. } => {
                disk.set_faults(Faults { failed_syncs: 1_000_000, ..Faults::default() });
            }
        }
    }

    /// Every write lands elsewhere, or none does any more.
    pub fn misdirect(&self, on: bool) {
        if let Self::Simulated { disk, .. } = self {
            let misdirected_writes = if on { 300_000 } else { 0 };
            disk.set_faults(Faults { misdirected_writes, ..Faults::default() });
        }
    }

    /// Ends all orders.
    pub fn heal(&self) {
        match self {
            Self::Memory(store) => {
                let mut orders = store.orders();
                (orders.full, orders.lose_reply) = (false, false);
            }
            Self::Simulated { disk, .. } => {
                disk.set_faults(Faults::default());
                disk.power_cut_at(u64::MAX);
            }
        }
    }

    /// The power fails so many operations from now.
    pub fn power_cut_in(&self, operations: u64) {
        if let Self::Simulated { disk, .. } = self {
            disk.power_cut_at(disk.counts().operations() + operations);
        }
    }

    /// Flips a stored bit.
    pub fn rot(&self) {
        if let Self::Simulated { disk, .. } = self {
            disk.rot();
        }
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        match self {
            Self::Memory(store) => store.orders().commits,
            Self::Simulated { disk, .. } => disk.counts().syncs,
        }
    }
}
