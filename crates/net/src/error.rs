//! Say what went wrong, with which peer, and what to do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use iroh::endpoint::{ConnectError, ConnectingError, ConnectionError, TransportErrorCode, VarInt};

use crate::config::PeerId;

/// The TLS alert `no_application_protocol` (RFC 7301 3.2): the peer serves another chain.
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Hexadecimal text of the first eight bytes of a peer id or hash, for messages.
#[must_use]
pub fn short(id: &[u8; 32]) -> String {
    id.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Why a connection ended. The first group travels as QUIC error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseReason {
    /// The closing side shuts down.
    Shutdown,
    /// The peer is not admitted.
    NotAdmitted,
    /// There is another connection between the two already.
    Duplicate,
    /// A frame, request or join request longer than allowed.
    TooLarge,
    /// Bytes that are no frame, hello or request.
    Malformed,
    /// The owner removed the peer.
    Removed,
    /// The peer came back on a new connection.
    Replaced,
    /// Too many connections or join requests.
    Busy,
    /// Nothing was heard for the idle time: killed, asleep or cut off.
    TimedOut,
    /// Any other failure of the transport.
    Transport,
}

impl CloseReason {
    const CODES: [(CloseReason, u32, &'static str); 8] = [
        (CloseReason::Shutdown, 0, "shutting down"),
        (CloseReason::NotAdmitted, 1, "not admitted: send a join request first"),
        (CloseReason::Duplicate, 2, "a connection exists already"),
        (CloseReason::TooLarge, 3, "message longer than allowed"),
        (CloseReason::Malformed, 4, "malformed message"),
        (CloseReason::Removed, 5, "peer removed by its owner"),
        (CloseReason::Replaced, 6, "replaced by a newer connection"),
        (CloseReason::Busy, 7, "too busy: try again later"),
    ];

    /// The QUIC error code and text that say this to the peer.
    pub(crate) fn wire(self) -> (VarInt, &'static [u8]) {
        Self::CODES
            .iter()
            .find(|(reason, ..)| *reason == self)
            .map_or((VarInt::from_u32(0), b"".as_slice()), |(_, code, text)| {
                (VarInt::from_u32(*code), text.as_bytes())
            })
    }

    /// What the peer's close, or the transport's failure, means.
    pub(crate) fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::CODES
                .iter()
                .find(|(_, code, _)| VarInt::from_u32(*code) == close.error_code)
                .map_or(CloseReason::Transport, |(reason, ..)| *reason),
            ConnectionError::TimedOut | ConnectionError::Reset => CloseReason::TimedOut,
            ConnectionError::LocallyClosed => CloseReason::Shutdown,
            _ => CloseReason::Transport,
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CloseReason::TimedOut => "nothing heard for the idle time",
            CloseReason::Transport => "the transport failed",
            coded => Self::CODES
                .iter()
                .find(|(reason, ..)| reason == coded)
                .map_or("closed", |(_, _, text)| text),
        })
    }
}

/// What can go wrong on the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Another process listens on the address.
    #[error(
        "UDP {addr} is in use by another process; stop it, choose another port, or use port 0 for \
         any free one"
    )]
    PortTaken {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on UDP {addr}: {cause}; choose an address of this machine")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        cause: String,
    },
    /// The blob store cannot be opened, read or written.
    #[error(
        "blob store {dir}: {cause}; check that the folder is writable, has space and is not used \
         by another process"
    )]
    BlobStore {
        /// Its folder.
        dir: PathBuf,
        /// What the store said.
        cause: String,
    },
    /// The 32 bytes are no Ed25519 public key.
    #[error("{} is no Ed25519 public key; copy the peer's id again", short(.peer))]
    BadPeerId {
        /// The bytes given.
        peer: PeerId,
    },
    /// A peer would dial itself.
    #[error("{} is this node itself; name another peer", short(.peer))]
    SelfPeer {
        /// Our own id.
        peer: PeerId,
    },
    /// [`crate::MAX_PEERS`] are known already.
    #[error("{max} peers are known already; remove some first")]
    TooManyPeers {
        /// The bound.
        max: usize,
    },
    /// There is no connection to the peer now.
    #[error("peer {} is not connected; it is dialled again by itself", short(.peer))]
    NotConnected {
        /// Who.
        peer: PeerId,
    },
    /// The peer's queue is full; the frame was dropped and counted.
    #[error("the queue for peer {} is full, the frame was dropped; send less or later", short(.peer))]
    QueueFull {
        /// Who.
        peer: PeerId,
    },
    /// The message is longer than allowed.
    #[error("{what} of {len} bytes, at most {max} are allowed; put large data into a blob")]
    TooLarge {
        /// Frame, request, response, gossip or join request.
        what: &'static str,
        /// Its size.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// The peer did not answer in time.
    #[error("peer {} did not answer within {after:?}; it may be busy or gone", short(.peer))]
    TimedOut {
        /// Who.
        peer: PeerId,
        /// How long was waited.
        after: Duration,
    },
    /// The peer read the request and gave no answer.
    #[error("peer {} has no answer to this request", short(.peer))]
    NoAnswer {
        /// Who.
        peer: PeerId,
    },
    /// The peer closed the connection and said why.
    #[error("peer {} closed the connection: {reason}", short(.peer))]
    Closed {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// The peer serves another chain (or an older protocol).
    #[error(
        "peer {} does not serve this chain; check the ticket's genesis hash and both versions",
        short(.peer)
    )]
    WrongChain {
        /// Who.
        peer: PeerId,
    },
    /// No connection came about.
    #[error("cannot reach peer {}: {cause}; check its address, its firewall and that it runs", short(.peer))]
    Unreachable {
        /// Who.
        peer: PeerId,
        /// What the transport said.
        cause: String,
    },
    /// Every peer asked refuses to serve the blob to us.
    #[error("blob {} was denied by {denied} of {asked} peers and none gave it", short(.hash))]
    BlobDenied {
        /// Which blob.
        hash: [u8; 32],
        /// Peers that denied it.
        denied: usize,
        /// Peers asked.
        asked: usize,
    },
    /// No peer asked has the blob.
    #[error("blob {} was found at none of {asked} peers; last answer: {last}", short(.hash))]
    BlobUnavailable {
        /// Which blob.
        hash: [u8; 32],
        /// Peers asked.
        asked: usize,
        /// What the last one said.
        last: String,
    },
    /// The network was shut down.
    #[error("the network is shut down; start it again")]
    Stopped,
}

impl NetError {
    /// What a failed dial means.
    pub(crate) fn of_dial(peer: PeerId, error: &ConnectError) -> Self {
        let inner = match error {
            ConnectError::Connection { source, .. } => Some(source),
            ConnectError::Connecting {
                source: ConnectingError::ConnectionError { source, .. },
                ..
            } => Some(source),
            _ => None,
        };
        match inner {
            Some(inner) => Self::of_connection(peer, inner),
            None => NetError::Unreachable { peer, cause: format!("{error:#}") },
        }
    }

    /// What a broken connection means.
    pub(crate) fn of_connection(peer: PeerId, error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(_) => {
                NetError::Closed { peer, reason: CloseReason::of(error) }
            }
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) =>
            {
                NetError::WrongChain { peer }
            }
            other => NetError::Unreachable { peer, cause: other.to_string() },
        }
    }
}
