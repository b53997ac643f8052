//! Peers that break the rules, and peers that are killed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anthill_net::{CloseReason, MAX_FRAME, NetEvent, tls};
use common::{Admitted, CHAIN, Node, PATIENCE, Readers};
use iroh::endpoint::{Connection, ConnectionError, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey, TransportAddr};
use tokio::time::timeout;

/// A peer that speaks QUIC and nothing else by itself.
struct Rogue {
    _endpoint: Endpoint,
    conn: Connection,
    send: SendStream,
    recv: RecvStream,
}

impl Rogue {
    /// Connects to `node` with an id that is larger or smaller than its.
    async fn connect(node: &Node, larger: bool) -> Rogue {
        let key = (0..=255)
            .map(|seed| SecretKey::from_bytes(&[seed; 32]))
            .find(|key| (key.public().as_bytes() > &node.id()) == larger)
            .unwrap();
        node.admitted.add(*key.public().as_bytes());
        let endpoint = Endpoint::builder(presets::Empty)
            .crypto_provider(tls::provider())
            .secret_key(key)
            .relay_mode(RelayMode::Disabled)
            .bind()
            .await
            .unwrap();
        let chain: String = CHAIN.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = EndpointId::from_bytes(&node.id()).unwrap();
        let addr = EndpointAddr::from_parts(id, [TransportAddr::Ip(node.addr())]);
        let alpn = format!("anthill/mesh/1/{chain}");
        let conn = endpoint.connect(addr, alpn.as_bytes()).await.unwrap();
        let (send, recv) = conn.open_bi().await.unwrap();
        Rogue { _endpoint: endpoint, conn, send, recv }
    }

    /// Does what a good peer does up to the first frame.
    async fn greet(mut self) -> Self {
        self.send.write_all(b"ANT1").await.unwrap();
        self.send.write_all(&[7; 16]).await.unwrap();
        let mut hello = [0; 20];
        self.recv.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello[..4], b"ANT1");
        // The node has the smaller id and says that this connection counts.
        let mut go = [0];
        self.recv.read_exact(&mut go).await.unwrap();
        assert_eq!(go, [1]);
        self
    }

    /// The code and text with which the node closed.
    async fn closed(&self) -> (u64, String) {
        match timeout(PATIENCE, self.conn.closed()).await.unwrap() {
            ConnectionError::ApplicationClosed(close) => {
                let text = String::from_utf8(close.reason.to_vec()).unwrap();
                (close.error_code.into_inner(), text)
            }
            other => panic!("{other}"),
        }
    }
}

async fn down(node: &mut Node) -> CloseReason {
    node.next(|event| match event {
        NetEvent::PeerDown { reason, .. } => Some(reason),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_frame_closes_the_connection() {
    let mut node = Node::start(1, &Admitted::default()).await;
    let mut rogue = Rogue::connect(&node, true).await.greet().await;
    rogue.send.write_all(&[0, 0, 0, 2, 5, 6]).await.unwrap();
    assert_eq!(node.frame().await.1, [5, 6]);
    let len = u32::try_from(MAX_FRAME + 1).unwrap();
    rogue.send.write_all(&len.to_be_bytes()).await.unwrap();
    let text = "message longer than allowed".to_string();
    assert_eq!(rogue.closed().await, (3, text));
    assert_eq!(down(&mut node).await, CloseReason::TooLarge);
    assert_eq!(node.net.stats().malformed, 1);
    assert_eq!(node.net.peers(), Vec::<[u8; 32]>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_frame_closes_the_connection() {
    let mut node = Node::start(1, &Admitted::default()).await;
    let mut rogue = Rogue::connect(&node, true).await.greet().await;
    rogue.send.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
    rogue.send.finish().unwrap();
    assert_eq!(rogue.closed().await.0, 4);
    assert_eq!(down(&mut node).await, CloseReason::Malformed);
    assert_eq!(node.net.stats().malformed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_hello_closes_the_connection() {
    let node = Node::start(1, &Admitted::default()).await;
    let mut rogue = Rogue::connect(&node, true).await;
    rogue.send.write_all(&[b'X'; 20]).await.unwrap();
    assert_eq!(rogue.closed().await.0, 4);
    // A smaller id must say GO, not something else.
    let mut rogue = Rogue::connect(&node, false).await;
    rogue.send.write_all(b"ANT1").await.unwrap();
    rogue.send.write_all(&[9; 17]).await.unwrap();
    assert_eq!(rogue.closed().await.0, 4);
    assert_eq!(node.net.stats().malformed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_request_closes_the_connection() {
    let mut node = Node::start(1, &Admitted::default()).await;
    let rogue = Rogue::connect(&node, true).await.greet().await;
    let (mut send, _recv) = rogue.conn.open_bi().await.unwrap();
    send.write_all(&[0xff; 4]).await.unwrap();
    assert_eq!(rogue.closed().await.0, 3);
    assert_eq!(down(&mut node).await, CloseReason::TooLarge);
    assert_eq!(node.net.stats().malformed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_peer_is_cut_off() {
    let mut node = Node::start(1, &Admitted::default()).await;
    let rogue = Rogue::connect(&node, true).await.greet().await;
    node.net.remove_peer(rogue._endpoint.id().as_bytes());
    assert_eq!(rogue.closed().await.0, 5);
    assert_eq!(down(&mut node).await, CloseReason::Removed);
}

/// Tells [`child`] where to listen and whom to admit.
const CHILD: &str = "ANTHILL_NET_TEST_CHILD";

/// Not a test by itself: the process that `a_killed_peer_is_noticed_and_welcomed_back` kills.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(bind) = std::env::var(CHILD) else {
        return;
    };
    let admitted = Admitted::default();
    admitted.add(*SecretKey::from_bytes(&[1; 32]).public().as_bytes());
    let dir = Arc::new(tempfile::TempDir::new().unwrap());
    let bind = bind.parse().unwrap();
    let started = Node::try_start(2, bind, CHAIN, dir, &admitted, Readers::default()).await;
    let mut node = started.unwrap();
    loop {
        let (from, bytes) = node.frame().await;
        node.net.send(&from, bytes).unwrap();
    }
}

fn spawn(bind: std::net::SocketAddr) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, bind.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_is_noticed_and_welcomed_back() {
    let admitted = Admitted::default();
    let mut node = Node::start(1, &admitted).await;
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let bind = free.local_addr().unwrap();
    drop(free);
    let peer = *SecretKey::from_bytes(&[2; 32]).public().as_bytes();
    admitted.add(peer);
    node.net.add_peer(peer, vec![bind]).unwrap();
    for round in [b"1", b"2"] {
        let mut process = spawn(bind);
        node.up(peer).await;
        node.net.send(&peer, round.to_vec()).unwrap();
        assert_eq!(node.frame().await, (peer, round.to_vec()));
        process.kill().unwrap();
        process.wait().unwrap();
        let killed = std::time::Instant::now();
        assert_eq!(down(&mut node).await, CloseReason::TimedOut);
        println!("noticed after {:?}", killed.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_comes_back_at_once_replaces_its_dead_self() {
    let admitted = Admitted::default();
    let mut node = Node::start(1, &admitted).await;
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let bind = free.local_addr().unwrap();
    drop(free);
    let peer = *SecretKey::from_bytes(&[2; 32]).public().as_bytes();
    admitted.add(peer);
    node.net.add_peer(peer, vec![bind]).unwrap();
    let mut process = spawn(bind);
    node.up(peer).await;
    process.kill().unwrap();
    process.wait().unwrap();
    let mut process = spawn(bind);
    node.up(peer).await;
    node.net.send(&peer, b"back".to_vec()).unwrap();
    assert_eq!(node.frame().await, (peer, b"back".to_vec()));
    process.kill().unwrap();
    process.wait().unwrap();
}
