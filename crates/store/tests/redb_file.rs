//! The redb back-end on real files: reopening, and the errors of a damaged or foreign file.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_store::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file name of its own in the system's temporary folder, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "anthill-store-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn rows(n: u16) -> Batch {
    (0..n).map(|i| (i.to_be_bytes().to_vec(), Some(vec![i as u8; 100]))).collect()
}

#[test]
fn state_is_there_after_reopening() {
    let place = Place::new();
    for round in 1..=5u16 {
        let store = RedbStore::open(&place.0).unwrap();
        assert_eq!(store.range(&[], None, 10_000).unwrap().len(), usize::from(round - 1) * 100);
        store.commit(&rows(round * 100)).unwrap();
    }
}

#[test]
fn a_second_opener_is_told() {
    let place = Place::new();
    let first = RedbStore::open(&place.0).unwrap();
    let error = RedbStore::open(&place.0).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("another process"));
    drop(first);
    RedbStore::open(&place.0).unwrap();
}

#[test]
fn a_foreign_file_is_refused_and_left_alone() {
    let place = Place::new();
    let text = b"this is somebody's diary, not a database".repeat(300);
    std::fs::write(&place.0, &text).unwrap();
    let error = RedbStore::open(&place.0).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupted { .. }), "{error}");
    assert_eq!(std::fs::read(&place.0).unwrap(), text);
}

#[test]
fn a_truncated_file_is_refused() {
    let place = Place::new();
    RedbStore::open(&place.0).unwrap().commit(&rows(2000)).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&place.0).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    drop(file);
    let error = RedbStore::open(&place.0).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupted { .. }), "{error}");
}

#[test]
fn a_missing_folder_and_a_folder_in_place_of_the_file() {
    let place = Place::new();
    let error = RedbStore::open(place.0.join("state.redb")).unwrap_err();
    assert!(matches!(&error, StoreError::NoFolder { .. }), "{error}");
    let error = RedbStore::open(std::env::temp_dir()).unwrap_err();
    assert!(matches!(&error, StoreError::Denied { .. }), "{error}");
}

#[test]
fn a_frozen_view_shows_one_commit_whatever_follows() {
    let place = Place::new();
    let redb = RedbStore::open(&place.0).unwrap();
    let faulty = FaultyStore::new(MemoryStore::new());
    let stores: [&dyn Store; 3] = [&redb, &MemoryStore::new(), &faulty];
    for store in stores {
        store.commit(&rows(10)).unwrap();
        let frozen = store.frozen().unwrap();
        let before = frozen.range(&[], None, 100).unwrap();
        store.commit(&Batch::from([(vec![0, 3], None), (vec![9, 9], Some(vec![1]))])).unwrap();
        assert_eq!(frozen.range(&[], None, 100).unwrap(), before);
        assert_eq!(frozen.frozen().unwrap().get(&[0, 3]).unwrap(), Some(vec![3; 100]));
        assert_eq!((frozen.get(&[9, 9]).unwrap(), before.len()), (None, 10));
        assert_eq!(store.frozen().unwrap().get(&[9, 9]).unwrap(), Some(vec![1]));
        assert_eq!(store.get(&[0, 3]).unwrap(), None);
    }
    let refused = redb.frozen().unwrap().commit(&rows(1));
    assert!(matches!(refused, Err(StoreError::Denied { .. })));
}

#[test]
fn a_half_made_file_of_an_earlier_start_is_made_anew() {
    let place = Place::new();
    let half = files::temporary(&place.0);
    for left in [vec![], vec![0; 4096], vec![0; 1 << 20]] {
        std::fs::write(&half, left).unwrap();
        let store = RedbStore::open(&place.0).unwrap();
        store.commit(&rows(3)).unwrap();
        assert_eq!(store.range(&[], None, 10).unwrap().len(), 3);
        drop(store);
        assert!(!half.exists());
        std::fs::remove_file(&place.0).unwrap();
    }
}
