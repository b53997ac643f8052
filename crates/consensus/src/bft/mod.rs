//! The Tendermint back-end: rounds, locks and vote counting by the engine
//! `arc-malachitebft-core-consensus` (Buchman, Kwon and Milosevic, "The latest gossip on BFT
//! consensus", 2018); signing, timers, log, blocks and catching up here.
//!
//! The engine decides on block hashes; a block travels with its proposal and is given to the caller
//! to verify before this node prevotes. Proposers take turns in order of key, one further each
//! height and each round. A lost proposal is sent again with the rebroadcast timer; a validator
//! that repeats votes of a decided height is to be sent that block with its certificate
//! ([`Out::Help`], [`crate::catch_up_message`]), and a node that sees the others ahead says so
//! ([`Out::Behind`]).

mod check;
mod codec;
mod context;
mod host;

use crate::certificate::verify_certificate;
use crate::neighbours::Neighbours;
use crate::{Certificate, Consensus, ConsensusError, In, Out, TimerId, TimerKind};
use anthill_identity::KeyPair;
use arc_malachitebft_core_consensus::{
    Input, LocallyProposedValue, MisbehaviorEvidence, Params, ProposedValue, State, ValuePayload,
    process,
};
use arc_malachitebft_core_types::{Round, Timeout, Validity, ValueOrigin, VoteExtensionPolicy};
use codec::{Entry, Message};
use context::{Address, BlockHash, Ctx, Height, SignedProposal, ValidatorSet, number};
use host::{Block, Host};

/// Rounds ahead of the current one whose proposals are looked at (the engine's own bound).
const MAX_ROUNDS_AHEAD: u32 = 10;
/// What a message may have besides its block.
const MESSAGE_SLACK: usize = 256 << 10;

/// How long to wait in a round, in milliseconds; each wait grows by `delta_ms` per round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the proposal.
    pub propose_ms: u64,
    /// After prevotes of two thirds that differ.
    pub prevote_ms: u64,
    /// After precommits of two thirds that differ.
    pub precommit_ms: u64,
    /// Growth per round.
    pub delta_ms: u64,
    /// Before the last votes are sent again.
    pub rebroadcast_ms: u64,
    /// Bound of all of them.
    pub max_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            propose_ms: 500,
            prevote_ms: 250,
            precommit_ms: 250,
            delta_ms: 250,
            rebroadcast_ms: 1000,
            max_ms: 60_000,
        }
    }
}

impl Timeouts {
    fn after_ms(&self, kind: TimerKind, round: u32) -> u64 {
        let base = match kind {
            TimerKind::Propose => self.propose_ms,
            TimerKind::Prevote => self.prevote_ms,
            TimerKind::Precommit => self.precommit_ms,
            TimerKind::Rebroadcast | TimerKind::Poll => self.rebroadcast_ms,
        };
        base.saturating_add(self.delta_ms.saturating_mul(round.into())).min(self.max_ms)
    }
}

/// What a BFT node must know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Hash of the genesis block: binds every signature to this network.
    pub genesis: [u8; 32],
    /// The validator key; `None` follows without voting.
    pub key: Option<KeyPair>,
    /// The waits.
    pub timeouts: Timeouts,
    /// Longest block, in bytes.
    pub max_block_bytes: usize,
    /// Hash of a block, `None` if the bytes are no block. Must bind every byte of it.
    pub block_hash: fn(&[u8]) -> Option<[u8; 32]>,
}

/// The height that a message of this back-end speaks of; `None` when the bytes are no message.
pub(crate) fn message_height(bytes: &[u8]) -> Option<u64> {
    Message::from_bytes(bytes).ok().map(|message| message.height())
}

/// The Tendermint state machine of one node.
///
/// The effects of a step come in a fixed order: all [`Out::Persist`] first (one sync to disk is
/// enough), then messages, timers and requests, and [`Out::Commit`] last.
pub struct Bft {
    host: Host,
    state: Option<State<Ctx>>,
    log: Vec<Entry>,
    neighbours: Neighbours,
    /// A block that the others have accepted and that is being verified here.
    pending: Option<(Certificate, Vec<u8>)>,
}

impl std::fmt::Debug for Bft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bft").field("height", &self.host.height).finish_non_exhaustive()
    }
}

impl Bft {
    /// A node that has not started; feed the log as [`In::Replay`], then [`In::Start`].
    pub fn new(config: Config) -> Self {
        let neighbours = Neighbours::new(config.timeouts.rebroadcast_ms);
        Self { host: Host::new(config), state: None, log: Vec::new(), neighbours, pending: None }
    }

    /// Height and round that the node is in; `None` before the first [`In::Start`].
    pub fn position(&self) -> Option<(u64, u32)> {
        self.state.as_ref().map(|state| (self.host.height, number(state.round())))
    }

    /// Whether the current height is decided and [`In::Start`] of the next is awaited.
    pub fn is_decided(&self) -> bool {
        self.host.decided.is_some()
    }

    /// Runs one input through the engine.
    fn feed(&mut self, input: Input<Ctx>) -> Result<(), ConsensusError> {
        let Some(state) = self.state.as_mut() else { return Ok(()) };
        if self.host.decided.is_some() && !matches!(input, Input::StartHeight(..)) {
            return Ok(());
        }
        let host = &mut self.host;
        let result: Result<(), arc_malachitebft_core_consensus::Error<Ctx>> = process!(
            input: input,
            state: state,
            metrics: &(),
            with: effect => host.handle(effect)
        );
        if let Some(failure) = self.host.failure.take() {
            return Err(failure);
        }
        result.map_err(|error| ConsensusError::Engine(error.to_string()))
    }

    fn replay(&mut self, entries: Vec<Vec<u8>>) -> Result<(), ConsensusError> {
        if self.state.is_some() || !self.log.is_empty() {
            return Err(ConsensusError::OutOfOrder("the log is replayed once, before the start"));
        }
        let read = |(index, bytes): (usize, &Vec<u8>)| {
            codec::read_entry(bytes).map_err(|detail| ConsensusError::DamagedLog { index, detail })
        };
        self.log = entries.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        self.host.replayed = entries.into_iter().collect();
        Ok(())
    }

    fn start(&mut self, height: u64, validators: &[([u8; 32], u64)]) -> Result<(), ConsensusError> {
        if self.state.is_some() && height <= self.host.height {
            return Err(ConsensusError::OutOfOrder(
                "a height is started once, and never a lower one",
            ));
        }
        let set = ValidatorSet::new(height, validators)?;
        let replayed = std::mem::take(&mut self.host.replayed);
        let log: Vec<Entry> =
            std::mem::take(&mut self.log).into_iter().filter(|e| e.height == height).collect();
        self.host.begin(height, set.clone());
        self.pending = None;
        if self.state.is_none() {
            self.state = Some(self.engine(height, set.clone()));
        }
        let restart = !log.is_empty();
        let disabled = VoteExtensionPolicy::Disabled;
        let begin = Input::StartHeight(Height(height), set, restart, None, disabled);
        if restart {
            self.host.replayed = replayed;
            self.recover(begin, log)?;
        } else {
            self.feed(begin)?;
        }
        self.note_decision();
        self.take_early(height)
    }

    fn engine(&self, height: u64, set: ValidatorSet) -> State<Ctx> {
        let params = Params {
            address: self.host.address,
            threshold_params: Default::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: self.host.config.key.is_some(),
        };
        // Messages of later heights are kept here, not in the engine's queue.
        State::new(Ctx, Height(height), set, params, 1, 1)
    }

    /// Runs the log of this height through the engine: the same inputs give the same votes.
    fn recover(&mut self, begin: Input<Ctx>, log: Vec<Entry>) -> Result<(), ConsensusError> {
        self.host.replaying = true;
        for entry in &log {
            self.host.remember(&entry.input);
            if let Input::ProposedValue(value, _) = &entry.input {
                let (round, proposer) = (number(value.round), value.proposer);
                let valid = Some(value.validity.is_valid());
                let block = Block { bytes: entry.block.clone(), round, proposer, valid };
                self.host.keep_block(value.value.0, block, None);
            }
        }
        if let Some(state) = self.state.as_mut() {
            state.index_wal_entries(log.iter().map(|entry| &entry.input));
        }
        self.feed(begin)?;
        for entry in log {
            self.feed(entry.input)?;
        }
        if let Some(state) = self.state.as_mut() {
            state.reset_entries_index();
        }
        self.host.replaying = false;
        self.host.replayed.clear();
        self.resume_proposing()
    }

    /// Proposes after a replay, if it is this node's turn: what it had built, or a new block.
    fn resume_proposing(&mut self) -> Result<(), ConsensusError> {
        let (Some(round), Some(state)) = (self.host.wanted.take(), self.state.as_ref()) else {
            return Ok(());
        };
        if state.round() != Round::new(round) || !state.driver.step_is_propose() {
            return Ok(());
        }
        let address = self.host.address;
        let mut built = self.host.blocks.iter();
        let built = built.find(|(_, block)| block.round == round && block.proposer == address);
        match built.map(|(hash, _)| *hash) {
            Some(hash) => self.propose(round, hash),
            None => {
                self.host.ask_for_block(round);
                Ok(())
            }
        }
    }

    /// Tells the engine the verdict on a block, which completes all proposals of it.
    fn tell_verdict(
        &mut self,
        hash: [u8; 32],
        round: u32,
        proposer: Address,
        ok: bool,
    ) -> Result<(), ConsensusError> {
        let value = ProposedValue {
            height: Height(self.host.height),
            round: Round::new(round),
            valid_round: Round::Nil,
            proposer,
            value: BlockHash(hash),
            validity: Validity::from_bool(ok),
        };
        self.feed(Input::ProposedValue(value, ValueOrigin::Consensus))
    }

    fn propose(&mut self, round: u32, hash: [u8; 32]) -> Result<(), ConsensusError> {
        let (height, round) = (Height(self.host.height), Round::new(round));
        self.feed(Input::Propose(LocallyProposedValue::new(height, round, BlockHash(hash))))
    }

    fn built(
        &mut self,
        height: u64,
        round: u32,
        hash: [u8; 32],
        bytes: Vec<u8>,
    ) -> Result<(), ConsensusError> {
        if bytes.len() > self.host.config.max_block_bytes {
            return Err(ConsensusError::Refused("the block built here is over the size limit"));
        }
        if (self.host.config.block_hash)(&bytes) != Some(hash) {
            return Err(ConsensusError::Refused("the block built here has another hash"));
        }
        let in_time = self.position() == Some((height, round)) && !self.is_decided();
        let in_time = in_time && self.state.as_ref().is_some_and(|s| s.driver.step_is_propose());
        if !in_time {
            return Ok(());
        }
        let address = self.host.address;
        let block = Block { bytes, round, proposer: address, valid: Some(true) };
        let locked = self.locked();
        self.host.keep_block(hash, block, locked);
        // Another may have proposed this very block. A replay of the log completes such a proposal
        // when it meets the block, so it must be complete from here on, or the votes would differ.
        self.tell_verdict(hash, round, address, true)?;
        self.propose(round, hash)
    }

    /// Hash of the block that the engine may propose again.
    fn locked(&self) -> Option<[u8; 32]> {
        let valid = self.state.as_ref().and_then(|state| state.driver.valid_value());
        Host::hash(valid.map(|valid| valid.value))
    }

    fn timer(&mut self, id: TimerId) -> Result<(), ConsensusError> {
        if !self.host.timers.remove(&id) {
            return Ok(());
        }
        let round = Round::new(id.round);
        let timeout = match id.kind {
            TimerKind::Propose => Timeout::propose(round),
            TimerKind::Prevote => Timeout::prevote(round),
            TimerKind::Precommit => Timeout::precommit(round),
            TimerKind::Rebroadcast => {
                let own = self.host.own_proposal.clone().filter(|(of, _)| *of == id.round);
                self.host.outs.extend(own.map(|(_, bytes)| Out::Broadcast(bytes)));
                Timeout::rebroadcast(round)
            }
            TimerKind::Poll => return Ok(()),
        };
        self.feed(Input::TimeoutElapsed(timeout))
    }

    fn message(&mut self, from: [u8; 32], bytes: &[u8]) -> Result<(), ConsensusError> {
        if bytes.len() > self.host.config.max_block_bytes.saturating_add(MESSAGE_SLACK) {
            return Err(ConsensusError::Refused("a message over the size limit"));
        }
        let message = Message::from_bytes(bytes).map_err(ConsensusError::Malformed)?;
        if self.state.is_none() {
            return Ok(());
        }
        let (height, current) = (message.height(), self.host.height);
        if height > current {
            let told = self.neighbours.ahead(current, height, from, bytes, self.host.now_ms);
            self.host.outs.extend(told);
            return Ok(());
        }
        if height < current || self.is_decided() {
            if matches!(message, Message::Vote(_)) {
                self.host.outs.extend(self.neighbours.help(from, height, self.host.now_ms));
            }
            return Ok(());
        }
        match message {
            Message::Vote(vote) => self.feed(Input::Vote(vote)),
            Message::Polka(polka) => self.feed(Input::PolkaCertificate(polka)),
            Message::Round(certificate) => self.feed(Input::RoundCertificate(certificate)),
            Message::Proposal(proposal, block) => self.proposal(proposal, block),
            Message::Decided(certificate, block) => self.decided(certificate, block),
        }
    }

    /// Takes the messages that came before their height began.
    fn take_early(&mut self, height: u64) -> Result<(), ConsensusError> {
        for (from, bytes) in self.neighbours.take_early(height) {
            match self.message(from, &bytes) {
                // The peer is not blamed: what it sent early may have been judged too late.
                Err(ConsensusError::Malformed(_) | ConsensusError::Refused(_)) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn proposal(&mut self, proposal: SignedProposal, bytes: Vec<u8>) -> Result<(), ConsensusError> {
        let round = number(proposal.message.round);
        let current = self.position().map_or(0, |(_, round)| round);
        if round > current.saturating_add(MAX_ROUNDS_AHEAD) {
            return Ok(());
        }
        if !self.host.is_by_proposer(&proposal) {
            return Err(ConsensusError::Refused("a proposal that is not by the proposer"));
        }
        let hash = proposal.message.value.0;
        let known = self.host.blocks.contains_key(&hash);
        if !known {
            if bytes.len() > self.host.config.max_block_bytes {
                return Err(ConsensusError::Refused("a block over the size limit"));
            }
            if (self.host.config.block_hash)(&bytes) != Some(hash) {
                return Err(ConsensusError::Refused(
                    "a block that does not have the hash proposed",
                ));
            }
            if self.host.blocks_of(round) >= 2 {
                return Ok(());
            }
        }
        let proposer = proposal.message.proposer;
        let first_proposal = proposal.message.pol_round.as_u32().is_none();
        if known {
            return self.feed(Input::Proposal(proposal));
        }
        let block = Block { bytes: bytes.clone(), round, proposer, valid: None };
        let locked = self.locked();
        self.host.keep_block(hash, block, locked);
        self.feed(Input::Proposal(proposal))?;
        // A block proposed again in a later round may be the work of an earlier proposer.
        let proposer = first_proposal.then_some(proposer.0);
        let height = self.host.height;
        self.host.outs.push(Out::Verify { height, round, proposer, hash, block: bytes });
        Ok(())
    }

    fn verified(&mut self, hash: [u8; 32], ok: bool) -> Result<(), ConsensusError> {
        if self.is_decided() {
            return Ok(());
        }
        if let Some((certificate, block)) = self.pending.take_if(|(c, _)| c.block_hash == hash) {
            // This verdict may be on the proposal, which is held against more than the block itself
            // (its proposer, the clock): a decided block is then looked at once more.
            let proposed = self.host.blocks.get_mut(&hash).filter(|b| b.valid.is_none());
            let Some(proposed) = proposed.filter(|_| !ok) else {
                return self.accept(certificate, block, ok);
            };
            proposed.valid = Some(false);
            let Certificate { height, round, .. } = certificate;
            let bytes = block.clone();
            self.host.outs.push(Out::Verify { height, round, proposer: None, hash, block: bytes });
            self.pending = Some((certificate, block));
            return Ok(());
        }
        let Some(block) = self.host.blocks.get_mut(&hash).filter(|b| b.valid.is_none()) else {
            return Ok(());
        };
        block.valid = Some(ok);
        let (round, proposer) = (block.round, block.proposer);
        self.tell_verdict(hash, round, proposer, ok)
    }

    /// A peer says that this height is decided, and proves it.
    fn decided(&mut self, certificate: Certificate, bytes: Vec<u8>) -> Result<(), ConsensusError> {
        let Some(set) = self.host.set.as_ref().filter(|_| self.pending.is_none()) else {
            return Ok(());
        };
        verify_certificate(&self.host.config.genesis, &set.powers(), &certificate)
            .map_err(|_| ConsensusError::Refused("a certificate that does not hold"))?;
        let hash = certificate.block_hash;
        if (self.host.config.block_hash)(&bytes) != Some(hash) {
            return Err(ConsensusError::Refused("a block that does not have the hash certified"));
        }
        match self.host.blocks.get(&hash).map(|block| block.valid) {
            Some(Some(true)) => return self.accept(certificate, bytes, true),
            Some(None) => {}
            // What was refused as a proposal (it came early by this node's clock, for example) is
            // looked at again: the others have accepted it.
            Some(Some(false)) | None => {
                let (height, round) = (certificate.height, certificate.round);
                let block = bytes.clone();
                self.host.outs.push(Out::Verify { height, round, proposer: None, hash, block });
            }
        }
        self.pending = Some((certificate, bytes));
        Ok(())
    }

    /// Takes over a block that the others have accepted.
    fn accept(
        &mut self,
        certificate: Certificate,
        block: Vec<u8>,
        ok: bool,
    ) -> Result<(), ConsensusError> {
        let Certificate { height, round, block_hash: hash, .. } = certificate;
        if !ok {
            return Err(ConsensusError::CommittedInvalid { height });
        }
        if let Some(state) = self.state.as_mut() {
            let votes = state.driver.take_vote_evidence();
            let proposals = state.driver.take_proposal_evidence();
            self.host.report(&MisbehaviorEvidence { proposals, votes });
        }
        self.host.decided = Some(certificate.clone());
        self.host.outs.push(Out::Commit { height, round, hash, block, certificate });
        Ok(())
    }

    /// Notes when a height was decided.
    fn note_decision(&mut self) {
        if self.host.decided.is_some() {
            self.neighbours.decided(self.host.height, self.host.now_ms);
        }
    }
}

impl Consensus for Bft {
    fn step(&mut self, input: In, now_ms: u64) -> Result<Vec<Out>, ConsensusError> {
        self.host.now_ms = now_ms;
        self.host.outs.clear();
        match input {
            // Proposers take turns: no random number is needed.
            In::Start { height, validators, beacon: _ } => self.start(height, &validators)?,
            In::Message { from, bytes } => self.message(from, &bytes)?,
            In::Timer(id) => self.timer(id)?,
            In::Built { height, round, hash, block } => self.built(height, round, hash, block)?,
            In::Verified { hash, ok } => self.verified(hash, ok)?,
            In::Replay(entries) => self.replay(entries)?,
        }
        self.note_decision();
        Ok(self.host.arrange())
    }
}
