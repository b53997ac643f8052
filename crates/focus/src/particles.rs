//! Particles by slot: the index under which everything else of a particle lies.

use std::collections::BTreeMap;

use anthill_types::Cid;

use crate::error::FocusError;

/// Most slots: an index is 31 bits, as gathers want it.
const MAX_SLOTS: usize = i32::MAX as usize;

/// The first eight bytes, which nearly always decide an order.
fn word(cid: &Cid) -> u64 {
    cid.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The particles of a graph. A slot stays a particle's until the graph is laid out anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Particles {
    /// By slot.
    ids: Vec<Cid>,
    /// Links that begin or end in each.
    touches: Vec<u32>,
    /// Slots of those that have links, in order of their ids.
    canonical: Vec<u32>,
    /// Slots of those that have none (any more).
    resting: BTreeMap<Cid, u32>,
}

impl Particles {
    /// From ids and counts of links by slot, all with links, and the slots in order of ids.
    pub fn new(ids: Vec<Cid>, touches: Vec<u32>, canonical: Vec<u32>) -> Self {
        Self { ids, touches, canonical, resting: BTreeMap::new() }
    }

    /// Slots, those of particles without links included.
    pub fn slots(&self) -> usize {
        self.ids.len()
    }

    /// Those that have links.
    pub fn len(&self) -> usize {
        self.canonical.len()
    }

    /// Slots of those that have links, in order of their ids.
    pub fn canonical(&self) -> &[u32] {
        &self.canonical
    }

    /// The particle in a slot.
    pub fn cid(&self, slot: u32) -> Cid {
        self.ids[slot as usize]
    }

    /// Whether the particle in a slot has links.
    pub fn is_live(&self, slot: u32) -> bool {
        self.touches[slot as usize] > 0
    }

    /// Position among those that have links, in order of ids.
    pub fn rank(&self, cid: &Cid) -> Result<usize, usize> {
        let wanted = word(cid);
        self.canonical.binary_search_by(|slot| {
            let id = &self.ids[*slot as usize];
            word(id).cmp(&wanted).then_with(|| id.cmp(cid))
        })
    }

    /// A particle's slot, with links or without.
    pub fn find(&self, cid: &Cid) -> Option<u32> {
        match self.rank(cid) {
            Ok(place) => Some(self.canonical[place]),
            Err(_) => self.resting.get(cid).copied(),
        }
    }

    /// Slots for ids in ascending order, new ones where there are none. A new particle has no links
    /// yet: see [`Particles::touch`].
    pub fn open(&mut self, cids: &[Cid]) -> Result<(), FocusError> {
        if self.ids.len() + cids.len() > MAX_SLOTS {
            return Err(FocusError::TooLarge(self.ids.len() + cids.len(), "particles"));
        }
        for cid in cids {
            if self.find(cid).is_none() {
                self.resting.insert(*cid, self.ids.len() as u32);
                self.ids.push(*cid);
                self.touches.push(0);
            }
        }
        Ok(())
    }

    /// Counts links that begin or end in a particle; [`Particles::settle`] then says who has any.
    pub fn touch(&mut self, slot: u32, more: bool) {
        let count = &mut self.touches[slot as usize];
        *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    }

    /// Puts the given ids (ascending) where their counts of links say.
    pub fn settle(&mut self, cids: &[Cid]) {
        let mut entering = Vec::new();
        let mut leaving = false;
        for cid in cids {
            let Some(slot) = self.find(cid) else { continue };
            let resting = self.resting.contains_key(cid);
            if self.is_live(slot) && resting {
                self.resting.remove(cid);
                entering.push(slot);
            } else if !self.is_live(slot) && !resting {
                leaving = true;
            }
        }
        if leaving {
            let (touches, ids, resting) = (&self.touches, &self.ids, &mut self.resting);
            self.canonical.retain(|slot| {
                let live = touches[*slot as usize] > 0;
                if !live {
                    resting.insert(ids[*slot as usize], *slot);
                }
                live
            });
        }
        self.merge(&entering);
    }

    /// Merges slots, ascending by id, into the canonical order.
    fn merge(&mut self, entering: &[u32]) {
        if entering.is_empty() {
            return;
        }
        let mut merged = Vec::with_capacity(self.canonical.len() + entering.len());
        let mut from = 0;
        for slot in entering {
            let cid = self.ids[*slot as usize];
            let rest = &self.canonical[from..];
            let until = rest.partition_point(|other| self.ids[*other as usize] < cid);
            merged.extend_from_slice(&rest[..until]);
            merged.push(*slot);
            from += until;
        }
        merged.extend_from_slice(&self.canonical[from..]);
        self.canonical = merged;
    }
}
