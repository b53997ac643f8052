//! Make, back up and use keys; sign, verify, seal.
//!
//! One rule for all signatures: Ed25519 (RFC 8032), checked with `verify_strict`, over
//! `anthill/1/<kind> || 0x00 || genesis hash || body` (protocol 1). Randomness comes in as an
//! argument, so the same code runs in the node, the browser and the simulator.
//!
//! Architecture Invariant: a secret key never leaves this crate but as a [`Zeroizing`] value that
//! the caller asked for, or encrypted; nothing here prints one.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod backup;
mod cipher;
mod error;
mod ids;
mod keys;
mod recent;
mod seal;
mod secret;
mod text;

pub use backup::{Cost, MAX_BACKUP_BYTES, MAX_SECRET_BYTES, back_up, restore};
pub use cipher::{DataKey, MAX_PIECE, PIECE_OVERHEAD, Place, piece_key};
pub use error::IdentityError;
pub use ids::{GenesisKey, PiKey, SessionKeyId};
pub use keys::{KeyPair, PublicKey, Signature, signed_bytes, verify, verify_bytes};
pub use seal::{MAX_SEALED_BYTES, SEAL_OVERHEAD, SealKey, SealPublicKey, open, seal, seal_key_of};
pub use secret::{ClusterSecret, Exchange, MIN_CLUSTER_SECRET};
pub use zeroize::Zeroizing;

/// A source of random bytes; it must fill the whole slice.
pub type Entropy<'a> = &'a mut dyn FnMut(&mut [u8]);
