//! Spread small signed announcements over one topic, the chain, and stay in it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::{EndpointId, SecretKey, Signature};
use iroh_gossip::api::{Event, GossipReceiver, GossipSender};
use iroh_gossip::net::Gossip;
use iroh_gossip::proto::TopicId;
use n0_future::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::config::{MAX_GOSSIP, NetEvent, PeerId};
use crate::endpoint::endpoint_id;
use crate::error::NetError;
use crate::mesh::Mesh;

/// Bytes before the payload: author, number used once, signature.
const ENVELOPE: usize = 32 + 8 + 64;
/// Room for the protocol's own framing.
const OVERHEAD: usize = 512;
/// Announcements that wait to be sent.
pub(crate) const QUEUE: usize = 256;
/// How often a node without neighbours joins its connected peers again.
const REJOIN: Duration = Duration::from_secs(2);
const SIGNED: &[u8] = b"anthill/1/gossip\0";

/// Starts the protocol on the mesh's endpoint.
pub(crate) fn start(mesh: &Mesh) -> Gossip {
    Gossip::builder()
        .alpn(&mesh.alpns.gossip)
        .max_message_size(MAX_GOSSIP + ENVELOPE + OVERHEAD)
        .spawn(mesh.endpoint.clone())
}

/// Signs announcements and opens them.
#[derive(Debug, Clone)]
pub(crate) struct Envelopes {
    key: SecretKey,
    chain: [u8; 32],
}

impl Envelopes {
    pub(crate) fn new(key: SecretKey, chain: [u8; 32]) -> Self {
        Envelopes { key, chain }
    }

    fn signed(&self, nonce: &[u8], payload: &[u8]) -> Vec<u8> {
        [SIGNED, &self.chain, nonce, payload].concat()
    }

    /// Puts `payload` into an envelope. The number used once lets the same text be sent again:
    /// gossip passes equal bytes on only once.
    pub(crate) fn seal(&self, payload: &[u8]) -> Result<Bytes, NetError> {
        if payload.len() > MAX_GOSSIP {
            return Err(NetError::TooLarge {
                what: "gossip message",
                len: payload.len(),
                max: MAX_GOSSIP,
            });
        }
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|_| NetError::Stopped)?;
        let signature = self.key.sign(&self.signed(&nonce, payload)).to_bytes();
        let author = self.key.public();
        Ok([&author.as_bytes()[..], &nonce, &signature, payload].concat().into())
    }

    /// The author and payload of an envelope, or `None` when its signature is wrong.
    pub(crate) fn open(&self, envelope: &[u8]) -> Option<(PeerId, Vec<u8>)> {
        let (author, rest) = envelope.split_first_chunk::<32>()?;
        let (nonce, rest) = rest.split_first_chunk::<8>()?;
        let (signature, payload) = rest.split_first_chunk::<64>()?;
        let signature = Signature::from_bytes(signature);
        EndpointId::from_bytes(author)
            .ok()?
            .verify(&self.signed(nonce, payload), &signature)
            .ok()?;
        Some((*author, payload.to_vec()))
    }
}

/// Stays in the topic until the endpoint closes: sends what `outbox` brings, joins who comes `up`,
/// reports what arrives.
pub(crate) async fn run(
    gossip: Gossip,
    mesh: Arc<Mesh>,
    envelopes: Envelopes,
    mut outbox: mpsc::Receiver<Bytes>,
    mut up: mpsc::Receiver<PeerId>,
) {
    let topic = TopicId::from_bytes(envelopes.chain);
    while !mesh.endpoint.is_closed() {
        if let Ok(joined) = gossip.subscribe(topic, neighbours(&mesh)).await {
            let (sender, receiver) = joined.split();
            let channels = (&mut outbox, &mut up);
            if !stay(&mesh, &envelopes, &sender, receiver, channels).await {
                return;
            }
        }
        // The topic closed under us (we lagged, or gossip restarted): join it again.
        sleep(Duration::from_millis(200)).await;
    }
}

/// One membership of the topic; `false` when the owner is gone.
async fn stay(
    mesh: &Arc<Mesh>,
    envelopes: &Envelopes,
    sender: &GossipSender,
    mut receiver: GossipReceiver,
    (outbox, up): (&mut mpsc::Receiver<Bytes>, &mut mpsc::Receiver<PeerId>),
) -> bool {
    let mut tick = interval(REJOIN);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let alone = receiver.neighbors().next().is_none();
        let done = tokio::select! {
            bytes = outbox.recv() => match bytes {
                Some(bytes) => sender.broadcast(bytes).await.is_err(),
                None => return false,
            },
            peer = up.recv() => match peer.map(|peer| endpoint_id(&peer)) {
                Some(Ok(peer)) => sender.join_peers(vec![peer]).await.is_err(),
                Some(Err(_)) => false,
                None => return false,
            },
            _ = tick.tick() => {
                let peers = if alone { neighbours(mesh) } else { Vec::new() };
                !peers.is_empty() && sender.join_peers(peers).await.is_err()
            }
            event = receiver.next() => match event {
                Some(Ok(Event::Received(message))) => {
                    deliver(mesh, envelopes, &message.content).await;
                    false
                }
                Some(Ok(Event::NeighborUp(_) | Event::NeighborDown(_))) => false,
                Some(Ok(Event::Lagged) | Err(_)) | None => true,
            },
        };
        if done {
            return true;
        }
    }
}

/// Reports an announcement of an admitted author; counts what is not one.
async fn deliver(mesh: &Arc<Mesh>, envelopes: &Envelopes, content: &[u8]) {
    let Some((from, bytes)) = envelopes.open(content) else {
        return mesh.counters.malformed(None);
    };
    if !mesh.gate.admits(from) {
        return;
    }
    mesh.counters.received(bytes.len());
    let _ = mesh.events.send(NetEvent::Gossip { from, bytes }).await;
}

/// All connected peers.
fn neighbours(mesh: &Mesh) -> Vec<EndpointId> {
    let live = mesh.live();
    live.iter().map(|link| link.conn.remote_id()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_open_only_unaltered_and_on_their_chain() {
        let key = SecretKey::from_bytes(&[5; 32]);
        let envelopes = Envelopes::new(key.clone(), [1; 32]);
        let sealed = envelopes.seal(b"here I am").unwrap();
        let (author, payload) = envelopes.open(&sealed).unwrap();
        assert_eq!(author, *key.public().as_bytes());
        assert_eq!(payload, b"here I am");
        assert!(Envelopes::new(key, [2; 32]).open(&sealed).is_none());
        for at in 0..sealed.len() {
            let mut bad = sealed.to_vec();
            bad[at] ^= 1;
            assert!(envelopes.open(&bad).is_none(), "byte {at}");
            assert!(envelopes.open(&sealed[..at]).is_none(), "cut at {at}");
        }
        assert_ne!(sealed, envelopes.seal(b"here I am").unwrap());
        assert!(envelopes.seal(&[0; MAX_GOSSIP]).is_ok());
        assert!(envelopes.seal(&[0; MAX_GOSSIP + 1]).is_err());
    }
}
