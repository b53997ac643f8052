//! The controllers' message queue (seed 3, P2P mesh): first in, first out, delivered one by one after
//! a delay that shrinks when many wait, to all but the sender.

use std::collections::{BTreeSet, VecDeque};

use thiserror::Error;

/// More waiting messages than this shorten the delay.
pub const CROWDED: usize = 100;
/// Seconds between two deliveries.
pub const DELAY_S: f64 = 0.001;
/// Seconds between two deliveries while more than [`CROWDED`] wait.
pub const CROWDED_DELAY_S: f64 = 0.0003;
/// Most messages that may wait.
pub const CAPACITY: usize = 65_536;

/// What controllers tell one another.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// Set the standing anomalies, the risk weight, or both.
    Inject {
        /// Anomalies.
        anoms: Option<u64>,
        /// Risk weight.
        weight: Option<f64>,
    },
    /// The sender saw a threat of at least 0.6 in a beat.
    Threat {
        /// Its beat.
        beat: u64,
        /// Its threat score.
        threat: f64,
    },
}

/// A message with its sender.
#[derive(Clone, PartialEq, Debug)]
pub struct Message<Id, N = News> {
    /// Who sent it.
    pub from: Id,
    /// What it says.
    pub news: N,
}

/// Why a message was not taken.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum QueueError {
    /// Too many wait.
    #[error("{CAPACITY} messages wait already; this one is lost")]
    Full,
}

/// The queue.
#[derive(Clone, Debug)]
pub struct Queue<Id, N = News> {
    peers: BTreeSet<Id>,
    waiting: VecDeque<Message<Id, N>>,
    /// When the next one may be delivered, seconds.
    due_s: f64,
}

impl<Id: Ord + Clone, N> Queue<Id, N> {
    /// An empty queue for these peers.
    pub fn new(peers: impl IntoIterator<Item = Id>) -> Self {
        Self { peers: peers.into_iter().collect(), waiting: VecDeque::new(), due_s: 0.0 }
    }

    /// Adds a peer.
    pub fn add(&mut self, peer: Id) {
        self.peers.insert(peer);
    }

    /// Takes a peer out; what it sent is still delivered.
    pub fn remove(&mut self, peer: &Id) {
        self.peers.remove(peer);
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Seconds between two deliveries now.
    pub fn delay_s(&self) -> f64 {
        if self.waiting.len() > CROWDED { CROWDED_DELAY_S } else { DELAY_S }
    }

    /// Puts a message at the end; the first of an empty queue is due one delay later.
    ///
    /// # Errors
    /// The queue is full.
    pub fn push(&mut self, message: Message<Id, N>, now_s: f64) -> Result<(), QueueError> {
        if self.waiting.len() >= CAPACITY {
            return Err(QueueError::Full);
        }
        self.waiting.push_back(message);
        if self.waiting.len() == 1 {
            self.due_s = self.due_s.max(now_s + self.delay_s());
        }
        Ok(())
    }

    /// When [`Queue::step`] has something to give, seconds; none: nothing waits.
    pub fn due_s(&self) -> Option<f64> {
        (!self.waiting.is_empty()).then_some(self.due_s)
    }

    /// The oldest message, if its time has come, with all peers but its sender.
    pub fn step(&mut self, now_s: f64) -> Option<(Message<Id, N>, Vec<Id>)> {
        if now_s < self.due_s {
            return None;
        }
        let message = self.waiting.pop_front()?;
        self.due_s = now_s + self.delay_s();
        let to = self.peers.iter().filter(|peer| **peer != message.from).cloned().collect();
        Some((message, to))
    }
}
