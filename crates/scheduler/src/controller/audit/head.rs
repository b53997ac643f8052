//! The end of an audit log: all that is needed to append, check and sum up, however long it is.

use anthill_types::hash::sha3;
use anthill_types::ids::to_hex;

use super::AuditError;
use super::entry::Entry;
use super::json::Json;

/// The previous hash of the first entry.
pub const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A log without its entries: the next index, the last hash, and the right edge of the Merkle tree.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Head {
    next: u64,
    first: Option<Edge>,
    last: Option<Edge>,
    /// Hash of a whole subtree of 2^level entries at each level, where there is one.
    edge: Vec<Option<String>>,
}

/// What is kept of the first and the last entry.
#[derive(Clone, PartialEq, Debug)]
struct Edge {
    hash: String,
    timestamp: Json,
}

impl Head {
    /// Entries so far.
    pub fn len(&self) -> u64 {
        self.next
    }

    /// True before the first entry.
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Hash of the last entry, or zeros.
    pub fn last_hash(&self) -> &str {
        self.last.as_ref().map_or(ZERO, |last| &last.hash)
    }

    /// Makes the next entry and takes it in.
    pub fn append(&mut self, data: Json, timestamp: f64) -> Entry {
        let mut entry = Entry {
            index: self.next,
            timestamp: timestamp.into(),
            data,
            previous_hash: self.last_hash().into(),
            hash: String::new(),
        };
        entry.hash = entry.expected_hash();
        self.take(&entry);
        entry
    }

    /// Takes in an entry that another wrote, if it is the next one and unchanged.
    ///
    /// # Errors
    /// A wrong index, a wrong link or a wrong hash; nothing is taken in then.
    pub fn accept(&mut self, entry: &Entry) -> Result<(), AuditError> {
        let index = self.next;
        if entry.index != index {
            return Err(AuditError::Index { expected: index, found: entry.index });
        }
        if entry.previous_hash != self.last_hash() {
            return Err(AuditError::Link {
                index,
                expected: self.last_hash().into(),
                found: entry.previous_hash.clone(),
            });
        }
        let expected = entry.expected_hash();
        if entry.hash != expected {
            return Err(AuditError::Hash { index, expected, found: entry.hash.clone() });
        }
        self.take(entry);
        Ok(())
    }

    fn take(&mut self, entry: &Entry) {
        let edge = Edge { hash: entry.hash.clone(), timestamp: entry.timestamp.clone() };
        self.first.get_or_insert_with(|| edge.clone());
        self.last = Some(edge);
        self.next += 1;
        let mut node = entry.hash.clone();
        for level in &mut self.edge {
            match level.take() {
                Some(left) => node = pair(&left, &node),
                None => {
                    *level = Some(node);
                    return;
                }
            }
        }
        self.edge.push(Some(node));
    }

    /// Merkle root over the entries' hashes: SHA3-256 over the hexadecimal texts of pairs, an odd
    /// last one paired with itself; zeros for no entries.
    pub fn merkle_root(&self) -> String {
        let mut odd: Option<String> = None;
        for (level, node) in self.edge.iter().enumerate() {
            let is_top = level + 1 == self.edge.len();
            odd = match (node, odd) {
                (Some(left), Some(right)) => Some(pair(left, &right)),
                (Some(node), None) if is_top => Some(node.clone()),
                (Some(node), None) => Some(pair(node, node)),
                (None, Some(node)) => Some(pair(&node, &node)),
                (None, None) => None,
            };
        }
        odd.unwrap_or_else(|| ZERO.into())
    }

    /// What sums the log up: how many entries, from when to when, first and last hash, root.
    pub fn manifest(&self) -> Json {
        let hash = |edge: &Option<Edge>| edge.as_ref().map_or(ZERO.into(), |e| e.hash.clone());
        let time = |edge: &Option<Edge>| edge.as_ref().map_or(Json::Null, |e| e.timestamp.clone());
        Json::object([
            ("entries", self.next.into()),
            ("hash_algorithm", "SHA3-256".into()),
            ("first_hash", hash(&self.first).into()),
            ("first_timestamp", time(&self.first)),
            ("last_hash", hash(&self.last).into()),
            ("last_timestamp", time(&self.last)),
            ("merkle_root", self.merkle_root().into()),
        ])
    }
}

fn pair(left: &str, right: &str) -> String {
    to_hex(&sha3(&[left.as_bytes(), right.as_bytes()]))
}
