//! Build and check Merkle and sparse-Merkle (ICS23) proofs.
//!
//! Two trees live here. [`rfc9162`] is the list tree of RFC 9162 section 2.1 (transaction root,
//! epoch root, audit log), and [`frontier`] its right edge, which is enough to append. [`smt`] is the map tree whose root commits to the whole state, in the
//! format of the Jellyfish Merkle Tree, for which an ICS23 proof specification exists.
//!
//! Architecture Invariant: nothing here reads a clock, a file or a random source; a proof is
//! checked from its bytes, a root and the claim alone.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod frontier;
pub mod rfc9162;
pub mod smt;

/// A 32-byte digest.
pub type Hash = [u8; 32];
