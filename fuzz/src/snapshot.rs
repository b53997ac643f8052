//! Snapshots and logs of the vector index: any bytes, and any content behind a fitting checksum.

use anthill_vector::{
    Index, Input as Vector, Journal, Metric, Op, Params, Scratch, Storage, VectorError, View, log,
};
use sha2::{Digest as _, Sha256};

use crate::input::Input;

/// A loaded index is written back to the same bytes, every search in it ends, and a search of the
/// bytes in place ends too; a log gives the index of its whole records.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte() % 6;
    let bytes = match kind {
        0 => input.rest().to_vec(),
        1 => with_checksum([&b"ANTHNSW1"[..], input.rest()].concat()),
        4 => with_checksum([&b"ANTHNSW2"[..], input.rest()].concat()),
        5 => return replay(&mut input),
        _ => {
            let mut bytes = small(input.below(12) as u8, input.byte()).to_bytes();
            bytes.truncate(bytes.len() - 32);
            input.alter(&mut bytes, 4);
            with_checksum(bytes)
        }
    };
    if let Ok(view) = View::open(&bytes) {
        let mut scratch = Scratch::default();
        let words = [5u64; 64];
        let values = [0.125f32; 64];
        let found = match view.params().storage {
            Storage::Bits => view.search(&mut scratch, &words[..1], 2, 8),
            _ => view.search(&mut scratch, &values[..2], 2, 8),
        };
        assert!(found.map_or(0, |found| found.len()) <= 2);
    }
    let Ok(index) = Index::from_bytes(&bytes) else { return };
    let written = index.to_bytes();
    assert!(written == bytes || bytes.starts_with(b"ANTHNSW1"), "an index has two snapshots");
    assert!(Index::from_bytes(&written).expect("its own bytes") == index);
    let mut values = vec![0.0f32; index.dimensions()];
    values[usize::from(input.byte()) % index.dimensions()] = 1.0;
    let words = vec![u64::from(input.byte()); index.dimensions() / 64];
    let query = match index.params().storage {
        Storage::Bits => Vector::from(&words),
        _ => Vector::from(&values),
    };
    let k = 5.min(index.len());
    match index.search(query, k, 0) {
        Err(error) => assert_eq!((error, k), (VectorError::Empty, 0)),
        Ok(found) => {
            assert!(found.len() <= k);
            assert_eq!(index.exact(query, k).expect("a good query").len(), k);
        }
    }
}

/// An honest log of a few operations, altered: what it gives is what its whole records say.
fn replay(input: &mut Input<'_>) {
    let mut index = small(0, 0);
    let empty = index.clone();
    let (mut journal, mut bytes) = Journal::start(&index);
    for _ in 0..input.below(10) {
        let id = [input.byte() % 6; 32];
        let angle = f32::from(input.byte()) / 40.0;
        let vector = log::Vector::Values(vec![angle.cos(), angle.sin()]);
        let op = match input.byte() % 4 {
            0 => Op::Remove(id),
            1 => Op::Update(id, vector),
            _ => Op::Insert(id, vector),
        };
        if index.apply(&op).is_ok() {
            bytes.extend(journal.record(&op));
        }
    }
    let whole = Journal::replay(empty.clone(), &bytes).expect("an honest log");
    assert_eq!((whole.index.digest(), whole.torn), (index.digest(), 0));
    let honest = bytes.clone();
    input.alter(&mut bytes, 4);
    if let Ok(other) = Journal::replay(empty, &bytes) {
        assert_eq!(other.whole + other.torn, bytes.len());
        // The chain of checksums lets nothing else through than the beginning of the honest log.
        assert!(honest.starts_with(&bytes[..other.whole]));
    }
}

fn with_checksum(mut content: Vec<u8>) -> Vec<u8> {
    let sum = Sha256::digest(&content);
    content.extend_from_slice(&sum);
    content
}

/// An honest index of a few items, of a kind that the seed chooses; every fourth item is removed.
pub fn small(items: u8, seed: u8) -> Index {
    let kinds = [
        (Metric::Cosine, Storage::F32Int8),
        (Metric::Cosine, Storage::F32),
        (Metric::L2, Storage::Int8),
        (Metric::Hamming, Storage::Bits),
    ];
    let (metric, storage) = kinds[usize::from(seed) % kinds.len()];
    let params = Params { m: 2, m0: 4, ef_construction: 8, ef_search: 4, metric, storage };
    let dims = if storage == Storage::Bits { 64 } else { 2 };
    let mut index = Index::new(params, dims, [seed; 32]).expect("good parameters");
    for item in 0..items {
        let angle = f32::from(item.wrapping_mul(37) ^ seed) / 40.0;
        let values = [angle.cos(), angle.sin()];
        let words = [u64::from(item).wrapping_mul(0x9e37_79b9_7f4a_7c15)];
        let vector = match storage {
            Storage::Bits => Vector::Bits(&words),
            _ => Vector::Values(&values),
        };
        index.insert([item; 32], vector).expect("a good vector");
    }
    for item in (0..items).step_by(4) {
        index.remove(&[item; 32]).expect("an item");
    }
    index
}
