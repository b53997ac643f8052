//! Bytes of Snowman's messages and log entries.
//!
//! Message = `[0, vote]`, `[1, proposal, block]`, `[4, certificate, block]` (as the BFT back-end
//! writes them), `[5, height, poll, nonce, preferred hash or null]` a question, `[6, height, poll,
//! nonce, hash or null]` its answer, or `[7, height, hash]` asking for a block; vote = `[1, height, 0,
//! hash, validator, signature]`, proposal = `[height, window, null, hash, proposer, signature]`. Log
//! entry = `[0, vote, proposal, block]` or `[1, proposal, block]`.

use super::election::Hash;
use crate::certificate::{Certificate, PRECOMMIT, vote_body};
use crate::wire::{Malformed, Reader, Writer, same};

/// Proves that an answer is by whom the question was sent to.
pub(crate) type Nonce = [u8; 16];

/// A precommit: the only vote that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) height: u64,
    pub(crate) hash: Hash,
    pub(crate) validator: [u8; 32],
    pub(crate) signature: [u8; 64],
}

impl Vote {
    /// The signed body. All votes of a height are of round 0, whatever window a block is of, so that
    /// signatures of one block are never of two kinds.
    pub(crate) fn body(height: u64, hash: &Hash) -> Vec<u8> {
        vote_body(PRECOMMIT, height, 0, Some(hash))
    }

    fn write(&self, writer: &mut Writer) {
        writer.array(6).uint(PRECOMMIT.into()).uint(self.height).uint(0);
        writer.bytes(&self.hash).bytes(&self.validator).bytes(&self.signature);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(6)?;
        if reader.uint()? != u64::from(PRECOMMIT) {
            return Err("unknown kind of vote");
        }
        let height = reader.uint()?;
        if reader.round()? != 0 {
            return Err("a vote of another round than 0");
        }
        let (hash, validator) = (reader.bytes()?, reader.bytes()?);
        Ok(Self { height, hash, validator, signature: reader.bytes()? })
    }
}

/// A block's announcement by the proposer of its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) height: u64,
    pub(crate) window: u32,
    pub(crate) hash: Hash,
    pub(crate) proposer: [u8; 32],
    pub(crate) signature: [u8; 64],
}

impl Proposal {
    /// The signed body.
    pub(crate) fn body(height: u64, window: u32, hash: &Hash) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(4).uint(height).uint(window.into()).null().bytes(hash);
        writer.0
    }

    fn write(&self, writer: &mut Writer) {
        writer.array(6).uint(self.height).uint(self.window.into()).null();
        writer.bytes(&self.hash).bytes(&self.proposer).bytes(&self.signature);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(6)?;
        let (height, window) = (reader.uint()?, reader.round()?);
        reader.null()?;
        let (hash, proposer) = (reader.bytes()?, reader.bytes()?);
        Ok(Self { height, window, hash, proposer, signature: reader.bytes()? })
    }
}

/// A question or its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opinion {
    pub(crate) height: u64,
    pub(crate) poll: u32,
    pub(crate) nonce: Nonce,
    /// What the sender prefers.
    pub(crate) hash: Option<Hash>,
}

impl Opinion {
    fn write(&self, writer: &mut Writer) {
        writer.uint(self.height).uint(self.poll.into()).bytes(&self.nonce);
        writer.optional_bytes(self.hash.as_ref());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (height, poll, nonce) = (reader.uint()?, reader.round()?, reader.bytes()?);
        Ok(Self { height, poll, nonce, hash: reader.optional(Reader::bytes)? })
    }
}

/// What nodes say to one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Vote(Vote),
    Proposal(Proposal, Vec<u8>),
    Decided(Certificate, Vec<u8>),
    Question(Opinion),
    Answer(Opinion),
    Get(u64, Hash),
}

impl Message {
    pub(crate) fn height(&self) -> u64 {
        match self {
            Self::Vote(vote) => vote.height,
            Self::Proposal(proposal, _) => proposal.height,
            Self::Decided(certificate, _) => certificate.height,
            Self::Question(opinion) | Self::Answer(opinion) => opinion.height,
            Self::Get(height, _) => *height,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Vote(vote) => vote.write(writer.array(2).uint(0)),
            Self::Proposal(proposal, block) => {
                proposal.write(writer.array(3).uint(1));
                writer.bytes(block);
            }
            Self::Decided(certificate, block) => {
                return crate::catch_up_message(certificate, block);
            }
            Self::Question(opinion) => opinion.write(writer.array(5).uint(5)),
            Self::Answer(opinion) => opinion.write(writer.array(5).uint(6)),
            Self::Get(height, hash) => {
                writer.array(3).uint(7).uint(*height).bytes(hash);
            }
        }
        writer.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let length = reader.array(5)?;
        let message = match (reader.uint()?, length) {
            (0, 2) => Self::Vote(Vote::read(&mut reader)?),
            (1, 3) => Self::Proposal(Proposal::read(&mut reader)?, reader.slice()?.to_vec()),
            (4, 3) => Self::Decided(Certificate::read(&mut reader)?, reader.slice()?.to_vec()),
            (5, 5) => Self::Question(Opinion::read(&mut reader)?),
            (6, 5) => Self::Answer(Opinion::read(&mut reader)?),
            (7, 3) => Self::Get(reader.uint()?, reader.bytes()?),
            _ => return Err("unknown kind of message"),
        };
        same(bytes, &message.to_bytes())?;
        Ok(message)
    }
}

/// What must survive a restart: what was signed, with its block and the proposal that brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Vote(Vote, Proposal, Vec<u8>),
    Proposal(Proposal, Vec<u8>),
}

impl Entry {
    pub(crate) fn height(&self) -> u64 {
        match self {
            Self::Vote(vote, ..) => vote.height,
            Self::Proposal(proposal, _) => proposal.height,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Vote(vote, proposal, block) => {
                vote.write(writer.array(4).uint(0));
                proposal.write(&mut writer);
                writer.bytes(block);
            }
            Self::Proposal(proposal, block) => {
                proposal.write(writer.array(3).uint(1));
                writer.bytes(block);
            }
        }
        writer.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let length = reader.array(4)?;
        let entry = match (reader.uint()?, length) {
            (0, 4) => {
                let (vote, proposal) = (Vote::read(&mut reader)?, Proposal::read(&mut reader)?);
                Self::Vote(vote, proposal, reader.slice()?.to_vec())
            }
            (1, 3) => Self::Proposal(Proposal::read(&mut reader)?, reader.slice()?.to_vec()),
            _ => return Err("unknown kind of entry"),
        };
        same(bytes, &entry.to_bytes())?;
        Ok(entry)
    }
}
