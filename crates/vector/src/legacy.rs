//! Snapshots of the format before this one, which are read and never written.
//!
//! Layout, little-endian: `ANTHNSW1`; u32 m, m0, ef_construction, ef_search, dimensions; the model
//! hash; u32 items; each item in order of insertion: id, u8 top level, the vector's f32 values, and
//! for each level u16 links and their u32 node numbers; SHA-256 of all before.

use crate::graph::level_of;
use crate::index::prepare;
use crate::snapshot::corrupt;
use crate::{Index, Input, ItemId, MAX_ITEMS, Params, VectorError};

/// First bytes of such a snapshot.
pub(crate) const MAGIC: &[u8; 8] = b"ANTHNSW1";

/// A cursor over a snapshot.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], VectorError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(corrupt("it is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    fn number(&mut self) -> Result<u32, VectorError> {
        Ok(u32::from_le_bytes(*self.take::<4>()?))
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], VectorError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(corrupt("it is cut off"))?;
        self.0 = rest;
        Ok(head)
    }
}

/// Reads the content before the checksum, which the caller has checked.
pub(crate) fn read(content: &[u8]) -> Result<Index, VectorError> {
    let mut reader = Reader(&content[MAGIC.len()..]);
    let params = Params {
        m: reader.number()?,
        m0: reader.number()?,
        ef_construction: reader.number()?,
        ef_search: reader.number()?,
        ..Params::default()
    };
    let dims = reader.number()? as usize;
    let mut index = Index::new(params, dims, *reader.take::<32>()?)?;
    let count = reader.number()? as usize;
    if count > MAX_ITEMS {
        return Err(corrupt("too many items"));
    }
    for _ in 0..count {
        read_item(&mut index, &mut reader)?;
    }
    if !reader.0.is_empty() {
        return Err(corrupt("bytes follow the last item"));
    }
    index.check_links()?;
    index.store.entry = index.store.find_entry();
    Ok(index)
}

fn read_item(index: &mut Index, reader: &mut Reader<'_>) -> Result<(), VectorError> {
    let id: ItemId = *reader.take::<32>()?;
    let [top] = *reader.take::<1>()?;
    let level = usize::from(top);
    if level != level_of(&id, index.params().m) {
        return Err(corrupt("an item's level"));
    }
    let values = reader.bytes(index.dimensions() * 4)?.as_chunks::<4>().0;
    let values: Vec<f32> = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let vector = prepare(&index.store, Input::Values(&values)).map_err(|_| corrupt("a vector"))?;
    let node = index.store.grow();
    index.store.fill(node, id, &vector, level);
    for level in 0..=level {
        let links = usize::from(u16::from_le_bytes(*reader.take::<2>()?));
        if links > index.store.most(level) {
            return Err(corrupt("an item with too many links"));
        }
        let numbers = reader.bytes(links * 4)?.as_chunks::<4>().0;
        index.store.set_links(node, level, numbers.iter().map(|b| u32::from_le_bytes(*b)));
    }
    if index.nodes.insert(id, node).is_some() {
        return Err(corrupt("an item that is there twice"));
    }
    Ok(())
}
