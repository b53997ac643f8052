//! What comes from peers, and what is sent again.

use super::Snowman;
use super::codec::{Message, Opinion, Proposal, Vote};
use super::election::Hash;
use super::height::{MAX_BLOCKS, MAX_OF_WINDOW, Verdict};
use crate::{ConsensusError, Evidence, Out, Statement, TimerKind};

/// What a message may have besides its block.
const MESSAGE_SLACK: usize = 256 << 10;

impl Snowman {
    pub(super) fn message(&mut self, from: [u8; 32], bytes: &[u8]) -> Result<(), ConsensusError> {
        if bytes.len() > self.config.max_block_bytes.saturating_add(MESSAGE_SLACK) {
            return Err(ConsensusError::Refused("a message over the size limit"));
        }
        let message = Message::from_bytes(bytes).map_err(ConsensusError::Malformed)?;
        let Some(height) = self.height.as_mut() else { return Ok(()) };
        let (of, current) = (message.height(), height.number);
        if of > current {
            let told = self.neighbours.ahead(current, of, from, bytes, self.now_ms);
            self.outs.extend(told);
            return Ok(());
        }
        if of < current || height.decided {
            if matches!(message, Message::Vote(_) | Message::Question(_) | Message::Get(..)) {
                self.outs.extend(self.neighbours.help(from, of, self.now_ms));
            }
            return Ok(());
        }
        match message {
            Message::Vote(vote) => {
                self.vote(&vote)?;
                self.fetch_backed(from, &vote);
            }
            Message::Proposal(proposal, block) => self.proposal(proposal, block)?,
            Message::Decided(certificate, block) => self.decided(certificate, block)?,
            Message::Question(question) => self.question(from, &question),
            Message::Answer(answer) => self.answer(from, &answer),
            Message::Get(_, hash) => {
                let found = height.serve(from, hash, self.now_ms).map(|found| found.to_bytes());
                self.outs.extend(found.map(|bytes| Out::Reply { to: from, bytes }));
            }
        }
        Ok(())
    }

    fn proposal(&mut self, proposal: Proposal, bytes: Vec<u8>) -> Result<(), ConsensusError> {
        let Some(height) = self.height.as_mut() else { return Ok(()) };
        let Proposal { height: number, window, hash, proposer, signature } = &proposal;
        if height.position(proposer).is_none_or(|p| height.proposer(*window) != Some(p)) {
            return Err(ConsensusError::Refused("a proposal that is not by the proposer"));
        }
        if height.blocks.contains_key(hash) {
            return Ok(());
        }
        let body = Proposal::body(*number, *window, hash);
        let genesis = &self.config.genesis;
        if anthill_identity::verify(proposer, "proposal", genesis, &body, signature).is_err() {
            return Err(ConsensusError::Refused("a proposal whose signature does not fit"));
        }
        if bytes.len() > self.config.max_block_bytes {
            return Err(ConsensusError::Refused("a block over the size limit"));
        }
        if (self.config.block_hash)(&bytes) != Some(*hash) {
            return Err(ConsensusError::Refused("a block that does not have the hash proposed"));
        }
        let of_window = height.blocks.values().filter(|held| held.proposal.window == *window);
        let others: Vec<&Proposal> = of_window.map(|held| &held.proposal).collect();
        // One that others speak of is taken beyond the bound of its window: all must be able to know
        // what is voted on.
        let named = height.fetching.contains_key(hash);
        if height.blocks.len() >= MAX_BLOCKS || (others.len() >= MAX_OF_WINDOW && !named) {
            return Ok(());
        }
        if let Some(other) = others.first().filter(|other| other.proposer == *proposer) {
            self.outs.push(Out::Evidence(contradiction(other, &proposal)));
        }
        let (hash, round, by) = (*hash, *window, Some(*proposer));
        let (height, block) = (*number, bytes.clone());
        self.outs.push(Out::Verify { height, round, proposer: by, hash, block });
        self.hold(proposal, bytes, Verdict::Waiting);
        Ok(())
    }

    /// Answers a poll: what this node has signed, else what it prefers.
    fn question(&mut self, from: [u8; 32], question: &Opinion) {
        let Some(height) = self.height.as_ref() else { return };
        let answer = Opinion { hash: height.election.vote(), ..question.clone() };
        self.outs.push(Out::Reply { to: from, bytes: Message::Answer(answer).to_bytes() });
        self.heard_of(from, question.hash);
    }

    /// Counts an answer for whom the question with this nonce was sent to.
    fn answer(&mut self, from: [u8; 32], answer: &Opinion) {
        let Some(height) = self.height.as_mut() else { return };
        let Some((poll, validator)) = height.nonces.remove(&answer.nonce) else { return };
        if poll == answer.poll {
            height.election.answer(poll, validator, answer.hash, self.now_ms);
            self.heard_of(from, answer.hash);
        }
    }

    /// A peer speaks of a block: fetch it if it is not here, and put it to the vote if it is.
    fn heard_of(&mut self, from: [u8; 32], hash: Option<Hash>) {
        let every = self.config.waits.polls.again_ms / 2;
        let (Some(height), Some(hash)) = (self.height.as_mut(), hash) else { return };
        if let Some(held) = height.blocks.get_mut(&hash) {
            if !held.named {
                held.named = true;
                height.issue();
            }
        } else if height.should_fetch(&hash, self.now_ms, every) {
            let bytes = Message::Get(height.number, hash).to_bytes();
            self.outs.push(Out::Reply { to: from, bytes });
        }
    }

    /// Fetches a block from who has signed it.
    fn fetch_backed(&mut self, from: [u8; 32], vote: &Vote) {
        let backed = self.height.as_ref().and_then(|height| height.election.backed());
        if backed == Some(vote.hash) {
            self.heard_of(from, backed);
        }
    }

    /// Looks once more at refused blocks: at one that more than a third have signed without holding
    /// it against this node's clock, at the others after a tie, when the clock has moved on.
    pub(super) fn reconsider(&mut self) {
        let Some(height) = self.height.as_mut().filter(|height| !height.decided) else { return };
        let tie = height.election.take_tie();
        let backed = height.election.backed().filter(|_| height.election.own().is_none());
        for (hash, held) in &mut height.blocks {
            let signed = backed == Some(*hash) && !held.again;
            if held.verdict != Verdict::Bad || !(signed || (tie && held.named)) {
                continue;
            }
            held.again |= signed;
            held.verdict = Verdict::Waiting;
            let proposer = (!signed).then_some(held.proposal.proposer);
            let (height, round) = (height.number, held.proposal.window);
            let (hash, block) = (*hash, held.bytes.clone());
            self.outs.push(Out::Verify { height, round, proposer, hash, block });
        }
    }

    /// Sends the own signature again, asks for a certified block that is missing, and tells of a
    /// stall.
    pub(super) fn rebroadcast(&mut self) {
        self.set_timer(TimerKind::Rebroadcast, 0, self.config.waits.rebroadcast_ms);
        let now = self.now_ms;
        let (Some(height), Some(key)) = (self.height.as_mut(), Some(&self.config.key)) else {
            return;
        };
        if let (Some(hash), Some(me), Some(key)) = (height.election.own(), height.me, key) {
            let signature = height.signatures.get(&hash).and_then(|s| s.get(&me)).copied();
            let (height, validator) = (height.number, key.public());
            let vote = signature.map(|signature| Vote { height, hash, validator, signature });
            self.outs.extend(vote.map(|v| Out::Broadcast(Message::Vote(v).to_bytes())));
        }
        if let Some(hash) = height.election.backed()
            && height.should_fetch(&hash, now, 0)
            && let Some(validator) = height.a_signer(&hash)
        {
            let bytes = Message::Get(height.number, hash).to_bytes();
            self.outs.push(Out::Ask { validator, bytes });
        }
        if let Some((for_ms, detail)) = height.stall(now) {
            self.outs.push(Out::Stalled { height: height.number, for_ms, detail });
        }
    }
}

/// Two proposals of one proposer for one window.
fn contradiction(first: &Proposal, second: &Proposal) -> Evidence {
    let statement = |p: &Proposal| Statement {
        kind: "proposal",
        body: Proposal::body(p.height, p.window, &p.hash),
        signature: p.signature,
    };
    Evidence {
        validator: first.proposer,
        height: first.height,
        round: first.window,
        first: statement(first),
        second: statement(second),
    }
}
