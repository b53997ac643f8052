//! Proposing, signing once, the log, and commits.

use super::Snowman;
use super::codec::{Entry, Message, Proposal, Vote};
use super::election::{Hash, Signed};
use super::height::{Held, Verdict};
use crate::certificate::{Certificate, verify_certificate};
use crate::{ConsensusError, Evidence, Out, Statement, TimerKind};

impl Snowman {
    /// Opens a window: its proposer builds a block unless there is one.
    pub(super) fn open_window(&mut self, window: u32) {
        let waits = self.config.waits;
        let now = self.now_ms;
        let Some(height) = self.height.as_mut() else { return };
        height.window = window;
        height.issue();
        let mine = height.me.is_some() && height.proposer(window) == height.me;
        let wanted = height.election.own().is_none() && !height.election.has_block();
        if mine && wanted {
            height.building = Some(window);
            let deadline_ms = now.saturating_add(waits.window(window));
            let height = height.number;
            self.outs.push(Out::BuildBlock { height, round: window, deadline_ms });
        }
        if let Some(next) = window.checked_add(1) {
            self.set_timer(TimerKind::Propose, next, waits.window(window));
        }
    }

    /// Proposes the block that was built.
    pub(super) fn built(
        &mut self,
        number: u64,
        window: u32,
        hash: Hash,
        bytes: Vec<u8>,
    ) -> Result<(), ConsensusError> {
        if bytes.len() > self.config.max_block_bytes {
            return Err(ConsensusError::Refused("the block built here is over the size limit"));
        }
        if (self.config.block_hash)(&bytes) != Some(hash) {
            return Err(ConsensusError::Refused("the block built here has another hash"));
        }
        let Some(height) = self.height.as_mut().filter(|h| h.number == number && !h.decided) else {
            return Ok(());
        };
        let asked = height.building.take_if(|building| *building == window).is_some();
        let (Some(key), true) = (self.config.key.as_ref(), asked) else { return Ok(()) };
        let of_window = |held: &Held| held.proposal.window == window;
        if height.blocks.values().any(of_window) {
            return Ok(());
        }
        let body = Proposal::body(number, window, &hash);
        let signature = key.sign("proposal", &self.config.genesis, &body);
        let proposal = Proposal { height: number, window, hash, proposer: key.public(), signature };
        self.outs.push(Out::Persist(Entry::Proposal(proposal.clone(), bytes.clone()).to_bytes()));
        self.hold(proposal.clone(), bytes.clone(), Verdict::Good);
        self.outs.push(Out::Broadcast(Message::Proposal(proposal, bytes).to_bytes()));
        Ok(())
    }

    pub(super) fn hold(&mut self, proposal: Proposal, bytes: Vec<u8>, verdict: Verdict) {
        let Some(height) = self.height.as_mut() else { return };
        let named = height.fetching.contains_key(&proposal.hash);
        let held = Held { bytes, verdict, again: false, named, proposal };
        height.blocks.insert(held.proposal.hash, held);
        height.issue();
    }

    /// Holds a block that was valid here before a restart; it is on disk with what was signed.
    fn hold_again(&mut self, proposal: Proposal, bytes: Vec<u8>) {
        let hash = proposal.hash;
        self.hold(proposal, bytes, Verdict::Good);
        let Some(height) = self.height.as_mut() else { return };
        if let Some(held) = height.blocks.get_mut(&hash) {
            held.named = true;
        }
        height.issue();
    }

    /// Takes over what was signed before a restart.
    pub(super) fn recover(&mut self, entry: Entry) -> Result<(), ConsensusError> {
        let own = self.config.key.as_ref().map(anthill_identity::KeyPair::public);
        match entry {
            Entry::Proposal(proposal, block) => {
                let message = Message::Proposal(proposal.clone(), block.clone()).to_bytes();
                self.hold_again(proposal, block);
                self.outs.push(Out::Broadcast(message));
            }
            Entry::Vote(vote, proposal, block) if Some(vote.validator) == own => {
                let Some(height) = self.height.as_mut() else { return Ok(()) };
                if height.election.own().is_some_and(|hash| hash != vote.hash) {
                    let (height, round) = (vote.height, 0);
                    return Err(ConsensusError::WouldEquivocate {
                        kind: "precommit",
                        height,
                        round,
                    });
                }
                height.election.sign(vote.hash);
                if let Some(me) = height.me {
                    height.signatures.entry(vote.hash).or_default().insert(me, vote.signature);
                }
                self.hold_again(proposal, block);
                self.outs.push(Out::Broadcast(Message::Vote(vote).to_bytes()));
            }
            Entry::Vote(..) => {}
        }
        Ok(())
    }

    /// Signs the block that is accepted here, when it is at hand and valid; true when it did.
    pub(super) fn sign_accepted(&mut self) -> Result<bool, ConsensusError> {
        let Some(height) = self.height.as_mut().filter(|height| !height.decided) else {
            return Ok(false);
        };
        let (Some(hash), Some(key)) = (height.election.to_sign(), self.config.key.as_ref()) else {
            return Ok(false);
        };
        let number = height.number;
        let Some(held) = height.blocks.get(&hash).filter(|b| b.verdict == Verdict::Good) else {
            return Ok(false);
        };
        let twice = height.election.own();
        if twice == Some(hash) {
            return Ok(false);
        }
        if twice.is_some() && !anthill_types::planted!(SnowmanSignTwice) {
            return Err(ConsensusError::WouldEquivocate {
                kind: "precommit",
                height: number,
                round: 0,
            });
        }
        let signature = key.sign("vote", &self.config.genesis, &Vote::body(number, &hash));
        let vote = Vote { height: number, hash, validator: key.public(), signature };
        let entry = Entry::Vote(vote.clone(), held.proposal.clone(), held.bytes.clone());
        self.outs.push(Out::Persist(entry.to_bytes()));
        self.outs.push(Out::Broadcast(Message::Vote(vote).to_bytes()));
        height.election.sign(hash);
        if let Some(me) = height.me {
            height.signatures.entry(hash).or_default().insert(me, signature);
        }
        Ok(true)
    }

    /// Takes a precommit. Its signature is checked before it counts.
    pub(super) fn vote(&mut self, vote: &Vote) -> Result<(), ConsensusError> {
        let Some(height) = self.height.as_mut() else { return Ok(()) };
        let Vote { hash, validator: key, signature, .. } = vote;
        let Some(validator) = height.position(key) else {
            return Err(ConsensusError::Refused("a vote by a key outside the validator set"));
        };
        if height.signatures.get(hash).is_some_and(|known| known.contains_key(&validator)) {
            return Ok(());
        }
        let body = Vote::body(height.number, hash);
        let genesis = &self.config.genesis;
        let fits = anthill_types::planted!(SkipVoteSignature)
            || anthill_identity::verify(key, "vote", genesis, &body, signature).is_ok();
        if !fits {
            return Err(ConsensusError::Refused("a vote whose signature does not fit"));
        }
        match height.election.signature(validator, *hash) {
            Signed::Known => return Ok(()),
            Signed::First => {}
            Signed::Contradicts(first) => {
                let known = height.signatures.get(&first).and_then(|s| s.get(&validator)).copied();
                let number = height.number;
                let statement = |hash: &Hash, signature| Statement {
                    kind: "vote",
                    body: Vote::body(number, hash),
                    signature,
                };
                self.outs.extend(known.map(|known| {
                    Out::Evidence(Evidence {
                        validator: *key,
                        height: number,
                        round: 0,
                        first: statement(&first, known),
                        second: statement(hash, *signature),
                    })
                }));
            }
        }
        height.signatures.entry(*hash).or_default().insert(validator, *signature);
        Ok(())
    }

    /// Commits the block that more than two thirds have signed, once it is at hand.
    pub(super) fn commit_certified(&mut self) -> Result<bool, ConsensusError> {
        let Some(height) = self.height.as_mut().filter(|h| !h.decided && h.pending.is_none())
        else {
            return Ok(false);
        };
        let Some(hash) = height.election.certified() else { return Ok(false) };
        let Some(held) = height.blocks.get(&hash) else { return Ok(false) };
        let signed = height.signatures.get(&hash).into_iter().flatten();
        let signatures =
            signed.filter_map(|(v, s)| height.keys.get(*v).map(|key| (*key, *s))).collect();
        let bytes = held.bytes.clone();
        let certificate =
            Certificate { height: height.number, round: 0, block_hash: hash, signatures };
        self.take_decision(certificate, bytes)?;
        Ok(self.is_decided())
    }

    /// A peer says that this height is decided, and proves it.
    pub(super) fn decided(
        &mut self,
        certificate: Certificate,
        bytes: Vec<u8>,
    ) -> Result<(), ConsensusError> {
        let Some(height) = self.height.as_ref().filter(|h| h.pending.is_none()) else {
            return Ok(());
        };
        verify_certificate(&self.config.genesis, &height.set(), &certificate)
            .map_err(|_| ConsensusError::Refused("a certificate that does not hold"))?;
        if (self.config.block_hash)(&bytes) != Some(certificate.block_hash) {
            return Err(ConsensusError::Refused("a block that does not have the hash certified"));
        }
        self.take_decision(certificate, bytes)
    }

    /// Takes a certified block: commits it when it is known to be valid, else has it verified.
    fn take_decision(
        &mut self,
        certificate: Certificate,
        bytes: Vec<u8>,
    ) -> Result<(), ConsensusError> {
        let Some(height) = self.height.as_mut() else { return Ok(()) };
        let (number, hash, round) = (height.number, certificate.block_hash, certificate.round);
        match height.blocks.get(&hash).map(|held| held.verdict) {
            Some(Verdict::Good) => return self.accept(certificate, bytes, true),
            Some(Verdict::Waiting) => {}
            // What was refused as a proposal (it came early by this node's clock, for example) is
            // looked at again: the others have accepted it.
            Some(Verdict::Bad) | None => {
                let block = bytes.clone();
                let verify = Out::Verify { height: number, round, proposer: None, hash, block };
                self.outs.push(verify);
            }
        }
        height.pending = Some((certificate, bytes));
        Ok(())
    }

    /// Takes the caller's verdict on a block.
    pub(super) fn verified(&mut self, hash: Hash, ok: bool) -> Result<(), ConsensusError> {
        let Some(height) = self.height.as_mut().filter(|height| !height.decided) else {
            return Ok(());
        };
        let held = height.blocks.get_mut(&hash).filter(|held| held.verdict == Verdict::Waiting);
        let proposed = held.is_some();
        if let Some(held) = held {
            held.verdict = if ok { Verdict::Good } else { Verdict::Bad };
            height.issue();
        }
        let Some((certificate, bytes)) = height.pending.take_if(|(c, _)| c.block_hash == hash)
        else {
            return Ok(());
        };
        // This verdict may be on the proposal, which is held against more than the block itself (its
        // proposer, the clock): a decided block is then looked at once more.
        if proposed && !ok {
            return self.take_decision(certificate, bytes);
        }
        self.accept(certificate, bytes, ok)
    }

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
        if let Some(current) = self.height.as_mut() {
            current.decided = true;
        }
        self.outs.retain(|out| !matches!(out, Out::SetTimer { .. }));
        self.cancel_timers();
        self.neighbours.decided(height, self.now_ms);
        self.outs.push(Out::Commit { height, round, hash, block, certificate });
        Ok(())
    }
}
