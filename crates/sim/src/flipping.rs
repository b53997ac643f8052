//! What dishonest nodes do to Snowman: answer polls with another block than the asker's, and propose
//! to one peer alone.

use std::sync::Arc;

use anthill_engine::wire::Frame;
use anthill_types::{Bytes, ConsensusKind, Wire};

use crate::plan::Role;
use crate::world::World;

/// Blocks that the flippers remember to vote for.
const MAX_SEEN: usize = 4;
/// First numbers of Snowman's messages: `[number, ...]`.
const PROPOSAL: u8 = 1;
const QUESTION: u8 = 5;
const ANSWER: u8 = 6;
const FETCH: u8 = 7;

/// The message in a consensus frame, and its number.
fn message(bytes: &[u8]) -> Option<(u8, Vec<u8>)> {
    let Ok(Frame::Consensus(Bytes(message))) = Frame::from_bytes(bytes) else { return None };
    message.get(1).map(|number| (*number, message.clone()))
}

/// The hash at the end of a question or answer.
fn last_hash(message: &[u8]) -> Option<[u8; 32]> {
    let (head, hash) = message.split_last_chunk::<32>()?;
    head.ends_with(&[0x58, 32]).then_some(*hash)
}

impl World {
    fn is_snowman(&self) -> bool {
        self.plan.consensus == ConsensusKind::Snowman
    }

    /// What the flippers learn from the questions that they are asked.
    pub(crate) fn note_question(&mut self, bytes: &[u8]) {
        if !self.is_snowman() {
            return;
        }
        let Some((QUESTION, message)) = message(bytes) else { return };
        let seen = &mut self.adversary.preferred;
        if let Some(hash) = last_hash(&message).filter(|hash| !seen.contains(hash)) {
            seen.push(hash);
            if seen.len() > MAX_SEEN {
                seen.remove(0);
            }
        }
    }

    /// A frame to one peer, as the node sends it: an equivocator or accomplice answers polls with a
    /// block that the asker may not prefer, or with none.
    pub(crate) fn flipped(&mut self, node: usize, bytes: Vec<u8>) -> Arc<[u8]> {
        if !self.is_snowman() {
            return bytes.into();
        }
        let Some((number, mut message)) = message(&bytes) else { return bytes.into() };
        self.marks.add("snowman: block fetched", u64::from(number == FETCH));
        let flips = matches!(self.nodes[node].role, Role::Equivocator | Role::Colluder);
        let hash = last_hash(&message).filter(|_| number == ANSWER && flips && !self.healed);
        let Some(hash) = hash else { return bytes.into() };
        let other = self.adversary.preferred.iter().find(|other| **other != hash);
        self.marks.hit("snowman: answer flipped");
        let keep = message.len() - 34;
        message.truncate(keep);
        match other {
            Some(other) => message.extend([&[0x58, 32], other.as_slice()].concat()),
            None => message.push(0xf6),
        }
        Frame::Consensus(Bytes(message)).to_bytes().into()
    }

    /// A free-rider proposes to one peer alone; the others must fetch the block, or go on without.
    pub(crate) fn withholds(&mut self, node: usize, first: bool, bytes: &[u8]) -> bool {
        let may = self.is_snowman() && self.nodes[node].role == Role::FreeRider && !self.healed;
        let withheld = may && !first && matches!(message(bytes), Some((PROPOSAL, _)));
        self.marks.add("snowman: proposal withheld", u64::from(withheld));
        withheld
    }
}
