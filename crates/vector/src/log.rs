//! The append log: operations in order, each chained to the one before by a checksum.
//!
//! Layout, little-endian: `ANTHLOG1`, the graph digest of the index that the log starts from, and
//! SHA-256 of both. Then records: u32 length of the body; the body, which is a kind (1 insert, 2
//! update, 3 remove, 4 repair), the id, and the f32 values or u64 words; SHA-256 of the checksum
//! before and the body. The last checksum so names the whole ordered log.

use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};

use crate::snapshot::{SUM, corrupt};
use crate::{Index, Input, ItemId, MAX_DIMENSIONS, Storage, VectorError};

/// First bytes of a log.
const MAGIC: &[u8; 8] = b"ANTHLOG1";
/// Bytes before the first record.
const HEAD: usize = 8 + 32 + SUM;
/// Longest body of a record.
const MAX_BODY: usize = 33 + 4 * MAX_DIMENSIONS;

/// A change of an index.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// [`Index::insert`].
    Insert(ItemId, Vector),
    /// [`Index::update`].
    Update(ItemId, Vector),
    /// [`Index::remove`].
    Remove(ItemId),
    /// [`Index::repair`].
    Repair,
}

/// A vector that is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Vector {
    /// Values.
    Values(Vec<f32>),
    /// Words of bits.
    Bits(Vec<u64>),
}

impl<'a> From<&'a Vector> for Input<'a> {
    fn from(vector: &'a Vector) -> Self {
        match vector {
            Vector::Values(values) => Self::Values(values),
            Vector::Bits(words) => Self::Bits(words),
        }
    }
}

impl Index {
    /// Carries out a change.
    ///
    /// # Errors
    /// Those of the method that the operation names; the index is then unchanged.
    pub fn apply(&mut self, op: &Op) -> Result<(), VectorError> {
        match op {
            Op::Insert(id, vector) => self.insert(*id, vector),
            Op::Update(id, vector) => self.update(*id, vector),
            Op::Remove(id) => self.remove(id),
            Op::Repair => {
                self.repair();
                Ok(())
            }
        }
    }
}

/// Writes operations as bytes to be appended to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    chain: [u8; 32],
}

/// What a log gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The index after all whole records.
    pub index: Index,
    /// Goes on where the last whole record ends.
    pub journal: Journal,
    /// Number of operations carried out.
    pub operations: usize,
    /// Bytes up to the end of the last whole record.
    pub whole: usize,
    /// Bytes after it: a write that did not end. Cut the file to `whole` before appending.
    pub torn: usize,
}

impl Journal {
    /// A new log that starts from an index, with the log's first bytes.
    pub fn start(index: &Index) -> (Self, Vec<u8>) {
        let mut bytes = [&MAGIC[..], &index.digest()].concat();
        let chain = Sha256Tree::digest(&[&bytes]);
        bytes.extend_from_slice(&chain);
        (Self { chain }, bytes)
    }

    /// Name of the log up to here.
    pub fn chain(&self) -> [u8; 32] {
        self.chain
    }

    /// The bytes of the next record. Append them only if the index took the operation.
    pub fn record(&mut self, op: &Op) -> Vec<u8> {
        let body = body(op);
        self.chain = Sha256Tree::digest(&[&self.chain, &body]);
        let length = (body.len() as u32).to_le_bytes();
        [&length[..], &body, &self.chain].concat()
    }

    /// Carries out a log on the index that it starts from. A last record that was not written to its
    /// end is left out and reported.
    ///
    /// # Errors
    /// [`VectorError::Corrupt`] when the log starts from another index or a record before the last
    /// is damaged; an operation's own error.
    pub fn replay(mut index: Index, bytes: &[u8]) -> Result<Replay, VectorError> {
        let (_, start) = Self::start(&index);
        let head = bytes.get(..HEAD).ok_or(corrupt("the log's head is cut off"))?;
        if head != start {
            return Err(corrupt("the log starts from another index"));
        }
        let mut journal = Self { chain: *head.last_chunk().ok_or(corrupt("the log's head"))? };
        let (mut whole, mut operations) = (HEAD, 0);
        while let Some(Record { body, sum, end }) = record_at(bytes, whole)? {
            let chain = Sha256Tree::digest(&[&journal.chain, body]);
            if chain != *sum {
                if end == bytes.len() {
                    break;
                }
                return Err(corrupt("a record of the log"));
            }
            index.apply(&read(&index, body)?)?;
            journal.chain = chain;
            operations += 1;
            whole = end;
        }
        Ok(Replay { index, journal, operations, whole, torn: bytes.len() - whole })
    }
}

/// A whole record.
struct Record<'a> {
    body: &'a [u8],
    sum: &'a [u8; SUM],
    /// Where the next one begins.
    end: usize,
}

/// The record that begins at `at`; `None` where it is not whole.
fn record_at(bytes: &[u8], at: usize) -> Result<Option<Record<'_>>, VectorError> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_BODY {
        return Err(corrupt("the length of a record of the log"));
    }
    let Some((body, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    Ok(rest.first_chunk().map(|sum| Record { body, sum, end: at + 4 + length + SUM }))
}

fn body(op: &Op) -> Vec<u8> {
    let (kind, id, vector) = match op {
        Op::Insert(id, vector) => (1, Some(id), Some(vector)),
        Op::Update(id, vector) => (2, Some(id), Some(vector)),
        Op::Remove(id) => (3, Some(id), None),
        Op::Repair => (4, None, None),
    };
    let mut out = vec![kind];
    id.into_iter().for_each(|id| out.extend_from_slice(id));
    match vector {
        Some(Vector::Values(values)) => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        Some(Vector::Bits(words)) => out.extend(words.iter().flat_map(|w| w.to_le_bytes())),
        None => {}
    }
    out
}

fn read(index: &Index, body: &[u8]) -> Result<Op, VectorError> {
    let bad = corrupt("a record of the log");
    let (kind, rest) = body.split_first().ok_or(bad.clone())?;
    if *kind == 4 && rest.is_empty() {
        return Ok(Op::Repair);
    }
    let (id, rest) = rest.split_first_chunk::<32>().ok_or(bad.clone())?;
    let bits = index.params().storage == Storage::Bits;
    let (words, odd) = rest.as_chunks::<8>();
    let (values, left) = rest.as_chunks::<4>();
    let vector = if bits {
        Vector::Bits(words.iter().map(|b| u64::from_le_bytes(*b)).collect())
    } else {
        Vector::Values(values.iter().map(|b| f32::from_le_bytes(*b)).collect())
    };
    let whole = if bits { odd.is_empty() } else { left.is_empty() };
    match kind {
        1 if whole => Ok(Op::Insert(*id, vector)),
        2 if whole => Ok(Op::Update(*id, vector)),
        3 if rest.is_empty() => Ok(Op::Remove(*id)),
        _ => Err(bad),
    }
}
