//! What the event loop, the HTTP server and the jobs of one node share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anthill_engine::Readers;
use anthill_engine::wire::PeerAddress;
use anthill_net::{Network, PeerId};
use anthill_store::Store;
use anthill_types::state::{Phase, TaskRecord};
use anthill_types::{Cid, Genesis, GenesisHash, NodeKey, TaskId, ValidatorKey};
use tokio::sync::broadcast;

use crate::drain::Drain;
use crate::events::Event;
use crate::home::{Home, Signers};
use crate::keyring::KeyRing;
use crate::metrics::Metrics;
use crate::programs::Models;
use crate::vn::Fleet;

/// Events kept for slow listeners.
const EVENT_BUFFER: usize = 1024;

/// Everything that does not change the chain.
pub struct Shared {
    /// The data folder.
    pub home: Home,
    /// The keys.
    pub keys: Signers,
    /// The genesis.
    pub genesis: Genesis,
    /// Its hash.
    pub genesis_hash: GenesisHash,
    /// Committed state, to read.
    pub store: Arc<dyn Store>,
    /// The transport.
    pub net: Network,
    /// The virtual nodes.
    pub fleet: Fleet,
    /// The network's tasks that run here.
    pub runs: crate::tasks::Runs,
    /// The models.
    pub models: Models,
    /// Who may read which blob.
    pub permissions: Arc<Permissions>,
    /// Counters.
    pub metrics: Metrics,
    /// Whether this node is leaving.
    pub drain: Drain,
    /// Everything that happens, for dashboards and jobs.
    pub events: broadcast::Sender<Event>,
    /// Tasks outside the event loop run here.
    pub runtime: tokio::runtime::Handle,
    /// What this node does wrong on purpose.
    pub fault: Option<FaultMode>,
    /// Indexes that were asked before.
    pub indexes: crate::search::Indexes,
    /// The graph that was looked at last.
    pub graphs: crate::graph::Graphs,
    /// Texts of particles.
    pub names: crate::graph::ParticleNames,
    /// What the autoscaler and the controller do.
    pub steering: crate::steer::Steering,
    /// Peers that are cut off.
    pub quarantine: Arc<crate::steer::Quarantine>,
    /// Virtual nodes that move between machines.
    pub moves: crate::moving::Moves,
    addresses: RwLock<BTreeMap<NodeKey, Vec<SocketAddr>>>,
    status: RwLock<ChainStatus>,
}

/// A way to misbehave on purpose, for demonstrations and tests of what the others do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultMode {
    /// Return wrong results for every task.
    WrongResults,
}

/// Where the chain stands, as of the newest block.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct ChainStatus {
    /// Newest height.
    pub height: u64,
    /// Its time.
    pub time_ms: u64,
    /// State root.
    pub root: anthill_types::Digest,
    /// Running epoch.
    pub epoch: u64,
    /// Waiting transactions.
    pub waiting: usize,
    /// The graph and its focus.
    pub focus: FocusStatus,
}

/// The graph, and the newest run of its focus.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct FocusStatus {
    /// Particles.
    pub particles: u64,
    /// Links of all neurons.
    pub links: u64,
    /// Height of the block that ran it; 0 while there is no particle.
    pub height: u64,
    /// Steps.
    pub iterations: u64,
    /// Sum of what the last step changed, of 2^62.
    pub residual: u64,
    /// Estimate of the spectral gap (nano), when this process has made the run.
    pub gap: Option<u64>,
}

/// Parts of [`Shared`] that the caller makes.
pub struct Parts {
    /// The data folder.
    pub home: Home,
    /// The keys.
    pub keys: Signers,
    /// The genesis.
    pub genesis: Genesis,
    /// The state database.
    pub store: Arc<dyn Store>,
    /// The transport.
    pub net: Network,
    /// The virtual nodes.
    pub fleet: Fleet,
    /// The models.
    pub models: Models,
    /// Who may read which blob (the transport asks it too).
    pub permissions: Arc<Permissions>,
    /// What to do wrong.
    pub fault: Option<FaultMode>,
    /// Peers that are cut off (the transport asks it too).
    pub quarantine: Arc<crate::steer::Quarantine>,
    /// Whose nodes exchange virtual nodes with this one.
    pub partners: crate::moving::Partners,
}

impl Shared {
    /// Puts the parts together; call it inside a tokio runtime.
    pub fn new(parts: Parts) -> Self {
        let genesis_hash = parts.genesis.hash();
        Self {
            home: parts.home,
            keys: parts.keys,
            genesis: parts.genesis,
            genesis_hash,
            store: parts.store,
            net: parts.net,
            fleet: parts.fleet,
            runs: crate::tasks::Runs::default(),
            models: parts.models,
            permissions: parts.permissions,
            metrics: Metrics::default(),
            drain: Drain::default(),
            events: broadcast::channel(EVENT_BUFFER).0,
            runtime: tokio::runtime::Handle::current(),
            fault: parts.fault,
            indexes: crate::search::Indexes::default(),
            graphs: crate::graph::Graphs::default(),
            names: crate::graph::ParticleNames::default(),
            steering: crate::steer::Steering::default(),
            quarantine: parts.quarantine,
            moves: crate::moving::Moves::new(parts.partners),
            addresses: RwLock::default(),
            status: RwLock::default(),
        }
    }

    /// Where the chain stands.
    pub fn status(&self) -> ChainStatus {
        *self.status.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_status(&self, status: ChainStatus) {
        *self.status.write().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Notes who may read a task's blobs here.
    pub(crate) fn permit(&self, task: &TaskRecord, mut readers: Readers) {
        let own = self.keys.account_id();
        let keys = KeyRing(self.home.clone());
        if let Some(holders) = keys.input_readers(&task.spec, &task.submitter, &own) {
            readers.input.retain(|node| holders.contains(node));
        }
        let (node, validator) = (self.keys.node_key(), self.keys.validator_key());
        self.permissions.set(task, readers, &node, &validator);
    }

    /// Committed state, to read.
    ///
    /// # Errors
    /// The store fails.
    pub fn state(&self) -> Result<anthill_ledger::State<'_>, anthill_ledger::LedgerError> {
        anthill_ledger::State::open(self.store.as_ref())
    }

    /// Learns where a node can be reached, dials it, and remembers it for the next start.
    pub fn learn_address(&self, peer: &PeerAddress) {
        if peer.node == self.keys.node_key() || peer.addresses.len() > 8 {
            return;
        }
        let addresses: Vec<SocketAddr> =
            peer.addresses.iter().filter_map(|a| a.parse().ok()).collect();
        if addresses.is_empty() {
            return;
        }
        let changed = {
            let mut known = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
            let changed = known.get(&peer.node) != Some(&addresses);
            known.insert(peer.node, addresses.clone());
            changed
        };
        if changed {
            if let Err(error) = self.net.add_peer(peer.node.0, addresses) {
                tracing::warn!(%error, "a peer cannot be dialled");
            }
            if let Err(error) = self.home.save_json("peers.json", &self.peer_texts()) {
                tracing::warn!(%error, "peers could not be saved");
            }
        }
    }

    fn peer_texts(&self) -> BTreeMap<String, Vec<String>> {
        let known = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        let text = |a: &Vec<SocketAddr>| a.iter().map(ToString::to_string).collect();
        known.iter().map(|(k, a)| (k.to_string(), text(a))).collect()
    }

    /// This node's own address and all that it knows.
    pub fn addresses(&self) -> Vec<PeerAddress> {
        let text = |a: &[SocketAddr]| a.iter().map(ToString::to_string).collect();
        let own =
            PeerAddress { node: self.keys.node_key(), addresses: text(&self.net.local_addrs()) };
        let known = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        let others = known.iter().map(|(k, a)| PeerAddress { node: *k, addresses: text(a) });
        std::iter::once(own).chain(others).collect()
    }

    /// The peers that are connected and registered on the chain.
    pub fn connected(&self) -> Vec<PeerId> {
        self.net.peers()
    }
}

/// Who may read which blob: by default only those to whom a task gives the right
/// (`docs/spec/protocol.md` 12).
#[derive(Default)]
pub struct Permissions {
    readers: Mutex<BTreeMap<Cid, BTreeMap<TaskId, BTreeSet<NodeKey>>>>,
    public: Mutex<BTreeSet<Cid>>,
    lent: Mutex<BTreeMap<(PeerId, Cid), u32>>,
}

impl Permissions {
    /// Replaces what a task allows.
    pub fn set(
        &self,
        task: &TaskRecord,
        readers: Readers,
        node: &NodeKey,
        validator: &ValidatorKey,
    ) {
        let mut map = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if !crate::http::run::is_builtin(&task.spec.program) {
            map.entry(task.spec.program).or_default().insert(task.id, readers.input.clone());
        }
        map.entry(task.spec.input).or_default().insert(task.id, readers.input);
        for cid in own_outputs(task, node, validator) {
            map.entry(cid).or_default().insert(task.id, readers.output.clone());
        }
    }

    /// Opens a blob to every admitted node.
    pub fn open(&self, cid: Cid) {
        self.public.lock().unwrap_or_else(PoisonError::into_inner).insert(cid);
    }

    /// Lets one peer read a blob until [`Permissions::take_back`], once for each call.
    pub fn lend(&self, peer: &PeerId, cid: Cid) {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        *lent.entry((*peer, cid)).or_default() += 1;
    }

    /// Ends what [`Permissions::lend`] began.
    pub fn take_back(&self, peer: &PeerId, cid: Cid) {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let left = lent.get_mut(&(*peer, cid)).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            lent.remove(&(*peer, cid));
        }
    }

    /// True when this node may have this blob.
    pub fn allows(&self, peer: &PeerId, hash: &[u8; 32]) -> bool {
        let (cid, node) = (Cid(*hash), NodeKey(*peer));
        if self.public.lock().unwrap_or_else(PoisonError::into_inner).contains(&cid) {
            return true;
        }
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        if lent.contains_key(&(*peer, cid)) {
            return true;
        }
        drop(lent);
        let map = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(&cid).is_some_and(|tasks| tasks.values().any(|nodes| nodes.contains(&node)))
    }
}

/// The outputs of a task that this node itself computed, as worker or on the committee.
fn own_outputs(task: &TaskRecord, node: &NodeKey, validator: &ValidatorKey) -> BTreeSet<Cid> {
    let mine = task.replicas.iter().filter(|r| r.node == *node);
    let mut cids: BTreeSet<Cid> = mine.filter_map(|r| r.result.map(|x| x.output)).collect();
    if let Phase::Doubted { committee, .. } = &task.phase {
        let mine = committee.iter().filter(|v| v.validator == *validator);
        cids.extend(mine.filter_map(|v| v.result.map(|x| x.output)));
    }
    cids
}
