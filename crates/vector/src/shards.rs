//! Several peers' shards: merged into one index, asked together, and their answers checked.

use std::collections::{BTreeMap, BTreeSet};

use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};

use crate::index::prepare;
use crate::space::{Query, Source, flip};
use crate::{Answer, Index, Input, ItemId, VectorError, ask};

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnswerFault {
    /// The question itself is refused.
    #[error(transparent)]
    Question(#[from] VectorError),
    /// An item of the answer is not in the index.
    #[error("place {place} of the answer names an item that is not in the index")]
    Unknown {
        /// Place in the answer.
        place: usize,
    },
    /// An item's score is not the one that its vector gives.
    #[error("place {place} of the answer has score {found}, but the item scores {expected}")]
    Score {
        /// Place in the answer.
        place: usize,
        /// The score of the item's vector.
        expected: f32,
        /// The score in the answer.
        found: f32,
    },
    /// The items are not ordered by score and id, or one is there twice.
    #[error("place {place} of the answer is not below the one before it")]
    Order {
        /// Place in the answer.
        place: usize,
    },
    /// The answer has another number of items than was asked for.
    #[error("the answer has {found} items, not {expected}")]
    Count {
        /// Items asked for, or all of a smaller index.
        expected: usize,
        /// Items found.
        found: usize,
    },
}

/// What checking an answer found.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// Items of the answer, all scored anew with equal bits.
    pub scored: usize,
    /// Items that were drawn and scored, answer or not.
    pub sampled: usize,
    /// Items that the sample or the checker's own search found to be better than the last one of the
    /// answer, and that the answer lacks; best first. An honest search misses a few.
    pub missed: Answer,
}

impl Audit {
    /// Share of the answer that is among the best: 1 where nothing was seen to be missed.
    pub fn recall_at_most(&self) -> f64 {
        let missed = self.missed.len().min(self.scored);
        if self.scored == 0 { 1.0 } else { 1.0 - missed as f64 / self.scored as f64 }
    }
}

/// The `k` best of the answers of several shards, by score, then by id; an item that several shards
/// hold counts once, with its best score.
pub fn merge_answers(answers: &[Answer], k: usize) -> Answer {
    let mut best: BTreeMap<ItemId, f32> = BTreeMap::new();
    for (id, score) in answers.iter().flatten() {
        let kept = best.entry(*id).or_insert(*score);
        if score.total_cmp(kept).is_gt() {
            *kept = *score;
        }
    }
    let mut all: Answer = best.into_iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

/// A slot's vector as it was when it was inserted, as far as it is stored.
fn stored(index: &Index, node: u32) -> Query {
    let store = &index.store;
    Query {
        values: store.values(node).to_vec(),
        codes: store.codes(node).iter().map(|c| flip(*c)).collect(),
        factors: store.factors(node),
        bits: store.bits(node).to_vec(),
    }
}

impl Index {
    /// One index of all shards' items, inserted in ascending order of id: whoever merges the same
    /// shards gets the same graph. An item that several shards hold with the same vector is taken
    /// once.
    ///
    /// # Errors
    /// [`VectorError::Empty`] without shards; [`VectorError::OtherModel`],
    /// [`VectorError::BadParams`] or [`VectorError::Dimensions`] when shards do not fit together;
    /// [`VectorError::Duplicate`] when two shards hold an item with different vectors.
    pub fn merge(shards: &[&Self]) -> Result<Self, VectorError> {
        let first = shards.first().ok_or(VectorError::Empty)?;
        let mut items: BTreeMap<ItemId, (usize, u32)> = BTreeMap::new();
        for (at, shard) in shards.iter().enumerate() {
            first.check_model(&shard.model_hash)?;
            if shard.params() != first.params() {
                return Err(VectorError::BadParams { params: shard.params() });
            }
            if shard.dimensions() != first.dimensions() {
                let (expected, found) = (first.dimensions(), shard.dimensions());
                return Err(VectorError::Dimensions { expected, found });
            }
            for (id, node) in shard.nodes.iter() {
                let (other, held) = *items.entry(*id).or_insert((at, node));
                if other != at && stored(shards[other], held) != stored(shard, node) {
                    return Err(VectorError::Duplicate { id: *id });
                }
            }
        }
        let mut merged = Self::new(first.params(), first.dimensions(), first.model_hash)?;
        for (id, (shard, node)) in items {
            merged.place(id, &stored(shards[shard], node))?;
        }
        Ok(merged)
    }

    /// Checks another's answer against this index, which holds the same items: every score is
    /// computed anew and must have the same bits, the order must hold, and `samples` items drawn by
    /// `seed`, with this index's own search, look for neighbours that the answer lacks. Draw the
    /// seed after the answer is known.
    ///
    /// # Errors
    /// [`AnswerFault`], naming the place.
    pub fn verify_answer<'a>(
        &self,
        query: impl Into<Input<'a>>,
        k: usize,
        answer: &[(ItemId, f32)],
        (samples, seed): (usize, u64),
    ) -> Result<Audit, AnswerFault> {
        let query = prepare(&self.store, query.into())?;
        let expected = k.min(self.len());
        if answer.len() != expected {
            return Err(AnswerFault::Count { expected, found: answer.len() });
        }
        self.check_scores(&query, answer)?;
        let drawn = self.draw(samples, seed);
        let own = ask::search(&self.store, &mut Default::default(), &query, k, 0);
        let mut looked_at: BTreeSet<u32> = drawn.iter().copied().collect();
        looked_at.extend(own.iter().filter_map(|(id, _)| self.nodes.get(id)));
        let looked_at: Vec<u32> = looked_at.into_iter().collect();
        let held: BTreeSet<&ItemId> = answer.iter().map(|(id, _)| id).collect();
        let mut missed = ask::scan(&self.store, &query, &looked_at, k);
        missed.retain(|(id, score)| {
            let better = |last: &(ItemId, f32)| {
                score.total_cmp(&last.1).is_gt() || (*score == last.1 && *id < last.0)
            };
            !held.contains(id) && answer.last().is_some_and(better)
        });
        Ok(Audit { scored: answer.len(), sampled: drawn.len(), missed })
    }

    fn check_scores(&self, query: &Query, answer: &[(ItemId, f32)]) -> Result<(), AnswerFault> {
        for (place, (id, found)) in answer.iter().enumerate() {
            let node = self.nodes.get(id).ok_or(AnswerFault::Unknown { place })?;
            let scored = ask::scan(&self.store, query, &[node], 1);
            let expected = scored.first().map_or(f32::NAN, |s| s.1);
            if expected.to_bits() != found.to_bits() {
                return Err(AnswerFault::Score { place, expected, found: *found });
            }
            let before = place.checked_sub(1).and_then(|p| answer.get(p));
            let falls = |b: &(ItemId, f32)| {
                b.1.total_cmp(found).is_gt() || (b.1.to_bits() == found.to_bits() && b.0 < *id)
            };
            if !before.is_none_or(falls) {
                return Err(AnswerFault::Order { place });
            }
        }
        Ok(())
    }

    /// Slots of items drawn by a seed, with repetitions left out.
    fn draw(&self, samples: usize, seed: u64) -> Vec<u32> {
        let slots = self.store.slots() as u64;
        let mut drawn = BTreeSet::new();
        for round in 0..samples as u64 {
            let hash = Sha256Tree::digest(&[
                b"anthill audit\0",
                &seed.to_le_bytes(),
                &round.to_le_bytes(),
            ]);
            let number = hash.iter().take(8).fold(0u64, |n, b| (n << 8) | u64::from(*b));
            if let Some(slot) = number.checked_rem(slots) {
                drawn.insert(slot as u32);
            }
        }
        drawn.into_iter().filter(|n| self.store.alive(*n)).collect()
    }
}
