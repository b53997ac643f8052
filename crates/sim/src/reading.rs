//! Reads the messages of the cluster, for the log, the checks and the dishonest.

use anthill_consensus::certificate::PREVOTE;
use anthill_engine::wire::Frame;
use anthill_types::{Block, BlockHash, Wire};
use minicbor::Decoder;

/// True for the message that shows a validator that a height is decided.
pub fn is_decision(bytes: &[u8]) -> bool {
    // [0, [message]] with the message [4, ...] in a byte string of two or four bytes of length.
    let inner = match bytes {
        [0x82, 0, 0x81, 0x59, _, _, inner @ ..] => inner,
        [0x82, 0, 0x81, 0x5a, _, _, _, _, inner @ ..] => inner,
        _ => return false,
    };
    inner.get(1) == Some(&4)
}

/// What a frame is, for the log.
pub fn describe(bytes: &[u8]) -> String {
    match Frame::from_bytes(bytes) {
        Ok(Frame::Consensus(message)) => describe_message(&message.0),
        Ok(Frame::Transactions(list)) => format!("{} transactions", list.len()),
        Ok(Frame::Status { height, .. }) => format!("status: at {height}"),
        Err(_) => "no frame".into(),
    }
}

fn describe_message(bytes: &[u8]) -> String {
    let short = |hash: &[u8; 32]| BlockHash(*hash).to_string().chars().take(8).collect::<String>();
    if let Some((kind, height, round, hash, _)) = read_vote(bytes) {
        let kind = if kind == PREVOTE { "prevote" } else { "precommit" };
        let hash = hash.as_ref().map_or("nothing".to_string(), short);
        return format!("{kind} {height}/{round} for {hash}");
    }
    if let Some((height, round, block)) = read_proposal(bytes) {
        return format!("proposal {height}/{round} of {}", short(&block.header.hash().0));
    }
    match bytes.get(1) {
        Some(1) => "proposal again".into(),
        Some(2) => "polka".into(),
        Some(4) => "decision".into(),
        Some(5) => "question".into(),
        Some(6) => "answer".into(),
        Some(7) => "asks for a block".into(),
        _ => "certificate".into(),
    }
}

/// Kind, height, round, block and validator of a vote message.
pub type Vote = (u8, u64, u32, Option<[u8; 32]>, [u8; 32]);

/// Reads a vote message: `[0, [kind, height, round, block or null, validator, signature]]`.
pub fn read_vote(bytes: &[u8]) -> Option<Vote> {
    let mut d = Decoder::new(bytes);
    d.array().ok()??;
    (d.u8().ok()? == 0).then_some(())?;
    d.array().ok()??;
    let (kind, height, round) = (d.u8().ok()?, d.u64().ok()?, d.u32().ok()?);
    let hash = if matches!(d.datatype(), Ok(minicbor::data::Type::Null)) {
        d.null().ok()?;
        None
    } else {
        Some(d.bytes().ok()?.try_into().ok()?)
    };
    Some((kind, height, round, hash, d.bytes().ok()?.try_into().ok()?))
}

/// Height, round and block of a proposal message without a lock.
pub fn read_proposal(bytes: &[u8]) -> Option<(u64, u32, Block)> {
    let mut d = Decoder::new(bytes);
    d.array().ok()??;
    (d.u8().ok()? == 1).then_some(())?;
    d.array().ok()??;
    let (height, round) = (d.u64().ok()?, d.u32().ok()?);
    d.null().ok()?;
    for _ in 0..3 {
        d.bytes().ok()?;
    }
    Some((height, round, Block::from_bytes(d.bytes().ok()?).ok()?))
}
