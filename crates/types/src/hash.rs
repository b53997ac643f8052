//! The three hash functions of `docs/spec/protocol.md` 2, one name each.

use sha2::Digest as _;

/// SHA-256 (state tree, transaction root, headers).
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut h = sha2::Sha256::new();
    for part in parts {
        h.update(part);
    }
    h.finalize().into()
}

/// SHA3-256 (task ids, receipts, beacon, PoEI, audit log).
pub fn sha3(parts: &[&[u8]]) -> [u8; 32] {
    let mut h = sha3::Sha3_256::default();
    for part in parts {
        sha3::Digest::update(&mut h, part);
    }
    sha3::Digest::finalize(h).into()
}

/// BLAKE3 (content).
pub fn blake3(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}
