//! The sparse Merkle tree that commits to the state, in the JMT/ICS23 format over SHA-256.
//!
//! Leaf = `H("JMT::LeafNode" || key hash || value hash)`, inner = `H("JMT::IntrnalNode" || left ||
//! right)` (spelled so), an empty subtree is a constant. A subtree with one key is its leaf. Key
//! hash = SHA-256(key), value hash = SHA-256(value). Format: Gao, Hu and Wu, "Jellyfish Merkle
//! Tree" (2021) as in the `jmt` crate, whose roots are the test oracle.
//!
//! ICS23 cannot express an empty key or an empty value: do not store either.

mod preview;
mod proof;
mod tree;
mod view;

#[cfg(feature = "ics23")]
mod to_ics23;

pub use preview::subtree_root;
pub use proof::{Claim, MAX_PROOF_BYTES, Proof, ProofError};
#[cfg(feature = "ics23")]
pub use to_ics23::{Preimage, spec as ics23_spec};
pub use tree::{Tree, TreeStats};
pub use view::{View, fold};

use crate::Hash;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a key: the position of its leaf, most significant bit first.
pub type KeyHash = Hash;
/// SHA-256 of a value.
pub type ValueHash = Hash;
/// Root of a tree.
pub type Root = Hash;

/// Depth of the tree in bits: no proof has more siblings.
pub const MAX_DEPTH: usize = 256;
/// Hash of an empty subtree (a constant of the JMT format, not a digest).
pub const PLACEHOLDER: Hash = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";
/// Domain separator of leaves.
pub const LEAF_DOMAIN: &[u8] = b"JMT::LeafNode";
/// Domain separator of inner nodes (the spelling is the format's own).
pub const INNER_DOMAIN: &[u8] = b"JMT::IntrnalNode";

/// Position of `key` in the tree.
pub fn key_hash(key: &[u8]) -> KeyHash {
    Sha256::digest(key).into()
}

/// What a leaf commits to of `value`.
pub fn value_hash(value: &[u8]) -> ValueHash {
    Sha256::digest(value).into()
}

/// Hash of a leaf node.
pub fn leaf_hash(key: &KeyHash, value: &ValueHash) -> Hash {
    let mut block = [0u8; 77];
    block[..13].copy_from_slice(LEAF_DOMAIN);
    block[13..45].copy_from_slice(key);
    block[45..].copy_from_slice(value);
    Sha256::digest(block).into()
}

/// Hash of an inner node.
pub fn inner_hash(left: &Hash, right: &Hash) -> Hash {
    let mut block = [0u8; 80];
    block[..16].copy_from_slice(INNER_DOMAIN);
    block[16..48].copy_from_slice(left);
    block[48..].copy_from_slice(right);
    Sha256::digest(block).into()
}

/// Bit `depth` of a key hash, from the most significant.
fn bit(key: &KeyHash, depth: usize) -> bool {
    key[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// Number of leading bits that two key hashes share.
fn common_bits(a: &KeyHash, b: &KeyHash) -> usize {
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        if x != y {
            return i * 8 + (x ^ y).leading_zeros() as usize;
        }
    }
    MAX_DEPTH
}
