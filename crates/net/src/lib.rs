//! Carry frames, gossip and blobs between peers over iroh.
//!
//! The crate knows bytes, not what they mean. [`Network`] holds one QUIC connection for frames and
//! requests with every peer (more for gossip and blobs as needed), all encrypted by AES-128-GCM
//! and authenticated by Ed25519 keys. Every protocol name contains the hash of the genesis block,
//! so other chains cannot connect, and peers that are not admitted reach nothing but the join
//! protocol.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod blobs;
mod config;
mod endpoint;
mod error;
mod gossip;
mod join;
mod link;
mod mesh;
mod network;
mod stats;
pub mod ticket;
pub mod tls;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use config::{
    Admit, EVENT_QUEUE, MAX_ADDRS, MAX_FRAME, MAX_GOSSIP, MAX_JOIN, MAX_OPEN_REQUESTS, MAX_PEERS,
    MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES, MAX_RESPONSE, MayRead, NetConfig, NetEvent, PeerId,
};
pub use error::{CloseReason, NetError, short};
pub use mesh::PeerState;
pub use network::Network;
pub use stats::{NetStats, Served};

/// Locks a mutex whose data stay whole even when a holder panicked: all critical sections here
/// are single inserts, removals and reads.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
