//! The slots of an index: ids, vectors and links, in rows that clones share.

use crate::rows::Rows;
use crate::space::{Factors, Query, Source, code};
use crate::{ItemId, Params, Storage};

/// No link.
pub(crate) const NONE: u32 = u32::MAX;

/// What a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing; an insert may take it.
    Free,
    /// An item.
    Alive,
    /// A removed item that still leads to others, until the next repair.
    Dead,
}

/// Slots with their vectors and links.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Store {
    pub params: Params,
    pub dims: usize,
    pub ids: Rows<ItemId>,
    pub states: Rows<State>,
    pub dead: usize,
    /// Where searches start: of the linked nodes with the highest level the first slot.
    pub entry: Option<u32>,
    values: Rows<f32>,
    codes: Rows<u8>,
    factors: Rows<Factors>,
    bits: Rows<u64>,
    /// Neighbours on the ground level, filled up with [`NONE`].
    ground: Rows<u32>,
    /// For each level above, `m` neighbours filled up with [`NONE`].
    upper: Rows<Vec<u32>>,
}

/// The links of a row that is filled up with [`NONE`].
#[inline]
pub(crate) fn trim(row: &[u32]) -> &[u32] {
    match row.last() {
        Some(&NONE) => &row[..row.partition_point(|n| *n != NONE)],
        _ => row,
    }
}

/// Number of words, bytes or values of each kind that a vector of `dims` takes.
pub(crate) fn widths(storage: Storage, dims: usize) -> (usize, usize, usize) {
    match storage {
        Storage::F32 => (dims, 0, 0),
        Storage::F32Int8 => (dims, dims, 0),
        Storage::Int8 => (0, dims, 0),
        Storage::Bits => (0, 0, dims / 64),
    }
}

impl Store {
    /// No slots yet.
    pub fn new(params: Params, dims: usize) -> Self {
        let (values, codes, bits) = widths(params.storage, dims);
        Self {
            params,
            dims,
            ids: Rows::new(1, [0; 32]),
            states: Rows::new(1, State::Free),
            dead: 0,
            entry: None,
            values: Rows::new(values, 0.0),
            codes: Rows::new(codes, 0),
            factors: Rows::new(1, Factors::default()),
            bits: Rows::new(bits, 0),
            ground: Rows::new(params.m0 as usize, NONE),
            upper: Rows::new(1, Vec::new()),
        }
    }

    /// Adds a free slot; its number.
    pub fn grow(&mut self) -> u32 {
        self.ids.grow();
        self.states.grow();
        self.values.grow();
        self.codes.grow();
        self.factors.grow();
        self.bits.grow();
        self.ground.grow();
        self.upper.grow();
        (self.ids.len() - 1) as u32
    }

    /// Puts an item into a free slot, without links yet.
    pub fn fill(&mut self, node: u32, id: ItemId, vector: &Query, level: usize) {
        let at = node as usize;
        self.ids.row_mut(at)[0] = id;
        self.states.row_mut(at)[0] = State::Alive;
        if self.params.storage.has_values() {
            self.values.row_mut(at).copy_from_slice(&vector.values);
        }
        if self.params.storage.has_codes() {
            let row = self.codes.row_mut(at);
            row.iter_mut().zip(&vector.codes).for_each(|(to, from)| *to = code(*from));
            self.factors.row_mut(at)[0] = vector.factors;
        }
        if self.params.storage == Storage::Bits {
            self.bits.row_mut(at).copy_from_slice(&vector.bits);
        }
        self.upper.row_mut(at)[0] = vec![NONE; level * self.params.m as usize];
    }

    /// Makes a slot free and forgets what was in it.
    pub fn free(&mut self, node: u32) {
        let at = node as usize;
        self.ids.clear(at);
        self.states.clear(at);
        self.values.clear(at);
        self.codes.clear(at);
        self.factors.clear(at);
        self.bits.clear(at);
        self.ground.clear(at);
        self.upper.clear(at);
    }

    /// What the slot is.
    pub fn state(&self, node: u32) -> State {
        self.states.row(node as usize).first().copied().unwrap_or(State::Free)
    }

    /// Top level of a node.
    pub fn level(&self, node: u32) -> usize {
        self.upper.row(node as usize)[0].len() / self.params.m as usize
    }

    /// Most links on a level.
    pub fn most(&self, level: usize) -> usize {
        if level == 0 { self.params.m0 as usize } else { self.params.m as usize }
    }

    /// The whole row of links of a level, free places included.
    pub fn row(&self, node: u32, level: usize) -> &[u32] {
        let m = self.params.m as usize;
        match level.checked_sub(1) {
            None => self.ground.row(node as usize),
            Some(above) => {
                let all = &self.upper.row(node as usize)[0];
                all.get(above * m..(above + 1) * m).unwrap_or_default()
            }
        }
    }

    /// The whole row of links of a level, to write to.
    fn links_mut(&mut self, node: u32, level: usize) -> &mut [u32] {
        let m = self.params.m as usize;
        match level.checked_sub(1) {
            None => self.ground.row_mut(node as usize),
            Some(above) => &mut self.upper.row_mut(node as usize)[0][above * m..(above + 1) * m],
        }
    }

    /// Sets the links of a level.
    pub fn set_links(&mut self, node: u32, level: usize, links: impl Iterator<Item = u32>) {
        let row = self.links_mut(node, level);
        row.fill(NONE);
        row.iter_mut().zip(links).for_each(|(to, from)| *to = from);
    }

    /// Adds a link; false if the row is full.
    pub fn push_link(&mut self, node: u32, level: usize, link: u32) -> bool {
        let at = self.links(node, level).len();
        match self.links_mut(node, level).get_mut(at) {
            Some(place) => {
                *place = link;
                true
            }
            None => false,
        }
    }

    /// Slots in use by items or by removed ones that still lead to others.
    pub fn linked(&self) -> impl Iterator<Item = u32> {
        (0..self.ids.len() as u32).filter(|n| self.state(*n) != State::Free)
    }

    /// Where searches have to start, by looking at all nodes.
    pub fn find_entry(&self) -> Option<u32> {
        self.linked().max_by_key(|n| (self.level(*n), std::cmp::Reverse(*n)))
    }

    /// Bytes of the vectors, and of everything.
    pub fn bytes(&self) -> (usize, usize) {
        let vectors =
            self.values.bytes() + self.codes.bytes() + self.factors.bytes() + self.bits.bytes();
        let upper: usize = (0..self.upper.len()).map(|n| self.upper.row(n)[0].len() * 4).sum();
        let links = self.ground.bytes() + self.upper.bytes() + upper;
        (vectors, vectors + links + self.ids.bytes() + self.states.bytes())
    }
}

impl Source for Store {
    fn params(&self) -> &Params {
        &self.params
    }

    fn dims(&self) -> usize {
        self.dims
    }

    fn slots(&self) -> usize {
        self.ids.len()
    }

    fn entry(&self) -> Option<(u32, usize)> {
        self.entry.map(|entry| (entry, self.level(entry)))
    }

    fn dead(&self) -> usize {
        self.dead
    }

    fn alive(&self, node: u32) -> bool {
        self.state(node) == State::Alive
    }

    fn id(&self, node: u32) -> &ItemId {
        &self.ids.row(node as usize)[0]
    }

    #[inline]
    fn values(&self, node: u32) -> &[f32] {
        self.values.row(node as usize)
    }

    #[inline]
    fn codes(&self, node: u32) -> &[u8] {
        self.codes.row(node as usize)
    }

    #[inline]
    fn factors(&self, node: u32) -> Factors {
        self.factors.row(node as usize)[0]
    }

    #[inline]
    fn bits(&self, node: u32) -> &[u64] {
        self.bits.row(node as usize)
    }

    #[inline]
    fn links(&self, node: u32, level: usize) -> &[u32] {
        trim(self.row(node, level))
    }
}
