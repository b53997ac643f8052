//! Power cuts: at every write of redb, with any subset of the unsynced writes on the disk, the
//! state found again is the one before or after a commit, and no acknowledged commit is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_store::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io::Error;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Default)]
struct Disk {
    /// What a sync has secured.
    durable: Vec<u8>,
    /// What the running process sees.
    current: Vec<u8>,
    pending: Vec<Pending>,
    operations: u64,
    power_cut_at: Option<u64>,
}

impl Disk {
    fn operation(&mut self) -> Result<(), Error> {
        self.operations += 1;
        match self.power_cut_at {
            Some(at) if self.operations > at => Err(Error::other("no power")),
            _ => Ok(()),
        }
    }

    /// The image after a power cut: each unsynced write is there, missing or there in part.
    fn after_power_cut(&self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let mut image = self.durable.clone();
        for pending in &self.pending {
            match (pending, rng.next_u32() % 4) {
                (_, 0 | 1) => {}
                (Pending::Length(length), _) => image.resize(*length as usize, 0),
                (Pending::Write(at, data), 2) => put(&mut image, *at, data),
                (Pending::Write(at, data), _) => {
                    let sector = (rng.next_u32() as usize % data.len().max(1)) / 512 * 512;
                    put(&mut image, *at, &data[..sector.min(data.len())]);
                }
            }
        }
        image
    }
}

fn put(image: &mut Vec<u8>, at: u64, data: &[u8]) {
    let end = at as usize + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[at as usize..end].copy_from_slice(data);
}

#[derive(Debug, Clone, Default)]
struct Backend(Arc<Mutex<Disk>>);

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.0.lock().unwrap().current.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let disk = self.0.lock().unwrap();
        let found = disk.current.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or_else(|| Error::from(std::io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut disk = self.0.lock().unwrap();
        disk.operation()?;
        disk.current.resize(len as usize, 0);
        disk.pending.push(Pending::Length(len));
        Ok(())
    }
    fn sync_data(&self) -> Result<(), Error> {
        let mut disk = self.0.lock().unwrap();
        disk.operation()?;
        disk.durable = disk.current.clone();
        disk.pending.clear();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut disk = self.0.lock().unwrap();
        disk.operation()?;
        put(&mut disk.current, offset, data);
        disk.pending.push(Pending::Write(offset, data.to_vec()));
        Ok(())
    }
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn batch(rng: &mut ChaCha8Rng) -> Batch {
    (0..rng.next_u32() % 60 + 1)
        .map(|_| {
            let key = (rng.next_u32() % 200).to_be_bytes().to_vec();
            let value = (!rng.next_u32().is_multiple_of(4))
                .then(|| vec![rng.next_u32() as u8; rng.next_u32() as usize % 400]);
            (key, value)
        })
        .collect()
}

fn change(model: &mut Model, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn all(store: &RedbStore) -> Model {
    store.range(&[], None, usize::MAX).unwrap().into_iter().collect()
}

/// Commits `count` batches of `seed`; the state acknowledged, and that of the commit under way.
fn commit_until_failure(store: &RedbStore, seed: u64, count: usize) -> (Model, Option<Model>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut model = Model::new();
    for _ in 0..count {
        let batch = batch(&mut rng);
        let mut next = model.clone();
        change(&mut next, &batch);
        if store.commit(&batch).is_err() {
            return (model, Some(next));
        }
        model = next;
    }
    (model, None)
}

#[test]
fn the_state_is_before_or_after_a_commit_at_every_power_cut() {
    const COMMITS: usize = 8;
    for seed in 0..4u64 {
        let backend = Backend::default();
        let store = RedbStore::with_backend(backend.clone()).unwrap();
        let first = backend.0.lock().unwrap().operations;
        commit_until_failure(&store, seed, COMMITS);
        let last = backend.0.lock().unwrap().operations;
        drop(store);
        let (mut before, mut after) = (0, 0);
        for cut in first..last {
            let backend = Backend::default();
            let store = RedbStore::with_backend(backend.clone()).unwrap();
            backend.0.lock().unwrap().power_cut_at = Some(cut);
            let (acknowledged, under_way) = commit_until_failure(&store, seed, COMMITS);
            drop(store);
            let mut rng = ChaCha8Rng::seed_from_u64(seed << 32 | cut);
            let image = backend.0.lock().unwrap().after_power_cut(&mut rng);
            let disk = Disk { durable: image.clone(), current: image, ..Disk::default() };
            let reopened = RedbStore::with_backend(Backend(Arc::new(Mutex::new(disk)))).unwrap();
            let found = all(&reopened);
            if found == acknowledged {
                before += 1;
            } else {
                assert_eq!(Some(found), under_way, "seed {seed}, power cut after operation {cut}");
                after += 1;
            }
            reopened.commit(&batch(&mut rng)).unwrap();
        }
        assert!(before > 10, "only {before} cuts were seen before a commit, {after} after");
    }
}

#[test]
fn a_failed_write_is_reported_and_the_store_asks_to_be_reopened() {
    let backend = Backend::default();
    let store = RedbStore::with_backend(backend.clone()).unwrap();
    {
        let mut disk = backend.0.lock().unwrap();
        disk.power_cut_at = Some(disk.operations);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    assert!(matches!(store.commit(&batch(&mut rng)), Err(StoreError::Io { .. })));
    let again = store.commit(&batch(&mut rng));
    assert!(matches!(again, Err(StoreError::NeedsReopen { .. })), "{again:?}");
}
