//! The sync daemon: brings the reports of all virtual nodes to their parent, and makes flow records.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anthill_scheduler::vnode::{Aggregator, FlowRecord, SYNC_LEAST_MS, sync_interval};

use super::fleet::Inner;
use super::members::{Member, lock};
use super::ring::Reader;
use crate::driver::now_ms;

/// Flow records that are kept.
const KEPT: usize = 1_000;

/// What the parent holds: the other ends of the rings, and the records.
pub(super) struct Parent {
    readers: BTreeMap<u64, Reader>,
    aggregator: Aggregator,
    records: VecDeque<FlowRecord>,
    /// Signs of life at the last sync.
    beats: BTreeMap<u64, u64>,
}

impl Parent {
    /// A parent of nobody.
    pub fn new() -> Self {
        Self {
            readers: BTreeMap::new(),
            aggregator: Aggregator::new(now_ms()),
            records: VecDeque::new(),
            beats: BTreeMap::new(),
        }
    }

    /// A virtual node registers its ring.
    pub fn adopt(&mut self, id: u64, reader: Reader) {
        self.readers.insert(id, reader);
    }

    /// Takes what one virtual node has reported.
    pub fn take(&mut self, id: u64) -> usize {
        let Some(reader) = self.readers.get_mut(&id) else { return 0 };
        let mut taken = 0;
        while let Some(report) = reader.pop() {
            self.aggregator.add(id, &report);
            taken += 1;
        }
        taken
    }

    /// A virtual node merges or is cut off: its last reports are taken over.
    pub fn part(&mut self, id: u64) {
        self.take(id);
        self.readers.remove(&id);
        self.beats.remove(&id);
    }

    fn take_all(&mut self) -> usize {
        let ids: Vec<u64> = self.readers.keys().copied().collect();
        ids.into_iter().map(|id| self.take(id)).sum()
    }

    fn close(&mut self) {
        self.records.extend(self.aggregator.close(now_ms()));
        while self.records.len() > KEPT {
            self.records.pop_front();
        }
    }

    /// Notes who shows signs of life: who is idle, or moved since the last time.
    fn hear(&mut self, member: &Member) {
        let beats = member.monitor.beats.load(Ordering::Relaxed);
        let moved = self.beats.insert(member.id, beats) != Some(beats);
        if moved || lock(&member.running).is_none() || member.orders_hold() {
            let age = member.born.elapsed().as_micros() as u64;
            member.synced_us.store(age, Ordering::Relaxed);
        }
    }

    /// The newest records, oldest first.
    pub fn newest(&self, most: usize) -> Vec<FlowRecord> {
        let skip = self.records.len().saturating_sub(most);
        self.records.iter().skip(skip).cloned().collect()
    }
}

/// One sync; gives the number of reports.
pub(super) fn sync(inner: &Inner) -> usize {
    let members: Vec<Arc<Member>> = inner.lock().members.values().cloned().collect();
    let mut parent = lock(&inner.parent);
    let reports = parent.take_all();
    parent.close();
    if !inner.limits.is_paused() {
        members.iter().for_each(|member| parent.hear(member));
    }
    reports
}

/// Syncs, at intervals that adapt, until the fleet stops.
pub(super) fn run(inner: &Inner) {
    let mut interval = SYNC_LEAST_MS;
    while !inner.stopping.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(interval));
        interval = sync_interval(interval, sync(inner));
    }
    sync(inner);
}
