//! Snowman: consensus by repeated polls of small random samples, certified by signatures.
//!
//! Validators propose in the order that the parent's beacon draws; a later window opens when the one
//! before brought nothing. Everybody then polls samples of the validators about the child of the last
//! committed block ([`election`]), and signs what it has accepted, once in a height. More than two
//! thirds of the stake's signatures are the certificate, and only with it a block is committed. So two
//! certified blocks at a height need a third of the stake to sign twice, whatever the samples say:
//! sampling decides how soon all sign the same block, not whether two can be final.
//!
//! Votes cannot be forged by who relays them: proposals and precommits are signed; the answer to a
//! question carries a nonce of 128 bits that went to the asked validator's own node alone.

pub mod bootstrap;
mod codec;
mod config;
pub mod election;
pub mod flake;
mod height;
mod messages;
pub mod parameters;
pub mod poll;
pub mod sample;
mod signing;
pub mod topological;
pub mod tree;

use crate::neighbours::Neighbours;
use crate::{Consensus, ConsensusError, In, Out, TimerId, TimerKind};
use codec::{Entry, Message};
pub use config::{Config, Waits};
use height::Height;

/// The height that a message of this back-end speaks of; `None` when the bytes are no message.
pub(crate) fn message_height(bytes: &[u8]) -> Option<u64> {
    Message::from_bytes(bytes).ok().map(|message| message.height())
}

/// The Snowman state machine of one node.
///
/// The effects of a step come in a fixed order: all [`Out::Persist`] first (one sync to disk is
/// enough), then messages, timers and requests, and [`Out::Commit`] last.
pub struct Snowman {
    config: Config,
    now_ms: u64,
    outs: Vec<Out>,
    /// Log entries of the height that is to be started first.
    log: Vec<Entry>,
    neighbours: Neighbours,
    height: Option<Height>,
}

impl std::fmt::Debug for Snowman {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snowman").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Snowman {
    /// A node that has not started; feed the log as [`In::Replay`], then [`In::Start`].
    pub fn new(config: Config) -> Self {
        let neighbours = Neighbours::new(config.waits.rebroadcast_ms);
        Self { config, now_ms: 0, outs: Vec::new(), log: Vec::new(), neighbours, height: None }
    }

    /// Height and window that the node is in; `None` before the first [`In::Start`].
    pub fn position(&self) -> Option<(u64, u32)> {
        self.height.as_ref().map(|height| (height.number, height.window))
    }

    /// Whether the current height is decided and [`In::Start`] of the next is awaited.
    pub fn is_decided(&self) -> bool {
        self.height.as_ref().is_some_and(|height| height.decided)
    }

    /// Polls that have ended at the current height.
    pub fn rounds(&self) -> u32 {
        self.height.as_ref().map_or(0, |height| height.election.rounds())
    }

    fn replay(&mut self, entries: &[Vec<u8>]) -> Result<(), ConsensusError> {
        if self.height.is_some() || !self.log.is_empty() {
            return Err(ConsensusError::OutOfOrder("the log is replayed once, before the start"));
        }
        let read = |(index, bytes): (usize, &Vec<u8>)| {
            Entry::from_bytes(bytes).map_err(|detail| ConsensusError::DamagedLog { index, detail })
        };
        self.log = entries.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn start(
        &mut self,
        number: u64,
        validators: &[([u8; 32], u64)],
        beacon: &[u8; 32],
    ) -> Result<(), ConsensusError> {
        if self.height.as_ref().is_some_and(|height| number <= height.number) {
            return Err(ConsensusError::OutOfOrder(
                "a height is started once, and never a lower one",
            ));
        }
        let set = crate::set::checked(number, validators)?;
        self.cancel_timers();
        self.height = Some(Height::new(&self.config, number, set, beacon, self.now_ms)?);
        let log = std::mem::take(&mut self.log);
        for entry in log.into_iter().filter(|entry| entry.height() == number) {
            self.recover(entry)?;
        }
        self.set_timer(TimerKind::Rebroadcast, 0, self.config.waits.rebroadcast_ms);
        self.open_window(0);
        for (from, bytes) in self.neighbours.take_early(number) {
            match self.message(from, &bytes) {
                // The peer is not blamed: what it sent early may have been judged too late.
                Err(ConsensusError::Malformed(_) | ConsensusError::Refused(_)) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn timer(&mut self, id: TimerId) -> Result<(), ConsensusError> {
        let Some(height) = self.height.as_mut().filter(|height| !height.decided) else {
            return Ok(());
        };
        if !height.timers.remove(&id) {
            return Ok(());
        }
        match id.kind {
            TimerKind::Propose => self.open_window(id.round),
            TimerKind::Poll => {
                height.poll_timer = None;
                let repeat = height.election.tick(self.now_ms);
                for (poll, validators) in repeat {
                    self.ask(poll, &validators);
                }
            }
            TimerKind::Rebroadcast => self.rebroadcast(),
            TimerKind::Prevote | TimerKind::Precommit => {}
        }
        Ok(())
    }

    /// Begins what polls are wanted, signs what is accepted, commits what is certified.
    fn advance(&mut self) -> Result<(), ConsensusError> {
        loop {
            self.poll();
            if !self.sign_accepted()? && !self.commit_certified()? {
                break;
            }
        }
        self.reconsider();
        self.set_poll_timer();
        Ok(())
    }

    fn poll(&mut self) {
        let now = self.now_ms;
        while let Some(height) = self.height.as_mut().filter(|height| !height.decided) {
            let Some((poll, asked)) = height.election.begin_poll(now) else { return };
            self.ask(poll, &asked);
        }
    }

    /// Sends a poll's question to validators, each with a nonce of its own.
    fn ask(&mut self, poll: u32, validators: &[usize]) {
        let Some(height) = self.height.as_mut() else { return };
        for validator in validators {
            let Some(key) = height.keys.get(*validator).copied() else { continue };
            let message = Message::Question(height.question(poll, *validator));
            self.outs.push(Out::Ask { validator: key, bytes: message.to_bytes() });
        }
    }

    fn set_poll_timer(&mut self) {
        let now = self.now_ms;
        let Some(height) = self.height.as_mut().filter(|height| !height.decided) else { return };
        let wake = height.election.next_wake(now);
        let Some(wake) = wake.filter(|wake| height.poll_timer != Some(*wake)) else { return };
        height.poll_timer = Some(wake);
        self.set_timer(TimerKind::Poll, 0, wake.saturating_sub(now).max(1));
    }

    fn set_timer(&mut self, kind: TimerKind, round: u32, after_ms: u64) {
        let Some(height) = self.height.as_mut() else { return };
        let id = TimerId { height: height.number, round, kind };
        height.timers.insert(id);
        self.outs.push(Out::SetTimer { id, after_ms });
    }

    fn cancel_timers(&mut self) {
        let timers = self.height.as_mut().map(|height| std::mem::take(&mut height.timers));
        self.outs.extend(timers.into_iter().flatten().map(Out::CancelTimer));
    }

    /// The effects of a step in the order in which they are given out.
    fn arrange(&mut self) -> Vec<Out> {
        let rank = |out: &Out| match out {
            Out::Persist(_) => 0,
            Out::Broadcast(_) => 1,
            Out::Ask { .. } | Out::Reply { .. } => 2,
            Out::Commit { .. } => 4,
            _ => 3,
        };
        let mut outs = std::mem::take(&mut self.outs);
        outs.sort_by_key(rank);
        outs
    }
}

impl Consensus for Snowman {
    fn step(&mut self, input: In, now_ms: u64) -> Result<Vec<Out>, ConsensusError> {
        self.now_ms = now_ms;
        self.outs.clear();
        match input {
            In::Start { height, validators, beacon } => self.start(height, &validators, &beacon)?,
            In::Message { from, bytes } => self.message(from, &bytes)?,
            In::Timer(id) => self.timer(id)?,
            In::Built { height, round, hash, block } => self.built(height, round, hash, block)?,
            In::Verified { hash, ok } => self.verified(hash, ok)?,
            In::Replay(entries) => self.replay(&entries)?,
        }
        self.advance()?;
        Ok(self.arrange())
    }
}
