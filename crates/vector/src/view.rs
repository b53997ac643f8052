//! A snapshot that is searched where it lies, in a mapped file for instance, without being read in.

use anthill_kernels::distance::view;
use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};

use crate::graph::level_of;
use crate::index::question;
use crate::search::Scratch;
use crate::snapshot::{Head, SUM, corrupt};
use crate::space::{Factors, Source};
use crate::store::{NONE, trim, widths};
use crate::{Answer, Input, ItemId, Params, VectorError, ask};

/// The sections of a snapshot, borrowed. Opening one looks at the head and at one byte of each slot;
/// a search touches only the parts that it comes by. Damage behind the head gives wrong answers, never a failure:
/// [`Self::check_sum`] looks at all bytes.
#[derive(Debug, Clone)]
pub struct View<'a> {
    bytes: &'a [u8],
    head: Head,
    widths: (usize, usize, usize),
    top: usize,
    /// Number of items.
    alive: usize,
    ids: &'a [ItemId],
    states: &'a [u8],
    firsts: &'a [u32],
    ground: &'a [u32],
    upper: &'a [u32],
    values: &'a [f32],
    codes: &'a [u8],
    factors: &'a [f32],
    bits: &'a [u64],
}

/// The row of a node in rows of `width`.
#[inline]
fn row<T>(all: &[T], node: u32, width: usize) -> &[T] {
    let from = node as usize * width;
    all.get(from..from + width).unwrap_or_default()
}

impl<'a> View<'a> {
    /// Opens a snapshot of the present format. Its bytes have to start at a multiple of 8, as those
    /// of a mapped file do.
    ///
    /// # Errors
    /// [`VectorError::Corrupt`] when the head is damaged, the length does not fit or the bytes are
    /// not aligned; [`VectorError::BadParams`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, VectorError> {
        let head = Head::read(bytes)?;
        let (at, _) = head.sections();
        let unaligned = || corrupt("its bytes are not aligned");
        let ids = bytes[at.ids.clone()].as_chunks().0;
        let top = match head.entry {
            None => 0,
            Some(entry) => {
                let id = ids.get(entry as usize).ok_or(corrupt("the entry"))?;
                level_of(id, head.params.m)
            }
        };
        Ok(Self {
            bytes,
            widths: widths(head.params.storage, head.dims),
            top,
            alive: bytes[at.states.clone()].iter().filter(|s| **s == 1).count(),
            ids,
            states: &bytes[at.states],
            firsts: view(&bytes[at.firsts]).ok_or_else(unaligned)?,
            ground: view(&bytes[at.ground]).ok_or_else(unaligned)?,
            upper: view(&bytes[at.upper]).ok_or_else(unaligned)?,
            values: view(&bytes[at.values]).ok_or_else(unaligned)?,
            codes: &bytes[at.codes],
            factors: view(&bytes[at.factors]).ok_or_else(unaligned)?,
            bits: view(&bytes[at.bits]).ok_or_else(unaligned)?,
            head,
        })
    }

    /// Compares all bytes with the checksum at their end.
    ///
    /// # Errors
    /// [`VectorError::Corrupt`].
    pub fn check_sum(&self) -> Result<(), VectorError> {
        match self.bytes.split_last_chunk::<SUM>() {
            Some((content, sum)) if Sha256Tree::digest(&[content]) == *sum => Ok(()),
            _ => Err(corrupt("the checksum does not fit")),
        }
    }

    /// The parameters.
    pub fn params(&self) -> Params {
        self.head.params
    }

    /// Hash of the model whose vectors are held.
    pub fn model_hash(&self) -> [u8; 32] {
        self.head.model_hash
    }

    /// As [`crate::Index::search_with`], with the same answer.
    ///
    /// # Errors
    /// What [`Input`] says of the query.
    pub fn search<'q>(
        &self,
        scratch: &mut Scratch,
        query: impl Into<Input<'q>>,
        k: usize,
        ef: usize,
    ) -> Result<Answer, VectorError> {
        self.search_input(scratch, query.into(), k, ef)
    }

    fn search_input(
        &self,
        scratch: &mut Scratch,
        query: Input<'_>,
        k: usize,
        ef: usize,
    ) -> Result<Answer, VectorError> {
        let query = question(self, self.alive, query, k)?;
        Ok(ask::search(self, scratch, &query, k, ef))
    }
}

impl Source for View<'_> {
    fn params(&self) -> &Params {
        &self.head.params
    }

    fn dims(&self) -> usize {
        self.head.dims
    }

    fn slots(&self) -> usize {
        self.head.slots
    }

    fn entry(&self) -> Option<(u32, usize)> {
        self.head.entry.map(|entry| (entry, self.top))
    }

    fn dead(&self) -> usize {
        self.head.dead
    }

    fn alive(&self, node: u32) -> bool {
        self.states.get(node as usize) == Some(&1)
    }

    fn id(&self, node: u32) -> &ItemId {
        self.ids.get(node as usize).unwrap_or(&[0; 32])
    }

    #[inline]
    fn values(&self, node: u32) -> &[f32] {
        row(self.values, node, self.widths.0)
    }

    #[inline]
    fn codes(&self, node: u32) -> &[u8] {
        row(self.codes, node, self.widths.1)
    }

    #[inline]
    fn factors(&self, node: u32) -> Factors {
        match row(self.factors, node, 2) {
            [scale, square] => Factors { scale: *scale, square: *square },
            _ => Factors::default(),
        }
    }

    #[inline]
    fn bits(&self, node: u32) -> &[u64] {
        row(self.bits, node, self.widths.2)
    }

    #[inline]
    fn links(&self, node: u32, level: usize) -> &[u32] {
        match level.checked_sub(1) {
            None => trim(row(self.ground, node, self.head.params.m0 as usize)),
            Some(above) => match self.firsts.get(node as usize) {
                None | Some(&NONE) => &[],
                Some(first) => {
                    let at = first.wrapping_add(above as u32);
                    trim(row(self.upper, at, self.head.params.m as usize))
                }
            },
        }
    }
}
