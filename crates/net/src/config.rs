//! Say who we are, where we listen, which chain we serve and whom we let in; and what comes back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::CloseReason;

/// The name of a peer: its Ed25519 public key (32 bytes, RFC 8032).
pub type PeerId = [u8; 32];

/// Says whether a peer is admitted. Called on every connection; must not block.
pub type Admit = Arc<dyn Fn(PeerId) -> bool + Send + Sync>;

/// Says whether a peer may read the blob with this BLAKE3 hash. Must not block.
pub type MayRead = Arc<dyn Fn(PeerId, [u8; 32]) -> bool + Send + Sync>;

/// Largest frame and largest request, in bytes.
pub const MAX_FRAME: usize = 8 << 20;
/// Largest response to a request, in bytes.
pub const MAX_RESPONSE: usize = 32 << 20;
/// Largest join request and largest answer to one, in bytes.
pub const MAX_JOIN: usize = 64 << 10;
/// Largest gossip message, in bytes.
pub const MAX_GOSSIP: usize = 4096;
/// Frames that wait for one peer before further ones are dropped.
pub const MAX_QUEUED_FRAMES: usize = 4096;
/// Bytes that wait for one peer before further frames are dropped.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Requests that one peer may have open with us at a time; later ones wait.
pub const MAX_OPEN_REQUESTS: u32 = 64;
/// Peers that are dialled or connected at a time.
pub const MAX_PEERS: usize = 1024;
/// Addresses that are kept for one peer.
pub const MAX_ADDRS: usize = 16;
/// Events that wait for the consumer; then readers wait, and QUIC slows the senders down.
pub const EVENT_QUEUE: usize = 256;

/// What a [`crate::Network`] needs to start.
#[derive(Clone)]
pub struct NetConfig {
    /// Ed25519 seed of this node's transport key.
    pub secret_key: [u8; 32],
    /// UDP address to listen on; port 0 takes any free port.
    pub bind: SocketAddr,
    /// Hash of the genesis block. It is part of every protocol name, so nodes of different chains
    /// cannot talk to one another.
    pub chain: [u8; 32],
    /// Folder of the blob store; created when missing.
    pub blob_dir: PathBuf,
    /// Who may connect.
    pub admit: Admit,
    /// Who may read which blob.
    pub may_read: MayRead,
    /// Time between two collections of deleted blobs.
    pub gc_interval: Duration,
}

impl NetConfig {
    /// A configuration that admits `admit` and serves blobs as `may_read` says; blobs that were
    /// deleted are collected once a minute.
    #[must_use]
    pub fn new(
        secret_key: [u8; 32],
        bind: SocketAddr,
        chain: [u8; 32],
        blob_dir: PathBuf,
        admit: Admit,
        may_read: MayRead,
    ) -> Self {
        NetConfig {
            secret_key,
            bind,
            chain,
            blob_dir,
            admit,
            may_read,
            gc_interval: Duration::from_secs(60),
        }
    }
}

/// What the network tells its owner. Per peer, events come in the order
/// up, frames and requests, down.
#[derive(Debug)]
pub enum NetEvent {
    /// Frames can now be exchanged with this peer.
    PeerUp {
        /// Who.
        peer: PeerId,
    },
    /// The connection is gone; frames still queued for the peer are lost.
    PeerDown {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// A frame; frames of one peer and one connection come in the order of sending.
    Frame {
        /// Who sent it.
        from: PeerId,
        /// At most [`MAX_FRAME`] bytes.
        bytes: Vec<u8>,
    },
    /// A request. Dropping `reply` tells the peer that there is no answer.
    Request {
        /// Who asks.
        from: PeerId,
        /// At most [`MAX_FRAME`] bytes.
        bytes: Vec<u8>,
        /// Takes the answer, at most [`MAX_RESPONSE`] bytes.
        reply: oneshot::Sender<Vec<u8>>,
    },
    /// A gossip message, once per sending.
    Gossip {
        /// Who wrote it (the signature was checked), not who passed it on.
        from: PeerId,
        /// At most [`MAX_GOSSIP`] bytes.
        bytes: Vec<u8>,
    },
    /// Somebody, admitted or not, asks to be admitted. Dropping `reply` refuses without a word.
    JoinRequest {
        /// Who asks; the key was proved by the handshake.
        from: PeerId,
        /// At most [`MAX_JOIN`] bytes.
        bytes: Vec<u8>,
        /// Takes the answer, at most [`MAX_JOIN`] bytes.
        reply: oneshot::Sender<Vec<u8>>,
    },
}

/// The protocol names (ALPN) of one chain.
#[derive(Debug, Clone)]
pub(crate) struct Alpns {
    pub(crate) mesh: Vec<u8>,
    pub(crate) gossip: Vec<u8>,
    pub(crate) blobs: Vec<u8>,
    pub(crate) join: Vec<u8>,
}

impl Alpns {
    pub(crate) fn new(chain: &[u8; 32]) -> Self {
        let chain: String = chain.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = |kind: &str| format!("anthill/{kind}/1/{chain}").into_bytes();
        Alpns {
            mesh: name("mesh"),
            gossip: name("gossip"),
            blobs: name("blobs"),
            join: name("join"),
        }
    }
}
