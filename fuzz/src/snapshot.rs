//! Snapshots of the vector index: any bytes, and any content behind a fitting checksum.

use anthill_vector::{Index, Params};
use sha2::{Digest as _, Sha256};

use crate::input::Input;

/// A loaded index is written back to the same bytes, and every search in it ends.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let bytes = match input.byte() % 4 {
        0 => input.rest().to_vec(),
        1 => with_checksum([&b"ANTHNSW1"[..], input.rest()].concat()),
        _ => {
            let mut bytes = small(input.below(12) as u8, input.byte()).to_bytes();
            bytes.truncate(bytes.len() - 32);
            input.alter(&mut bytes, 4);
            with_checksum(bytes)
        }
    };
    let Ok(index) = Index::from_bytes(&bytes) else { return };
    assert_eq!(index.to_bytes(), bytes, "an index has two snapshots");
    let mut query = vec![0.0; index.dimensions()];
    query[usize::from(input.byte()) % index.dimensions()] = 1.0;
    let found = index.search(&query, 5, 0).expect("a unit query");
    assert!(found.len() <= 5.min(index.len()));
    let exact = index.exact(&query, 5).expect("a unit query");
    assert_eq!(exact.len(), 5.min(index.len()));
}

fn with_checksum(mut content: Vec<u8>) -> Vec<u8> {
    let sum = Sha256::digest(&content);
    content.extend_from_slice(&sum);
    content
}

/// An honest index of a few items.
pub fn small(items: u8, seed: u8) -> Index {
    let params = Params { m: 2, m0: 4, ef_construction: 8, ef_search: 4, ..Params::default() };
    let mut index = Index::new(params, 2, [seed; 32]).expect("good parameters");
    for item in 0..items {
        let angle = f32::from(item.wrapping_mul(37) ^ seed) / 40.0;
        index.insert([item; 32], &[angle.cos(), angle.sin()]).expect("a unit vector");
    }
    index
}
