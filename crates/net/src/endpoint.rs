//! Bind the iroh endpoint: our TLS, static addresses, no relay, and admission at the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iroh::address_lookup::memory::MemoryLookup;
use iroh::endpoint::{
    AfterHandshakeOutcome, BeforeConnectOutcome, BindError, Connection, EndpointHooks,
    QuicTransportConfig, Side, VarInt, WeakConnectionHandle, presets,
};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey, TransportAddr};

use crate::config::{Admit, MAX_ADDRS, MAX_OPEN_REQUESTS, MAX_PEERS, NetConfig, PeerId};
use crate::error::{CloseReason, NetError};
use crate::{lock, tls};

/// A peer that is silent for this long is gone. The clock starts anew with the first keep-alive
/// after the last packet received, so a killed process is noticed within the sum of the two.
const IDLE_TIMEOUT: Duration = Duration::from_millis(2200);
/// How often a silent connection says that it lives.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Bytes in flight per stream. The QUIC library gives a connection up when one stream has more
/// than 1024 gaps; below 1024 packets of 1200 bytes that cannot happen, whatever is lost.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes in flight per connection.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// How often, and after which pause, a taken port is tried again: the process that we follow after
/// a restart may not have let go of it yet.
const BIND_TRIES: u32 = 20;
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// Binds the endpoint and its address book.
pub(crate) async fn bind(
    config: &NetConfig,
    gate: Gate,
) -> Result<(Endpoint, MemoryLookup), NetError> {
    let book = MemoryLookup::new();
    for _ in 1..BIND_TRIES {
        match bind_once(config, gate.clone(), book.clone()).await {
            Err(NetError::PortTaken { .. }) => tokio::time::sleep(BIND_PAUSE).await,
            other => return other.map(|endpoint| (endpoint, book)),
        }
    }
    let endpoint = bind_once(config, gate, book.clone()).await?;
    Ok((endpoint, book))
}

async fn bind_once(
    config: &NetConfig,
    gate: Gate,
    book: MemoryLookup,
) -> Result<Endpoint, NetError> {
    let addr = config.bind;
    let refused = |cause: String| NetError::Bind { addr, cause };
    Endpoint::builder(presets::Empty)
        .crypto_provider(tls::provider())
        .secret_key(SecretKey::from_bytes(&config.secret_key))
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .address_lookup(book)
        .transport_config(transport()?)
        .hooks(gate)
        .clear_ip_transports()
        .bind_addr(addr)
        .map_err(|error| refused(error.to_string()))?
        .bind()
        .await
        .map_err(|error| match error {
            BindError::Sockets { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                NetError::PortTaken { addr }
            }
            BindError::Sockets { source, .. } => refused(source.to_string()),
            other => refused(format!("{other:#}")),
        })
}

fn transport() -> Result<QuicTransportConfig, NetError> {
    let idle = IDLE_TIMEOUT.try_into().map_err(|_| NetError::Stopped)?;
    Ok(QuicTransportConfig::builder()
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_max_idle_timeout(IDLE_TIMEOUT)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_OPEN_REQUESTS + 1))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .build())
}

/// Connections that one peer may have with us: two per protocol for crossing dials, and as many
/// that are just ending.
const MAX_OPEN_PER_PEER: usize = 16;
/// Peers, strangers included, that may have a connection with us.
const MAX_OPEN_PEERS: usize = 2 * MAX_PEERS;

/// Refuses connections from peers that are not admitted, and to peers that nobody named.
#[derive(Clone)]
pub(crate) struct Gate {
    admit: Admit,
    join: Vec<u8>,
    named: Arc<Mutex<BTreeSet<PeerId>>>,
    open: Arc<Mutex<BTreeMap<PeerId, Vec<WeakConnectionHandle>>>>,
}

impl Gate {
    pub(crate) fn new(admit: Admit, join: Vec<u8>) -> Self {
        Gate { admit, join, named: Arc::default(), open: Arc::default() }
    }

    /// Remembers a connection, so that [`Gate::cut`] finds it; `false` when there are too many.
    fn register(&self, peer: PeerId, conn: &Connection) -> bool {
        let mut open = lock(&self.open);
        open.retain(|_, conns| {
            conns.retain(|conn| conn.upgrade().is_some_and(|c| c.close_reason().is_none()));
            !conns.is_empty()
        });
        if open.len() >= MAX_OPEN_PEERS && !open.contains_key(&peer) {
            return false;
        }
        let conns = open.entry(peer).or_default();
        conns.push(conn.weak_handle());
        conns.len() <= MAX_OPEN_PER_PEER
    }

    /// Closes every connection with `peer`, of whatever protocol.
    pub(crate) fn cut(&self, peer: &PeerId, reason: CloseReason) {
        let conns = lock(&self.open).remove(peer).unwrap_or_default();
        let (code, text) = reason.wire();
        for conn in conns.iter().filter_map(WeakConnectionHandle::upgrade) {
            conn.close(code, text);
        }
    }

    /// Lets us dial `peer` although it may not be admitted: our owner named it.
    pub(crate) fn name(&self, peer: PeerId) {
        lock(&self.named).insert(peer);
    }

    /// Takes [`Gate::name`] back.
    pub(crate) fn forget(&self, peer: &PeerId) {
        lock(&self.named).remove(peer);
    }

    pub(crate) fn admits(&self, peer: PeerId) -> bool {
        (self.admit)(peer)
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl EndpointHooks for Gate {
    async fn before_connect(&self, remote: &EndpointAddr, alpn: &[u8]) -> BeforeConnectOutcome {
        let peer = *remote.id.as_bytes();
        let named = || lock(&self.named).contains(&peer);
        if alpn == self.join || named() || self.admits(peer) {
            BeforeConnectOutcome::Accept
        } else {
            BeforeConnectOutcome::Reject
        }
    }

    async fn after_handshake(&self, conn: &Connection) -> AfterHandshakeOutcome {
        let incoming = conn.side() == Side::Server;
        let peer = *conn.remote_id().as_bytes();
        let reason = if incoming && conn.alpn() != self.join && !self.admits(peer) {
            CloseReason::NotAdmitted
        } else if self.register(peer, conn) {
            return AfterHandshakeOutcome::Accept;
        } else {
            CloseReason::Busy
        };
        let (error_code, reason) = reason.wire();
        AfterHandshakeOutcome::Reject { error_code, reason: reason.to_vec() }
    }
}

/// The endpoint id that `peer` is.
pub(crate) fn endpoint_id(peer: &PeerId) -> Result<EndpointId, NetError> {
    EndpointId::from_bytes(peer).map_err(|_| NetError::BadPeerId { peer: *peer })
}

/// A peer with addresses to dial it at.
pub(crate) fn endpoint_addr(
    peer: &PeerId,
    addrs: impl IntoIterator<Item = SocketAddr>,
) -> Result<EndpointAddr, NetError> {
    let addrs = addrs.into_iter().take(MAX_ADDRS).map(TransportAddr::Ip);
    Ok(EndpointAddr::from_parts(endpoint_id(peer)?, addrs))
}

/// The address that a connection's packets go to.
pub(crate) fn remote_addr(conn: &Connection) -> Option<SocketAddr> {
    conn.paths().iter().find_map(|path| match path.remote_addr() {
        TransportAddr::Ip(addr) => Some(*addr),
        _ => None,
    })
}
