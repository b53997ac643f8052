//! What the engine asks of its host: signing, checking, timers, the log, sending.

use super::codec::{Message, write_entry, write_timeout};
use super::context::{
    Address, BlockHash, Ctx, SignedProposal, SignedVote, ValidatorSet, Vote, number,
    proposal_statement, vote_statement,
};
use super::{Config, check};
use crate::{Certificate, ConsensusError, Evidence, Out, TimerId, TimerKind};
use arc_malachitebft_core_consensus::{
    ConsensusMsg, Effect, Input, LivenessMsg, MisbehaviorEvidence, Resumable as _, Resume,
    SignedConsensusMsg, VoteExtensionError,
};
use arc_malachitebft_core_types::{
    CommitCertificate, SignedMessage, Timeout, TimeoutKind, VoteType,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most blocks of one height that are kept: two per round, the oldest rounds go first.
const MAX_BLOCKS: usize = 64;

/// A block that was proposed at the current height.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) round: u32,
    pub(crate) proposer: Address,
    /// The caller's verdict, once it is there.
    pub(crate) valid: Option<bool>,
}

/// The engine's host; everything in it but configuration and timers belongs to one height.
pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) address: Address,
    pub(crate) now_ms: u64,
    pub(crate) height: u64,
    pub(crate) set: Option<ValidatorSet>,
    pub(crate) outs: Vec<Out>,
    pub(crate) timers: BTreeSet<TimerId>,
    pub(crate) blocks: BTreeMap<[u8; 32], Block>,
    /// What this key has signed at this height, so that it never signs twice.
    signed: BTreeMap<(&'static str, u32), Vec<u8>>,
    /// The own proposal of a round, to be sent again.
    pub(crate) own_proposal: Option<(u32, Vec<u8>)>,
    /// Log entries that are being replayed: they are on disk already.
    pub(crate) replayed: BTreeSet<Vec<u8>>,
    pub(crate) replaying: bool,
    /// Round, block and verdict of the last entry, if it was a verdict: the engine logs that of an
    /// own block once when it is told and again when the block is proposed.
    last_verdict: Option<(u32, [u8; 32], bool)>,
    /// Round for which the engine asked for a block during replay.
    pub(crate) wanted: Option<u32>,
    /// The accepted block's certificate, once the height is decided.
    pub(crate) decided: Option<Certificate>,
    pub(crate) failure: Option<ConsensusError>,
}

impl Host {
    pub(crate) fn new(config: Config) -> Self {
        let address = Address(config.key.as_ref().map_or([0; 32], |key| key.public()));
        Self {
            config,
            address,
            now_ms: 0,
            height: 0,
            set: None,
            outs: Vec::new(),
            timers: BTreeSet::new(),
            blocks: BTreeMap::new(),
            signed: BTreeMap::new(),
            own_proposal: None,
            replayed: BTreeSet::new(),
            replaying: false,
            last_verdict: None,
            wanted: None,
            decided: None,
            failure: None,
        }
    }

    /// Forgets the height before.
    pub(crate) fn begin(&mut self, height: u64, set: ValidatorSet) {
        self.cancel_all();
        self.height = height;
        self.set = Some(set);
        self.blocks.clear();
        self.signed.clear();
        self.own_proposal = None;
        self.replayed.clear();
        self.last_verdict = None;
        self.wanted = None;
        self.decided = None;
    }

    /// Keeps a block, if there is room: two of a round, [`MAX_BLOCKS`] in all.
    pub(crate) fn keep_block(&mut self, hash: [u8; 32], block: Block, locked: Option<[u8; 32]>) {
        if self.blocks.len() >= MAX_BLOCKS {
            let oldest = self.blocks.iter().filter(|(hash, _)| Some(**hash) != locked);
            let oldest = oldest.min_by_key(|(_, block)| block.round).map(|(hash, _)| *hash);
            oldest.map(|hash| self.blocks.remove(&hash));
        }
        self.blocks.insert(hash, block);
    }

    /// Number of blocks of a round.
    pub(crate) fn blocks_of(&self, round: u32) -> usize {
        self.blocks.values().filter(|block| block.round == round).count()
    }

    /// Notes what was signed before a restart.
    pub(crate) fn remember(&mut self, input: &Input<Ctx>) {
        let own = match input {
            Input::Vote(vote) if vote.message.validator == self.address => {
                (vote_name(&vote.message), number(vote.message.round), vote.message.body())
            }
            Input::Proposal(proposal) if proposal.message.proposer == self.address => {
                ("proposal", number(proposal.message.round), proposal.message.body())
            }
            _ => return,
        };
        self.signed.entry((own.0, own.1)).or_insert(own.2);
    }

    /// Handles one effect. `Err` makes the engine stop with an error; `failure` says why.
    #[allow(clippy::unit_arg, reason = "one line per effect")]
    pub(crate) fn handle(&mut self, effect: Effect<Ctx>) -> Result<Resume<Ctx>, &'static str> {
        Ok(match effect {
            Effect::CancelAllTimeouts(r) => r.resume_with(self.cancel_all()),
            Effect::CancelTimeout(timeout, r) => r.resume_with(self.cancel(timeout)),
            Effect::ScheduleTimeout(timeout, r) => r.resume_with(self.schedule(timeout)),
            Effect::StartRound(_, _, _, _, r) => r.resume_with(()),
            Effect::PublishConsensusMsg(SignedConsensusMsg::Vote(vote), r)
            | Effect::PublishLivenessMsg(LivenessMsg::Vote(vote), r)
            | Effect::RepublishVote(vote, r) => r.resume_with(self.broadcast(&Message::Vote(vote))),
            Effect::PublishConsensusMsg(SignedConsensusMsg::Proposal(proposal), r) => {
                r.resume_with(self.publish_proposal(proposal))
            }
            Effect::PublishLivenessMsg(LivenessMsg::PolkaCertificate(polka), r) => {
                r.resume_with(self.broadcast(&Message::Polka(polka)))
            }
            Effect::PublishLivenessMsg(LivenessMsg::SkipRoundCertificate(certificate), r)
            | Effect::RepublishRoundCertificate(certificate, r) => {
                r.resume_with(self.broadcast(&Message::Round(certificate)))
            }
            Effect::GetValue(_, round, _, r) => r.resume_with(self.ask_for_block(number(round))),
            // The block goes out with the proposal that follows this effect.
            Effect::RestreamProposal(_, _, _, _, _, r) => r.resume_with(()),
            Effect::Decide(certificate, _, r) => r.resume_with(self.decide(&certificate)),
            Effect::Finalize(_, _, evidence, r) => r.resume_with(self.finalize(&evidence)),
            Effect::SignVote(vote, r) => r.resume_with(self.sign_vote(vote)?),
            Effect::SignProposal(proposal, r) => {
                let signature =
                    self.sign("proposal", "proposal", number(proposal.round), proposal.body())?;
                r.resume_with(SignedMessage::new(proposal, signature))
            }
            Effect::WalAppend(_, input, r) => r.resume_with(self.persist(&input)?),
            Effect::ExtendVote(_, _, _, _, r) => r.resume_with(None),
            Effect::VerifyVoteExtension(_, _, _, _, _, _, r) => {
                r.resume_with(Err(VoteExtensionError::InvalidVoteExtension))
            }
            Effect::VerifySignature(message, key, r) => {
                r.resume_with(self.signature_fits(&message, &key))
            }
            Effect::VerifyCommitCertificate(certificate, set, _, r) => {
                r.resume_with(check::commit(&self.config.genesis, &set, &certificate))
            }
            Effect::VerifyExtendedCommitCertificate(certificate, set, _, _, r) => {
                let certificate = certificate.trim_vote_extensions();
                r.resume_with(check::commit(&self.config.genesis, &set, &certificate))
            }
            Effect::VerifyPolkaCertificate(polka, set, thresholds, r) => {
                r.resume_with(check::polka(&self.config.genesis, &set, thresholds, &polka))
            }
            Effect::VerifyRoundCertificate(certificate, set, thresholds, r) => {
                r.resume_with(check::round(&self.config.genesis, &set, thresholds, &certificate))
            }
            Effect::CertVerifiedSyncValue(_, _, r) => r.resume_with(()),
            Effect::CertRejectedSyncValue(_, _, _, r) => r.resume_with(()),
        })
    }

    fn cancel_all(&mut self) {
        self.outs.extend(std::mem::take(&mut self.timers).into_iter().map(Out::CancelTimer));
    }

    fn timer(&self, timeout: Timeout) -> Option<TimerId> {
        let kind = match timeout.kind {
            TimeoutKind::Propose => TimerKind::Propose,
            TimeoutKind::Prevote => TimerKind::Prevote,
            TimeoutKind::Precommit => TimerKind::Precommit,
            TimeoutKind::Rebroadcast => TimerKind::Rebroadcast,
            TimeoutKind::FinalizeHeight(_) => return None,
        };
        Some(TimerId { height: self.height, round: number(timeout.round), kind })
    }

    fn cancel(&mut self, timeout: Timeout) {
        let id = self.timer(timeout).filter(|id| self.timers.remove(id));
        self.outs.extend(id.map(Out::CancelTimer));
    }

    fn schedule(&mut self, timeout: Timeout) {
        if let Some(id) = self.timer(timeout) {
            self.timers.insert(id);
            let after_ms = self.config.timeouts.after_ms(id.kind, id.round);
            self.outs.push(Out::SetTimer { id, after_ms });
        }
    }

    pub(crate) fn broadcast(&mut self, message: &Message) {
        self.outs.push(Out::Broadcast(message.to_bytes()));
    }

    fn publish_proposal(&mut self, proposal: SignedProposal) {
        let (round, hash) = (number(proposal.message.round), proposal.message.value.0);
        let own = proposal.message.proposer == self.address;
        let Some(block) = self.blocks.get(&hash) else { return };
        let bytes = Message::Proposal(proposal, block.bytes.clone()).to_bytes();
        if own {
            self.own_proposal = Some((round, bytes.clone()));
        }
        self.outs.push(Out::Broadcast(bytes));
    }

    pub(crate) fn ask_for_block(&mut self, round: u32) {
        if self.replaying {
            self.wanted = Some(round);
            return;
        }
        let wait = self.config.timeouts.after_ms(TimerKind::Propose, round);
        let deadline_ms = self.now_ms.saturating_add(wait);
        self.outs.push(Out::BuildBlock { height: self.height, round, deadline_ms });
    }

    fn decide(&mut self, certificate: &CommitCertificate<Ctx>) {
        self.decided = Some(check::plain(certificate));
    }

    fn finalize(&mut self, evidence: &MisbehaviorEvidence<Ctx>) {
        self.report(evidence);
        let Some(certificate) = self.decided.clone() else { return };
        let Some(block) = self.blocks.get(&certificate.block_hash) else {
            let lost = ConsensusError::Engine("the accepted block is not at hand".to_owned());
            self.failure = Some(lost);
            return;
        };
        let Certificate { height, round, block_hash: hash, .. } = certificate;
        let block = block.bytes.clone();
        self.outs.push(Out::Commit { height, round, hash, block, certificate });
    }

    /// The effects of a step in the order in which they are given out.
    ///
    /// The engine yields an outer message after the inner ones that it led to, so messages are
    /// turned round: a proposal goes out before the vote for it. Once the height is decided its
    /// timers are over.
    pub(crate) fn arrange(&mut self) -> Vec<Out> {
        if self.decided.is_some() {
            self.cancel_all();
        }
        let (mut log, mut messages, mut others, mut commit) = (vec![], vec![], vec![], vec![]);
        for out in std::mem::take(&mut self.outs) {
            match out {
                Out::Persist(_) => log.push(out),
                Out::Broadcast(_) => messages.push(out),
                Out::SetTimer { .. } if self.decided.is_some() => {}
                Out::Commit { .. } => commit.push(out),
                _ => others.push(out),
            }
        }
        messages.reverse();
        log.extend(messages.into_iter().chain(others).chain(commit));
        log
    }

    /// Gives out the contradictions that the engine has seen.
    pub(crate) fn report(&mut self, evidence: &MisbehaviorEvidence<Ctx>) {
        let votes = evidence.votes.iter().flat_map(|(validator, pairs)| {
            pairs.iter().map(|(first, second)| Evidence {
                validator: validator.0,
                height: first.message.height.0,
                round: number(first.message.round),
                first: vote_statement(first),
                second: vote_statement(second),
            })
        });
        let proposals = evidence.proposals.iter().flat_map(|(validator, pairs)| {
            pairs.iter().map(|(first, second)| Evidence {
                validator: validator.0,
                height: first.message.height.0,
                round: number(first.message.round),
                first: proposal_statement(first),
                second: proposal_statement(second),
            })
        });
        self.outs.extend(votes.chain(proposals).map(Out::Evidence));
    }

    fn sign_vote(&mut self, vote: Vote) -> Result<SignedVote, &'static str> {
        let signature = self.sign(vote_name(&vote), "vote", number(vote.round), vote.body())?;
        Ok(SignedMessage::new(vote, signature))
    }

    /// Signs `body`, unless another one of this name and round was signed before.
    fn sign(
        &mut self,
        name: &'static str,
        kind: &'static str,
        round: u32,
        body: Vec<u8>,
    ) -> Result<[u8; 64], &'static str> {
        let before = self.signed.entry((name, round)).or_insert_with(|| body.clone());
        if *before != body {
            let height = self.height;
            self.failure = Some(ConsensusError::WouldEquivocate { kind: name, height, round });
            return Err("would equivocate");
        }
        let key = self.config.key.as_ref().ok_or("this node has no validator key")?;
        Ok(key.sign(kind, &self.config.genesis, &body))
    }

    fn persist(&mut self, input: &Input<Ctx>) -> Result<(), &'static str> {
        let verdict = match input {
            Input::ProposedValue(value, _) => {
                Some((number(value.round), value.value.0, value.validity.is_valid()))
            }
            _ => None,
        };
        let before = std::mem::replace(&mut self.last_verdict, verdict);
        if verdict.is_some() && verdict == before {
            return Ok(());
        }
        let entry = match input {
            Input::TimeoutElapsed(timeout) => write_timeout(self.height, *timeout),
            Input::ProposedValue(value, _) => {
                let block = self.blocks.get(&value.value.0).map(|block| block.bytes.as_slice());
                write_entry(input, block.unwrap_or_default())
            }
            input => write_entry(input, &[]),
        };
        let entry = entry.ok_or("an input that is never logged")?;
        if !self.replayed.contains(&entry) {
            self.outs.push(Out::Persist(entry));
        }
        Ok(())
    }

    fn signature_fits(
        &self,
        message: &SignedMessage<Ctx, ConsensusMsg<Ctx>>,
        key: &Address,
    ) -> bool {
        let (kind, body) = match &message.message {
            ConsensusMsg::Vote(vote) => ("vote", vote.body()),
            ConsensusMsg::Proposal(proposal) => ("proposal", proposal.body()),
        };
        check::fits(&self.config.genesis, key, kind, &body, &message.signature)
    }

    /// Whether a proposal is by the proposer of its round.
    pub(crate) fn is_by_proposer(&self, proposal: &SignedProposal) -> bool {
        let message = &proposal.message;
        let turn =
            self.set.as_ref().map(|set| set.proposer(message.height.0, number(message.round)));
        let address = turn.map(arc_malachitebft_core_types::Validator::<Ctx>::address);
        address == Some(&message.proposer)
            && check::fits(
                &self.config.genesis,
                &message.proposer,
                "proposal",
                &message.body(),
                &proposal.signature,
            )
    }

    /// Hash of the block that must not be dropped.
    pub(crate) fn hash(value: Option<BlockHash>) -> Option<[u8; 32]> {
        value.map(|value| value.0)
    }
}

fn vote_name(vote: &Vote) -> &'static str {
    match vote.kind {
        VoteType::Prevote => "prevote",
        VoteType::Precommit => "precommit",
    }
}
