//! One node's network: start it, name peers, send, ask, gossip, store, stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::SecretKey;
use iroh::protocol::Router;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::blobs::Blobs;
use crate::config::{Alpns, EVENT_QUEUE, MAX_PEERS, NetConfig, NetEvent, PeerId};
use crate::endpoint::{Gate, bind};
use crate::error::NetError;
use crate::gossip::{self, Envelopes};
use crate::join::{self, JoinProtocol};
use crate::mesh::{Mesh, MeshProtocol, PeerState, check_frame};
use crate::stats::{Counters, NetStats, Served};

/// Time in which a shutdown tells the peers and flushes the store.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running network. Clones share it; when the last one is dropped it stops without ceremony,
/// so prefer [`Network::shutdown`].
#[derive(Debug, Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    mesh: Arc<Mesh>,
    blobs: Blobs,
    router: Router,
    envelopes: Envelopes,
    outbox: mpsc::Sender<Bytes>,
    gossip: tokio::task::AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gossip.abort();
        self.mesh.abort();
    }
}

impl Network {
    /// Starts listening, opens the blob store and joins the chain's gossip topic. Must be called
    /// within a tokio runtime with timers and I/O.
    ///
    /// # Errors
    /// [`NetError::PortTaken`], [`NetError::Bind`], [`NetError::BlobStore`].
    pub async fn start(config: NetConfig) -> Result<(Self, mpsc::Receiver<NetEvent>), NetError> {
        let counters = Arc::new(Counters::default());
        let alpns = Alpns::new(&config.chain);
        let gate = Gate::new(config.admit.clone(), alpns.join.clone());
        let (endpoint, book) = bind(&config, gate.clone()).await?;
        let blobs = match Blobs::open(&config, counters.clone()).await {
            Ok(blobs) => blobs,
            Err(error) => {
                endpoint.close().await;
                return Err(error);
            }
        };
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let (up, ups) = mpsc::channel(MAX_PEERS);
        let mesh = Mesh::new(endpoint, book, gate, alpns, counters, events, up)?;
        let mesh = Arc::new(mesh);
        let gossip = gossip::start(&mesh);
        let router = Router::builder(mesh.endpoint.clone())
            .accept(&mesh.alpns.mesh, MeshProtocol(mesh.clone()))
            .accept(&mesh.alpns.join, JoinProtocol::new(mesh.clone()))
            .accept(&mesh.alpns.gossip, gossip.clone())
            .accept(&mesh.alpns.blobs, blobs.clone())
            .spawn();
        let key = SecretKey::from_bytes(&config.secret_key);
        let envelopes = Envelopes::new(key, config.chain);
        let (outbox, queue) = mpsc::channel(gossip::QUEUE);
        let topic = gossip::run(gossip, mesh.clone(), envelopes.clone(), queue, ups);
        let inner = Inner {
            mesh,
            blobs,
            router,
            envelopes,
            outbox,
            gossip: tokio::spawn(topic).abort_handle(),
        };
        let inner = Arc::new(inner);
        Ok((Network { inner }, receiver))
    }

    /// This node's id: its Ed25519 public key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        *self.inner.mesh.endpoint.id().as_bytes()
    }

    /// Addresses at which peers may reach this node: the bound one or, when bound to all
    /// interfaces, those of the interfaces.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let endpoint = &self.inner.mesh.endpoint;
        let bound = endpoint.bound_sockets();
        let mut addrs: Vec<_> =
            bound.into_iter().filter(|addr| !addr.ip().is_unspecified()).collect();
        if addrs.is_empty() {
            addrs.extend(endpoint.addr().ip_addrs().copied());
        }
        addrs
    }

    /// Names a peer that this node shall stay connected with, and where it is; naming it again
    /// replaces its addresses. It is dialled until [`Network::remove_peer`], with pauses from 0.1
    /// to 2 s. Its connections to us are accepted only if it is admitted.
    ///
    /// # Errors
    /// [`NetError::BadPeerId`], [`NetError::SelfPeer`], [`NetError::TooManyPeers`].
    pub fn add_peer(&self, peer: PeerId, addrs: Vec<SocketAddr>) -> Result<(), NetError> {
        self.inner.mesh.add(peer, addrs)
    }

    /// Stops dialling a peer and closes its connections, gossip and blobs included. A peer that is
    /// still admitted may come back by itself.
    pub fn remove_peer(&self, peer: &PeerId) {
        self.inner.mesh.remove(peer);
    }

    /// Queues a frame for `peer`; never waits. Frames arrive in order, or not at all when the
    /// connection ends first.
    ///
    /// # Errors
    /// [`NetError::TooLarge`], [`NetError::NotConnected`], [`NetError::QueueFull`] (counted).
    pub fn send(&self, peer: &PeerId, bytes: impl Into<Bytes>) -> Result<(), NetError> {
        self.inner.mesh.send(peer, bytes.into())
    }

    /// Queues a frame for every connected peer; never waits. Returns how many queues took it.
    ///
    /// # Errors
    /// [`NetError::TooLarge`].
    pub fn broadcast(&self, bytes: impl Into<Bytes>) -> Result<usize, NetError> {
        self.inner.mesh.broadcast(&bytes.into())
    }

    /// Asks `peer` and waits for the answer, at most `wait`.
    ///
    /// # Errors
    /// [`NetError::TooLarge`], [`NetError::NotConnected`], [`NetError::NoAnswer`],
    /// [`NetError::TimedOut`], [`NetError::Closed`], [`NetError::Unreachable`].
    pub async fn request(
        &self,
        peer: &PeerId,
        bytes: &[u8],
        wait: Duration,
    ) -> Result<Vec<u8>, NetError> {
        check_frame("request", bytes.len())?;
        let mesh = &self.inner.mesh;
        let peer = *peer;
        let link = mesh.link(&peer).ok_or(NetError::NotConnected { peer })?;
        timeout(wait, link.request(bytes, &mesh.counters))
            .await
            .unwrap_or(Err(NetError::TimedOut { peer, after: wait }))
    }

    /// Signs a message and spreads it to all nodes of the chain; never waits.
    ///
    /// # Errors
    /// [`NetError::TooLarge`] past [`crate::MAX_GOSSIP`] bytes, [`NetError::QueueFull`] (with our
    /// own id) when messages are written faster than they leave.
    pub fn gossip(&self, bytes: &[u8]) -> Result<(), NetError> {
        let inner = &self.inner;
        let envelope = inner.envelopes.seal(bytes)?;
        if inner.outbox.try_send(envelope).is_err() {
            inner.mesh.counters.dropped(1);
            let peer = self.peer_id();
            return Err(NetError::QueueFull { peer });
        }
        inner.mesh.counters.sent(bytes.len());
        Ok(())
    }

    /// Stores a blob and returns its BLAKE3 hash. It stays until [`Network::delete_blob`].
    ///
    /// # Errors
    /// [`NetError::BlobStore`].
    pub async fn put_blob(&self, bytes: Vec<u8>) -> Result<[u8; 32], NetError> {
        self.inner.blobs.put(bytes).await
    }

    /// Reads a blob that is stored here; `None` when it is not.
    ///
    /// # Errors
    /// [`NetError::BlobStore`].
    pub async fn get_blob(&self, hash: [u8; 32]) -> Result<Option<Vec<u8>>, NetError> {
        self.inner.blobs.get(hash).await
    }

    /// Forgets a blob: it is no longer read or served, and its space comes back at the next
    /// collection. Says whether it was here.
    ///
    /// # Errors
    /// [`NetError::BlobStore`].
    pub async fn delete_blob(&self, hash: [u8; 32]) -> Result<bool, NetError> {
        self.inner.blobs.delete(hash).await
    }

    /// Reads a blob of at most `max_size` bytes, here or at the first of `peers` that gives it,
    /// and keeps it. The size is checked before the download, the content while it arrives.
    ///
    /// # Errors
    /// [`NetError::BlobDenied`], [`NetError::BlobUnavailable`], [`NetError::TooLarge`],
    /// [`NetError::BlobStore`].
    pub async fn fetch_blob(
        &self,
        hash: [u8; 32],
        peers: &[PeerId],
        max_size: u64,
    ) -> Result<Vec<u8>, NetError> {
        let inner = &self.inner;
        inner.blobs.fetch(&inner.mesh, hash, peers, max_size).await
    }

    /// Asks `peer`, found at `addrs`, to admit this node; works before any admission.
    ///
    /// # Errors
    /// [`NetError::TooLarge`] past [`crate::MAX_JOIN`] bytes, [`NetError::Closed`] when it refuses,
    /// [`NetError::WrongChain`], [`NetError::Unreachable`], [`NetError::TimedOut`].
    pub async fn join_request(
        &self,
        addrs: Vec<SocketAddr>,
        peer: PeerId,
        bytes: &[u8],
        wait: Duration,
    ) -> Result<Vec<u8>, NetError> {
        join::ask(&self.inner.mesh, addrs, peer, bytes, wait).await
    }

    /// The peers that are connected now, in ascending order.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerId> {
        let live = self.inner.mesh.live();
        live.iter().map(|link| link.peer).collect()
    }

    /// What is known about each named peer, with the last error of its dials.
    #[must_use]
    pub fn peer_states(&self) -> Vec<PeerState> {
        self.inner.mesh.states()
    }

    /// Totals since the start.
    #[must_use]
    pub fn stats(&self) -> NetStats {
        let mesh = &self.inner.mesh;
        mesh.counters.snapshot(mesh.live().len())
    }

    /// Counts a message of a peer that its reader could not make sense of.
    pub fn blame(&self, peer: &PeerId) {
        self.inner.mesh.counters.malformed(Some(peer));
    }

    /// Messages of each peer that broke the rules, since the start.
    #[must_use]
    pub fn malformed(&self) -> BTreeMap<PeerId, u64> {
        self.inner.mesh.counters.malformed_by()
    }

    /// Payload bytes served to each peer since the start.
    #[must_use]
    pub fn served(&self) -> BTreeMap<PeerId, Served> {
        self.inner.mesh.counters.served()
    }

    /// Closes all connections with a reason, flushes the blob store and frees the port.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.mesh.stop().await;
        inner.gossip.abort();
        if timeout(SHUTDOWN_TIMEOUT, inner.router.shutdown()).await.is_err() {
            tracing::warn!("the endpoint did not close in time");
        }
    }
}
