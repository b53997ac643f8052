//! The host's side of the imports: what a guest can see and change outside of its memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::params::ModuleParams;
use crate::outcome::{Fault, MAX_OUTPUT};

/// Most bytes of log that are kept.
pub const MAX_LOG: usize = 64 * 1024;
/// Most bytes of all keys and values together, an entry counting 64 bytes more.
pub const MAX_KV: usize = 4 * 1024 * 1024;

/// What `kv_get` gives for a key that is not there.
pub const ABSENT: i32 = -1;
/// What `kv_get` and `kv_put` give for a key outside of every grant.
pub const DENIED: i32 = -2;
/// What `kv_put` gives when keys and values would hold more than [`MAX_KV`] bytes.
pub const FULL: i32 = -3;

/// Pairs of a key and a value.
pub type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The state of a run outside of its memory.
pub struct Host {
    /// The task's input.
    pub input: Arc<[u8]>,
    /// Parameters of the run.
    pub params: Arc<ModuleParams>,
    /// Output so far.
    pub output: Vec<u8>,
    /// Log so far, for the submitter; cut at [`MAX_LOG`].
    pub log: Vec<u8>,
    /// Work done, and work in all.
    pub progress: Option<(u64, u64)>,
    /// All keys with their values.
    pub kv: Pairs,
    /// The keys that the guest wrote.
    pub written: BTreeSet<Vec<u8>>,
    /// The fault for which the host ended the guest, if it did.
    pub fault: Option<Fault>,
    /// Bytes of all keys and values.
    held: usize,
}

/// The host ends the guest: a bad pointer, or [`Host::fault`].
#[derive(Debug, Clone, Copy)]
pub struct Ended;

type Called<T> = Result<T, Ended>;

/// A part of the guest's memory.
fn part(memory: &mut [u8], at: i32, length: i32) -> Called<&mut [u8]> {
    let (at, length) = (at.cast_unsigned() as usize, length.cast_unsigned() as usize);
    let end = at.checked_add(length).ok_or(Ended)?;
    memory.get_mut(at..end).ok_or(Ended)
}

/// Copies what fits, and says how much that is.
fn fill(to: &mut [u8], from: &[u8]) -> i32 {
    let count = to.len().min(from.len());
    to[..count].copy_from_slice(&from[..count]);
    count as i32
}

/// What an entry takes beside its bytes.
const ENTRY: usize = 64;

/// What keys and values take.
fn size(pairs: &Pairs) -> usize {
    pairs.iter().map(|(k, v)| k.len() + v.len() + ENTRY).sum()
}

impl Host {
    /// The state at the start of a run.
    pub fn new(params: Arc<ModuleParams>, input: Arc<[u8]>) -> Self {
        let entries = params.grants.iter().flat_map(|g| g.entries.iter().cloned());
        let kv: Pairs = entries.collect();
        let held = size(&kv);
        Self {
            input,
            params,
            output: Vec::new(),
            log: Vec::new(),
            progress: None,
            kv,
            written: BTreeSet::new(),
            fault: None,
            held,
        }
    }

    /// Puts in what another run of the same task had come to.
    pub fn restore(&mut self, kv: Pairs, written: BTreeSet<Vec<u8>>) {
        self.held = size(&kv);
        (self.kv, self.written) = (kv, written);
    }

    fn may(&self, key: &[u8], writes: bool) -> bool {
        self.params.grants.iter().any(|g| {
            let allowed = if writes { g.rights.writes() } else { g.rights.reads() };
            allowed && key.starts_with(&g.prefix)
        })
    }

    /// Bytes of the input.
    pub fn input_len(&self) -> i32 {
        self.input.len() as i32
    }

    /// Copies the input from an offset on; gives how many bytes there were.
    pub fn input(&self, memory: &mut [u8], offset: i32, at: i32, length: i32) -> Called<i32> {
        let to = part(memory, at, length)?;
        let from = self.input.get(offset.cast_unsigned() as usize..).unwrap_or_default();
        Ok(fill(to, from))
    }

    /// Bytes of the arguments.
    pub fn args_len(&self) -> i32 {
        self.params.args.len() as i32
    }

    /// Copies the arguments; gives how many bytes were copied.
    pub fn args(&self, memory: &mut [u8], at: i32, length: i32) -> Called<i32> {
        Ok(fill(part(memory, at, length)?, &self.params.args))
    }

    /// Adds to the output.
    pub fn put_output(&mut self, memory: &mut [u8], at: i32, length: i32) -> Called<()> {
        let bytes = part(memory, at, length)?;
        if self.output.len() + bytes.len() > MAX_OUTPUT {
            self.fault = Some(Fault::OutputLimit);
            return Err(Ended);
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds to the log, as far as there is room.
    pub fn put_log(&mut self, memory: &mut [u8], at: i32, length: i32) -> Called<()> {
        let bytes = part(memory, at, length)?;
        let room = MAX_LOG - self.log.len();
        self.log.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(())
    }

    /// Says how far the work is.
    pub fn set_progress(&mut self, done: i64, total: i64) {
        self.progress = Some((done.cast_unsigned(), total.cast_unsigned()));
    }

    /// Copies as much of a key's value as fits; gives its length, or [`ABSENT`] or [`DENIED`].
    pub fn kv_get(&self, memory: &mut [u8], key: (i32, i32), to: (i32, i32)) -> Called<i32> {
        let key = part(memory, key.0, key.1)?.to_vec();
        let to = part(memory, to.0, to.1)?;
        if !self.may(&key, false) {
            return Ok(DENIED);
        }
        let Some(value) = self.kv.get(&key) else { return Ok(ABSENT) };
        fill(to, value);
        Ok(value.len() as i32)
    }

    /// Sets a key's value; gives 0, [`DENIED`] or [`FULL`].
    pub fn kv_put(&mut self, memory: &mut [u8], key: (i32, i32), from: (i32, i32)) -> Called<i32> {
        let key = part(memory, key.0, key.1)?.to_vec();
        let value = part(memory, from.0, from.1)?.to_vec();
        if !self.may(&key, true) {
            return Ok(DENIED);
        }
        let before = self.kv.get(&key).map_or(0, |v| key.len() + v.len() + ENTRY);
        let held = self.held - before + key.len() + value.len() + ENTRY;
        if held > MAX_KV {
            return Ok(FULL);
        }
        self.held = held;
        self.written.insert(key.clone());
        self.kv.insert(key, value);
        Ok(0)
    }

    /// What the run gives: the output, or `[output, [[key, value]...]]` when it may write keys.
    pub fn result(&mut self) -> Vec<u8> {
        let output = std::mem::take(&mut self.output);
        if !self.params.writes() {
            return output;
        }
        let mut out = Vec::new();
        let mut encoder = minicbor::Encoder::new(&mut out);
        let written: Vec<(&[u8], &[u8])> = self
            .written
            .iter()
            .filter_map(|key| self.kv.get(key).map(|value| (&key[..], &value[..])))
            .collect();
        // Writing into a Vec cannot fail.
        let _ = encoder.array(2).and_then(|e| {
            e.bytes(&output)?;
            super::params::encode_pairs(e, written.into_iter())
        });
        out
    }
}
