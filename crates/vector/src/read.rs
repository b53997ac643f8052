//! Snapshots read back, checked whole.

use std::ops::Range;

use anthill_kernels::dot;
use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};

use crate::graph::level_of;
use crate::index::prepare;
use crate::snapshot::{Head, SUM, Sections, corrupt};
use crate::space::{Factors, Query, factors_of, flip};
use crate::store::State;
use crate::{Index, Input, ItemId, Storage, VectorError, legacy};

/// A slot of a snapshot.
struct Slot<'a> {
    bytes: &'a [u8],
    slots: usize,
    at: usize,
}

impl<'a> Slot<'a> {
    /// The part of a section that belongs to the slot.
    fn part(&self, section: &Range<usize>) -> &'a [u8] {
        let width = section.len().checked_div(self.slots).unwrap_or(0);
        let from = section.start + self.at * width;
        self.bytes.get(from..from + width).unwrap_or_default()
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b))
}

impl Index {
    /// Reads a snapshot, of this format or the one before. Everything that a search relies on is
    /// checked, not only the checksum: a snapshot with a fitting checksum cannot make it fail
    /// either.
    ///
    /// # Errors
    /// [`VectorError::Corrupt`], naming the part; [`VectorError::BadParams`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VectorError> {
        let (content, sum) = bytes.split_last_chunk::<SUM>().ok_or(corrupt("it is cut off"))?;
        let old = content.starts_with(legacy::MAGIC);
        if !old && !content.starts_with(crate::snapshot::MAGIC) {
            return Err(corrupt("it does not start with ANTHNSW2"));
        }
        if Sha256Tree::digest(&[content]) != *sum {
            return Err(corrupt("the checksum does not fit"));
        }
        if old {
            return legacy::read(content);
        }
        let head = Head::read(bytes)?;
        let mut index = Self::new(head.params, head.dims, head.model_hash)?;
        let (sections, _) = head.sections();
        let mut row = 0;
        for at in 0..head.slots {
            let slot = Slot { bytes, slots: head.slots, at };
            index.read_slot(&slot, &sections, &mut row)?;
        }
        index.store.entry = index.store.find_entry();
        index.check_links()?;
        // Whatever a slot or a gap holds beside what was read is found by writing it again.
        if index.body() != content {
            return Err(corrupt("it holds what no index writes"));
        }
        Ok(index)
    }

    fn read_slot(
        &mut self,
        slot: &Slot<'_>,
        sections: &Sections,
        row: &mut usize,
    ) -> Result<(), VectorError> {
        let node = self.store.grow();
        let m = self.params().m;
        let state = match slot.part(&sections.states).first() {
            Some(1) => State::Alive,
            Some(2) => State::Dead,
            _ => {
                self.free.insert(node);
                return Ok(());
            }
        };
        let id: ItemId = *slot.part(&sections.ids).first_chunk().ok_or(corrupt("it is cut off"))?;
        let level = level_of(&id, m);
        let vector = self.read_vector(slot, sections)?;
        self.store.fill(node, id, &vector, level);
        self.store.states.row_mut(slot.at)[0] = state;
        if state == State::Dead {
            self.store.dead += 1;
        } else if self.nodes.insert(id, node).is_some() {
            return Err(corrupt("an item that is there twice"));
        }
        self.store.set_links(node, 0, words(slot.part(&sections.ground)));
        let m = m as usize;
        for level in 1..=level {
            let from = sections.upper.start + *row * m * 4;
            let links = slot.bytes.get(from..from + m * 4).ok_or(corrupt("it is cut off"))?;
            self.store.set_links(node, level, words(links));
            *row += 1;
        }
        Ok(())
    }

    /// The vector of a slot; codes beside values are made anew.
    fn read_vector(&self, slot: &Slot<'_>, sections: &Sections) -> Result<Query, VectorError> {
        let bad = |_| corrupt("a vector");
        if self.params().storage == Storage::Bits {
            let words = slot.part(&sections.bits).as_chunks::<8>().0;
            let words: Vec<u64> = words.iter().map(|b| u64::from_le_bytes(*b)).collect();
            return prepare(&self.store, Input::Bits(&words)).map_err(bad);
        }
        if self.params().storage.has_values() {
            let values = floats(slot.part(&sections.values));
            return prepare(&self.store, Input::Values(&values)).map_err(bad);
        }
        let codes: Vec<i8> = slot.part(&sections.codes).iter().map(|c| flip(*c)).collect();
        let scale = floats(slot.part(&sections.factors)).first().copied().unwrap_or(f32::NAN);
        coded(self, codes, scale)
    }
}

/// A vector of codes alone.
fn coded(index: &Index, codes: Vec<i8>, scale: f32) -> Result<Query, VectorError> {
    let values: Vec<f32> = codes.iter().map(|c| f32::from(*c) * scale).collect();
    let fine = scale >= 0.0 && dot(&values, &values).is_finite() && !codes.contains(&i8::MIN);
    if !fine {
        return Err(corrupt("a vector"));
    }
    let factors: Factors = factors_of(index.params().metric, &codes, scale);
    Ok(Query { values: Vec::new(), codes, factors, bits: Vec::new() })
}
