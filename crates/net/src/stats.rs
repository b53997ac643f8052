//! Count what passes, per network and per peer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::PeerId;
use crate::lock;

/// Totals since the start. Bytes are payload bytes of frames, requests, responses, gossip and
/// blobs; transport overhead is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Payload bytes sent.
    pub bytes_out: u64,
    /// Frames received.
    pub frames_in: u64,
    /// Frames handed to the transport.
    pub frames_out: u64,
    /// Frames dropped: queue full, or the connection ended before they were sent.
    pub dropped: u64,
    /// Messages that broke the rules: too large, truncated, not understood, wrong signature.
    pub malformed: u64,
    /// Peers connected now.
    pub peers: u64,
}

/// Payload bytes that were served to one peer since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// In frames.
    pub frames: u64,
    /// In responses to requests.
    pub responses: u64,
    /// In blobs.
    pub blobs: u64,
}

/// Peers whose malformed messages are counted one by one.
const MOST_BLAMED: usize = 4_096;

/// The live counters behind [`NetStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    dropped: AtomicU64,
    malformed: AtomicU64,
    served: Mutex<BTreeMap<PeerId, Served>>,
    malformed_by: Mutex<BTreeMap<PeerId, u64>>,
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn received(&self, bytes: usize) {
        add(&self.bytes_in, bytes);
    }

    pub(crate) fn frame_received(&self, bytes: usize) {
        add(&self.frames_in, 1);
        add(&self.bytes_in, bytes);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.bytes_out, bytes);
    }

    pub(crate) fn frame_sent(&self, peer: &PeerId, bytes: usize) {
        add(&self.frames_out, 1);
        add(&self.bytes_out, bytes);
        self.serve(peer, |served| served.frames += bytes as u64);
    }

    pub(crate) fn response_sent(&self, peer: &PeerId, bytes: usize) {
        add(&self.bytes_out, bytes);
        self.serve(peer, |served| served.responses += bytes as u64);
    }

    pub(crate) fn blob_sent(&self, peer: &PeerId, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        self.serve(peer, |served| served.blobs += bytes);
    }

    pub(crate) fn dropped(&self, frames: usize) {
        add(&self.dropped, frames);
    }

    pub(crate) fn malformed(&self, peer: Option<&PeerId>) {
        add(&self.malformed, 1);
        let Some(peer) = peer else { return };
        let mut by = lock(&self.malformed_by);
        // Peers are admitted ones, so there are not many; the bound is for strangers.
        if by.len() < MOST_BLAMED || by.contains_key(peer) {
            *by.entry(*peer).or_default() += 1;
        }
    }

    fn serve(&self, peer: &PeerId, change: impl FnOnce(&mut Served)) {
        change(lock(&self.served).entry(*peer).or_default());
    }

    pub(crate) fn malformed_by(&self) -> BTreeMap<PeerId, u64> {
        lock(&self.malformed_by).clone()
    }

    pub(crate) fn served(&self) -> BTreeMap<PeerId, Served> {
        lock(&self.served).clone()
    }

    pub(crate) fn snapshot(&self, peers: usize) -> NetStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NetStats {
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            frames_in: get(&self.frames_in),
            frames_out: get(&self.frames_out),
            dropped: get(&self.dropped),
            malformed: get(&self.malformed),
            peers: peers as u64,
        }
    }
}
