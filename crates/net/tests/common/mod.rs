//! Starts networks on loopback and waits for their events.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anthill_net::{NetConfig, NetError, NetEvent, Network, PeerId};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const CHAIN: [u8; 32] = [0xc4; 32];

/// Who is admitted, shared by the nodes of one test.
#[derive(Clone, Default)]
pub struct Admitted(Arc<Mutex<BTreeSet<PeerId>>>);

impl Admitted {
    pub fn add(&self, peer: PeerId) {
        self.0.lock().unwrap().insert(peer);
    }
}

/// A reader and the hash of what it may read.
type Grant = (PeerId, [u8; 32]);

/// Readers of blobs.
#[derive(Clone, Default)]
pub struct Readers(Arc<Mutex<BTreeSet<Grant>>>);

impl Readers {
    pub fn add(&self, peer: PeerId, hash: [u8; 32]) {
        self.0.lock().unwrap().insert((peer, hash));
    }
}

pub struct Node {
    pub net: Network,
    pub events: mpsc::Receiver<NetEvent>,
    pub admitted: Admitted,
    pub readers: Readers,
    pub dir: Arc<TempDir>,
    pub seed: u8,
}

pub fn config(
    seed: u8,
    bind: SocketAddr,
    chain: [u8; 32],
    dir: &TempDir,
    admitted: &Admitted,
    readers: &Readers,
) -> NetConfig {
    let (admitted, readers) = (admitted.clone(), readers.clone());
    NetConfig::new(
        [seed; 32],
        bind,
        chain,
        dir.path().join("blobs"),
        Arc::new(move |peer| admitted.0.lock().unwrap().contains(&peer)),
        Arc::new(move |peer, hash| readers.0.lock().unwrap().contains(&(peer, hash))),
    )
}

impl Node {
    pub async fn on_chain(seed: u8, chain: [u8; 32], admitted: &Admitted) -> Node {
        let dir = Arc::new(TempDir::new().unwrap());
        let bind = "127.0.0.1:0".parse().unwrap();
        Node::try_start(seed, bind, chain, dir, admitted, Readers::default()).await.unwrap()
    }

    /// A node that is admitted and admits all that are.
    pub async fn start(seed: u8, admitted: &Admitted) -> Node {
        let node = Node::on_chain(seed, CHAIN, admitted).await;
        admitted.add(node.id());
        node
    }

    pub async fn try_start(
        seed: u8,
        bind: SocketAddr,
        chain: [u8; 32],
        dir: Arc<TempDir>,
        admitted: &Admitted,
        readers: Readers,
    ) -> Result<Node, NetError> {
        let config = config(seed, bind, chain, &dir, admitted, &readers);
        let (net, events) = Network::start(config).await?;
        Ok(Node { net, events, admitted: admitted.clone(), readers, dir, seed })
    }

    /// Stops the node and starts it again on the same key, port and folder.
    pub async fn restart(self) -> Node {
        let (addr, admitted) = (self.addr(), self.admitted.clone());
        let (dir, readers, seed) = (self.dir.clone(), self.readers.clone(), self.seed);
        self.net.shutdown().await;
        drop(self);
        Node::try_start(seed, addr, CHAIN, dir, &admitted, readers).await.unwrap()
    }

    pub fn id(&self) -> PeerId {
        self.net.peer_id()
    }

    pub fn addr(&self) -> SocketAddr {
        self.net.local_addrs()[0]
    }

    pub fn dial(&self, other: &Node) {
        self.net.add_peer(other.id(), vec![other.addr()]).unwrap();
    }

    /// The next event that `pick` takes; the others are passed over.
    pub async fn next<T>(&mut self, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the network lives");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("the event comes")
    }

    pub async fn up(&mut self, other: PeerId) {
        self.next(|event| match event {
            NetEvent::PeerUp { peer } if peer == other => Some(()),
            _ => None,
        })
        .await;
    }

    pub async fn frame(&mut self) -> (PeerId, Vec<u8>) {
        self.next(|event| match event {
            NetEvent::Frame { from, bytes } => Some((from, bytes)),
            _ => None,
        })
        .await
    }

    pub async fn gossip(&mut self) -> (PeerId, Vec<u8>) {
        self.next(|event| match event {
            NetEvent::Gossip { from, bytes } => Some((from, bytes)),
            _ => None,
        })
        .await
    }
}

/// Waits until `done` holds.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Two connected nodes.
pub async fn pair() -> (Node, Node) {
    let admitted = Admitted::default();
    let mut a = Node::start(1, &admitted).await;
    let mut b = Node::start(2, &admitted).await;
    a.dial(&b);
    b.dial(&a);
    let (id_a, id_b) = (a.id(), b.id());
    tokio::join!(a.up(id_b), b.up(id_a));
    (a, b)
}
