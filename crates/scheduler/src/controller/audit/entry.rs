//! One entry of the audit log, its hash, and its form on a line.

use anthill_types::hash::sha3;
use anthill_types::ids::to_hex;

use super::AuditError;
use super::json::Json;

/// An entry: what was recorded, when, and the hash that chains it to the one before.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its place, from 0.
    pub index: u64,
    /// Seconds on the recorder's clock: a number, which is hashed as it was written.
    pub timestamp: Json,
    /// What is recorded.
    pub data: Json,
    /// Hash of the entry before, 64 hexadecimal digits; zeros for the first.
    pub previous_hash: String,
    /// SHA3-256 of the canonical JSON of the other four, 64 hexadecimal digits.
    pub hash: String,
}

impl Entry {
    /// What the hash must be.
    pub fn expected_hash(&self) -> String {
        to_hex(&sha3(&[self.body().to_string().as_bytes()]))
    }

    fn body(&self) -> Json {
        Json::object([
            ("index", self.index.into()),
            ("timestamp", self.timestamp.clone()),
            ("data", self.data.clone()),
            ("previous_hash", self.previous_hash.as_str().into()),
        ])
    }

    /// The entry as an object.
    pub fn to_json(&self) -> Json {
        self.body().merged(Json::object([("hash", self.hash.as_str().into())]))
    }

    /// Reads an entry from a line of a log.
    ///
    /// # Errors
    /// No JSON, or another form than that of an entry.
    pub fn parse(line: &str) -> Result<Self, AuditError> {
        let Json::Object(mut fields) = Json::parse(line)? else {
            return Err(AuditError::Form("no JSON object"));
        };
        let mut take = |name: &str| fields.remove(name);
        let (index, timestamp, data) = (take("index"), take("timestamp"), take("data"));
        let (previous_hash, hash) = (take("previous_hash"), take("hash"));
        if !fields.is_empty() {
            return Err(AuditError::Form("it has more fields than an entry"));
        }
        let Some(Json::Int(index)) = index else {
            return Err(AuditError::Form("`index` is no integer"));
        };
        let timestamp = timestamp.filter(|t| t.as_f64().is_some());
        Ok(Self {
            index: u64::try_from(index)
                .map_err(|_| AuditError::Form("`index` is not from 0 to 2^64 - 1"))?,
            timestamp: timestamp.ok_or(AuditError::Form("`timestamp` is no number"))?,
            data: data.ok_or(AuditError::Form("`data` is missing"))?,
            previous_hash: digits(previous_hash)
                .ok_or(AuditError::Form("`previous_hash` is not 64 digits 0-9a-f"))?,
            hash: digits(hash).ok_or(AuditError::Form("`hash` is not 64 digits 0-9a-f"))?,
        })
    }
}

fn digits(value: Option<Json>) -> Option<String> {
    let Some(Json::Text(text)) = value else { return None };
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == 64 && text.bytes().all(hex)).then_some(text)
}
