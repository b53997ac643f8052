//! Keep one connection with every named peer, whoever dials, and say who is up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use iroh::Endpoint;
use iroh::address_lookup::memory::MemoryLookup;
use iroh::endpoint::{Connection, Side};
use iroh::protocol::{AcceptError, ProtocolHandler};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{Alpns, MAX_FRAME, MAX_PEERS, NetEvent, PeerId};
use crate::endpoint::{Gate, endpoint_addr, remote_addr};
use crate::error::{CloseReason, NetError};
use crate::link::{Boot, Engine, HELLO_TIMEOUT, Link, await_go, greet, say_go};
use crate::lock;
use crate::stats::Counters;

/// First pause between two dials, doubled after each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two dials.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Time in which a shutdown waits for the last events to be taken.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Time that one dial may take.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// What is known about one named peer, for the question why two nodes do not connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    /// Who.
    pub peer: PeerId,
    /// Where it is dialled.
    pub addrs: Vec<SocketAddr>,
    /// Whether it is connected now.
    pub connected: bool,
    /// Dials since it was last connected.
    pub attempts: u32,
    /// What the last failed dial said; `None` once connected.
    pub last_error: Option<NetError>,
}

/// A named peer: where it is and the task that dials it.
#[derive(Debug)]
struct Named {
    addrs: Vec<SocketAddr>,
    attempts: u32,
    last_error: Option<NetError>,
    task: AbortHandle,
}

/// All connections, shared by the acceptor, the dialling tasks and the owner.
pub(crate) struct Mesh {
    pub(crate) endpoint: Endpoint,
    pub(crate) book: MemoryLookup,
    pub(crate) gate: Gate,
    pub(crate) alpns: Alpns,
    pub(crate) counters: Arc<Counters>,
    pub(crate) events: mpsc::Sender<NetEvent>,
    /// Raised whenever a peer comes up; gossip joins it.
    pub(crate) up: mpsc::Sender<PeerId>,
    me: PeerId,
    boot: Boot,
    links: Mutex<BTreeMap<PeerId, Arc<Link>>>,
    named: Mutex<BTreeMap<PeerId, Named>>,
    stopped: watch::Sender<bool>,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").finish_non_exhaustive()
    }
}

impl Mesh {
    pub(crate) fn new(
        endpoint: Endpoint,
        book: MemoryLookup,
        gate: Gate,
        alpns: Alpns,
        counters: Arc<Counters>,
        events: mpsc::Sender<NetEvent>,
        up: mpsc::Sender<PeerId>,
    ) -> Result<Self, NetError> {
        let mut boot = [0; 16];
        getrandom::fill(&mut boot).map_err(|_| NetError::Stopped)?;
        Ok(Mesh {
            me: *endpoint.id().as_bytes(),
            endpoint,
            book,
            gate,
            alpns,
            counters,
            events,
            up,
            boot,
            links: Mutex::default(),
            named: Mutex::default(),
            stopped: watch::channel(false).0,
        })
    }

    /// Names a peer, or gives a named peer new addresses.
    pub(crate) fn add(
        self: &Arc<Self>,
        peer: PeerId,
        mut addrs: Vec<SocketAddr>,
    ) -> Result<(), NetError> {
        if peer == self.me {
            return Err(NetError::SelfPeer { peer });
        }
        addrs.truncate(crate::config::MAX_ADDRS);
        self.learn(&peer, &addrs)?;
        let mut named = lock(&self.named);
        if *self.stopped.borrow() {
            return Err(NetError::Stopped);
        }
        if let Some(known) = named.get_mut(&peer) {
            known.addrs = addrs;
            return Ok(());
        }
        if named.len() >= MAX_PEERS {
            return Err(NetError::TooManyPeers { max: MAX_PEERS });
        }
        self.gate.name(peer);
        let task = tokio::spawn(self.clone().keep_dialling(peer)).abort_handle();
        let known = Named { addrs, attempts: 0, last_error: None, task };
        named.insert(peer, known);
        Ok(())
    }

    /// Puts addresses into the book that gossip and blobs dial by.
    pub(crate) fn learn(&self, peer: &PeerId, addrs: &[SocketAddr]) -> Result<(), NetError> {
        let addr = endpoint_addr(peer, addrs.iter().copied())?;
        if !addrs.is_empty() {
            self.book.set_endpoint_info(addr);
        }
        Ok(())
    }

    /// Stops dialling a peer and closes its connections of all protocols.
    pub(crate) fn remove(&self, peer: &PeerId) {
        if let Some(known) = lock(&self.named).remove(peer) {
            known.task.abort();
        }
        self.gate.forget(peer);
        if let Some(link) = self.link(peer) {
            link.close(CloseReason::Removed);
        }
        self.gate.cut(peer, CloseReason::Removed);
    }

    /// The live connection with `peer`.
    pub(crate) fn link(&self, peer: &PeerId) -> Option<Arc<Link>> {
        lock(&self.links).get(peer).filter(|link| link.alive()).cloned()
    }

    /// All live connections.
    pub(crate) fn live(&self) -> Vec<Arc<Link>> {
        lock(&self.links).values().filter(|link| link.alive()).cloned().collect()
    }

    pub(crate) fn send(&self, peer: &PeerId, bytes: Bytes) -> Result<(), NetError> {
        check_frame("frame", bytes.len())?;
        match self.link(peer) {
            Some(link) => link.push(bytes, &self.counters),
            None => Err(NetError::NotConnected { peer: *peer }),
        }
    }

    /// Queues a frame for every connected peer; returns how many took it.
    pub(crate) fn broadcast(&self, bytes: &Bytes) -> Result<usize, NetError> {
        check_frame("frame", bytes.len())?;
        let took = |link: &Arc<Link>| link.push(bytes.clone(), &self.counters).is_ok();
        Ok(self.live().iter().filter(|link| took(link)).count())
    }

    pub(crate) fn states(&self) -> Vec<PeerState> {
        let live = |peer: &PeerId| self.link(peer).is_some();
        lock(&self.named)
            .iter()
            .map(|(peer, known)| PeerState {
                peer: *peer,
                addrs: known.addrs.clone(),
                connected: live(peer),
                attempts: known.attempts,
                last_error: known.last_error.clone(),
            })
            .collect()
    }

    /// Stops all dialling and closes all connections; returns when their last events are out.
    pub(crate) async fn stop(&self) {
        self.abort();
        let ends = async {
            for link in self.all() {
                link.ended().await;
            }
        };
        // The consumer of events may be gone or slow; a shutdown does not wait for it for ever.
        let _ = timeout(STOP_TIMEOUT, ends).await;
    }

    /// Stops all dialling and closes all connections at once.
    pub(crate) fn abort(&self) {
        self.stopped.send_replace(true);
        for (_, known) in std::mem::take(&mut *lock(&self.named)) {
            known.task.abort();
        }
        for link in self.all() {
            link.close(CloseReason::Shutdown);
        }
    }

    fn all(&self) -> Vec<Arc<Link>> {
        lock(&self.links).values().cloned().collect()
    }

    async fn keep_dialling(self: Arc<Self>, peer: PeerId) {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(link) = self.link(&peer) {
                self.note(&peer, None);
                let since = Instant::now();
                link.ended().await;
                if since.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            } else if let Err(error) = self.dial(peer).await {
                self.note(&peer, Some(error));
            } else if self.link(&peer).is_some() {
                continue;
            }
            sleep(pause + jitter(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Records the outcome of a dial.
    fn note(&self, peer: &PeerId, error: Option<NetError>) {
        if let Some(known) = lock(&self.named).get_mut(peer) {
            known.attempts = error.as_ref().map_or(0, |_| known.attempts + 1);
            known.last_error = error;
        }
    }

    async fn dial(self: &Arc<Self>, peer: PeerId) -> Result<(), NetError> {
        let addrs =
            lock(&self.named).get(&peer).map(|known| known.addrs.clone()).unwrap_or_default();
        let conn = self.connect(peer, addrs, &self.alpns.mesh).await?;
        self.welcome(conn).await
    }

    /// Opens a connection for one protocol.
    pub(crate) async fn connect(
        &self,
        peer: PeerId,
        addrs: Vec<SocketAddr>,
        alpn: &[u8],
    ) -> Result<Connection, NetError> {
        let addr = endpoint_addr(&peer, addrs)?;
        match timeout(DIAL_TIMEOUT, self.endpoint.connect(addr, alpn)).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(error)) => Err(NetError::of_dial(peer, &error)),
            Err(_) => Err(NetError::TimedOut { peer, after: DIAL_TIMEOUT }),
        }
    }

    /// Takes a new connection through its hello and, if it counts, starts it.
    async fn welcome(self: &Arc<Self>, conn: Connection) -> Result<(), NetError> {
        let peer = *conn.remote_id().as_bytes();
        let close = |reason: CloseReason| {
            let (code, text) = reason.wire();
            conn.close(code, text);
            NetError::Closed { peer, reason }
        };
        match timeout(HELLO_TIMEOUT, self.settle(peer, &conn)).await {
            Ok(Ok((link, engine, old))) => {
                tokio::spawn(self.clone().carry(link, engine, old));
                Ok(())
            }
            Ok(Err(Some(reason))) => {
                if matches!(reason, CloseReason::Malformed | CloseReason::TooLarge) {
                    self.counters.malformed(Some(&peer));
                }
                Err(close(reason))
            }
            Ok(Err(None)) => Err(match conn.close_reason() {
                Some(error) => NetError::of_connection(peer, &error),
                None => close(CloseReason::Transport),
            }),
            Err(_) => {
                close(CloseReason::Malformed);
                Err(NetError::TimedOut { peer, after: HELLO_TIMEOUT })
            }
        }
    }

    /// Agrees with the peer that this connection counts, and registers it. `Err(Some)` names the
    /// reason to close with, `Err(None)` says that the connection broke.
    #[allow(clippy::type_complexity)]
    async fn settle(
        &self,
        peer: PeerId,
        conn: &Connection,
    ) -> Result<(Arc<Link>, Engine, Option<Arc<Link>>), Option<CloseReason>> {
        let dialled = conn.side() == Side::Client;
        let mut greeted = greet(conn, dialled, self.boot).await.map_err(|error| error.fault())?;
        let leads = self.me < peer;
        if !leads {
            await_go(&mut greeted.recv).await.map_err(|error| error.fault())?;
        }
        let boot = greeted.boot;
        let (link, mut engine) = Link::new(peer, conn.clone(), greeted);
        let old = {
            let mut links = lock(&self.links);
            if *self.stopped.borrow() {
                return Err(Some(CloseReason::Shutdown));
            }
            let old = links.get(&peer).cloned();
            let same = |old: &Arc<Link>| old.alive() && old.boot == boot;
            if leads && old.as_ref().is_some_and(same) {
                return Err(Some(CloseReason::Duplicate));
            }
            if old.is_none() && links.len() >= MAX_PEERS {
                return Err(Some(CloseReason::Busy));
            }
            links.insert(peer, link.clone());
            old
        };
        if let Some(old) = &old {
            old.close(CloseReason::Replaced);
        }
        if leads && say_go(&mut engine.send).await.is_err() {
            self.forget(&link);
            return Err(None);
        }
        Ok((link, engine, old))
    }

    /// Carries a connection from up to down.
    async fn carry(self: Arc<Self>, link: Arc<Link>, engine: Engine, old: Option<Arc<Link>>) {
        let peer = link.peer;
        if let Some(old) = old {
            old.ended().await;
        }
        if self.book.get_endpoint_info(link.conn.remote_id()).is_none()
            && let Some(addr) = remote_addr(&link.conn)
        {
            let _ = self.learn(&peer, &[addr]);
        }
        let _ = self.events.send(NetEvent::PeerUp { peer }).await;
        let _ = self.up.try_send(peer);
        let (reason, end) = link.run(engine, &self.events, &self.counters).await;
        self.forget(&link);
        tracing::debug!(peer = %crate::error::short(&peer), %reason, "peer down");
        let _ = self.events.send(NetEvent::PeerDown { peer, reason }).await;
        end.send_replace(true);
    }

    /// Drops `link` unless another has taken its place.
    fn forget(&self, link: &Arc<Link>) {
        let mut links = lock(&self.links);
        if links.get(&link.peer).is_some_and(|current| Arc::ptr_eq(current, link)) {
            links.remove(&link.peer);
        }
    }
}

/// Checks the bound of a frame or request.
pub(crate) fn check_frame(what: &'static str, len: usize) -> Result<(), NetError> {
    if len > MAX_FRAME {
        let max = MAX_FRAME;
        return Err(NetError::TooLarge { what, len, max });
    }
    Ok(())
}

/// Up to a quarter of `pause`, so that two peers do not dial in step for ever.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    let _ = getrandom::fill(&mut byte);
    pause * u32::from(byte[0]) / 1024
}

/// Accepts the mesh protocol.
#[derive(Debug)]
pub(crate) struct MeshProtocol(pub(crate) Arc<Mesh>);

impl ProtocolHandler for MeshProtocol {
    async fn accept(&self, conn: Connection) -> Result<(), AcceptError> {
        if let Err(error) = self.0.welcome(conn).await {
            tracing::debug!(%error, "incoming connection not taken");
        }
        Ok(())
    }
}
