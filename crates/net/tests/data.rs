//! Gossip and blobs between nodes on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use anthill_net::{MAX_GOSSIP, NetError};
use common::{Admitted, Node, pair, until};

/// Gossips `text` from `from` until `to` has it: joining the topic takes a moment.
async fn spread(from: &Node, to: &mut Node, text: &[u8]) {
    let sender = from.net.clone();
    let bytes = text.to_vec();
    let sending = tokio::spawn(async move {
        loop {
            sender.gossip(&bytes).unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    loop {
        let (author, got) = to.gossip().await;
        if got == text {
            assert_eq!(author, from.id());
            break;
        }
    }
    sending.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_reaches_the_third_node_and_a_restarted_one() {
    let admitted = Admitted::default();
    let a = Node::start(1, &admitted).await;
    let b = Node::start(2, &admitted).await;
    let mut c = Node::start(3, &admitted).await;
    // A line: a and c do not know each other's address.
    a.dial(&b);
    c.dial(&b);
    spread(&a, &mut c, b"from a, by way of b").await;
    assert!(a.net.send(&c.id(), b"".to_vec()).is_err());
    let mut b = b.restart().await;
    spread(&a, &mut b, b"to b again").await;
    spread(&a, &mut c, b"to c again").await;
    let long = a.net.gossip(&vec![1; MAX_GOSSIP + 1]);
    assert!(matches!(
        long,
        Err(NetError::TooLarge { what: "gossip message", max: MAX_GOSSIP, .. })
    ));
    spread(&a, &mut c, &vec![1; MAX_GOSSIP]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_fetched_by_those_who_may_read_them() {
    let (a, b) = pair().await;
    let (id_a, id_b) = (a.id(), b.id());
    let data: Vec<u8> = (0..3_000_000u32).map(|i| (i % 253) as u8).collect();
    let hash = a.net.put_blob(data.clone()).await.unwrap();
    assert_eq!(hash, *blake3::hash(&data).as_bytes());
    assert_eq!(a.net.get_blob(hash).await, Ok(Some(data.clone())));
    assert_eq!(b.net.get_blob(hash).await, Ok(None));

    let denied = b.net.fetch_blob(hash, &[id_a], 1 << 30).await;
    assert_eq!(denied, Err(NetError::BlobDenied { hash, denied: 1, asked: 1 }));
    assert_eq!(b.net.get_blob(hash).await, Ok(None));

    a.readers.add(id_b, hash);
    let small = b.net.fetch_blob(hash, &[id_a], 2_999_999).await;
    assert!(matches!(small, Err(NetError::TooLarge { what: "blob", len: 3_000_000, .. })));
    // The first peer is nobody; the second one has it.
    let nobody = *ed25519_public(77).as_slice().first_chunk().unwrap();
    b.admitted.add(nobody);
    let fetched = b.net.fetch_blob(hash, &[nobody, id_a], 3_000_000).await;
    assert!(fetched == Ok(data.clone()));
    assert_eq!(b.net.get_blob(hash).await, Ok(Some(data.clone())));
    until("served bytes are counted", || {
        a.net.served().get(&id_b).is_some_and(|s| s.blobs >= 3_000_000)
    })
    .await;

    let other = [0x55; 32];
    a.readers.add(id_b, other);
    let absent = b.net.fetch_blob(other, &[id_a], 100).await;
    assert!(absent.is_err(), "{absent:?}");
    let nobody = b.net.fetch_blob(other, &[], 100).await;
    assert!(matches!(nobody, Err(NetError::BlobUnavailable { asked: 0, .. })));
}

/// The public key of a seed, from the library that the node does not use directly.
fn ed25519_public(seed: u8) -> Vec<u8> {
    let key = iroh::SecretKey::from_bytes(&[seed; 32]);
    key.public().as_bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_survive_a_restart_and_are_deleted_by_name() {
    let (a, b) = pair().await;
    let (id_a, id_b) = (a.id(), b.id());
    let small = a.net.put_blob(b"small".to_vec()).await.unwrap();
    let large = a.net.put_blob(vec![9; 100_000]).await.unwrap();
    let empty = a.net.put_blob(Vec::new()).await.unwrap();
    for hash in [small, large, empty] {
        a.readers.add(id_b, hash);
    }
    let a = a.restart().await;
    assert_eq!(a.net.get_blob(small).await, Ok(Some(b"small".to_vec())));
    assert_eq!(a.net.get_blob(empty).await, Ok(Some(Vec::new())));
    let fetched = b.net.fetch_blob(large, &[id_a], 100_000).await;
    assert!(fetched == Ok(vec![9; 100_000]), "{:?}", fetched.err());
    assert_eq!(b.net.fetch_blob(empty, &[id_a], 0).await, Ok(Vec::new()));
    assert_eq!(a.net.delete_blob(small).await, Ok(true));
    assert_eq!(a.net.delete_blob(small).await, Ok(false));
    assert_eq!(a.net.get_blob(small).await, Ok(None));
    let gone = b.net.fetch_blob(small, &[id_a], 100).await;
    assert!(matches!(gone, Err(NetError::BlobDenied { .. })), "{gone:?}");
}
