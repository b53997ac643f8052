//! Frames, requests, admission and reconnection between nodes on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use anthill_net::{CloseReason, MAX_FRAME, MAX_JOIN, NetError, NetEvent, short};
use common::{Admitted, CHAIN, Node, PATIENCE, Readers, pair, until};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn frames_arrive_in_order_both_ways() {
    let (mut a, mut b) = pair().await;
    let (id_a, id_b) = (a.id(), b.id());
    for i in 0..200u32 {
        a.net.send(&id_b, i.to_be_bytes().to_vec()).unwrap();
        b.net.send(&id_a, (i + 1000).to_be_bytes().to_vec()).unwrap();
    }
    for i in 0..200u32 {
        assert_eq!(b.frame().await, (id_a, i.to_be_bytes().to_vec()));
        assert_eq!(a.frame().await, (id_b, (i + 1000).to_be_bytes().to_vec()));
    }
    // The empty frame and the largest one pass, too.
    let large: Vec<u8> = (0..MAX_FRAME).map(|i| (i % 251) as u8).collect();
    a.net.send(&id_b, Vec::new()).unwrap();
    a.net.send(&id_b, large.clone()).unwrap();
    assert_eq!(b.frame().await, (id_a, Vec::new()));
    assert!(b.frame().await == (id_a, large));
    let (sent, received) = (a.net.stats(), b.net.stats());
    assert_eq!((sent.frames_out, received.frames_in), (202, 202));
    assert_eq!(sent.bytes_out, received.bytes_in);
    assert_eq!(a.net.served()[&id_b].frames, 800 + MAX_FRAME as u64);
    assert_eq!((received.malformed, sent.dropped, sent.peers), (0, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_dials_end_as_one_connection() {
    for round in 0..5 {
        let (mut a, mut b) = pair().await;
        // Whatever the second dial did, no connection goes down or up again.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(a.net.peers(), [b.id()], "round {round}");
        assert_eq!(b.net.peers(), [a.id()]);
        let event = a.events.try_recv();
        assert!(event.is_err(), "round {round}: {event:?}");
        let event = b.events.try_recv();
        assert!(event.is_err(), "round {round}: {event:?}");
        a.net.send(&b.id(), b"x".to_vec()).unwrap();
        b.frame().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_reaches_every_connected_peer() {
    let admitted = Admitted::default();
    let mut nodes = Vec::new();
    for seed in 1..=4 {
        nodes.push(Node::start(seed, &admitted).await);
    }
    for i in 0..nodes.len() {
        for j in 0..nodes.len() {
            if i != j {
                nodes[i].dial(&nodes[j]);
            }
        }
    }
    until("full mesh", || nodes.iter().all(|node| node.net.peers().len() == 3)).await;
    assert_eq!(nodes[0].net.broadcast(b"all".to_vec()), Ok(3));
    let from = nodes[0].id();
    for node in &mut nodes[1..] {
        assert_eq!(node.frame().await, (from, b"all".to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_get_their_answers() {
    let (a, mut b) = pair().await;
    let id_b = b.id();
    let server = tokio::spawn(async move {
        loop {
            let (bytes, reply) = b
                .next(|event| match event {
                    NetEvent::Request { bytes, reply, .. } => Some((bytes, reply)),
                    _ => None,
                })
                .await;
            match bytes.as_slice() {
                b"silence" => drop(reply),
                b"wait" => std::mem::forget(reply),
                b"large" => reply.send(vec![7; 16 << 20]).unwrap(),
                b"stop" => {
                    reply.send(b"bye".to_vec()).unwrap();
                    return b;
                }
                other => reply.send(other.iter().rev().copied().collect()).unwrap(),
            }
        }
    });
    let ask = |bytes: Vec<u8>| {
        let net = a.net.clone();
        async move { net.request(&id_b, &bytes, PATIENCE).await }
    };
    // More at a time than QUIC lets open at once.
    let asked: Vec<_> = (0..200u32).map(|i| tokio::spawn(ask(i.to_be_bytes().to_vec()))).collect();
    for (i, answer) in asked.into_iter().enumerate() {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer, (i as u32).to_le_bytes());
    }
    assert_eq!(ask(b"large".to_vec()).await.unwrap(), vec![7; 16 << 20]);
    let none = ask(b"silence".to_vec()).await;
    assert_eq!(none, Err(NetError::NoAnswer { peer: id_b }));
    let short = Duration::from_millis(100);
    let late = a.net.request(&id_b, b"wait", short).await;
    assert_eq!(late, Err(NetError::TimedOut { peer: id_b, after: short }));
    let large = a.net.request(&id_b, &vec![0; MAX_FRAME + 1], PATIENCE).await;
    assert!(matches!(large, Err(NetError::TooLarge { what: "request", .. })));
    let nobody = a.net.request(&[9; 32], b"", PATIENCE).await;
    assert!(matches!(nobody, Err(NetError::NotConnected { .. })));
    assert_eq!(ask(b"stop".to_vec()).await.unwrap(), b"bye");
    drop(server.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_on_sending() {
    let (a, b) = pair().await;
    let id = b.id();
    let large = a.net.send(&id, vec![0; MAX_FRAME + 1]);
    assert!(matches!(large, Err(NetError::TooLarge { what: "frame", .. })));
    let nobody = a.net.send(&[3; 32], Vec::new());
    assert_eq!(nobody, Err(NetError::NotConnected { peer: [3; 32] }));
    // Nobody takes b's events, so the queue fills and further frames are dropped and counted.
    let mut refused = 0;
    for _ in 0..200 {
        if a.net.send(&id, vec![0; 1 << 20]) == Err(NetError::QueueFull { peer: id }) {
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert_eq!(a.net.stats().dropped, refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_is_connected_again() {
    let (mut a, b) = pair().await;
    let (id_a, id_b) = (a.id(), b.id());
    let mut b = b.restart().await;
    assert_eq!(b.id(), id_b);
    let reason = a
        .next(|event| match event {
            NetEvent::PeerDown { peer, reason } if peer == id_b => Some(reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, CloseReason::Shutdown);
    // b does not know a: a comes back by itself.
    tokio::join!(a.up(id_b), b.up(id_a));
    a.net.send(&id_b, b"again".to_vec()).unwrap();
    assert_eq!(b.frame().await, (id_a, b"again".to_vec()));
    b.net.send(&id_a, b"welcome".to_vec()).unwrap();
    assert_eq!(a.frame().await, (id_b, b"welcome".to_vec()));
    a.net.remove_peer(&id_b);
    let reason = b
        .next(|event| match event {
            NetEvent::PeerDown { reason, .. } => Some(reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, CloseReason::Removed);
    assert_eq!(a.net.peer_states(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_may_only_ask_to_join() {
    let admitted = Admitted::default();
    let mut inside = Node::start(1, &admitted).await;
    let mut stranger = Node::on_chain(2, CHAIN, &admitted).await;
    let (id, addr) = (inside.id(), inside.addr());
    stranger.dial(&inside);
    let refusal = NetError::Closed { peer: id, reason: CloseReason::NotAdmitted };
    until("the refusal is known", || {
        let states = stranger.net.peer_states();
        states[0].last_error.as_ref() == Some(&refusal)
    })
    .await;
    assert_eq!((stranger.net.peers(), inside.net.peers()), (vec![], vec![]));
    let hash = inside.net.put_blob(b"secret".to_vec()).await.unwrap();
    inside.readers.add(stranger.id(), hash);
    let blob = stranger.net.fetch_blob(hash, &[id], 100).await;
    assert!(matches!(blob, Err(NetError::BlobDenied { denied: 1, .. })));

    let wanted = stranger.id();
    let admit = admitted.clone();
    let host = tokio::spawn(async move {
        for _ in 0..2 {
            let (from, bytes, reply) = inside
                .next(|event| match event {
                    NetEvent::JoinRequest { from, bytes, reply } => Some((from, bytes, reply)),
                    _ => None,
                })
                .await;
            assert_eq!(from, wanted);
            if bytes == b"please" {
                admit.add(from);
                reply.send(b"come in".to_vec()).unwrap();
            }
        }
        inside
    });
    let join = |bytes: Vec<u8>| {
        let net = stranger.net.clone();
        async move { net.join_request(vec![addr], id, &bytes, PATIENCE).await }
    };
    let long = join(vec![0; MAX_JOIN + 1]).await;
    assert!(matches!(long, Err(NetError::TooLarge { what: "join request", .. })));
    assert_eq!(join(b"rude".to_vec()).await, Err(refusal));
    assert_eq!(join(b"please".to_vec()).await, Ok(b"come in".to_vec()));
    let mut inside = host.await.unwrap();
    tokio::join!(stranger.up(id), inside.up(wanted));
    let blob = stranger.net.fetch_blob(hash, &[id], 100).await;
    assert_eq!(blob, Ok(b"secret".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_is_refused() {
    let admitted = Admitted::default();
    let ours = Node::start(1, &admitted).await;
    let other = Node::on_chain(2, [0x0e; 32], &admitted).await;
    admitted.add(other.id());
    other.dial(&ours);
    let wrong = NetError::WrongChain { peer: ours.id() };
    until("the chains are told apart", || {
        let states = other.net.peer_states();
        states[0].last_error.as_ref() == Some(&wrong)
    })
    .await;
    let joined = other.net.join_request(vec![ours.addr()], ours.id(), b"hi", PATIENCE).await;
    assert_eq!(joined, Err(wrong));
    assert_eq!((ours.net.peers(), other.net.peers()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_twice_on_one_port_says_what_to_do() {
    let admitted = Admitted::default();
    let node = Node::start(1, &admitted).await;
    let (addr, dir) = (node.addr(), Arc::new(TempDir::new().unwrap()));
    let again = Node::try_start(2, addr, CHAIN, dir, &admitted, Readers::default()).await;
    let error = again.err().unwrap();
    assert_eq!(error, NetError::PortTaken { addr });
    assert!(error.to_string().contains("port 0"), "{error}");
    let dir = Arc::new(TempDir::new().unwrap());
    let elsewhere = "192.0.2.1:0".parse().unwrap();
    let far = Node::try_start(2, elsewhere, CHAIN, dir, &admitted, Readers::default()).await;
    assert!(matches!(far.err().unwrap(), NetError::Bind { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_peers_are_typed_errors() {
    let admitted = Admitted::default();
    let node = Node::start(1, &admitted).await;
    let me = node.id();
    assert_eq!(node.net.add_peer(me, vec![]), Err(NetError::SelfPeer { peer: me }));
    // Not the encoding of a point on the curve.
    let mut bad = [0xff; 32];
    bad[31] = 0x7e;
    let mut bads = (0..=255u8).map(|byte| {
        bad[0] = byte;
        (bad, node.net.add_peer(bad, vec![]))
    });
    let (peer, error) = bads.find(|(_, added)| added.is_err()).unwrap();
    assert_eq!(error, Err(NetError::BadPeerId { peer }));
    assert_eq!(short(&peer).len(), 16);
    // Nobody listens there: the state says so, and the node lives.
    let absent = Node::start(9, &admitted).await;
    let (id, addr) = (absent.id(), absent.addr());
    absent.net.shutdown().await;
    node.net.add_peer(id, vec![addr]).unwrap();
    until("the dial failed", || {
        let states = node.net.peer_states();
        states
            .iter()
            .any(|state| state.peer == id && state.last_error.is_some() && state.attempts > 0)
    })
    .await;
}
