//! Snapshots: the index as bytes whose sections are aligned, so that a mapped file can be searched.
//!
//! Layout, little-endian: `ANTHNSW2`; u32 m, m0, ef_construction, ef_search, dimensions; u32 kinds
//! (metric, and storage times 256); the model hash; u32 slots, removed slots not mended yet, entry
//! (2^32 - 1: none), rows of upper levels. Then sections, each filled up with zeros to a multiple of
//! 64 bytes: ids; states (a byte: 0 free, 1 alive, 2 removed); first upper row of each slot (u32,
//! 2^32 - 1: none); ground links (m0 u32 each); upper rows (m u32 each); values (f32); codes (u8);
//! factors (2 f32); bits (u64). Free places of a row of links are 2^32 - 1. At the end SHA-256 of
//! all before.

use std::ops::Range;

use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};

use crate::space::Source;
use crate::store::{NONE, State, widths};
use crate::{Index, MAX_DIMENSIONS, MAX_ITEMS, Metric, Params, Storage, VectorError};

/// First bytes of a snapshot.
pub(crate) const MAGIC: &[u8; 8] = b"ANTHNSW2";
/// Sections start at multiples of this.
const ALIGNMENT: usize = 64;
/// Bytes before the first section.
const HEAD: usize = 128;
/// Bytes of the checksum.
pub(crate) const SUM: usize = 32;

/// A [`VectorError::Corrupt`].
pub(crate) fn corrupt(what: &'static str) -> VectorError {
    VectorError::Corrupt { what }
}

/// What the head of a snapshot says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub params: Params,
    pub dims: usize,
    pub model_hash: [u8; 32],
    pub slots: usize,
    pub dead: usize,
    pub entry: Option<u32>,
    pub rows: usize,
}

/// Where the sections are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sections {
    pub ids: Range<usize>,
    pub states: Range<usize>,
    pub firsts: Range<usize>,
    pub ground: Range<usize>,
    pub upper: Range<usize>,
    pub values: Range<usize>,
    pub codes: Range<usize>,
    pub factors: Range<usize>,
    pub bits: Range<usize>,
}

impl Head {
    /// Where the sections are, and where they end.
    pub fn sections(&self) -> (Sections, usize) {
        let mut end = HEAD;
        let mut next = |bytes: usize| {
            let range = end..end + bytes;
            end = range.end.next_multiple_of(ALIGNMENT);
            range
        };
        let (values, codes, bits) = widths(self.params.storage, self.dims);
        let (slots, p) = (self.slots, &self.params);
        let factors = if p.storage.has_codes() { 8 } else { 0 };
        let sections = Sections {
            ids: next(slots * 32),
            states: next(slots),
            firsts: next(slots * 4),
            ground: next(slots * p.m0 as usize * 4),
            upper: next(self.rows * p.m as usize * 4),
            values: next(slots * values * 4),
            codes: next(slots * codes),
            factors: next(slots * factors),
            bits: next(slots * bits * 8),
        };
        (sections, end)
    }

    /// Reads the head, and checks that the bytes are as long as it says.
    pub fn read(bytes: &[u8]) -> Result<Self, VectorError> {
        let cut = corrupt("it is cut off");
        let rest = bytes.get(..HEAD).ok_or(cut)?;
        let rest = rest.strip_prefix(MAGIC).ok_or(corrupt("it does not start with ANTHNSW2"))?;
        let number = |at: usize| {
            let bytes = rest.get(at..).and_then(<[u8]>::first_chunk::<4>);
            bytes.map_or(0, |b| u32::from_le_bytes(*b))
        };
        let (metric, storage) = kinds(number(20))?;
        let [m, m0, ef_construction, ef_search] = [number(0), number(4), number(8), number(12)];
        let params = Params { m, m0, ef_construction, ef_search, metric, storage };
        params.check()?;
        let dims = number(16) as usize;
        let whole = storage != Storage::Bits || dims.is_multiple_of(64);
        if dims == 0 || dims > MAX_DIMENSIONS || !whole {
            return Err(VectorError::BadParams { params });
        }
        let model_hash = rest.get(24..).and_then(<[u8]>::first_chunk::<32>).copied();
        let model_hash = model_hash.ok_or(corrupt("it is cut off"))?;
        let [slots, dead, entry, rows] = [number(56), number(60), number(64), number(68)];
        let (slots, dead, rows) = (slots as usize, dead as usize, rows as usize);
        if slots > MAX_ITEMS || dead > slots || rows > slots * 16 {
            return Err(corrupt("a number of slots"));
        }
        let entry = (entry != NONE).then_some(entry);
        let head = Self { params, dims, model_hash, slots, dead, entry, rows };
        if rest.iter().skip(72).any(|b| *b != 0) || head.sections().1 + SUM != bytes.len() {
            return Err(corrupt("it has not the length that its head says"));
        }
        Ok(head)
    }
}

/// Metric and storage from their number.
fn kinds(number: u32) -> Result<(Metric, Storage), VectorError> {
    let metric = [Metric::Cosine, Metric::Dot, Metric::L2, Metric::Hamming];
    let storage = [Storage::F32Int8, Storage::F32, Storage::Int8, Storage::Bits];
    let metric = metric.get((number & 0xff) as usize);
    let storage = storage.get((number >> 8) as usize);
    metric.copied().zip(storage.copied()).ok_or(corrupt("an unknown metric or storage"))
}

/// Writes numbers and fills up to the next section.
fn section<T>(out: &mut Vec<u8>, numbers: impl Iterator<Item = T>, put: impl Fn(&mut Vec<u8>, T)) {
    numbers.for_each(|n| put(out, n));
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

/// Writes u32 numbers.
fn words<'a>(out: &mut Vec<u8>, numbers: impl Iterator<Item = &'a u32>) {
    section(out, numbers, |out, n| out.extend_from_slice(&n.to_le_bytes()));
}

impl Index {
    /// Parameters, dimensions and model hash, as they are hashed; kinds only if not the default.
    pub(crate) fn head(&self) -> Vec<u8> {
        let p = self.params();
        let mut out = Vec::new();
        for n in [p.m, p.m0, p.ef_construction, p.ef_search, self.dimensions() as u32] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.model_hash);
        if p.kinds() != 0 {
            out.extend_from_slice(&p.kinds().to_le_bytes());
        }
        out
    }

    /// First upper row of each slot, and their number.
    fn firsts(&self) -> (Vec<u32>, u32) {
        let mut next = 0;
        let first = |node| {
            let levels = self.store.level(node) as u32;
            let at = if levels == 0 { NONE } else { next };
            next += levels;
            at
        };
        let firsts = (0..self.store.slots() as u32).map(first).collect();
        (firsts, next)
    }

    /// Everything but the checksum.
    pub(crate) fn body(&self) -> Vec<u8> {
        let (store, p) = (&self.store, self.params());
        let (firsts, rows) = self.firsts();
        let mut out = MAGIC.to_vec();
        let kinds = [self.dimensions() as u32, p.kinds()];
        let numbers = [p.m, p.m0, p.ef_construction, p.ef_search].into_iter().chain(kinds);
        numbers.for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        out.extend_from_slice(&self.model_hash);
        let counts = [store.slots() as u32, store.dead as u32, store.entry.unwrap_or(NONE), rows];
        counts.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        out.resize(HEAD, 0);
        let nodes = || 0..store.slots() as u32;
        section(&mut out, nodes(), |out, n| out.extend_from_slice(store.id(n)));
        section(&mut out, nodes(), |out, n| out.push(store.state(n) as u8));
        words(&mut out, firsts.iter());
        words(&mut out, nodes().flat_map(|n| store.row(n, 0)));
        let levels = |n| (1..=store.level(n)).flat_map(move |level| store.row(n, level));
        words(&mut out, nodes().flat_map(levels));
        section(&mut out, nodes().flat_map(|n| store.values(n)), |out, v| {
            out.extend_from_slice(&v.to_le_bytes());
        });
        section(&mut out, nodes(), |out, n| out.extend_from_slice(store.codes(n)));
        if p.storage.has_codes() {
            section(&mut out, nodes().map(|n| store.factors(n)), |out, f| {
                out.extend_from_slice(&f.scale.to_le_bytes());
                out.extend_from_slice(&f.square.to_le_bytes());
            });
        }
        section(&mut out, nodes().flat_map(|n| store.bits(n)), |out, v| {
            out.extend_from_slice(&v.to_le_bytes());
        });
        out
    }

    /// The index as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.body();
        let sum = Sha256Tree::digest(&[&out]);
        out.extend_from_slice(&sum);
        out
    }

    /// Refuses links that lead nowhere, to the node itself, to a slot without that level, or twice
    /// to the same.
    pub(crate) fn check_links(&self) -> Result<(), VectorError> {
        let store = &self.store;
        for node in 0..store.slots() as u32 {
            for level in 0..=store.level(node) {
                let links = store.links(node, level);
                let good = |n: &u32| {
                    (*n as usize) < store.slots()
                        && *n != node
                        && store.state(*n) != State::Free
                        && store.level(*n) >= level
                };
                if !links.iter().all(good) {
                    return Err(corrupt("a link to no item"));
                }
                let mut sorted = links.to_vec();
                sorted.sort_unstable();
                if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(corrupt("a link that is there twice"));
                }
                if store.row(node, level).iter().skip(links.len()).any(|n| *n != NONE) {
                    return Err(corrupt("a link after the last one"));
                }
            }
        }
        Ok(())
    }
}
