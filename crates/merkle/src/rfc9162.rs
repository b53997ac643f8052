//! The list tree of RFC 9162 section 2.1 over SHA-256 or SHA3-256.
//!
//! A leaf is `H(0x00 || data)`, an inner node `H(0x01 || left || right)`, the empty tree `H("")`.

use crate::Hash;
use sha2::Digest as _;

/// The hash function of a list tree.
pub trait TreeHasher {
    /// Digest of the concatenation of `parts`.
    fn digest(parts: &[&[u8]]) -> Hash;

    /// Hash of a leaf: `H(0x00 || data)`.
    fn leaf(data: &[u8]) -> Hash {
        Self::digest(&[&[0], data])
    }

    /// Hash of an inner node: `H(0x01 || left || right)`.
    fn node(left: &Hash, right: &Hash) -> Hash {
        Self::digest(&[&[1], left, right])
    }

    /// Root of the tree without leaves: `H("")`.
    fn empty() -> Hash {
        Self::digest(&[])
    }
}

/// SHA-256 as RFC 9162 uses it (transaction roots).
#[derive(Debug, Clone, Copy)]
pub struct Sha256Tree;

impl TreeHasher for Sha256Tree {
    fn digest(parts: &[&[u8]]) -> Hash {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length <= SHORT {
            return short_sha256(parts, length);
        }
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    fn node(left: &Hash, right: &Hash) -> Hash {
        let mut message = [[0u8; 64]; 2];
        let [first, second] = &mut message;
        first[0] = 1;
        first[1..33].copy_from_slice(left);
        first[33..].copy_from_slice(&right[..31]);
        (second[0], second[1]) = (right[31], 0x80);
        // 65 bytes are 520 bits.
        second[62..].copy_from_slice(&520u16.to_be_bytes());
        compressed(&message)
    }
}

/// Bytes that fit two blocks with their padding: most leaves.
const SHORT: usize = 2 * 64 - 9;

/// SHA-256 of a short message, padded by hand: half the cost of a buffered hasher.
#[inline]
fn short_sha256(parts: &[&[u8]], length: usize) -> Hash {
    let mut message = [[0u8; 64]; 2];
    let bytes = message.as_flattened_mut();
    let mut at = 0;
    for part in parts {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    bytes[length] = 0x80;
    let blocks = (length + 9).div_ceil(64);
    bytes[blocks * 64 - 8..blocks * 64].copy_from_slice(&(length as u64 * 8).to_be_bytes());
    compressed(&message[..blocks])
}

/// SHA-256 of padded blocks.
#[inline]
fn compressed(blocks: &[[u8; 64]]) -> Hash {
    // FIPS 180-4 5.3.3.
    let mut state = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    sha2::block_api::compress256(&mut state, blocks);
    let mut out = [0; 32];
    for (word, bytes) in state.iter().zip(out.as_chunks_mut::<4>().0) {
        *bytes = word.to_be_bytes();
    }
    out
}

/// SHA3-256 (epoch roots of PoEI, audit log).
#[derive(Debug, Clone, Copy)]
pub struct Sha3Tree;

impl TreeHasher for Sha3Tree {
    fn digest(parts: &[&[u8]]) -> Hash {
        let mut hasher = sha3::Sha3_256::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

/// Why a list proof was refused or cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum ProofError {
    /// The index names no leaf.
    #[error("leaf {index} does not exist in a tree of {size} leaves; ask for an index below it")]
    NoSuchLeaf {
        /// Leaf asked for, from 0.
        index: u64,
        /// Number of leaves.
        size: u64,
    },
    /// The older tree of a consistency proof is larger than the newer one.
    #[error("a tree of {new} leaves cannot extend one of {old}; swap the two sizes")]
    NotAnExtension {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer tree.
        new: u64,
    },
    /// The proof has another number of hashes than the position needs.
    #[error("the proof has {got} hashes, which does not fit its position; fetch it again")]
    WrongLength {
        /// Hashes in the proof.
        got: usize,
    },
    /// The hashes lead to another root.
    #[error("the proof leads to another root; the data or the proof was altered")]
    WrongRoot,
}

/// Root over `leaves` (data, not yet hashed).
pub fn root<H: TreeHasher>(leaves: &[impl AsRef<[u8]>]) -> Hash {
    root_of_hashes::<H>(&leaf_hashes::<H>(leaves))
}

/// Leaf hashes of `leaves`, in order.
pub fn leaf_hashes<H: TreeHasher>(leaves: &[impl AsRef<[u8]>]) -> Vec<Hash> {
    leaves.iter().map(|leaf| H::leaf(leaf.as_ref())).collect()
}

/// Root over leaf hashes that were computed before.
pub fn root_of_hashes<H: TreeHasher>(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => H::empty(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            H::node(&root_of_hashes::<H>(left), &root_of_hashes::<H>(right))
        }
    }
}

/// Largest power of two below `n`, for n of 2 and more.
fn split(n: usize) -> usize {
    1 << (usize::BITS - 1 - (n - 1).leading_zeros())
}

/// Sibling hashes from leaf `index` up to the root (RFC 9162 2.1.3.1).
///
/// # Errors
/// [`ProofError::NoSuchLeaf`] when `index` is not below the number of leaves.
pub fn inclusion_proof<H: TreeHasher>(
    leaves: &[impl AsRef<[u8]>],
    index: usize,
) -> Result<Vec<Hash>, ProofError> {
    inclusion_proof_of_hashes::<H>(&leaf_hashes::<H>(leaves), index)
}

/// As [`inclusion_proof`], from leaf hashes.
///
/// # Errors
/// [`ProofError::NoSuchLeaf`] when `index` is not below the number of leaves.
pub fn inclusion_proof_of_hashes<H: TreeHasher>(
    hashes: &[Hash],
    index: usize,
) -> Result<Vec<Hash>, ProofError> {
    if index >= hashes.len() {
        return Err(ProofError::NoSuchLeaf { index: index as u64, size: hashes.len() as u64 });
    }
    let mut path = Vec::new();
    let (mut part, mut at) = (hashes, index);
    while part.len() > 1 {
        let (left, right) = part.split_at(split(part.len()));
        if at < left.len() {
            path.push(root_of_hashes::<H>(right));
            part = left;
        } else {
            path.push(root_of_hashes::<H>(left));
            at -= left.len();
            part = right;
        }
    }
    path.reverse();
    Ok(path)
}

/// Checks that leaf data `leaf` is number `index` of `size` under `root` (RFC 9162 2.1.3.2).
///
/// # Errors
/// A [`ProofError`] that says what does not fit.
pub fn verify_inclusion<H: TreeHasher>(
    leaf: &[u8],
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    verify_inclusion_of_hash::<H>(&H::leaf(leaf), index, size, proof, root)
}

/// As [`verify_inclusion`], from the leaf hash.
///
/// # Errors
/// A [`ProofError`] that says what does not fit.
pub fn verify_inclusion_of_hash<H: TreeHasher>(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let wrong_length = ProofError::WrongLength { got: proof.len() };
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf_hash);
    for sibling in proof {
        if last == 0 {
            return Err(wrong_length);
        }
        if node & 1 == 1 || node == last {
            hash = H::node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = H::node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Proof that the tree over `hashes` extends the one over its first `old` leaves
/// (RFC 9162 2.1.4.1).
///
/// # Errors
/// [`ProofError::NotAnExtension`] when `old` is 0 or larger than the tree.
pub fn consistency_proof<H: TreeHasher>(
    hashes: &[Hash],
    old: usize,
) -> Result<Vec<Hash>, ProofError> {
    if old == 0 || old > hashes.len() {
        return Err(ProofError::NotAnExtension { old: old as u64, new: hashes.len() as u64 });
    }
    let mut path = Vec::new();
    let (mut part, mut old, mut whole) = (hashes, old, true);
    while old < part.len() {
        let (left, right) = part.split_at(split(part.len()));
        if old <= left.len() {
            path.push(root_of_hashes::<H>(right));
            part = left;
        } else {
            path.push(root_of_hashes::<H>(left));
            old -= left.len();
            part = right;
            whole = false;
        }
    }
    if !whole {
        path.push(root_of_hashes::<H>(part));
    }
    path.reverse();
    Ok(path)
}

/// Checks a consistency proof between two roots (RFC 9162 2.1.4.2).
///
/// # Errors
/// A [`ProofError`] that says what does not fit.
pub fn verify_consistency<H: TreeHasher>(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old == 0 || old > new {
        return Err(ProofError::NotAnExtension { old, new });
    }
    let wrong_length = ProofError::WrongLength { got: proof.len() };
    if old == new {
        let same = old_root == new_root;
        return match (proof.is_empty(), same) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::WrongRoot),
            (false, _) => Err(wrong_length),
        };
    }
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(wrong_length)?
    };
    let shift = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut older, mut newer) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return Err(wrong_length);
        }
        if node & 1 == 1 || node == last {
            older = H::node(hash, &older);
            newer = H::node(hash, &newer);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            newer = H::node(&newer, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    if older == *old_root && newer == *new_root { Ok(()) } else { Err(ProofError::WrongRoot) }
}
