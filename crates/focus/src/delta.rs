//! A compact, self-contained encoding of a change: what a log of the graph is made of.
//!
//! Three ascending tables (particles, neurons of links, neurons with new stakes) and the links as
//! differences of indexes, all numbers in LEB128. One change has one encoding.

use std::collections::BTreeSet;

use anthill_types::{AccountId, Cid};

use crate::error::FocusError;
use crate::link::{Delta, Link};

/// Version of the encoding: its first byte.
const VERSION: u8 = 1;
/// Most entries of a table that are read: what a block can hold many times over.
const MAX_ENTRIES: u64 = 1 << 24;

/// Encodes a change; order and repetition in it do not matter.
pub fn encode(delta: &Delta) -> Vec<u8> {
    let lists = [&delta.added, &delta.removed].map(|list| list.iter().collect::<BTreeSet<_>>());
    let all = || lists.iter().flatten();
    let particles: BTreeSet<Cid> = all().flat_map(|link| [link.from, link.to]).collect();
    let neurons: BTreeSet<AccountId> = all().map(|link| link.neuron).collect();
    let particles: Vec<Cid> = particles.into_iter().collect();
    let neurons: Vec<AccountId> = neurons.into_iter().collect();
    let mut out = vec![VERSION];
    table(&mut out, particles.iter().map(|cid| &cid.0));
    table(&mut out, neurons.iter().map(|id| &id.0));
    for list in lists {
        number(&mut out, list.len() as u64);
        let mut last = [0u64; 3];
        for link in list {
            let at = |cid: &Cid| particles.partition_point(|p| p < cid) as u64;
            let neuron = neurons.partition_point(|n| n < &link.neuron) as u64;
            let next = [neuron, at(&link.from), at(&link.to)];
            difference(&mut out, &last, &next);
            last = next;
        }
    }
    let stakes: std::collections::BTreeMap<_, _> = delta.stakes.iter().copied().collect();
    table(&mut out, stakes.keys().map(|id| &id.0));
    stakes.values().for_each(|stake| wide(&mut out, *stake));
    out
}

/// Links ascend: what does not change begins with the first index that does.
fn difference(out: &mut Vec<u8>, last: &[u64; 3], next: &[u64; 3]) {
    number(out, next[0] - last[0]);
    let from = if next[0] == last[0] { last[1] } else { 0 };
    number(out, next[1] - from);
    let to = if next[0] == last[0] && next[1] == last[1] { last[2] } else { 0 };
    number(out, next[2] - to);
}

fn table<'a>(out: &mut Vec<u8>, ids: impl ExactSizeIterator<Item = &'a [u8; 32]>) {
    number(out, ids.len() as u64);
    ids.for_each(|id| out.extend_from_slice(id));
}

fn number(out: &mut Vec<u8>, value: u64) {
    wide(out, u128::from(value));
}

fn wide(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Decodes a change; its lists are in ascending order.
///
/// # Errors
/// [`FocusError::Delta`]: not the one encoding of a change.
pub fn decode(bytes: &[u8]) -> Result<Delta, FocusError> {
    let mut reader = Reader { bytes };
    if reader.take(1)? != [VERSION] {
        return Err(FocusError::Delta("another version"));
    }
    let particles: Vec<Cid> = reader.table()?.into_iter().map(Cid).collect();
    let neurons: Vec<AccountId> = reader.table()?.into_iter().map(AccountId).collect();
    let added = reader.links(&particles, &neurons)?;
    let removed = reader.links(&particles, &neurons)?;
    let holders = reader.table()?;
    let stake = |id: [u8; 32], reader: &mut Reader<'_>| Ok((AccountId(id), reader.wide()?));
    let stakes = holders.into_iter().map(|id| stake(id, &mut reader)).collect::<Result<_, _>>()?;
    let delta = Delta { added, removed, stakes };
    // One encoding: unused entries of tables and long forms of numbers show here.
    if !reader.bytes.is_empty() || encode(&delta) != bytes {
        return Err(FocusError::Delta("not the one encoding of this change"));
    }
    Ok(delta)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], FocusError> {
        let (head, rest) =
            self.bytes.split_at_checked(count).ok_or(FocusError::Delta("it ends too early"))?;
        self.bytes = rest;
        Ok(head)
    }

    fn wide(&mut self) -> Result<u128, FocusError> {
        let mut value = 0u128;
        for shift in (0..126).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(FocusError::Delta("a number is too long"))
    }

    fn number(&mut self) -> Result<u64, FocusError> {
        let value = self.wide()?;
        u64::try_from(value).map_err(|_| FocusError::Delta("a number is too large"))
    }

    fn count(&mut self) -> Result<usize, FocusError> {
        let count = self.number()?;
        if count > MAX_ENTRIES || count > self.bytes.len() as u64 {
            return Err(FocusError::Delta("it announces more than it holds"));
        }
        Ok(count as usize)
    }

    fn table(&mut self) -> Result<Vec<[u8; 32]>, FocusError> {
        let count = self.count()?;
        let ids = self.take(count * 32)?;
        Ok(ids.as_chunks::<32>().0.to_vec())
    }

    fn links(&mut self, cids: &[Cid], ids: &[AccountId]) -> Result<Vec<Link>, FocusError> {
        let mut last = [0u64; 3];
        let count = self.count()?;
        let mut links = Vec::new();
        for _ in 0..count {
            let step = [self.number()?, self.number()?, self.number()?];
            let add =
                |a: u64, b: u64| a.checked_add(b).ok_or(FocusError::Delta("an index is too large"));
            let neuron = add(last[0], step[0])?;
            let from = add(if step[0] == 0 { last[1] } else { 0 }, step[1])?;
            let same = step[0] == 0 && step[1] == 0;
            let to = add(if same { last[2] } else { 0 }, step[2])?;
            last = [neuron, from, to];
            let missing = FocusError::Delta("an index points beyond its table");
            let cid = |at: u64| cids.get(at as usize).copied();
            let id = ids.get(neuron as usize).copied();
            let (Some(neuron), Some(from), Some(to)) = (id, cid(from), cid(to)) else {
                return Err(missing);
            };
            links.push(Link { neuron, from, to });
        }
        Ok(links)
    }
}
