//! Starts and stops a node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anthill_engine::wire::{Announcement, PeerAddress};
use anthill_ledger::Ledger;
use anthill_net::{NetConfig, NetEvent, Network};
use anthill_store::Store;
use anthill_types::task::MAX_CAPABILITIES;
use anthill_types::{Digest, Genesis, NodeKey, Wire, keys};
use tokio::sync::mpsc;

use crate::calibrate;
use crate::config::Config;
use crate::driver::Driver;
use crate::error::NodeError;
use crate::handle::Handle;
use crate::home::{Home, Signers};
use crate::input::Input;
use crate::keyring::KeyRing;
use crate::programs::{self, Models};
use crate::shared::{FaultMode, Parts, Permissions, Shared};
use crate::state_file;
use crate::vn::{Fleet, Limits};

/// Inputs that may wait for the event loop.
const INBOX: usize = 8192;
/// How often a node says where it can be reached.
const ANNOUNCE: Duration = Duration::from_secs(10);

/// A running node.
pub struct Node {
    /// To ask and to steer it.
    pub handle: Handle,
    /// Where its API listens.
    pub http: SocketAddr,
    engine: JoinHandle<Result<(), NodeError>>,
    steering: [JoinHandle<()>; 2],
}

/// What is true of this start alone.
#[derive(Default)]
pub struct Options {
    /// Misbehave on purpose.
    pub fault: Option<FaultMode>,
    /// Nodes to dial, beside those that the folder knows.
    pub peers: Vec<PeerAddress>,
    /// Go on, under a new validator key, although the state database is lost.
    pub accept_lost_state: bool,
}

impl Node {
    /// Starts the node of a data folder; call it inside a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// [`NodeError`] says what to do.
    pub async fn start(home: Home, config: &Config, options: Options) -> Result<Self, NodeError> {
        let genesis = home.genesis()?;
        home.keys()?;
        // What cannot be used is found before anything runs.
        home.token()?;
        let store: Arc<dyn Store> = Arc::new(state_file::open(&home, options.accept_lost_state)?);
        // The validator's may be new by now.
        let keys = home.keys()?;
        let mut ledger = Ledger::open(store.clone(), genesis.clone())?;
        ledger.set_parallel(Arc::new(crate::threads::Cores::default()));
        // The API's port first: it is the commonest thing to be taken, and cheap to give back.
        let listener = crate::http::bind(config.http()).await?;
        let permissions = Arc::new(Permissions::default());
        let quarantine = Arc::new(crate::steer::Quarantine::default());
        let doors = (&permissions, &quarantine);
        let (net, events) = start_network(&home, &keys, &genesis, config, &store, doors).await?;
        let models = crate::search::load_models(&home)?;
        let vn_max = ledger.state()?.params()?.vn_max;
        let fleet = start_virtual_nodes(config, &models, &KeyRing(home.clone()), vn_max)?;
        let parts = Parts {
            home,
            keys,
            genesis,
            store,
            net,
            fleet,
            models,
            permissions,
            fault: options.fault,
            quarantine,
            partners: config.partners(),
        };
        let shared = Arc::new(Shared::new(parts));
        dial_known(&shared, &options.peers)?;
        let (outbox, inbox) = mpsc::channel(INBOX);
        let engine = start_engine(ledger, shared.clone(), inbox, outbox.clone())?;
        forward(events, outbox.clone());
        let handle = Handle::new(shared.clone(), outbox, calibrate::units_per_second());
        let http = crate::http::serve(listener, handle.clone())?;
        tokio::spawn(announce(handle.clone()));
        let steering = crate::steer::start(&handle, config)?;
        crate::index::resume_all(&handle);
        Ok(Self { handle, http, engine, steering })
    }

    /// Waits until the event loop ends (it fails, or [`Handle::stop`] was called) and closes the
    /// transport.
    ///
    /// # Errors
    /// Why the loop failed.
    pub async fn wait(self) -> Result<(), NodeError> {
        let (engine, steering) = (self.engine, self.steering);
        let ended = tokio::task::spawn_blocking(move || engine.join()).await;
        self.handle.shared.steering.stop();
        // They hold the state: it is closed properly only when they have let go of it.
        let let_go = move || steering.into_iter().all(|thread| thread.join().is_ok());
        let _ = tokio::task::spawn_blocking(let_go).await;
        self.handle.shared.fleet.stop();
        self.handle.shared.net.shutdown().await;
        match ended {
            Ok(Ok(result)) => result,
            _ => Err(NodeError::System {
                what: "the event loop",
                error: std::io::Error::other("its thread panicked; see the log"),
            }),
        }
    }
}

async fn start_network(
    home: &Home,
    keys: &Signers,
    genesis: &Genesis,
    config: &Config,
    store: &Arc<dyn Store>,
    (permissions, quarantine): (&Arc<Permissions>, &Arc<crate::steer::Quarantine>),
) -> Result<(Network, mpsc::Receiver<NetEvent>), NodeError> {
    let admitted = store.clone();
    let cut_off = quarantine.clone();
    let admit = Arc::new(move |peer: [u8; 32]| {
        !cut_off.holds(&peer) && matches!(admitted.get(&keys::node(&NodeKey(peer))), Ok(Some(_)))
    });
    let readers = permissions.clone();
    let may_read = Arc::new(move |peer: [u8; 32], hash: [u8; 32]| readers.allows(&peer, &hash));
    let config = NetConfig::new(
        keys.secret,
        config.listen(),
        genesis.hash().0,
        home.blobs(),
        admit,
        may_read,
    );
    Ok(Network::start(config).await?)
}

/// Starts the virtual nodes: as many as configured, and no more than governance allows a node.
fn start_virtual_nodes(
    config: &Config,
    models: &Models,
    keys: &KeyRing,
    vn_max: u64,
) -> Result<Fleet, NodeError> {
    let sandbox = programs::sandbox(models, keys);
    let limits = Arc::new(Limits::new(config.cpu(), config.paused()));
    let count = config.virtual_nodes().min(usize::try_from(vn_max).unwrap_or(usize::MAX));
    let wasm = crate::modules::engine(vn_max)?;
    let threads = crate::threads::cores().min(count.max(1));
    Fleet::start(threads, count, sandbox, wasm, limits)
        .map_err(|error| NodeError::System { what: "starting virtual nodes", error })
}

fn dial_known(shared: &Shared, extra: &[PeerAddress]) -> Result<(), NodeError> {
    let known: Option<BTreeMap<String, Vec<String>>> = shared.home.load_json("peers.json")?;
    for (node, addresses) in known.unwrap_or_default() {
        if let Ok(node) = node.parse() {
            shared.learn_address(&PeerAddress { node, addresses });
        }
    }
    extra.iter().for_each(|peer| shared.learn_address(peer));
    Ok(())
}

fn start_engine(
    ledger: Ledger,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Input>,
    outbox: mpsc::Sender<Input>,
) -> Result<JoinHandle<Result<(), NodeError>>, NodeError> {
    let runtime = shared.runtime.clone();
    let driver = Driver::new(ledger, shared, inbox, outbox)?;
    std::thread::Builder::new()
        .name("engine".into())
        .spawn(move || {
            let result = driver.run(&runtime);
            if let Err(error) = &result {
                tracing::error!(%error, "the node stops");
            }
            result
        })
        .map_err(|error| NodeError::System { what: "starting the event loop", error })
}

fn forward(mut events: mpsc::Receiver<NetEvent>, outbox: mpsc::Sender<Input>) {
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if outbox.send(Input::Net(event)).await.is_err() {
                return;
            }
        }
    });
}

/// Says again and again where this node can be reached and what it offers.
async fn announce(handle: Handle) {
    let shared = handle.shared.clone();
    loop {
        let own = shared.addresses().into_iter().next();
        if let Some(address) = own {
            let bytes = Announcement::Address(address).to_bytes();
            if let Err(error) = shared.net.gossip(&bytes) {
                tracing::debug!(%error, "the address was not announced");
            }
        }
        if let Err(error) = handle.announce_offer().await {
            tracing::debug!(%error, "the offer was not announced");
        }
        tokio::time::sleep(ANNOUNCE).await;
    }
}

/// The capabilities of a node that has this folder's models and keys.
///
/// # Errors
/// A model file is damaged.
pub fn capabilities(home: &Home) -> Result<Vec<Digest>, NodeError> {
    Ok(offered(&crate::search::load_models(home)?, &KeyRing(home.clone())))
}

/// What models (the decoder too) and keys let a node offer, ascending.
pub fn offered(models: &Models, keys: &KeyRing) -> Vec<Digest> {
    let mut all = models.capabilities();
    all.extend(keys.capabilities());
    all.extend(anthill_learn::Decoder::embedded().ok().map(|d| Digest(d.hash())));
    all.sort();
    all.truncate(MAX_CAPABILITIES);
    all
}
