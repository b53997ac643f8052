//! Keep blobs by BLAKE3 hash, serve them to those who may read them, fetch them from peers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, ProtocolHandler};
use iroh_blobs::Hash;
use iroh_blobs::HashAndFormat;
use iroh_blobs::api::blobs::BlobStatus;
use iroh_blobs::get::GetError;
use iroh_blobs::get::request::get_verified_size;
use iroh_blobs::protocol::ERR_PERMISSION;
use iroh_blobs::provider::events::{
    AbortReason, ConnectMode, EventMask, EventSender, ObserveMode, ProviderMessage, RequestMode,
    RequestUpdate, ThrottleMode,
};
use iroh_blobs::provider::handle_connection;
use iroh_blobs::store::GcConfig;
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::store::fs::options::Options;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::{MayRead, NetConfig, PeerId};
use crate::error::{CloseReason, NetError};
use crate::lock;
use crate::mesh::Mesh;
use crate::stats::Counters;

/// Blobs that are fetched at a time.
const MAX_FETCHES: usize = 16;
/// Connections for blobs that are kept open.
const MAX_CONNECTIONS: usize = 64;
/// Time in which a peer must say how large a blob is.
const SIZE_TIMEOUT: Duration = Duration::from_secs(10);
/// A fetch may take this long, and one second more per [`SLOWEST`] bytes.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes per second below which a fetch is given up.
const SLOWEST: u64 = 64 << 10;

/// The blob store and what serves it.
#[derive(Clone)]
pub(crate) struct Blobs {
    store: FsStore,
    dir: PathBuf,
    may_read: MayRead,
    counters: Arc<Counters>,
    fetches: Arc<Semaphore>,
    open: Arc<Mutex<BTreeMap<PeerId, Connection>>>,
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blobs({})", self.dir.display())
    }
}

/// Why one peer did not give a blob.
enum Miss {
    Denied,
    Other(String),
}

impl Blobs {
    /// Opens the store in `config.blob_dir`, making the folder when it is missing.
    pub(crate) async fn open(
        config: &NetConfig,
        counters: Arc<Counters>,
    ) -> Result<Self, NetError> {
        let dir = config.blob_dir.clone();
        let failed = |cause: String| NetError::BlobStore { dir: dir.clone(), cause };
        std::fs::create_dir_all(&dir).map_err(|error| failed(error.to_string()))?;
        let mut options = Options::new(&dir);
        options.gc = Some(GcConfig { interval: config.gc_interval, add_protected: None });
        let store = FsStore::load_with_opts(dir.join("blobs.db"), options)
            .await
            .map_err(|error| failed(format!("{error:#}")))?;
        Ok(Blobs {
            store,
            dir,
            may_read: config.may_read.clone(),
            counters,
            fetches: Arc::new(Semaphore::new(MAX_FETCHES)),
            open: Arc::default(),
        })
    }

    fn failed(&self, cause: impl std::fmt::Display) -> NetError {
        NetError::BlobStore { dir: self.dir.clone(), cause: format!("{cause:#}") }
    }

    /// Stores a blob and keeps it until [`Blobs::delete`].
    pub(crate) async fn put(&self, bytes: Vec<u8>) -> Result<[u8; 32], NetError> {
        let adding = self.store.add_bytes(bytes);
        let held = adding.temp_tag().await.map_err(|e| self.failed(e))?;
        self.keep(held.hash()).await?;
        Ok(*held.hash().as_bytes())
    }

    /// Tags a blob, so that it is neither collected nor denied.
    async fn keep(&self, hash: Hash) -> Result<(), NetError> {
        let tags = self.store.tags();
        tags.set(tag(&hash), HashAndFormat::raw(hash)).await.map_err(|e| self.failed(e))
    }

    async fn kept(&self, hash: &Hash) -> bool {
        matches!(self.store.tags().get(tag(hash)).await, Ok(Some(_)))
    }

    /// Reads a blob that is stored here, if it is.
    pub(crate) async fn get(&self, hash: [u8; 32]) -> Result<Option<Vec<u8>>, NetError> {
        let hash = Hash::from_bytes(hash);
        if !self.kept(&hash).await {
            return Ok(None);
        }
        match self.store.status(hash).await {
            Ok(BlobStatus::Complete { .. }) => {
                let bytes = self.store.get_bytes(hash).await;
                bytes.map(|b| Some(b.into())).map_err(|e| self.failed(e))
            }
            Ok(_) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Forgets a blob; the space comes back at the next collection. Says whether it was here.
    pub(crate) async fn delete(&self, hash: [u8; 32]) -> Result<bool, NetError> {
        let tags = self.store.tags();
        let gone = tags.delete(tag(&Hash::from_bytes(hash))).await;
        gone.map(|n| n > 0).map_err(|e| self.failed(e))
    }

    /// Reads a blob here or at the first of `peers` that gives it.
    pub(crate) async fn fetch(
        &self,
        mesh: &Mesh,
        hash: [u8; 32],
        peers: &[PeerId],
        max: u64,
    ) -> Result<Vec<u8>, NetError> {
        if let Some(bytes) = self.get(hash).await? {
            check_size(bytes.len() as u64, max)?;
            return Ok(bytes);
        }
        let _permit = self.fetches.acquire().await.map_err(|_| NetError::Stopped)?;
        let (mut denied, mut last) = (0, String::from("nobody to ask"));
        for peer in peers {
            match self.fetch_from(mesh, hash, *peer, max).await? {
                Ok(bytes) => return Ok(bytes),
                Err(Miss::Denied) => denied += 1,
                Err(Miss::Other(cause)) => last = cause,
            }
        }
        let asked = peers.len();
        if denied > 0 {
            return Err(NetError::BlobDenied { hash, denied, asked });
        }
        Err(NetError::BlobUnavailable { hash, asked, last })
    }

    /// Tries one peer. The outer error ends the whole fetch, the inner one only this try.
    async fn fetch_from(
        &self,
        mesh: &Mesh,
        hash: [u8; 32],
        peer: PeerId,
        max: u64,
    ) -> Result<Result<Vec<u8>, Miss>, NetError> {
        let conn = match self.connect(mesh, peer).await {
            Ok(conn) => conn,
            Err(NetError::Closed { reason: CloseReason::NotAdmitted, .. }) => {
                return Ok(Err(Miss::Denied));
            }
            Err(error) => return Ok(Err(Miss::Other(error.to_string()))),
        };
        let wanted = Hash::from_bytes(hash);
        let size = match timeout(SIZE_TIMEOUT, get_verified_size(&conn, &wanted)).await {
            Ok(Ok((size, _))) => size,
            Ok(Err(error)) => return Ok(Err(miss(&conn, &error))),
            Err(_) => return Ok(Err(Miss::Other("no size in time".into()))),
        };
        // The size is proved by the hash, so no other peer has a smaller blob to offer.
        check_size(size, max)?;
        let held = self.store.tags().temp_tag(HashAndFormat::raw(wanted)).await;
        let held = held.map_err(|e| self.failed(e))?;
        let remote = self.store.remote();
        let fetching = remote.fetch(conn.clone(), HashAndFormat::raw(wanted));
        let limit = FETCH_TIMEOUT + Duration::from_secs(size / SLOWEST);
        match timeout(limit, fetching.complete()).await {
            Ok(Ok(stats)) => {
                let bytes = usize::try_from(stats.payload_bytes_read).unwrap_or(usize::MAX);
                self.counters.received(bytes);
            }
            Ok(Err(error)) => return Ok(Err(miss(&conn, &error))),
            Err(_) => return Ok(Err(Miss::Other(format!("slower than {SLOWEST} B/s")))),
        }
        self.keep(wanted).await?;
        drop(held);
        Ok(self.get(hash).await?.ok_or_else(|| Miss::Other("incomplete".into())))
    }

    /// An open connection for blobs, or a new one.
    async fn connect(&self, mesh: &Mesh, peer: PeerId) -> Result<Connection, NetError> {
        if let Some(conn) = lock(&self.open).get(&peer)
            && conn.close_reason().is_none()
        {
            return Ok(conn.clone());
        }
        let conn = mesh.connect(peer, Vec::new(), &mesh.alpns.blobs).await?;
        let mut open = lock(&self.open);
        open.retain(|_, conn| conn.close_reason().is_none());
        if open.len() >= MAX_CONNECTIONS {
            open.pop_first();
        }
        open.insert(peer, conn.clone());
        Ok(conn)
    }

    pub(crate) async fn shutdown(&self) {
        lock(&self.open).clear();
        if let Err(error) = self.store.shutdown().await {
            tracing::warn!(%error, "blob store did not shut down cleanly");
        }
    }

    /// Whether `peer` may have the blob that it asks for.
    async fn allows(&self, peer: PeerId, hash: &Hash, only_root: bool) -> bool {
        // A request that goes past the root would reach blobs that it does not name.
        only_root && (self.may_read)(peer, *hash.as_bytes()) && self.kept(hash).await
    }

    /// Answers what the provider asks about the requests of one connection.
    async fn authorise(
        self,
        peer: PeerId,
        mut messages: tokio::sync::mpsc::Receiver<ProviderMessage>,
    ) {
        while let Some(message) = messages.recv().await {
            match message {
                ProviderMessage::GetRequestReceived(get) => {
                    let request = &get.inner.request;
                    let only_root = request.ranges.is_blob();
                    let allowed = self.allows(peer, &request.hash, only_root).await;
                    let verdict = if allowed { Ok(()) } else { Err(AbortReason::Permission) };
                    let _ = get.tx.send(verdict).await;
                    if allowed {
                        tokio::spawn(count(peer, get.rx, self.counters.clone()));
                    }
                }
                ProviderMessage::ObserveRequestReceived(observe) => {
                    let _ = observe.tx.send(Err(AbortReason::Permission)).await;
                }
                ProviderMessage::ConnectionClosed(_) => return,
                // The mask below lets nothing else through; an unanswered question is a refusal.
                _ => {}
            }
        }
    }
}

/// Counts the bytes that one request got.
async fn count(
    peer: PeerId,
    mut updates: irpc::channel::mpsc::Receiver<RequestUpdate>,
    counters: Arc<Counters>,
) {
    while let Ok(Some(update)) = updates.recv().await {
        let stats = match update {
            RequestUpdate::Completed(done) => done.stats,
            RequestUpdate::Aborted(cut) => cut.stats,
            RequestUpdate::Started(_) | RequestUpdate::Progress(_) => continue,
        };
        counters.blob_sent(&peer, stats.payload_bytes_sent);
    }
}

/// The tag that keeps a blob.
fn tag(hash: &Hash) -> String {
    format!("kept/{}", hash.to_hex())
}

fn check_size(size: u64, max: u64) -> Result<(), NetError> {
    if size > max {
        return Err(NetError::TooLarge {
            what: "blob",
            len: usize::try_from(size).unwrap_or(usize::MAX),
            max: usize::try_from(max).unwrap_or(usize::MAX),
        });
    }
    Ok(())
}

/// What a failed get means.
fn miss(conn: &Connection, error: &GetError) -> Miss {
    let refused = conn.close_reason().map(|error| CloseReason::of(&error));
    if error.iroh_error_code() == Some(ERR_PERMISSION) || refused == Some(CloseReason::NotAdmitted)
    {
        Miss::Denied
    } else {
        Miss::Other(format!("{error:#}"))
    }
}

/// Which requests are put to us, and which are refused outright.
const MASK: EventMask = EventMask {
    connected: ConnectMode::None,
    get: RequestMode::InterceptLog,
    get_many: RequestMode::Disabled,
    push: RequestMode::Disabled,
    observe: ObserveMode::Intercept,
    throttle: ThrottleMode::None,
};

impl ProtocolHandler for Blobs {
    async fn accept(&self, conn: Connection) -> Result<(), AcceptError> {
        let peer = *conn.remote_id().as_bytes();
        let (events, messages) = EventSender::channel(32, MASK);
        tokio::spawn(self.clone().authorise(peer, messages));
        let store: &iroh_blobs::api::Store = &self.store;
        handle_connection(conn, store.clone(), events).await;
        Ok(())
    }

    async fn shutdown(&self) {
        Blobs::shutdown(self).await;
    }
}
