//! Reads links, stakes and start vectors from tab-separated text, a piece of bytes at a time.
//!
//! A line ends at a line feed, a carriage return before it belongs to the line's end, and the last
//! line may lack it. Names are any UTF-8 text without tab and line feed; a particle's content id is
//! that of its name's bytes, a neuron's account is the BLAKE3 hash of its name. An empty file is an
//! empty table, and an empty line a row that lacks its first field.

mod lines;
mod names;
mod tables;

use thiserror::Error;

pub use lines::{Reader, Table};
pub use names::Names;
pub use tables::{LinkTable, StakeTable, StartTable, account, push_mass};

/// Longest line in bytes, its end left out.
pub const MAX_LINE: usize = 1 << 20;
/// A stake, and the sum of all, is below this (`docs/spec/focus.md`).
pub const STAKE_LIMIT: u128 = 1 << 96;

/// A file of links, stakes or start values that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}:{line}: {reason}")]
pub struct LoadError {
    /// The file, as the caller names it.
    pub file: String,
    /// Number of the line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Reason {
    /// It ends too early.
    #[error("the field `{missing}` is missing: a line is {form}, with a tab between the fields")]
    Missing {
        /// The first field that is not there.
        missing: &'static str,
        /// What a line holds.
        form: &'static str,
    },
    /// It goes on after its last field.
    #[error("there is a field too many: a line is {form}, with a tab between the fields")]
    Extra {
        /// What a line holds.
        form: &'static str,
    },
    /// A name without a character.
    #[error("the field `{0}` is empty: name it")]
    Empty(&'static str),
    /// Bytes that are no text.
    #[error("byte {0} of the line is not UTF-8: write the file as UTF-8")]
    NotUtf8(usize),
    /// A file that begins with U+FEFF, which would become part of a name.
    #[error("the file begins with a byte order mark: write it as UTF-8 without one")]
    Mark,
    /// Too many bytes.
    #[error("the line is longer than {MAX_LINE} bytes: is the file tab-separated text?")]
    TooLong,
    /// A neuron that must be an account, and is not.
    #[error("{0:?} is no account: 64 hexadecimal digits")]
    Neuron(String),
    /// A stake below zero.
    #[error("the stake {0} is negative: a stake is a whole number from 0 to below 2^96")]
    Negative(String),
    /// No whole number.
    #[error("{0:?} is not a whole number: write decimal digits alone")]
    NotANumber(String),
    /// A stake of 2^96 or more.
    #[error("the stake {0} is too large: a stake is below 2^96")]
    StakeTooLarge(String),
    /// Stakes that together are 2^96 or more.
    #[error("with this line the stakes add up to 2^96 or more: their sum must stay below it")]
    StakeSum,
    /// A start value above 2^62.
    #[error("the start value {0} is too large: all together are 2^62")]
    MassTooLarge(String),
    /// A second line for the same name.
    #[error("{0:?} has a line already: give each name one")]
    Twice(String),
    /// A start value of something that the graph does not have.
    #[error(
        "{0:?} is no particle of the graph: leave the line out, and see that all add up to 2^62"
    )]
    Unknown(String),
    /// Start values that do not add up.
    #[error("the start values add up to {0}; they must be 2^62 = 4611686018427387904 together")]
    StartSum(u128),
    /// More names than numbers for them.
    #[error("the file has more than 2^32 - 2 names: cut it in parts")]
    TooMany,
}
