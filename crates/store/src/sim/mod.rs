//! A simulated disk and a simulated file system: what a power cut, a full disk or a lying disk
//! leaves behind, the same from the same seed.

mod disk;
mod files;

pub use disk::{DiskCounts, Faults, SimDisk};
pub use files::SimFiles;

/// Bytes that a disk writes whole or not at all.
pub const SECTOR: usize = 512;

/// What a power cut leaves of the writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crash {
    /// Nothing.
    Nothing,
    /// The first few, in order; the last of them in part.
    Prefix,
    /// Any of them, each whole or any of its sectors.
    Subset,
}

impl Crash {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Prefix, Self::Subset];
}
