//! Lists by index: one packed array, with those that changed since beside it.

use std::collections::BTreeMap;

/// A list of `T` for each index.
#[derive(Debug, Clone)]
pub(crate) struct Rows<T> {
    starts: Vec<u32>,
    items: Vec<T>,
    changed: BTreeMap<u32, Vec<T>>,
    /// Items of `changed`.
    apart: usize,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { starts: vec![0], items: Vec::new(), changed: BTreeMap::new(), apart: 0 }
    }
}

impl<T: Copy> Rows<T> {
    /// From packed items; list `i` is `items[starts[i]..starts[i + 1]]`.
    pub fn packed(starts: Vec<u32>, items: Vec<T>) -> Self {
        Self { starts, items, changed: BTreeMap::new(), apart: 0 }
    }

    /// A list; empty beyond the last.
    pub fn get(&self, index: u32) -> &[T] {
        if let Some(row) = self.changed.get(&index) {
            return row;
        }
        let at = |i: usize| self.starts.get(i).map(|start| *start as usize);
        match (at(index as usize), at(index as usize + 1)) {
            (Some(start), Some(end)) => &self.items[start..end],
            _ => &[],
        }
    }

    /// Replaces a list.
    pub fn set(&mut self, index: u32, row: Vec<T>) {
        self.apart += row.len();
        if let Some(old) = self.changed.insert(index, row) {
            self.apart -= old.len();
        }
    }

    /// Items that lie beside the packed array.
    pub fn apart(&self) -> usize {
        self.apart
    }

    /// Items in the packed array, those that were replaced included.
    pub fn packed_len(&self) -> usize {
        self.items.len()
    }
}
