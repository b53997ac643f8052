//! Score an epoch and turn scores into leaves, root and reward shares.
//!
//! The arithmetic is that of `docs/spec/poei.md`, rule by rule; the numbers in comments are its
//! rules. Integers only: a ratio in \[0, 1\] is an integer 0..=[`U`] ("nano").
//!
//! Architecture Invariant: the result depends on the set of records alone, not on their order, the
//! machine or the time; the rewards of an epoch sum to its pool exactly, or nothing is minted.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod epoch;
mod message;
mod params;
mod reward;
mod trust;

pub use epoch::{EpochResult, MAX_RECORDS, Record, Row, raw_score, score_epoch, tlr};
pub use message::{Message, leaf};
pub use params::Params;
pub use reward::pool;
pub use trust::{Attestation, Outcome, Trust};

/// One, in nano: every ratio and weight is an integer 0..=U.
pub const U: u64 = 1_000_000_000;

/// Why an epoch cannot be scored.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum PoeiError {
    /// Two records of one node.
    #[error("two records of node {}; merge them before scoring", Hex(.0))]
    DuplicateNode([u8; 32]),
    /// A ratio above one.
    #[error("{metric} of node {} is {value}, above {U}; it must be a ratio in nano", Hex(.node))]
    AboveOne {
        /// The node.
        node: [u8; 32],
        /// Which field.
        metric: &'static str,
        /// Its value.
        value: u64,
    },
    /// A focus mass above the whole (2^62).
    #[error("focus of node {} is {value}, above the whole mass of 2^62", Hex(.node))]
    FocusAboveWhole {
        /// The node.
        node: [u8; 32],
        /// Its value.
        value: u64,
    },
    /// More records than an epoch may have.
    #[error("{0} records are more than an epoch may have ({MAX_RECORDS})")]
    TooManyRecords(usize),
    /// A governed parameter out of its bounds.
    #[error("parameter {name} is out of bounds: {rule}")]
    BadParameter {
        /// Its name.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// A product does not fit 128 bits.
    #[error("{0} does not fit 128 bits; lower the parameter or the counts that lead to it")]
    Overflow(&'static str),
}

/// Hexadecimal form for messages.
struct Hex<'a>(&'a [u8; 32]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
