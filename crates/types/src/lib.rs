//! Name what crosses the wire (ids, amounts, tasks, receipts, transactions, blocks) and its one canonical encoding.
//!
//! Everything here is plain data: no I/O, clock or randomness. Bytes that are hashed or signed are
//! deterministic CBOR (RFC 8949 4.2.1) as `docs/spec/protocol.md` 1 decides: definite-length arrays
//! in field order, and decoding refuses whatever does not encode back to the same bytes.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod amount;
pub mod bank;
pub mod block;
pub mod canary;
pub mod channel;
pub mod genesis;
pub mod governance;
pub mod graph;
pub mod hash;
pub mod ids;
pub mod keys;
pub mod params;
pub mod registry;
pub mod stake;
pub mod state;
pub mod task;
#[cfg(feature = "test-utils")]
pub mod testing;
pub mod transaction;
pub mod wire;

pub use amount::Amount;
pub use block::{Block, Checkpoint, Handover, Header, OptionalRoot, Validator, ValidatorSet};
pub use genesis::{ConsensusKind, Genesis, GenesisBalance, GenesisNode};
pub use ids::{
    AccountId, BeaconValue, BlockHash, Bytes, Cid, Digest, GenesisHash, NodeKey, Signature, TaskId,
    ValidatorKey,
};
pub use params::ChainParams;
pub use task::{Receipt, TaskSpec, program};
pub use transaction::{
    Admission, Admit, Body, Commit, Reveal, SignedAdmission, SignedTransaction, Transaction,
    Verdict,
};
pub use wire::{DecodeError, Wire};
