//! Store and overlay against a plain map: reads, ranges, nested writes that are kept or dropped.

use std::collections::BTreeMap;

use anthill_store::{Batch, MemoryStore, Overlay, Row, Store};

use crate::input::Input;

/// The plain map that is right.
pub type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A short key over four bytes, the ends of the alphabet among them.
pub fn key(input: &mut Input<'_>) -> Vec<u8> {
    let length = input.below(4);
    (0..length).map(|_| [0, 1, 0xfe, 0xff][input.below(4)]).collect()
}

fn value(input: &mut Input<'_>) -> Option<Vec<u8>> {
    match input.byte() {
        0..64 => None,
        64..80 => Some(Vec::new()),
        other => Some(vec![other; usize::from(other % 5)]),
    }
}

/// Some writes.
pub fn batch(input: &mut Input<'_>) -> Batch {
    (0..input.below(6)).map(|_| (key(input), value(input))).collect()
}

/// Applies writes to the map.
pub fn change(model: &mut Model, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

/// A range as the map gives it.
pub fn expected(model: &Model, start: &[u8], end: Option<&[u8]>, limit: usize) -> Vec<Row> {
    let inside = |key: &[u8]| key >= start && end.is_none_or(|end| key < end);
    let rows = model.iter().filter(|(key, _)| inside(key)).take(limit);
    rows.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Commits and overlays as the input says, comparing every read.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let store = MemoryStore::new();
    let mut model = Model::new();
    for _ in 0..24 {
        if input.is_empty() {
            break;
        }
        match input.byte() % 4 {
            0 => {
                let batch = batch(&mut input);
                store.commit(&batch).expect("memory does not fail");
                change(&mut model, &batch);
            }
            1 => read(&store, &model, &mut input),
            _ => {
                let mut overlay = Overlay::new(&store);
                layer(&mut overlay, &mut model.clone(), &mut input, 0, &mut |writes, after| {
                    store.commit(writes).expect("memory does not fail");
                    model.clone_from(after);
                });
            }
        }
        assert_eq!(store.snapshot(), model);
    }
}

/// Compares one read of each kind.
pub fn read(store: &dyn Store, model: &Model, input: &mut Input<'_>) {
    let (start, end, limit) = (key(input), key(input), input.below(9));
    let end = input.flag().then_some(end.as_slice());
    assert_eq!(store.get(&start).expect("a read"), model.get(&start).cloned());
    let rows = store.range(&start, end, limit).expect("a read");
    assert_eq!(rows, expected(model, &start, end, limit));
    let all: Vec<Row> = expected(model, &[], None, usize::MAX);
    let with: Vec<Row> = all.into_iter().filter(|(k, _)| k.starts_with(&start)).collect();
    assert_eq!(store.prefix(&start, usize::MAX).expect("a read"), with);
}

/// Writes into a layer, reads through it, goes one deeper, and keeps or drops what came of it.
fn layer(
    overlay: &mut Overlay<'_>,
    model: &mut Model,
    input: &mut Input<'_>,
    depth: usize,
    keep: &mut dyn FnMut(&Batch, &Model),
) {
    let writes = batch(input);
    for (key, value) in &writes {
        match value {
            Some(value) => overlay.put(key.clone(), value.clone()),
            None => overlay.delete(key.clone()),
        }
    }
    change(model, &writes);
    if depth < 3 && input.flag() {
        let mut inner = model.clone();
        let (mut kept, mut after) = (Batch::new(), None);
        let mut child = overlay.child();
        layer(&mut child, &mut inner, input, depth + 1, &mut |writes, model| {
            kept.clone_from(writes);
            after = Some(model.clone());
        });
        drop(child);
        overlay.absorb(kept);
        if let Some(after) = after {
            *model = after;
        }
    }
    let (start, end, limit) = (key(input), key(input), input.below(9));
    let end = input.flag().then_some(end.as_slice());
    assert_eq!(overlay.get(&start).expect("a read"), model.get(&start).cloned());
    let rows = overlay.range(&start, end, limit).expect("a read");
    assert_eq!(rows, expected(model, &start, end, limit));
    if input.flag() {
        keep(overlay.writes(), model);
    }
}
