//! Catching up: frames from peers, and blocks that this node missed.

use std::collections::BTreeMap;

use anthill_consensus::certificate::{Certificate, verify_certificate};
use anthill_consensus::{In, message_height};
use anthill_ledger::{LedgerError, TransactionError};
use anthill_types::{Block, Bytes, NodeKey, SignedTransaction, Wire};

use crate::effect::{Effect, PeerId};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::wire::{Blocks, CommittedBlock, Frame, Request};

/// Transactions of one frame that are looked at; a node sends one.
const MOST_TRANSACTIONS: usize = 64;
/// Most blocks in one answer.
const MOST_BLOCKS: u64 = 64;
/// Most bytes of blocks in one answer.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// A validator that is one block behind waits so long for its own consensus.
const PATIENCE_MS: u64 = 400;

/// A peer that claimed blocks and gave none is not asked for so long.
const IGNORE_MS: u64 = 10_000;

/// What a peer was asked for.
#[derive(Clone, Copy, Default)]
enum Asked {
    #[default]
    Blocks,
    Snapshot,
    Part,
}

/// What this node knows of its peers' chains.
#[derive(Default)]
pub struct Sync {
    heights: BTreeMap<PeerId, u64>,
    behind_since: u64,
    asking: Option<PeerId>,
    /// What was asked.
    asked: Asked,
    /// A peer has given no blocks though it has more: they may be gone everywhere.
    no_blocks: bool,
    /// Peers whose claims are not believed before this time: they gave no or wrong blocks.
    ignored: BTreeMap<PeerId, u64>,
}

impl Sync {
    /// Does not believe a peer's height before `until_ms`.
    fn ignore(&mut self, peer: &PeerId, until_ms: u64) {
        self.heights.remove(peer);
        self.ignored.insert(*peer, until_ms);
    }

    /// Forgets a peer that is gone.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.heights.remove(peer);
        if self.asking == Some(*peer) {
            self.asking = None;
        }
    }

    /// When to ask for blocks, if somebody is ahead of `height` and nobody is asked yet.
    pub(crate) fn wake(&self, height: u64) -> Option<u64> {
        let ahead = self.asking.is_none() && self.heights.values().any(|h| *h > height);
        ahead.then_some(self.behind_since + PATIENCE_MS)
    }
}

impl Engine {
    pub(crate) fn status_frame(&self) -> Frame {
        Frame::Status { height: self.ledger.height(), tip: self.ledger.tip_hash() }
    }

    pub(crate) fn on_bytes(&mut self, from: PeerId, bytes: &[u8]) -> Result<(), EngineError> {
        match Frame::from_bytes(bytes) {
            Ok(frame) => self.on_frame(from, frame),
            Err(error) => {
                tracing::warn!(peer = %NodeKey(from).short(), %error, "a frame was refused");
                let other = self.sync.heights.keys().find(|peer| **peer != from).copied();
                let blamed = other.filter(|_| anthill_types::planted!(BlameAnother));
                self.emit(Effect::Malformed(blamed.unwrap_or(from)));
                Ok(())
            }
        }
    }

    fn on_frame(&mut self, from: PeerId, frame: Frame) -> Result<(), EngineError> {
        match frame {
            Frame::Consensus(Bytes(bytes)) => {
                // The first word of a height wakes those who wait for work.
                let height = self.ledger.height();
                if self.started <= height && message_height(&bytes) == Some(height + 1) {
                    self.called = true;
                    self.begin_height()?;
                }
                self.agree(In::Message { from, bytes })
            }
            Frame::Transactions(list) => {
                self.on_transactions(list);
                Ok(())
            }
            Frame::Status { height, .. } => {
                self.note_height(from, height);
                Ok(())
            }
        }
    }

    /// Takes a few transactions at a time: each may cost a signature's check, and a wrong one ends
    /// the list.
    fn on_transactions(&mut self, list: Vec<SignedTransaction>) {
        for signed in list.into_iter().take(MOST_TRANSACTIONS) {
            if let Err(error) = self.accept_from_peer(signed) {
                tracing::debug!(%error, "a peer's transaction was not taken");
                if matches!(error, EngineError::Transaction(TransactionError::Signature)) {
                    return;
                }
            }
        }
    }

    /// Notes how far a peer's chain is.
    pub(crate) fn note_height(&mut self, peer: PeerId, height: u64) {
        let now = self.steady_ms;
        self.sync.ignored.retain(|_, until| now < *until);
        if self.sync.ignored.contains_key(&peer) {
            return;
        }
        self.sync.heights.insert(peer, height);
        if height > self.ledger.height() && self.sync.behind_since == 0 {
            self.sync.behind_since = self.steady_ms;
        }
    }

    pub(crate) fn blocks(&self, from: u64, most: u64) -> Result<Blocks, EngineError> {
        let mut blocks = Vec::new();
        let mut room = MOST_BYTES;
        for height in from..from.saturating_add(most.min(MOST_BLOCKS)) {
            // What is pruned here, others may have.
            let found = match self.ledger.block(height) {
                Err(LedgerError::Pruned { .. }) => None,
                found => found?,
            };
            let Some((block, certificate)) = found else { break };
            let block = block.to_bytes();
            if block.len() > room {
                break;
            }
            room -= block.len();
            blocks.push(CommittedBlock { block: Bytes(block), certificate: Bytes(certificate) });
        }
        Ok(Blocks { blocks })
    }

    /// Asks a peer that is ahead for the blocks that are missing.
    pub(crate) fn catch_up(&mut self) {
        let height = self.ledger.height();
        self.drop_taking();
        let all = self.sync.heights.iter().filter(|(_, h)| **h > height);
        let giver = self.snapshots.giver();
        let ahead = all.clone().find(|(peer, _)| giver == Some(**peer));
        let ahead = ahead.or_else(|| all.max_by_key(|(_, h)| **h));
        let Some((peer, theirs)) = ahead.map(|(p, h)| (*p, *h)) else {
            self.sync.behind_since = 0;
            return;
        };
        let patient = self.consensus.is_some()
            && theirs == height + 1
            && self.steady_ms.saturating_sub(self.sync.behind_since) < PATIENCE_MS;
        if self.sync.asking.is_some() || patient {
            return;
        }
        let (asked, request) = self.question(&peer, theirs);
        self.sync.asking = Some(peer);
        self.sync.asked = asked;
        self.emit(Effect::Fetch { peer, request: request.to_bytes() });
    }

    /// What to ask a peer for: a state when this node has none, or blocks cannot be had, and the
    /// peer is far ahead; blocks otherwise.
    fn question(&self, peer: &PeerId, theirs: u64) -> (Asked, Request) {
        let height = self.ledger.height();
        if let Some(part) = self.snapshots.request(peer) {
            return (Asked::Part, part);
        }
        let far = theirs.saturating_sub(height) > self.settings.snapshot_above;
        if far && (height == 0 || self.sync.no_blocks) && self.snapshots.are_hopeful() {
            return (Asked::Snapshot, Request::Snapshot { above: height });
        }
        (Asked::Blocks, Request::Blocks { from: height + 1, most: MOST_BLOCKS })
    }

    /// Takes the answer to the question that is open.
    pub(crate) fn on_fetched(
        &mut self,
        peer: &PeerId,
        reply: Result<Vec<u8>, String>,
    ) -> Result<(), EngineError> {
        // Who was given up may answer all the same, and not what is asked now.
        if self.sync.asking != Some(*peer) {
            return Ok(());
        }
        if matches!(self.sync.asked, Asked::Blocks) {
            return self.on_blocks(peer, reply);
        }
        self.sync.asking = None;
        self.sync.behind_since = self.steady_ms;
        self.stirred = true;
        let useful = match (reply, self.sync.asked) {
            (Ok(bytes), Asked::Snapshot) => self.on_offer(peer, &bytes)?,
            (Ok(bytes), _) => self.on_part(peer, &bytes)?,
            (Err(_), _) => false,
        };
        if !useful {
            self.sync.ignore(peer, self.steady_ms + IGNORE_MS);
        }
        Ok(())
    }

    pub(crate) fn on_blocks(
        &mut self,
        peer: &PeerId,
        reply: Result<Vec<u8>, String>,
    ) -> Result<(), EngineError> {
        if !(reply.is_err() && anthill_types::planted!(StuckFetch)) {
            self.sync.asking = None;
        }
        self.sync.behind_since = self.steady_ms;
        let who = NodeKey(*peer).short();
        let blocks = match reply.and_then(|b| Blocks::from_bytes(&b).map_err(|e| e.to_string())) {
            Ok(blocks) => blocks.blocks,
            Err(error) => {
                tracing::debug!(peer = who, error, "no blocks came");
                self.sync.ignore(peer, self.steady_ms + IGNORE_MS);
                self.miss_blocks(true);
                return Ok(());
            }
        };
        let before = self.ledger.height();
        for committed in &blocks {
            if !self.take_block(committed)? {
                tracing::warn!(peer = who, "a block with a wrong certificate was refused");
                break;
            }
        }
        // Who gave no next block (none, a wrong or an old one) has claimed too much.
        let none = self.ledger.height() == before;
        self.miss_blocks(none);
        if none {
            self.sync.ignore(peer, self.steady_ms + IGNORE_MS);
        }
        Ok(())
    }

    /// Notes whether a peer gave no blocks; then snapshots are worth another try.
    fn miss_blocks(&mut self, none: bool) {
        self.sync.no_blocks = none;
        if none {
            self.snapshots.hope();
        }
    }

    /// Takes a block that others agreed on; false when it or its certificate is wrong.
    fn take_block(&mut self, committed: &CommittedBlock) -> Result<bool, EngineError> {
        let Ok(block) = Block::from_bytes(&committed.block.0) else { return Ok(false) };
        let next = self.ledger.height() + 1;
        if block.header.height < next {
            return Ok(true);
        }
        let Ok(certificate) = Certificate::from_bytes(&committed.certificate.0) else {
            return Ok(false);
        };
        let validators = self.ledger.state()?.validators()?.powers();
        let genesis = self.ledger.genesis_hash().0;
        let signed = certificate.height == block.header.height
            // Not the header's hash alone: it does not cover the body that this peer sent.
            && anthill_ledger::block_hash(&committed.block.0) == Some(certificate.block_hash)
            && (anthill_types::planted!(SkipCertificate)
                || verify_certificate(&genesis, &validators, &certificate).is_ok());
        if !signed || block.header.height != next {
            return Ok(false);
        }
        self.commit(&block, &certificate)?;
        Ok(true)
    }
}
