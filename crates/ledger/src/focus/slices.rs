//! The masses of all particles as rows of the state: a row for each slice of the CIDs.
//!
//! A row of its own for each mass would cost eight times as many bytes in keys and hashes, and one
//! row for all would have to be written whole for each block. Slices in order, each in order of CID,
//! are all particles in canonical order.

use std::collections::BTreeMap;

use anthill_store::{Batch, Store};
use anthill_types::{Cid, keys};

use crate::error::LedgerError;

/// Values of the rows, by slice.
pub(crate) type Slices = BTreeMap<u16, Vec<u8>>;

/// The rows of masses in canonical order.
pub(crate) fn of(masses: &[(Cid, u64)]) -> Slices {
    let mut slices = Slices::new();
    for (cid, mass) in masses {
        slices.entry(keys::slice_of(cid)).or_default().extend(mass.to_be_bytes());
    }
    slices
}

/// Adds the rows that differ to a block's writes.
pub(crate) fn write(batch: &mut Batch, before: &Slices, after: &Slices) {
    for slice in before.keys().filter(|slice| !after.contains_key(slice)) {
        batch.insert(keys::focus_slice(*slice), None);
    }
    for (slice, row) in after {
        if before.get(slice) != Some(row) {
            batch.insert(keys::focus_slice(*slice), Some(row.clone()));
        }
    }
}

/// True when there are equally many particles in each slice.
pub(crate) fn are_alike(one: &Slices, other: &Slices) -> bool {
    let length = |(slice, row): (&u16, &Vec<u8>)| (*slice, row.len());
    one.iter().map(length).eq(other.iter().map(length))
}

/// The rows of a state.
///
/// # Errors
/// The store fails, or a key is none of a slice.
pub(crate) fn load(store: &dyn Store) -> Result<Slices, LedgerError> {
    let rows = store.prefix(keys::FOCUS_SLICES.as_bytes(), usize::MAX)?;
    let slice = |key: &[u8]| key.get(keys::FOCUS_SLICES.len()..)?.try_into().ok();
    let row = |(key, value): (Vec<u8>, Vec<u8>)| {
        let slice = slice(&key).ok_or(LedgerError::Missing("number of a slice"))?;
        Ok((u16::from_be_bytes(slice), value))
    };
    rows.into_iter().map(row).collect()
}

/// The masses in rows, in canonical order.
///
/// # Errors
/// A row is damaged.
pub(crate) fn masses_of(slices: &Slices) -> Result<Vec<u64>, LedgerError> {
    let mut all = Vec::new();
    for row in slices.values() {
        let (masses, rest) = row.as_chunks();
        if !rest.is_empty() {
            return Err(LedgerError::Missing("part of a mass"));
        }
        all.extend(masses.iter().map(|mass| u64::from_be_bytes(*mass)));
    }
    Ok(all)
}
