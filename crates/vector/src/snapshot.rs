//! Snapshots: the index as bytes, checked whole when read.
//!
//! Layout, little-endian: `ANTHNSW1`; u32 m, m0, ef_construction, ef_search, dimensions; the model
//! hash; u32 items; each item in order of insertion: id, u8 top level, the vector's f32 values, and
//! for each level u16 links and their u32 node numbers; SHA-256 of all before.

use std::collections::BTreeMap;

use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};

use crate::graph::level_of;
use crate::{Index, ItemId, MAX_ITEMS, Params, VectorError};

const MAGIC: &[u8; 8] = b"ANTHNSW1";

/// A cursor over a snapshot.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], VectorError> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(VectorError::Corrupt { what: "it is cut off" })?;
        self.0 = rest;
        Ok(head)
    }

    fn number(&mut self) -> Result<u32, VectorError> {
        Ok(u32::from_le_bytes(*self.take::<4>()?))
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], VectorError> {
        let (head, rest) =
            self.0.split_at_checked(count).ok_or(VectorError::Corrupt { what: "it is cut off" })?;
        self.0 = rest;
        Ok(head)
    }
}

impl Index {
    /// Parameters, dimensions and model hash, as they are hashed and written.
    pub(crate) fn head(&self) -> Vec<u8> {
        let p = &self.params;
        let mut out = Vec::new();
        for n in [p.m, p.m0, p.ef_construction, p.ef_search, self.dimensions() as u32] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.model_hash);
        out
    }

    /// Everything between magic and checksum.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut out = self.head();
        out.extend_from_slice(&(self.len() as u32).to_le_bytes());
        for (node, id) in self.graph.ids.iter().enumerate() {
            let levels = &self.graph.links[node];
            out.extend_from_slice(id);
            out.push((levels.len() - 1) as u8);
            let vector = self.graph.vector(node as u32);
            vector.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
            for links in levels {
                out.extend_from_slice(&(links.len() as u16).to_le_bytes());
                links.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
            }
        }
        out
    }

    /// The index as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.body());
        let sum = Sha256Tree::digest(&[&out]);
        out.extend_from_slice(&sum);
        out
    }

    /// Reads a snapshot. Everything that the search relies on is checked, not only the checksum:
    /// a snapshot with a fitting checksum cannot make it fail either.
    ///
    /// # Errors
    /// [`VectorError::Corrupt`], naming the part; [`VectorError::BadParams`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VectorError> {
        let (content, sum) =
            bytes.split_last_chunk::<32>().ok_or(VectorError::Corrupt { what: "it is cut off" })?;
        if !content.starts_with(MAGIC) {
            return Err(VectorError::Corrupt { what: "it does not start with ANTHNSW1" });
        }
        if Sha256Tree::digest(&[content]) != *sum {
            return Err(VectorError::Corrupt { what: "the checksum does not fit" });
        }
        let mut reader = Reader(&content[MAGIC.len()..]);
        let params = Params {
            m: reader.number()?,
            m0: reader.number()?,
            ef_construction: reader.number()?,
            ef_search: reader.number()?,
        };
        let dims = reader.number()? as usize;
        let mut index = Self::new(params, dims, *reader.take::<32>()?)?;
        let count = reader.number()? as usize;
        if count > MAX_ITEMS {
            return Err(VectorError::Corrupt { what: "too many items" });
        }
        for node in 0..count {
            index.read_item(&mut reader, node as u32, count)?;
        }
        if !reader.0.is_empty() {
            return Err(VectorError::Corrupt { what: "bytes follow the last item" });
        }
        index.check_links()?;
        index.entry = index.graph.entry();
        Ok(index)
    }

    fn read_item(
        &mut self,
        reader: &mut Reader<'_>,
        node: u32,
        count: usize,
    ) -> Result<(), VectorError> {
        let id: ItemId = *reader.take::<32>()?;
        let [top] = *reader.take::<1>()?;
        if usize::from(top) != level_of(&id, self.params.m) {
            return Err(VectorError::Corrupt { what: "an item's level" });
        }
        let values = reader.bytes(self.dimensions() * 4)?.as_chunks::<4>().0;
        let vector: Vec<f32> = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
        self.check_vector(&vector).map_err(|_| VectorError::Corrupt { what: "a vector" })?;
        let mut levels = Vec::with_capacity(usize::from(top) + 1);
        for level in 0..=top {
            let most = if level == 0 { self.params.m0 } else { self.params.m };
            let links = u16::from_le_bytes(*reader.take::<2>()?);
            if u32::from(links) > most {
                return Err(VectorError::Corrupt { what: "an item with too many links" });
            }
            let numbers = reader.bytes(usize::from(links) * 4)?.as_chunks::<4>().0;
            levels.push(numbers.iter().map(|b| u32::from_le_bytes(*b)).collect::<Vec<u32>>());
        }
        if levels.iter().flatten().any(|n| *n as usize >= count || *n == node) {
            return Err(VectorError::Corrupt { what: "a link to no item" });
        }
        if self.nodes.insert(id, node).is_some() {
            return Err(VectorError::Corrupt { what: "an item that is there twice" });
        }
        self.graph.ids.push(id);
        self.graph.vectors.extend_from_slice(&vector);
        self.graph.links.push(levels);
        Ok(())
    }

    /// Every link of a level leads to a node that has this level, and to no node twice.
    fn check_links(&self) -> Result<(), VectorError> {
        for levels in &self.graph.links {
            for (level, links) in levels.iter().enumerate() {
                let distinct: BTreeMap<u32, ()> = links.iter().map(|n| (*n, ())).collect();
                let fits = links.iter().all(|n| self.graph.level(*n) >= level);
                if !fits || distinct.len() != links.len() {
                    return Err(VectorError::Corrupt { what: "a link of the wrong level" });
                }
            }
        }
        Ok(())
    }
}
