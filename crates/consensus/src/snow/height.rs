//! What a Snowman node holds of one height: its validators, blocks, questions and timers.

use super::codec::{Message, Nonce, Opinion, Proposal};
use super::config::Config;
use super::election::{Election, Hash};
use super::sample::{Draw, proposers};
use crate::certificate::Certificate;
use crate::{ConsensusError, TimerId};
use std::collections::{BTreeMap, BTreeSet};

/// Blocks of one window that are kept; an honest proposer makes one.
pub(crate) const MAX_OF_WINDOW: usize = 4;
/// Blocks of a height that are kept.
pub(crate) const MAX_BLOCKS: usize = 64;
/// Blocks that are being fetched, and questions that wait for an answer.
const MAX_FETCHING: usize = 256;
const MAX_NONCES: usize = 4096;

/// Whether a block is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The caller has been asked.
    Waiting,
    Good,
    Bad,
}

/// A block at hand.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    pub(crate) proposal: Proposal,
    pub(crate) verdict: Verdict,
    /// It was looked at once more because others have signed it.
    pub(crate) again: bool,
    /// Others speak of it, so it is voted on though its window has not opened here.
    pub(crate) named: bool,
}

/// One height.
pub(crate) struct Height {
    pub(crate) number: u64,
    pub(crate) keys: Vec<[u8; 32]>,
    pub(crate) powers: Vec<u64>,
    /// Who proposes in which window.
    pub(crate) order: Vec<usize>,
    pub(crate) me: Option<usize>,
    pub(crate) began_ms: u64,
    /// The newest open window.
    pub(crate) window: u32,
    /// The window for which the caller builds a block.
    pub(crate) building: Option<u32>,
    pub(crate) blocks: BTreeMap<Hash, Held>,
    pub(crate) election: Election,
    /// Precommits by block and validator.
    pub(crate) signatures: BTreeMap<Hash, BTreeMap<usize, [u8; 64]>>,
    /// Questions without an answer.
    pub(crate) nonces: BTreeMap<Nonce, (u32, usize)>,
    /// When unknown blocks were last asked for.
    pub(crate) fetching: BTreeMap<Hash, u64>,
    /// When a peer was last sent a block.
    pub(crate) served: BTreeMap<([u8; 32], Hash), u64>,
    /// A block that the others have accepted and that is being verified here.
    pub(crate) pending: Option<(Certificate, Vec<u8>)>,
    pub(crate) decided: bool,
    pub(crate) timers: BTreeSet<TimerId>,
    pub(crate) poll_timer: Option<u64>,
    /// When the caller was last told that nothing moves.
    pub(crate) told_stalled: u64,
    draw: Draw,
    max_stall_ms: u64,
}

impl Height {
    pub(crate) fn new(
        config: &Config,
        number: u64,
        set: Vec<([u8; 32], u64)>,
        beacon: &[u8; 32],
        now_ms: u64,
    ) -> Result<Self, ConsensusError> {
        let (keys, powers): (Vec<[u8; 32]>, Vec<u64>) = set.into_iter().unzip();
        let own = config.key.as_ref().map(anthill_identity::KeyPair::public);
        let me = own.and_then(|own| keys.binary_search(&own).ok());
        let order = proposers(beacon, number, &powers);
        let parameters = (config.parameters)(keys.len());
        parameters.verify().map_err(|error| ConsensusError::Engine(error.to_string()))?;
        // With the time in it: no nonce comes twice when a process starts again at the same height.
        let parts: [&[u8]; 3] = [&config.seed, &number.to_be_bytes(), &now_ms.to_be_bytes()];
        let draw = |stream| Draw::new(anthill_types::hash::sha3(&parts), stream);
        let election = Election::new(parameters, config.waits.polls, powers.clone(), me, draw(0));
        Ok(Self {
            number,
            keys,
            powers,
            order,
            me,
            began_ms: now_ms,
            window: 0,
            building: None,
            blocks: BTreeMap::new(),
            election,
            signatures: BTreeMap::new(),
            nonces: BTreeMap::new(),
            fetching: BTreeMap::new(),
            served: BTreeMap::new(),
            pending: None,
            decided: false,
            timers: BTreeSet::new(),
            poll_timer: None,
            told_stalled: now_ms,
            draw: draw(1),
            max_stall_ms: parameters.max_item_processing_ms,
        })
    }

    /// Who proposes in a window.
    pub(crate) fn proposer(&self, window: u32) -> Option<usize> {
        self.order.get(window as usize % self.order.len().max(1)).copied()
    }

    /// A validator's number.
    pub(crate) fn position(&self, key: &[u8; 32]) -> Option<usize> {
        self.keys.binary_search(key).ok()
    }

    pub(crate) fn set(&self) -> Vec<([u8; 32], u64)> {
        self.keys.iter().copied().zip(self.powers.iter().copied()).collect()
    }

    /// A question, and the note of whom it is for.
    pub(crate) fn question(&mut self, poll: u32, validator: usize) -> Opinion {
        let nonce = self.draw.bytes();
        if self.nonces.len() >= MAX_NONCES {
            self.nonces.retain(|_, (of, _)| of.wrapping_add(64) > poll);
        }
        self.nonces.insert(nonce, (poll, validator));
        Opinion { height: self.number, poll, nonce, hash: self.election.vote() }
    }

    /// True when an unknown block should be asked for now.
    pub(crate) fn should_fetch(&mut self, hash: &Hash, now_ms: u64, every_ms: u64) -> bool {
        let recent = |at: &u64| now_ms.saturating_sub(*at) < every_ms;
        if self.blocks.contains_key(hash) || self.fetching.get(hash).is_some_and(recent) {
            return false;
        }
        if self.fetching.len() >= MAX_FETCHING {
            self.fetching.clear();
        }
        self.fetching.insert(*hash, now_ms);
        true
    }

    /// The block with the proposal that brought it, for a peer that asks; not again at once.
    pub(crate) fn serve(&mut self, peer: [u8; 32], hash: Hash, now_ms: u64) -> Option<Message> {
        let held = self.blocks.get(&hash)?;
        let recent = |at: &u64| now_ms.saturating_sub(*at) < 100;
        if self.served.get(&(peer, hash)).is_some_and(recent) {
            return None;
        }
        if self.served.len() >= MAX_FETCHING {
            self.served.clear();
        }
        self.served.insert((peer, hash), now_ms);
        Some(Message::Proposal(held.proposal.clone(), held.bytes.clone()))
    }

    /// Some validator that has signed a block.
    pub(crate) fn a_signer(&mut self, hash: &Hash) -> Option<[u8; 32]> {
        let signers: Vec<usize> = self.signatures.get(hash)?.keys().copied().collect();
        let at = self.draw.below(signers.len() as u64) as usize;
        signers.get(at).and_then(|signer| self.keys.get(*signer)).copied()
    }

    /// Puts the valid blocks to the vote whose window is open, or of which others speak.
    pub(crate) fn issue(&mut self) {
        for (hash, held) in &self.blocks {
            let window = held.proposal.window;
            if held.verdict == Verdict::Good && (window <= self.window || held.named) {
                self.election.issue(*hash, window);
            }
        }
    }

    /// What is known of a height that is undecided for too long, now and then.
    pub(crate) fn stall(&mut self, now_ms: u64) -> Option<(u64, String)> {
        let for_ms = now_ms.saturating_sub(self.began_ms);
        if now_ms.saturating_sub(self.told_stalled) < self.max_stall_ms {
            return None;
        }
        self.told_stalled = now_ms;
        let short =
            |hash: &Hash| hash.iter().take(4).map(|b| format!("{b:02x}")).collect::<String>();
        let total = self.election.total();
        let signed: Vec<String> = self
            .election
            .signatures()
            .map(|(hash, power)| format!("{} signed by {power} of {total}", short(hash)))
            .collect();
        let own = self.election.own().map_or("none".to_owned(), |hash| short(&hash));
        let vote = self.election.vote().map_or("none".to_owned(), |hash| short(&hash));
        let detail = format!(
            "window {}, {} blocks, preference {vote} with confidence {} after {} polls, own signature {own}; {}",
            self.window,
            self.blocks.len(),
            self.election.confidence(),
            self.election.rounds(),
            if signed.is_empty() { "no signatures".to_owned() } else { signed.join(", ") },
        );
        Some((for_ms, detail))
    }
}
