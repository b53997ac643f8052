//! The fjall back-end on real folders: reopening, what a killed process leaves, logs cut short or
//! damaged, and the errors of a folder that is locked, damaged or somebody else's.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_store::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own in the system's temporary folder, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anthill-fjall-{}-{next}", std::process::id());
        let place = Self(std::env::temp_dir().join(name));
        fs::create_dir(&place.0).unwrap();
        place
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn rows(n: u16) -> Batch {
    (0..n).map(|i| (i.to_be_bytes().to_vec(), Some(vec![i as u8; 100]))).collect()
}

fn all(store: &dyn Store) -> Vec<Row> {
    store.range(&[], None, usize::MAX).unwrap()
}

/// A copy of the folder as it is now: what a process that is killed here leaves.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The log that is written to, of a store that has only one.
fn log_of(folder: &Path) -> PathBuf {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs: Vec<_> = names.filter(|p| p.extension().is_some_and(|e| e == "jnl")).collect();
    assert_eq!(logs.len(), 1);
    logs[0].clone()
}

#[test]
fn state_is_there_after_reopening() {
    let place = Place::new();
    for round in 1..=5u16 {
        let store = FjallStore::open(place.state()).unwrap();
        assert_eq!(all(&store).len(), usize::from(round - 1) * 100);
        store.commit(&rows(round * 100)).unwrap();
    }
}

#[test]
fn tables_and_logs_together_are_the_state() {
    let place = Place::new();
    let open = || FjallStore::open_with(place.state(), 1 << 20, 64 << 10).unwrap();
    let memory = MemoryStore::new();
    for round in 0..6u8 {
        let store = open();
        for step in 0..20u8 {
            // Some 20 KB: each few commits fill a memtable, which then becomes a table.
            let batch: Batch = (0..200u16)
                .map(|i| {
                    let key = (i * u16::from(step % 7 + 1)).to_be_bytes().to_vec();
                    (key, (i % 5 != 0).then(|| vec![round ^ step; 100]))
                })
                .collect();
            memory.commit(&batch).unwrap();
            store.commit(&batch).unwrap();
        }
        assert_eq!(all(&store), all(&memory));
        drop(store);
        assert_eq!(all(&open()), all(&memory));
    }
    let tables = place.state().join("keyspaces/1/tables");
    assert!(fs::read_dir(tables).unwrap().count() > 0, "no table was written");
}

#[test]
fn a_second_opener_is_told() {
    let place = Place::new();
    let first = FjallStore::open(place.state()).unwrap();
    first.commit(&rows(3)).unwrap();
    let error = FjallStore::open(place.state()).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { .. }), "{error}");
    // A view that is still read keeps the folder.
    let frozen = first.frozen().unwrap();
    drop(first);
    let error = FjallStore::open(place.state()).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { .. }), "{error}");
    assert_eq!(all(&frozen).len(), 3);
    drop(frozen);
    FjallStore::open(place.state()).unwrap();
}

#[test]
fn a_frozen_view_shows_one_commit_whatever_follows() {
    let place = Place::new();
    let store = FjallStore::open_with(place.state(), 1 << 20, 64 << 10).unwrap();
    store.commit(&rows(10)).unwrap();
    let frozen = store.frozen().unwrap();
    let before = all(&frozen);
    for _ in 0..20 {
        store
            .commit(&rows(1000).into_keys().map(|key| (key, Some(vec![7; 100]))).collect())
            .unwrap();
    }
    store.commit(&Batch::from([(vec![0, 3], None)])).unwrap();
    assert_eq!(all(&frozen), before);
    assert_eq!(before.len(), 10);
    assert_eq!(frozen.frozen().unwrap().get(&[0, 3]).unwrap(), Some(vec![3; 100]));
    assert_eq!(store.get(&[0, 3]).unwrap(), None);
    let refused = frozen.commit(&rows(1));
    assert!(matches!(refused, Err(StoreError::Denied { .. })));
}

/// The states after each of some commits to a store at `folder`, the empty one first, and how long
/// the log was then.
fn history(place: &Place) -> Vec<(Vec<Row>, u64)> {
    let store = FjallStore::open(place.state()).unwrap();
    let log = log_of(&place.state());
    let mut states = vec![(Vec::new(), fs::metadata(&log).unwrap().len())];
    for n in 0..6u8 {
        let keys = (0..12u8).map(|i| vec![i, i % (n + 1)]);
        store.commit(&keys.map(|k| (k, (n % 3 != 2).then(|| vec![n; 9]))).collect()).unwrap();
        let copied = place.0.join(format!("killed-{n}"));
        copy(&place.state(), &copied);
        let found = all(&FjallStore::open(&copied).unwrap());
        assert_eq!(found, all(&store), "killed after commit {n}");
        states.push((found, fs::metadata(&log).unwrap().len()));
    }
    states
}

#[test]
fn a_killed_process_loses_nothing_and_a_log_cut_short_ends_with_a_commit() {
    let place = Place::new();
    let states = history(&place);
    let whole = fs::read(log_of(&place.state())).unwrap();
    let cut = place.0.join("cut");
    let (mut last, mut seen) = (0, 0);
    for length in (states[0].1 as usize..=whole.len()).step_by(7).chain([whole.len()]) {
        copy(&place.state(), &cut);
        fs::write(log_of(&cut), &whole[..length]).unwrap();
        let store = FjallStore::open(&cut).unwrap();
        let found = all(&store);
        let at = (last..states.len()).find(|at| states[*at].0 == found);
        let at = at.unwrap_or_else(|| panic!("cut at {length}: no state of a commit"));
        seen += usize::from(at > last);
        last = at;
        // It goes on from there.
        store.commit(&rows(5)).unwrap();
        assert_eq!(store.get(&[0, 4]).unwrap(), Some(vec![4; 100]));
        drop(store);
        fs::remove_dir_all(&cut).unwrap();
    }
    assert_eq!((last, seen), (states.len() - 1, states.len() - 1));
}

#[test]
fn a_log_with_sectors_lost_from_its_last_batch_is_the_commit_before_or_refused() {
    let place = Place::new();
    let store = FjallStore::open(place.state()).unwrap();
    store.commit(&rows(30)).unwrap();
    let before = all(&store);
    let begin = fs::metadata(log_of(&place.state())).unwrap().len() as usize;
    store.commit(&rows(20).into_keys().map(|key| (key, Some(vec![200; 700]))).collect()).unwrap();
    drop(store);
    let whole = fs::read(log_of(&place.state())).unwrap();
    let torn = place.0.join("torn");
    let (mut refused, mut undone) = (0, 0);
    for sector in begin / 512..whole.len().div_ceil(512) {
        // The sector alone, or all from it on, though the file is as long as it was to be.
        for to in [(sector + 1) * 512, whole.len()] {
            let (from, to) = ((sector * 512).max(begin), to.min(whole.len()));
            let mut bytes = whole.clone();
            bytes[from..to].fill(0);
            copy(&place.state(), &torn);
            fs::write(log_of(&torn), bytes).unwrap();
            match FjallStore::open(&torn) {
                Ok(store) => {
                    assert_eq!(all(&store), before, "{from}..{to} lost");
                    undone += 1;
                }
                Err(error) => {
                    assert!(matches!(&error, StoreError::Corrupted { .. }), "{error}");
                    refused += 1;
                }
            }
            fs::remove_dir_all(&torn).unwrap();
        }
    }
    // Refused: a sector inside a value, where all else looks right but the checksum.
    assert!(undone > 20 && refused > 5, "{undone} undone, {refused} refused");
}

#[test]
fn a_foreign_folder_or_file_is_refused_and_left_alone() {
    let place = Place::new();
    fs::write(place.0.join("diary.txt"), b"dear diary").unwrap();
    let error = FjallStore::open(&place.0).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupted { .. }), "{error}");
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1);
    let error = FjallStore::open(place.0.join("diary.txt")).unwrap_err();
    assert!(matches!(&error, StoreError::Denied { .. }), "{error}");
    let error = FjallStore::open(place.0.join("missing/state")).unwrap_err();
    assert!(matches!(&error, StoreError::NoFolder { .. }), "{error}");
    assert!(!place.0.join("missing").exists());
}

#[test]
fn damage_is_named() {
    let place = Place::new();
    FjallStore::open(place.state()).unwrap().commit(&rows(2000)).unwrap();
    let version = place.state().join("version");
    let good = fs::read(&version).unwrap();
    fs::write(&version, b"FJL\x02").unwrap();
    let error = FjallStore::open(place.state()).unwrap_err();
    assert!(matches!(&error, StoreError::Format { found: 2, .. }), "{error}");
    fs::write(&version, b"nothing").unwrap();
    let error = FjallStore::open(place.state()).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupted { .. }), "{error}");
    fs::write(&version, good).unwrap();
    // A value of the batch that is not the one written: its checksum tells.
    let log = log_of(&place.state());
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.windows(100).position(|w| w == [77; 100]).unwrap();
    bytes[at] ^= 1;
    fs::write(&log, bytes).unwrap();
    let error = FjallStore::open(place.state()).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupted { .. }), "{error}");
}

#[test]
fn a_half_made_folder_of_an_earlier_start_is_made_anew() {
    let place = Place::new();
    let half = files::temporary(&place.state());
    fs::create_dir_all(half.join("keyspaces")).unwrap();
    fs::write(half.join("0.jnl"), [0; 100]).unwrap();
    let store = FjallStore::open(place.state()).unwrap();
    store.commit(&rows(3)).unwrap();
    assert_eq!(all(&store).len(), 3);
    assert!(!half.exists());
}

#[test]
fn over_the_limits_is_refused_and_the_longest_key_is_not() {
    let place = Place::new();
    let store = FjallStore::open(place.state()).unwrap();
    let of = |bytes: usize| Batch::from([(vec![1; bytes], Some(vec![2]))]);
    let error = store.commit(&of(MAX_KEY_BYTES + 1)).unwrap_err();
    assert!(matches!(&error, StoreError::TooLarge { .. }), "{error}");
    store.commit(&of(MAX_KEY_BYTES)).unwrap();
    store.commit(&of(0)).unwrap();
    assert_eq!(all(&store).len(), 2);
}
