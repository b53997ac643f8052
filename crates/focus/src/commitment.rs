//! The commitment over all masses: one hash from which one particle's mass can be proved.

use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher, root_of_hashes};
use anthill_types::{Cid, Digest};

use crate::Graph;

/// Leaves whose parts are read at once.
const BATCH: usize = 256;

/// The hash of a particle's leaf: its 36 binary bytes and its mass, big-endian.
pub fn leaf(cid: &Cid, mass: u64) -> [u8; 32] {
    let mut data = [0; 44];
    data[..36].copy_from_slice(&cid.to_binary());
    data[36..].copy_from_slice(&mass.to_be_bytes());
    Sha256Tree::leaf(&data)
}

/// RFC 9162 root over particles with their masses, in ascending order of ids.
pub fn of_masses<'a>(masses: impl IntoIterator<Item = &'a (Cid, u64)>) -> Digest {
    let leaves: Vec<_> = masses.into_iter().map(|(cid, mass)| leaf(cid, *mass)).collect();
    Digest(root_of_hashes::<Sha256Tree>(&leaves))
}

/// The commitment of a graph's masses, given by slot (`docs/spec/focus.md` 10).
pub fn commitment(graph: &Graph, masses: &[u64]) -> Digest {
    let mut leaves = Vec::with_capacity(graph.particles());
    let mut batch = Vec::with_capacity(BATCH);
    for slots in graph.canonical().chunks(BATCH) {
        // Reads first: they wait for memory side by side, which hashing in between would prevent.
        batch.clear();
        batch.extend(slots.iter().map(|slot| (graph.cid(*slot), masses[*slot as usize])));
        leaves.extend(batch.iter().map(|(cid, mass)| leaf(cid, *mass)));
    }
    Digest(root_of_hashes::<Sha256Tree>(&leaves))
}
