//! Bytes of messages between validators and of log entries.
//!
//! Message = `[0, vote]`, `[1, proposal, block]`, `[2, polka]`, `[3, round certificate]` or `[4,
//! commit certificate, block]`; vote = `[kind, height, round, hash or null, validator, signature]`,
//! proposal = `[height, round, proof-of-lock round or null, hash, proposer, signature]`, polka =
//! `[height, round, hash, [[validator, signature]]]`, round certificate = `[height, round, 0 skip |
//! 1 precommit, [[kind, hash or null, validator, signature]]]`. Log entry = `[0, vote]`, `[1,
//! proposal]`, `[2, polka]`, `[3, height, round, proposer, hash, 0 invalid | 1 valid, block]` or
//! `[4, height, round, 0 propose | 1 prevote | 2 precommit]`.

use super::context::{
    Address, BlockHash, Ctx, Height, Proposal, SignedProposal, SignedVote, Vote, hash_of, number,
};
use crate::certificate::{Certificate, MAX_VALIDATORS};
use crate::wire::{Malformed, Reader, Writer, same};
use arc_malachitebft_core_consensus::{Input, ProposedValue};
use arc_malachitebft_core_types::{
    NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate, RoundCertificateType,
    RoundSignature, SignedMessage, Timeout, TimeoutKind, Validity, ValueOrigin, VoteType,
};

/// What validators send to one another.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Vote(SignedVote),
    Proposal(SignedProposal, Vec<u8>),
    Polka(PolkaCertificate<Ctx>),
    Round(RoundCertificate<Ctx>),
    Decided(Certificate, Vec<u8>),
}

impl Message {
    pub(crate) fn height(&self) -> u64 {
        match self {
            Self::Vote(vote) => vote.message.height.0,
            Self::Proposal(proposal, _) => proposal.message.height.0,
            Self::Polka(certificate) => certificate.height.0,
            Self::Round(certificate) => certificate.height.0,
            Self::Decided(certificate, _) => certificate.height,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Vote(vote) => write_vote(writer.array(2).uint(0), vote),
            Self::Proposal(proposal, block) => {
                write_proposal(writer.array(3).uint(1), proposal);
                writer.bytes(block);
            }
            Self::Polka(polka) => write_polka(writer.array(2).uint(2), polka),
            Self::Round(certificate) => write_round(writer.array(2).uint(3), certificate),
            Self::Decided(certificate, block) => {
                certificate.write(writer.array(3).uint(4));
                writer.bytes(block);
            }
        }
        writer.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let length = reader.array(3)?;
        let message = match (reader.uint()?, length) {
            (0, 2) => Self::Vote(read_vote(&mut reader)?),
            (1, 3) => Self::Proposal(read_proposal(&mut reader)?, reader.slice()?.to_vec()),
            (2, 2) => Self::Polka(read_polka(&mut reader)?),
            (3, 2) => Self::Round(read_round(&mut reader)?),
            (4, 3) => Self::Decided(Certificate::read(&mut reader)?, reader.slice()?.to_vec()),
            _ => return Err("unknown kind of message"),
        };
        same(bytes, &message.to_bytes())?;
        Ok(message)
    }
}

fn write_vote(writer: &mut Writer, vote: &SignedVote) {
    let Vote { height, round, value, validator, .. } = &vote.message;
    writer.array(6).uint(vote.message.kind_number().into()).uint(height.0);
    writer.uint(number(*round).into()).optional_bytes(hash_of(value));
    writer.bytes(&validator.0).bytes(&vote.signature);
}

fn read_vote(reader: &mut Reader<'_>) -> Result<SignedVote, Malformed> {
    reader.tuple(6)?;
    let (kind, height) = (read_kind(reader)?, Height(reader.uint()?));
    let (round, value) = (Round::new(reader.round()?), read_value(reader)?);
    let (validator, signature) = (Address(reader.bytes()?), reader.bytes()?);
    Ok(SignedMessage::new(Vote { kind, height, round, value, validator }, signature))
}

fn read_kind(reader: &mut Reader<'_>) -> Result<VoteType, Malformed> {
    match reader.uint()? {
        0 => Ok(VoteType::Prevote),
        1 => Ok(VoteType::Precommit),
        _ => Err("unknown kind of vote"),
    }
}

fn read_value(reader: &mut Reader<'_>) -> Result<NilOrVal<BlockHash>, Malformed> {
    let hash = reader.optional(Reader::bytes)?;
    Ok(hash.map_or(NilOrVal::Nil, |hash| NilOrVal::Val(BlockHash(hash))))
}

fn write_proposal(writer: &mut Writer, proposal: &SignedProposal) {
    let Proposal { height, round, value, pol_round, proposer } = &proposal.message;
    writer.array(6).uint(height.0).uint(number(*round).into()).optional_uint(pol_round.as_u32());
    writer.bytes(&value.0).bytes(&proposer.0).bytes(&proposal.signature);
}

fn read_proposal(reader: &mut Reader<'_>) -> Result<SignedProposal, Malformed> {
    reader.tuple(6)?;
    let (height, round) = (Height(reader.uint()?), Round::new(reader.round()?));
    let pol_round = Round::from(reader.optional(Reader::round)?);
    let (value, proposer) = (BlockHash(reader.bytes()?), Address(reader.bytes()?));
    let proposal = Proposal { height, round, value, pol_round, proposer };
    Ok(SignedMessage::new(proposal, reader.bytes()?))
}

fn write_polka(writer: &mut Writer, polka: &PolkaCertificate<Ctx>) {
    writer.array(4).uint(polka.height.0).uint(number(polka.round).into());
    writer.bytes(&polka.value_id.0).array(polka.polka_signatures.len());
    for signed in &polka.polka_signatures {
        writer.array(2).bytes(&signed.address.0).bytes(&signed.signature);
    }
}

fn read_polka(reader: &mut Reader<'_>) -> Result<PolkaCertificate<Ctx>, Malformed> {
    reader.tuple(4)?;
    let (height, round) = (Height(reader.uint()?), Round::new(reader.round()?));
    let value_id = BlockHash(reader.bytes()?);
    let count = reader.array(MAX_VALIDATORS)?;
    let mut polka_signatures = Vec::with_capacity(count);
    for _ in 0..count {
        reader.tuple(2)?;
        polka_signatures.push(PolkaSignature::new(Address(reader.bytes()?), reader.bytes()?));
    }
    Ok(PolkaCertificate { height, round, value_id, polka_signatures })
}

fn write_round(writer: &mut Writer, certificate: &RoundCertificate<Ctx>) {
    let kind = match certificate.cert_type {
        RoundCertificateType::Skip => 0,
        RoundCertificateType::Precommit => 1,
    };
    writer.array(4).uint(certificate.height.0).uint(number(certificate.round).into()).uint(kind);
    writer.array(certificate.round_signatures.len());
    for signed in &certificate.round_signatures {
        let vote = match signed.vote_type {
            VoteType::Prevote => 0,
            VoteType::Precommit => 1,
        };
        writer.array(4).uint(vote).optional_bytes(hash_of(&signed.value_id));
        writer.bytes(&signed.address.0).bytes(&signed.signature);
    }
}

fn read_round(reader: &mut Reader<'_>) -> Result<RoundCertificate<Ctx>, Malformed> {
    reader.tuple(4)?;
    let (height, round) = (Height(reader.uint()?), Round::new(reader.round()?));
    let cert_type = match reader.uint()? {
        0 => RoundCertificateType::Skip,
        1 => RoundCertificateType::Precommit,
        _ => return Err("unknown kind of round certificate"),
    };
    let count = reader.array(2 * MAX_VALIDATORS)?;
    let mut round_signatures = Vec::with_capacity(count);
    for _ in 0..count {
        reader.tuple(4)?;
        let (kind, value) = (read_kind(reader)?, read_value(reader)?);
        let (address, signature) = (Address(reader.bytes()?), reader.bytes()?);
        round_signatures.push(RoundSignature::new(kind, value, address, signature));
    }
    Ok(RoundCertificate { height, round, cert_type, round_signatures })
}

/// Bytes of a log entry; `None` for an input that the engine never logs. A proposed value is
/// logged with its `block`.
pub(crate) fn write_entry(input: &Input<Ctx>, block: &[u8]) -> Option<Vec<u8>> {
    let mut writer = Writer::default();
    match input {
        Input::Vote(vote) => write_vote(writer.array(2).uint(0), vote),
        Input::Proposal(proposal) => write_proposal(writer.array(2).uint(1), proposal),
        Input::PolkaCertificate(polka) => write_polka(writer.array(2).uint(2), polka),
        Input::ProposedValue(value, _) => {
            writer.array(7).uint(3).uint(value.height.0).uint(number(value.round).into());
            writer.bytes(&value.proposer.0).bytes(&value.value.0);
            writer.uint(u64::from(value.validity.is_valid())).bytes(block);
        }
        _ => return None,
    }
    Some(writer.0)
}

/// Bytes of the log entry of a timeout; `None` for a kind that the engine never logs.
pub(crate) fn write_timeout(height: u64, timeout: Timeout) -> Option<Vec<u8>> {
    let kind = match timeout.kind {
        TimeoutKind::Propose => 0,
        TimeoutKind::Prevote => 1,
        TimeoutKind::Precommit => 2,
        TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
    };
    let mut writer = Writer::default();
    writer.array(4).uint(4).uint(height).uint(number(timeout.round).into()).uint(kind);
    Some(writer.0)
}

/// A log entry: its height, the input, and the block of a proposed value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) height: u64,
    pub(crate) input: Input<Ctx>,
    pub(crate) block: Vec<u8>,
}

pub(crate) fn read_entry(bytes: &[u8]) -> Result<Entry, Malformed> {
    let mut reader = Reader::new(bytes);
    let length = reader.array(7)?;
    let mut block = Vec::new();
    let (height, input) = match (reader.uint()?, length) {
        (0, 2) => {
            let vote = read_vote(&mut reader)?;
            (vote.message.height.0, Input::Vote(vote))
        }
        (1, 2) => {
            let proposal = read_proposal(&mut reader)?;
            (proposal.message.height.0, Input::Proposal(proposal))
        }
        (2, 2) => {
            let polka = read_polka(&mut reader)?;
            (polka.height.0, Input::PolkaCertificate(polka))
        }
        (3, 7) => {
            let value = read_proposed(&mut reader)?;
            block = reader.slice()?.to_vec();
            (value.height.0, Input::ProposedValue(value, ValueOrigin::Consensus))
        }
        (4, 4) => {
            let (height, round) = (reader.uint()?, Round::new(reader.round()?));
            let timeout = match reader.uint()? {
                0 => Timeout::propose(round),
                1 => Timeout::prevote(round),
                2 => Timeout::precommit(round),
                _ => return Err("unknown kind of timeout"),
            };
            (height, Input::TimeoutElapsed(timeout))
        }
        _ => return Err("unknown kind of entry"),
    };
    let entry = Entry { height, input, block };
    let again = match &entry.input {
        Input::TimeoutElapsed(timeout) => write_timeout(height, *timeout),
        input => write_entry(input, &entry.block),
    };
    same(bytes, &again.unwrap_or_default())?;
    Ok(entry)
}

fn read_proposed(reader: &mut Reader<'_>) -> Result<ProposedValue<Ctx>, Malformed> {
    let (height, round) = (Height(reader.uint()?), Round::new(reader.round()?));
    let (proposer, value) = (Address(reader.bytes()?), BlockHash(reader.bytes()?));
    let validity = match reader.uint()? {
        0 => Validity::Invalid,
        1 => Validity::Valid,
        _ => return Err("unknown validity"),
    };
    Ok(ProposedValue { height, round, valid_round: Round::Nil, proposer, value, validity })
}
