//! The durable back-end against a plain map, in memory: commits, reads, and views that stay as they
//! were.

use anthill_store::{RedbStore, Store};
use redb::backends::InMemoryBackend;

use crate::input::Input;
use crate::store::{Model, batch, change, read};

/// Commits and reads as the input says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let store = RedbStore::with_backend(InMemoryBackend::new()).expect("a fresh store");
    let mut model = Model::new();
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        let before = model.clone();
        let frozen = store.frozen().expect("a view");
        let batch = batch(&mut input);
        store.commit(&batch).expect("memory does not fail");
        change(&mut model, &batch);
        read(&frozen, &before, &mut Input::new(data));
        read(&store, &model, &mut input);
    }
}
