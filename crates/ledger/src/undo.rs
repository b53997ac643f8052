//! Undo rows: what a block's writes replaced, so that earlier heights can be proved.
//!
//! A row is a list of entries: length of the key (2 bytes, big-endian), key, 0 when it was absent,
//! or 1, length of the value (4 bytes), value.

use crate::error::LedgerError;

/// Prefix of the rows; the height follows.
pub(crate) const UNDO: &[u8] = b"\x01undo/";

/// Where the row of a block lies.
pub(crate) fn row_key(height: u64) -> Vec<u8> {
    [UNDO, &height.to_be_bytes()].concat()
}

/// The row of changes (key, before, after); what did not change is left out.
pub(crate) fn encode<'a>(
    changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>, Option<&'a [u8]>)>,
) -> Vec<u8> {
    let mut row = Vec::new();
    for (key, before, _) in changes.filter(|(_, before, after)| before != after) {
        // Keys are at most 4 KiB and values 256 MiB long (`anthill_store`).
        row.extend((key.len() as u16).to_be_bytes());
        row.extend(key);
        match before {
            None => row.push(0),
            Some(value) => {
                row.push(1);
                row.extend((value.len() as u32).to_be_bytes());
                row.extend(value);
            }
        }
    }
    row
}

/// A key and what it held before.
type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// Reads a row.
pub(crate) fn decode(row: &[u8]) -> Result<Vec<Entry<'_>>, LedgerError> {
    let mut rest = row;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        entries.push(entry(&mut rest).ok_or(LedgerError::Missing("a part of an undo row"))?);
    }
    Ok(entries)
}

fn entry<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let length = u16::from_be_bytes(take(rest)?);
    let key = rest.split_off(..usize::from(length))?;
    let before = match rest.split_off_first()? {
        0 => None,
        1 => {
            let length = u32::from_be_bytes(take(rest)?);
            Some(rest.split_off(..length as usize)?)
        }
        _ => return None,
    };
    Some((key, before))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_read_as_they_were_written(changes in prop::collection::vec(
                (any::<[u8; 3]>(), any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>()), 0..9), cut in 0usize..40) {
            let all = || changes.iter().map(|(k, b, a)| (k.as_slice(), b.as_deref(), a.as_deref()));
            let row = encode(all());
            let expected: Vec<_> =
                all().filter(|(_, b, a)| b != a).map(|(k, b, _)| (k, b)).collect();
            prop_assert_eq!(decode(&row).unwrap(), expected.clone());
            // A row cut short is damaged, or the beginning of the same list.
            let cut = &row[..cut.min(row.len())];
            if let Ok(part) = decode(cut) {
                prop_assert_eq!(&part[..], &expected[..part.len()]);
            }
        }
    }
}
