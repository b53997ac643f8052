//! The audit log: entries chained by hash over canonical JSON, a Merkle root, a manifest.
//!
//! Any Python can check a log: an entry's hash is SHA3-256 of
//! `json.dumps({index, timestamp, data, previous_hash}, sort_keys=True, separators=(",", ":"))`.

mod entry;
mod head;
mod json;
mod parse;

pub use entry::Entry;
pub use head::{Head, ZERO};
pub use json::{Json, float};
pub use parse::{JsonError, MAX_DEPTH};

use thiserror::Error;

use super::Beat;

/// Why a log or an entry was refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AuditError {
    /// A line is no JSON.
    #[error("no JSON: {0}")]
    Json(#[from] JsonError),
    /// A line is no entry.
    #[error("no entry: {0}")]
    Form(&'static str),
    /// An entry is missing or stands elsewhere.
    #[error("entry {expected}: its index is {found}; an entry is missing or out of order")]
    Index {
        /// The index that is next.
        expected: u64,
        /// The one that was found.
        found: u64,
    },
    /// An entry follows another one than that before it.
    #[error("entry {index}: it follows {found}, but the entry before it is {expected}")]
    Link {
        /// Its index.
        index: u64,
        /// Hash of the entry before.
        expected: String,
        /// The one that it names.
        found: String,
    },
    /// An entry was changed.
    #[error("entry {index}: its hash is {found}, but its content has {expected}; it was changed")]
    Hash {
        /// Its index.
        index: u64,
        /// Hash of what it holds.
        expected: String,
        /// The one that it names.
        found: String,
    },
}

/// Data of the first entry of a log.
pub fn genesis() -> Json {
    Json::object([
        ("type", "genesis".into()),
        ("message", "anthill controller".into()),
        ("version", "controller/1".into()),
    ])
}

/// Data of a pulse.
pub fn pulse(beat: &Beat) -> Json {
    Json::object([("type", "pulse".into()), ("pulse", beat.pulse())])
}

/// Data of what one adviser said, `R`, `B`, `E` or `O`.
pub fn flow_result(flow: &str, result: Json) -> Json {
    Json::object([("type", "flow_result".into()), ("flow", flow.into()), ("result", result)])
}

/// Data of an action with whatever explains it.
pub fn action(kind: &str, details: Json) -> Json {
    Json::object([("type", "action".into()), ("action", kind.into()), ("details", details)])
}

/// Data of the six entries of a beat: pulse, four results, action.
pub fn of_beat(beat: &Beat) -> Vec<Json> {
    let results = beat.advice.to_json().map(|(flow, result)| flow_result(flow, result));
    let mut all = vec![pulse(beat)];
    all.extend(results);
    all.push(action(beat.action.name(), beat.outcome()));
    all
}

/// A log in memory. One that may grow without end is better kept as a [`Head`] and a file.
#[derive(Clone, PartialEq, Debug)]
pub struct AuditLog {
    head: Head,
    entries: Vec<Entry>,
}

impl AuditLog {
    /// A log with its genesis entry.
    pub fn new(timestamp: f64) -> Self {
        let mut head = Head::default();
        let first = head.append(genesis(), timestamp);
        Self { head, entries: vec![first] }
    }

    /// A log from entries that were kept elsewhere.
    ///
    /// # Errors
    /// The first entry that does not belong where it is.
    pub fn from_entries(entries: Vec<Entry>) -> Result<Self, AuditError> {
        let head = walk(&entries)?;
        Ok(Self { head, entries })
    }

    /// Records something at a time in seconds.
    pub fn append(&mut self, data: Json, timestamp: f64) -> &Entry {
        let at = self.entries.len();
        self.entries.push(self.head.append(data, timestamp));
        &self.entries[at]
    }

    /// Records an action.
    pub fn record_action(&mut self, kind: &str, details: Json, timestamp: f64) -> &Entry {
        self.append(action(kind, details), timestamp)
    }

    /// Records the pulse of a beat.
    pub fn record_pulse(&mut self, beat: &Beat, timestamp: f64) -> &Entry {
        self.append(pulse(beat), timestamp)
    }

    /// Records what an adviser said.
    pub fn record_flow_result(&mut self, flow: &str, result: Json, timestamp: f64) -> &Entry {
        self.append(flow_result(flow, result), timestamp)
    }

    /// Records a whole beat: pulse, four results, action.
    pub fn record_beat(&mut self, beat: &Beat, timestamp: f64) {
        for data in of_beat(beat) {
            self.append(data, timestamp);
        }
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The log without its entries.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Computes every hash and follows every link anew.
    ///
    /// # Errors
    /// The first entry that was changed, moved or taken out.
    pub fn verify(&self) -> Result<(), AuditError> {
        walk(&self.entries).map(|_| ())
    }

    /// Merkle root over all entries' hashes.
    pub fn merkle_root(&self) -> String {
        self.head.merkle_root()
    }

    /// What sums the log up.
    pub fn manifest(&self) -> Json {
        self.head.manifest()
    }
}

fn walk(entries: &[Entry]) -> Result<Head, AuditError> {
    let mut head = Head::default();
    for entry in entries {
        head.accept(entry)?;
    }
    Ok(head)
}
