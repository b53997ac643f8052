//! Agreement on blocks: pacing, the consensus engine's wishes, and commits.

use std::collections::VecDeque;

use anthill_consensus::certificate::Certificate;
use anthill_consensus::{ConsensusError, In, Out, catch_up_message};
use anthill_ledger::LedgerError;
use anthill_store::Batch;
use anthill_types::block::{MAX_BLOCK_BYTES, MAX_TRANSACTIONS};
use anthill_types::stake::{Evidence, SignedStatement, StatementKind};
use anthill_types::{
    AccountId, BeaconValue, Block, BlockHash, Body, Bytes, Signature, ValidatorKey, Wire,
};

use crate::beacon::BeaconChain;
use crate::effect::Effect;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::wire::Frame;

const WAL: &[u8] = b"\x02wal/";
/// A block's time may be ahead of this node's clock by so much.
const MAX_AHEAD_MS: u64 = 5_000;
/// Reveals left at which a validator commits to a fresh beacon chain.
const RENEW_BELOW: usize = 64;

impl Engine {
    /// Begins the next height when its time has come: after the block interval when there is
    /// something to do, after the idle interval otherwise, or because a peer has begun.
    pub(crate) fn begin_height(&mut self) -> Result<(), EngineError> {
        self.take_seat()?;
        if self.begins_at().is_none_or(|at| at > self.now_ms) {
            return Ok(());
        }
        let next = self.ledger.height() + 1;
        self.started = next;
        self.wal_sequence = self.wal_rows(next)?.len() as u64;
        self.seats.clear();
        let state = self.ledger.state()?;
        let (validators, beacon) = (state.validators()?.powers(), state.chain().beacon.0);
        self.agree(In::Start { height: next, validators, beacon })
    }

    /// Takes part in agreement while the chain names this node's validator key: the set may change
    /// with every block.
    pub(crate) fn take_seat(&mut self) -> Result<(), EngineError> {
        let height = self.ledger.height();
        if self.seated_for == Some(height) {
            return Ok(());
        }
        self.seated_for = Some(height);
        let own = self.signers.validator_key();
        let named = self.ledger.state()?.validators()?.validators.iter().any(|v| v.key == own);
        if !named {
            self.consensus = None;
            self.timers.clear();
            return Ok(());
        }
        if self.consensus.is_some() {
            return Ok(());
        }
        self.consensus =
            Some(crate::engine::back_end(&self.ledger, &self.signers, self.settings()));
        self.replay()
    }

    /// Sends a message to a validator's node, and to nobody else.
    fn ask(&mut self, validator: [u8; 32], bytes: Vec<u8>) -> Result<(), EngineError> {
        let known = self.seats.get(&validator).copied();
        let node = match known {
            Some(node) => node,
            None => {
                let record = self.ledger.state()?.node_of_validator(&ValidatorKey(validator))?;
                let Some(record) = record else { return Ok(()) };
                self.seats.insert(validator, record.node.0);
                record.node.0
            }
        };
        self.send(&node, &Frame::Consensus(Bytes(bytes)));
        Ok(())
    }

    /// When this validator begins the next height, milliseconds since the Unix epoch; none when it
    /// has begun already.
    pub(crate) fn begins_at(&self) -> Option<u64> {
        if self.consensus.is_none() || self.started > self.ledger.height() {
            return None;
        }
        let before = self.ledger.tip().map_or(0, |h| h.time_ms);
        // The chain's time is far ahead of this node's clock: one of them is wrong, and waiting
        // would take as long as they differ.
        if before > self.now_ms.saturating_add(MAX_AHEAD_MS) {
            return Some(0);
        }
        let (soonest, latest) = (before + self.pace.busy_ms, before + self.pace.idle_ms);
        let busy = !self.mempool.is_empty() || self.agenda_due;
        // A peer's word makes nobody begin before the block interval is over.
        let busy = busy || self.called;
        let reason = if busy { soonest } else { self.epoch_ends_ms.max(soonest) };
        Some(reason.min(latest))
    }

    /// At the start of the process: what this validator has signed already, so that it never signs
    /// anything else for the same height and round.
    pub(crate) fn replay(&mut self) -> Result<(), EngineError> {
        let mut rows = self.wal_rows(self.ledger.height() + 1)?;
        if anthill_types::planted!(ForgetReplay) {
            rows.clear();
        }
        self.agree(In::Replay(rows.into_iter().map(|(_, entry)| entry).collect()))
    }

    /// Gives the consensus engine an input and carries out what it wants, in order.
    pub(crate) fn agree(&mut self, input: In) -> Result<(), EngineError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(consensus) = &mut self.consensus else { return Ok(()) };
            let outs = match consensus.step(input, self.steady_ms) {
                Ok(outs) => outs,
                // A peer's fault.
                Err(error @ (ConsensusError::Malformed(_) | ConsensusError::Refused(_))) => {
                    tracing::warn!(%error, "consensus refused a message");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.persist(&outs)?;
            for out in outs {
                if let Some(next) = self.carry_out(out)? {
                    inputs.push_back(next);
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, out: Out) -> Result<Option<In>, EngineError> {
        match out {
            Out::Broadcast(bytes) => {
                self.tell_all(&Frame::Consensus(Bytes(bytes)));
            }
            Out::Ask { validator, bytes } => self.ask(validator, bytes)?,
            Out::Reply { to, bytes } => self.send(&to, &Frame::Consensus(Bytes(bytes))),
            Out::Stalled { height, for_ms, detail } => {
                tracing::warn!(height, for_ms, detail, "a height is undecided for long");
                self.stall = Some((height, detail));
            }
            Out::SetTimer { id, after_ms } => {
                self.timers.insert(id, self.steady_ms + after_ms);
            }
            Out::Help { to, height } => self.help(&to, height)?,
            // The peer's status says the same, and `sync` fetches what is missing.
            Out::Behind { peer, height } => self.note_height(peer, height.saturating_sub(1)),
            Out::Evidence(evidence) => {
                let validator = ValidatorKey(evidence.validator);
                tracing::warn!(%validator, height = evidence.height, "a validator contradicted itself");
                self.accuse(&evidence);
                self.emit(Effect::Evidence(Box::new(evidence)));
            }
            Out::CancelTimer(id) => {
                self.timers.remove(&id);
            }
            Out::BuildBlock { height, round, .. } => {
                let block = self.build_block()?;
                let (hash, block) = (block.header.hash().0, block.to_bytes());
                return Ok(Some(In::Built { height, round, hash, block }));
            }
            Out::Verify { height, hash, block, proposer, .. } => {
                // `sync` may have committed this height while consensus was still at it.
                let ok = match self.ledger.block(height) {
                    Ok(Some((known, _))) => known.header.hash().0 == hash,
                    // A state above it was taken over meanwhile: nothing can be said of it, and
                    // the next height is begun soon.
                    Err(LedgerError::Pruned { .. }) => return Ok(None),
                    Err(error) => return Err(error.into()),
                    Ok(None) => self.verify_block(&hash, proposer, &block),
                };
                return Ok(Some(In::Verified { hash, ok }));
            }
            // On disk already: see `persist`.
            Out::Persist(_) => {}
            Out::Commit { block, certificate, .. } => {
                let block = Block::from_bytes(&block).map_err(LedgerError::from)?;
                if block.header.height == self.ledger.height() + 1 {
                    self.commit(&block, &certificate)?;
                }
            }
        }
        Ok(None)
    }

    /// Brings evidence of contradictory votes before the chain. (Two proposals for
    /// one round cost a round at most, and are not punished.)
    fn accuse(&mut self, evidence: &anthill_consensus::Evidence) {
        if evidence.first.kind != StatementKind::Vote.word() {
            return;
        }
        let statement = |s: &anthill_consensus::Statement| SignedStatement {
            body: Bytes(s.body.clone()),
            signature: Signature(s.signature),
        };
        let body = Body::Evidence(Evidence {
            validator: ValidatorKey(evidence.validator),
            kind: StatementKind::Vote,
            first: statement(&evidence.first),
            second: statement(&evidence.second),
        });
        let sender = AccountId(self.signers.validator_key().0);
        let signed = self.sign(&self.signers.validator, sender, 0, body);
        if self.ledger.dry_run(&signed).is_err() {
            return; // it was brought already, or its maker is nobody here
        }
        if let Err(error) = self.accept(signed, true) {
            tracing::warn!(%error, "evidence was not taken");
        }
    }

    fn build_block(&mut self) -> Result<Block, EngineError> {
        let validator = self.signers.validator_key();
        let reveal = self.next_reveal()?;
        let candidates = self.mempool.candidates(MAX_TRANSACTIONS, MAX_BLOCK_BYTES / 2);
        Ok(self.ledger.build(validator, reveal, self.now_ms, candidates)?)
    }

    /// The preimage that this validator owes; renews its chain in time.
    fn next_reveal(&mut self) -> Result<Option<BeaconValue>, EngineError> {
        let validator = self.signers.validator_key();
        let Some(node) = self.ledger.state()?.node_of_validator(&validator)? else {
            return Ok(None);
        };
        let (seed, length) = (self.signers.beacon, self.beacon_length());
        let generation = node.beacon_generation;
        if self.beacon.as_ref().is_none_or(|(known, _)| *known != generation) {
            self.beacon = Some((generation, BeaconChain::new(&seed, generation, length)));
        }
        let Some((_, chain)) = &self.beacon else { return Ok(None) };
        let (reveal, left) = (chain.reveal(&node.beacon_head), chain.left(&node.beacon_head));
        if left < RENEW_BELOW {
            let generation = generation + 1;
            let head = BeaconChain::new(&seed, generation, length).head();
            let sender = AccountId(validator.0);
            let body = Body::RenewBeacon { head, generation };
            let signed = self.sign(&self.signers.validator, sender, 0, body);
            if let Err(error) = self.accept(signed, true) {
                tracing::warn!(%error, "the renewal of the beacon chain must wait");
            }
        }
        Ok(reveal)
    }

    fn verify_block(&mut self, hash: &[u8; 32], proposer: Option<[u8; 32]>, bytes: &[u8]) -> bool {
        let block = match Block::from_bytes(bytes) {
            Ok(block) => block,
            Err(error) => {
                tracing::warn!(%error, "a proposal does not decode");
                return false;
            }
        };
        if block.header.hash() != BlockHash(*hash)
            || proposer.is_some_and(|p| block.header.proposer.0 != p)
            // A fresh proposal alone is held against this node's clock, which may be wrong: what
            // others have locked or decided stands.
            || ((proposer.is_some() || anthill_types::planted!(TrustClock)) && block.header.time_ms > self.now_ms + MAX_AHEAD_MS)
        {
            tracing::warn!(
                height = block.header.height,
                "a proposal has a wrong hash, proposer or time"
            );
            return false;
        }
        if anthill_types::planted!(SkipVerification) {
            return true;
        }
        match self.ledger.check(&block) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "a proposal was refused");
                false
            }
        }
    }

    /// Makes a block durable together with the removal of the votes that led to it.
    pub(crate) fn commit(
        &mut self,
        block: &Block,
        certificate: &Certificate,
    ) -> Result<(), EngineError> {
        let height = block.header.height;
        let mut forget = Batch::new();
        for (key, _) in self.wal_rows(height)? {
            forget.insert(key, None);
        }
        let writes = self.ledger.commit(block, &certificate.to_bytes(), &forget)?;
        self.wal_sequence = 0;
        self.started = self.started.max(height);
        self.after_commit(block, writes)
    }

    /// Puts all votes of a step on disk, in one commit, before anything of it is sent.
    fn persist(&mut self, outs: &[Out]) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        for out in outs {
            if let Out::Persist(entry) = out {
                let place = self.wal_sequence.to_be_bytes();
                let key = [WAL, &self.started.to_be_bytes(), &place].concat();
                self.wal_sequence += 1;
                batch.insert(key, Some(entry.clone()));
            }
        }
        if batch.is_empty() || anthill_types::planted!(ForgetVotes) {
            return Ok(());
        }
        Ok(self.ledger.store().commit(&batch).map_err(LedgerError::from)?)
    }

    /// Sends a validator that repeats old votes the block that it lacks.
    fn help(&mut self, to: &[u8; 32], height: u64) -> Result<(), EngineError> {
        let found = match self.ledger.block(height) {
            Err(LedgerError::Pruned { .. }) => None,
            found => found?,
        };
        let Some((block, certificate)) = found else { return Ok(()) };
        if let Ok(certificate) = Certificate::from_bytes(&certificate) {
            let message = catch_up_message(&certificate, &block.to_bytes());
            self.send(to, &Frame::Consensus(anthill_types::Bytes(message)));
        }
        Ok(())
    }

    /// Removal of all votes up to a height.
    pub(crate) fn votes_up_to(&self, height: u64) -> Result<Batch, EngineError> {
        let end = [WAL, &height.saturating_add(1).to_be_bytes()].concat();
        let rows = self.ledger.store().range(WAL, Some(&end), usize::MAX);
        let rows = rows.map_err(LedgerError::from)?;
        Ok(rows.into_iter().map(|(key, _)| (key, None)).collect())
    }

    pub(crate) fn wal_rows(&self, height: u64) -> Result<Vec<anthill_store::Row>, EngineError> {
        let prefix = [WAL, &height.to_be_bytes()].concat();
        let rows = self.ledger.store().prefix(&prefix, 65_536);
        Ok(rows.map_err(LedgerError::from)?)
    }
}
