//! Moving a virtual node's task to another machine, as two state machines without clock and network.
//!
//! The machine that was given the task (the [`Source`]) stays answerable for it: it keeps the snapshot,
//! signs the receipt, and takes the task back when the other machine (the [`Host`]) refuses, fails or
//! falls silent. So a task that moves is settled once, whatever the network or either machine does, and
//! since a snapshot and the input decide every later byte, the result and the meter are those of a run
//! that never moved.

use std::collections::BTreeMap;

use anthill_types::{Bytes, Cid, Digest, planted, wire};
use minicbor::{Decode, Encode};

use crate::steady::Steady;

/// A machine, by its transport key.
pub type Machine = [u8; 32];

/// A host drops a task whose source was silent for so long.
pub const LEASE_MS: u64 = 10_000;
/// A source takes its task back when the host was silent for so long; less than [`LEASE_MS`].
pub const PATIENCE_MS: u64 = 4_000;
/// First pause between two questions; it doubles up to [`MOST_PAUSE_MS`].
pub const FIRST_PAUSE_MS: u64 = 5;
/// Longest pause between two questions.
pub const MOST_PAUSE_MS: u64 = 200;

/// A task that stands between two steps, offered to another machine.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Offer {
    /// The program.
    #[n(0)]
    pub program: Cid,
    /// Its parameters.
    #[n(1)]
    pub params: Bytes,
    /// Content id of its input.
    #[n(2)]
    pub input: Cid,
    /// Length of the input.
    #[n(3)]
    pub input_len: u64,
    /// The most it may cost in all.
    #[n(4)]
    pub cost_limit: u64,
    /// Content id of the snapshot.
    #[n(5)]
    pub snapshot: Cid,
    /// Length of the snapshot.
    #[n(6)]
    pub snapshot_len: u64,
}

/// What a source says; each message has one [`Answer`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Message {
    /// Take this task.
    #[n(0)]
    Offer {
        /// The source's number for the move.
        #[n(0)]
        ticket: u64,
        /// The task.
        #[n(1)]
        offer: Offer,
    },
    /// How far is it?
    #[n(1)]
    Ask {
        /// The move.
        #[n(0)]
        ticket: u64,
    },
    /// Forget it.
    #[n(2)]
    Release {
        /// The move.
        #[n(0)]
        ticket: u64,
    },
}

/// How a task ended on the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Ended {
    /// Content id of the output.
    #[n(0)]
    pub output: Cid,
    /// Root over the digests of the state on the way, where there are any.
    #[n(1)]
    pub chunks: Option<Digest>,
    /// Reference cost of the whole task.
    #[n(2)]
    pub cost: u64,
}

/// What a host answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Answer {
    /// It runs here.
    #[n(0)]
    Running {
        /// Reference cost so far.
        #[n(0)]
        cost: u64,
    },
    /// It is done; the output is kept until the release.
    #[n(1)]
    Finished(#[n(0)] Ended),
    /// It is not here, or could not be run: the source must do it.
    #[n(2)]
    Refused {
        /// Why.
        #[n(0)]
        reason: String,
    },
}

wire! {
    Message = "migration message", max 2048;
    Answer = "migration answer", max 1024;
}

/// What the source does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceOut {
    /// Send this, and give the answer (or none) back.
    Send(Message),
    /// The host has the output: fetch it, then release.
    Fetch(Ended),
    /// The move failed: go on from the snapshot here.
    TakeBack {
        /// Why.
        reason: String,
    },
}

/// The side that owns the task.
#[derive(Clone, Debug)]
pub struct Source {
    time: Steady,
    ticket: u64,
    offer: Offer,
    accepted: bool,
    ended: bool,
    heard_ms: u64,
    next_ms: u64,
    pause_ms: u64,
    waiting: bool,
}

impl Source {
    /// A move with a number that this machine never used before.
    pub fn new(ticket: u64, offer: Offer, now_ms: u64) -> Self {
        Self {
            time: Steady::new(now_ms),
            ticket,
            offer,
            accepted: false,
            ended: false,
            heard_ms: now_ms,
            next_ms: now_ms,
            pause_ms: FIRST_PAUSE_MS,
            waiting: false,
        }
    }

    /// When [`Source::tick`] has something to do again.
    pub fn next_wake(&self) -> u64 {
        let wake = if self.waiting { self.heard_ms + PATIENCE_MS } else { self.next_ms };
        self.time.clock_at(wake)
    }

    /// True once the move has ended, either way.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) -> Option<SourceOut> {
        if self.ended {
            return None;
        }
        let now_ms = self.time.at(now_ms);
        if now_ms >= self.heard_ms + PATIENCE_MS {
            return self.take_back("the other machine is silent".into());
        }
        if self.waiting || now_ms < self.next_ms {
            return None;
        }
        self.waiting = true;
        Some(SourceOut::Send(self.question()))
    }

    /// The host answered, or (`None`) the message or its answer was lost.
    pub fn answered(&mut self, answer: Option<Answer>, now_ms: u64) -> Option<SourceOut> {
        if self.ended {
            return None;
        }
        let now_ms = self.time.at(now_ms);
        self.waiting = false;
        self.pause_ms = (self.pause_ms * 2).min(MOST_PAUSE_MS);
        self.next_ms = now_ms + self.pause_ms;
        if answer.is_some() {
            self.heard_ms = now_ms;
        }
        match answer {
            None => None,
            Some(Answer::Running { .. }) => {
                self.accepted = true;
                None
            }
            Some(Answer::Finished(ended)) => {
                self.ended = true;
                Some(SourceOut::Fetch(ended))
            }
            Some(Answer::Refused { reason }) => self.take_back(reason),
        }
    }

    fn question(&self) -> Message {
        let ticket = self.ticket;
        if self.accepted {
            Message::Ask { ticket }
        } else {
            Message::Offer { ticket, offer: self.offer.clone() }
        }
    }

    fn take_back(&mut self, reason: String) -> Option<SourceOut> {
        self.ended = !planted!(AwaitTakenBack);
        Some(SourceOut::TakeBack { reason })
    }
}

/// A task on the host: whose, and the source's number.
pub type Key = (Machine, u64);

/// What the host does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostOut {
    /// Fetch the snapshot and the input from the source, and go on with the task.
    Begin(Key, Offer),
    /// Stop it and forget its output.
    Drop(Key),
}

#[derive(Clone, Debug)]
struct Held {
    offer: Offer,
    state: Answer,
    heard_ms: u64,
}

/// The side that runs tasks of others.
#[derive(Clone, Debug, Default)]
pub struct Host {
    time: Steady,
    held: BTreeMap<Key, Held>,
    most: usize,
}

impl Host {
    /// A host of at most so many tasks at once.
    pub fn new(most: usize) -> Self {
        Self { time: Steady::default(), held: BTreeMap::new(), most }
    }

    /// Tasks that are here.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Answers a message; `welcome` says whether this machine may send tasks here.
    pub fn on(
        &mut self,
        from: Machine,
        message: Message,
        welcome: bool,
        now_ms: u64,
    ) -> (Answer, Option<HostOut>) {
        let now_ms = self.time.at(now_ms);
        match message {
            Message::Offer { ticket, offer } => {
                self.offered((from, ticket), offer, welcome, now_ms)
            }
            Message::Ask { ticket } => {
                let held = self.held.get_mut(&(from, ticket)).map(|held| {
                    held.heard_ms = now_ms;
                    held.state.clone()
                });
                (held.unwrap_or_else(|| refused("it is not here")), None)
            }
            Message::Release { ticket } => {
                let key = (from, ticket);
                let out = self.held.remove(&key).map(|_| HostOut::Drop(key));
                (refused("released"), out)
            }
        }
    }

    fn offered(
        &mut self,
        key: Key,
        offer: Offer,
        welcome: bool,
        now_ms: u64,
    ) -> (Answer, Option<HostOut>) {
        if let Some(held) = self.held.get_mut(&key) {
            if held.offer != offer {
                return (refused("the number stands for another task"), None);
            }
            held.heard_ms = now_ms;
            return (held.state.clone(), None);
        }
        if !welcome && !planted!(TakeStrangers) {
            return (refused("this machine takes no virtual nodes from you"), None);
        }
        if self.held.len() >= self.most {
            return (refused("this machine is full"), None);
        }
        let state = Answer::Running { cost: 0 };
        self.held
            .insert(key, Held { offer: offer.clone(), state: state.clone(), heard_ms: now_ms });
        (state, Some(HostOut::Begin(key, offer)))
    }

    /// The task has come so far.
    pub fn progress(&mut self, key: &Key, cost: u64) {
        if let Some(held) = self.held.get_mut(key)
            && matches!(held.state, Answer::Running { .. })
        {
            held.state = Answer::Running { cost };
        }
    }

    /// The task ended here, or could not be run.
    pub fn ended(&mut self, key: &Key, result: Result<Ended, String>) {
        if let Some(held) = self.held.get_mut(key) {
            held.state = match result {
                Ok(ended) => Answer::Finished(ended),
                Err(reason) => refused(&reason),
            };
        }
    }

    /// Drops the tasks whose sources fell silent.
    pub fn expire(&mut self, now_ms: u64) -> Vec<HostOut> {
        let now_ms = self.time.at(now_ms);
        let silent = |held: &Held| now_ms >= held.heard_ms + LEASE_MS;
        let gone: Vec<Key> =
            self.held.iter().filter(|(_, held)| silent(held)).map(|(key, _)| *key).collect();
        gone.into_iter()
            .map(|key| {
                self.held.remove(&key);
                HostOut::Drop(key)
            })
            .collect()
    }
}

fn refused(reason: &str) -> Answer {
    Answer::Refused { reason: reason.chars().take(200).collect() }
}

#[cfg(test)]
mod tests;
