//! Every back-end and the overlay against a plain BTreeMap.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_store::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff)], 0..4)
}

fn batch() -> impl Strategy<Value = Batch> {
    prop::collection::btree_map(
        key(),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..6)),
        0..8,
    )
}

fn change(model: &mut Model, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn expected(model: &Model, start: &[u8], end: Option<&[u8]>, limit: usize) -> Vec<Row> {
    let rows =
        model.iter().filter(|(k, _)| k.as_slice() >= start && end.is_none_or(|e| k.as_slice() < e));
    rows.take(limit).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn with_prefix(model: &Model, prefix: &[u8]) -> Vec<Row> {
    let rows = model.iter().filter(|(k, _)| k.starts_with(prefix));
    rows.map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// A folder of its own in the system's temporary folder, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anthill-model-{}-{next}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Behind it there is nothing: the rows in memory are what is compared.
struct Nothing;

impl AsyncStore for Nothing {
    async fn load(&self, _: Option<&[u8]>, _: usize) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }
    async fn persist(&self, _: &Batch) -> Result<(), StoreError> {
        Ok(())
    }
}

fn write_behind() -> WriteBehind {
    let mut loading = pin!(WriteBehind::load(Nothing, usize::MAX));
    match loading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(loaded) => loaded.unwrap().0,
        Poll::Pending => panic!("nothing to wait for"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn stores_behave_like_a_map(batches in prop::collection::vec(batch(), 1..8),
            ask in key(), to in prop::option::of(key()), limit in 0usize..12) {
        let redb = RedbStore::with_backend(redb::backends::InMemoryBackend::new()).unwrap();
        let folder = Folder::new();
        let fjall = FjallStore::open(folder.0.join("state")).unwrap();
        let stores: [Box<dyn Store>; 5] = [
            Box::new(MemoryStore::new()),
            Box::new(redb),
            Box::new(fjall),
            Box::new(FaultyStore::new(MemoryStore::new())),
            Box::new(write_behind()),
        ];
        let mut model = Model::new();
        for batch in &batches {
            change(&mut model, batch);
            for store in &stores {
                store.commit(batch).unwrap();
                prop_assert_eq!(store.get(&ask).unwrap(), model.get(&ask).cloned());
                let rows = store.range(&ask, to.as_deref(), limit).unwrap();
                prop_assert_eq!(rows, expected(&model, &ask, to.as_deref(), limit));
                prop_assert_eq!(store.prefix(&ask, usize::MAX).unwrap(), with_prefix(&model, &ask));
            }
        }
        let views: Vec<_> = stores.iter().map(|store| store.frozen().unwrap()).collect();
        let clear: Batch = model.keys().map(|key| (key.clone(), None)).collect();
        for (store, view) in stores.iter().zip(views) {
            store.commit(&clear).unwrap();
            prop_assert_eq!(store.range(&[], None, usize::MAX).unwrap(), vec![]);
            prop_assert_eq!(view.get(&ask).unwrap(), model.get(&ask).cloned());
            let rows = view.range(&ask, to.as_deref(), limit).unwrap();
            prop_assert_eq!(rows, expected(&model, &ask, to.as_deref(), limit));
        }
    }

    #[test]
    fn overlays_behave_like_a_map(base in batch(),
            steps in prop::collection::vec((batch(), any::<bool>(), batch(), any::<bool>()), 0..5),
            ask in key(), to in prop::option::of(key()), limit in 0usize..12) {
        let store = MemoryStore::new();
        store.commit(&base).unwrap();
        let mut model = store.snapshot();
        let mut overlay = Overlay::new(&store);
        for (outer, keep, inner, keep_inner) in steps {
            let mut trial = model.clone();
            let result: Result<(), ()> = overlay.nested(|child| {
                write(child, &outer);
                change(&mut trial, &outer);
                let before = trial.clone();
                let nested: Result<(), ()> = child.nested(|grandchild| {
                    write(grandchild, &inner);
                    change(&mut trial, &inner);
                    let rows = grandchild.range(&ask, to.as_deref(), limit).unwrap();
                    assert_eq!(rows, expected(&trial, &ask, to.as_deref(), limit));
                    keep_inner.then_some(()).ok_or(())
                });
                if nested.is_err() { trial = before; }
                assert_eq!(child.get(&ask).unwrap(), trial.get(&ask).cloned());
                keep.then_some(()).ok_or(())
            });
            if result.is_ok() { model = trial; }
            prop_assert_eq!(overlay.prefix(&ask, 99).unwrap(), with_prefix(&model, &ask));
        }
        let batch = overlay.into_batch();
        store.commit(&batch).unwrap();
        prop_assert_eq!(store.snapshot(), model);
    }
}

fn write(overlay: &mut Overlay<'_>, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => overlay.put(key.clone(), value.clone()),
            None => overlay.delete(key.clone()),
        }
    }
}

fn rows(n: u8) -> Batch {
    (0..n).map(|i| (vec![i], Some(vec![i]))).collect()
}

#[test]
fn faults_do_what_they_say() {
    let hit = |fault| {
        let store = FaultyStore::new(MemoryStore::new());
        store.arm(2, fault);
        store.get(b"x").unwrap();
        let result = store.commit(&rows(4));
        assert_eq!((store.operations(), store.fired()), (2, 1));
        store.commit(&Batch::new()).unwrap();
        (result, store.into_inner().snapshot().len())
    };
    let injected = Err(StoreError::Injected { operation: 2 });
    assert_eq!(hit(Fault::Refuse), (injected.clone(), 0));
    assert_eq!(hit(Fault::LostReply), (injected.clone(), 4));
    assert_eq!(hit(Fault::Tear), (injected, 2));
    assert_eq!(hit(Fault::SilentLoss), (Ok(()), 0));
    assert_eq!(hit(Fault::SilentTear), (Ok(()), 2));
}

#[test]
fn random_faults_repeat_by_seed_and_never_tear() {
    let run = |seed| {
        let store = FaultyStore::random(MemoryStore::new(), seed, 5);
        let mut outcome = Vec::new();
        for i in 0..200u8 {
            let batch: Batch = [(vec![0], Some(vec![i])), (vec![1], Some(vec![i]))].into();
            outcome.push(store.commit(&batch).is_ok());
            let now = store.inner().snapshot();
            assert_eq!(now.get([0u8].as_slice()), now.get([1u8].as_slice()));
        }
        outcome
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    assert!(run(7).contains(&false) && run(7).contains(&true));
}

#[test]
fn over_the_limits_is_refused() {
    let store = MemoryStore::new();
    let long: Batch = [(vec![0; MAX_KEY_BYTES + 1], None)].into();
    let error = store.commit(&long).unwrap_err();
    let limit = MAX_KEY_BYTES;
    assert_eq!(error, StoreError::TooLarge { what: "key", bytes: limit + 1, limit });
}

#[test]
fn prefix_ends() {
    assert_eq!(prefix_end(b"/bank"), Some(b"/banl".to_vec()));
    assert_eq!(prefix_end(&[1, 0xff, 0xff]), Some(vec![2]));
    assert_eq!(prefix_end(&[0xff]), None);
    assert_eq!(prefix_end(&[]), None);
}
