//! The focus of a knowledge graph, by the definition's integers: the processor's bits on every adapter.

mod kernels;
mod layout;
mod steps;

pub(crate) use kernels::{GATHER, NARROW_SET, WIDE_SET};
pub use steps::Steps;

use crate::GpuError;
use crate::error::check_len;

/// The whole mass, 2^62.
pub const ONE: u64 = 1 << 62;

/// A transition matrix in pull form: row v has the entries P(u, v).
pub struct Csc {
    /// First entry of each row, and the end of the last.
    pub row_start: Vec<u32>,
    /// Slot of the source of each entry.
    pub sources: Vec<u32>,
    /// Weight of each entry, in units of 2^-32.
    pub weights: Vec<u32>,
}

/// What is iterated: all slices by slot.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// The transition matrix.
    pub matrix: &'a Csc,
    /// Teleport, of sum 2^62.
    pub teleport: &'a [u64],
    /// Masses to start from, of sum 2^62.
    pub start: &'a [u64],
    /// Slot of the particle with the lowest CID.
    pub lowest: u32,
    /// The damping in units of 2^-32, rounded down.
    pub damping: u32,
}

/// For whom a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To the definition's tolerance, 10^-6.
    Consensus,
    /// To 10^-4 with workgroups of 64 invocations, for a browser that shows a graph.
    Light,
}

impl Mode {
    /// The residual at which a run ends, in units of 2^-62.
    pub fn tolerance(self) -> u64 {
        match self {
            Self::Consensus => ONE / 1_000_000,
            Self::Light => ONE / 10_000,
        }
    }
}

impl Problem<'_> {
    /// Bytes that the device holds for it, about.
    pub fn device_bytes(&self) -> u64 {
        // Pi, its copy, the teleport and the sums; a source and a weight for each entry.
        self.start.len() as u64 * 32 + self.matrix.sources.len() as u64 * 8
    }

    fn check(&self) -> Result<(), GpuError> {
        let Csc { row_start, sources, weights } = self.matrix;
        let slots = self.start.len();
        check_len("the teleport", slots, 1, self.teleport.len())?;
        check_len("the beginnings of rows", slots + 1, 1, row_start.len())?;
        check_len("the weights", sources.len(), 1, weights.len())?;
        let no = |reason: &str| Err(GpuError::Graph { reason: reason.to_string() });
        if self.lowest as usize >= slots {
            return no("the lowest particle is none of its particles");
        }
        let ends = row_start.first() == Some(&0)
            && row_start.last().is_some_and(|end| *end as usize == sources.len());
        if !ends || !row_start.is_sorted() {
            return no("its rows do not follow each other from the first entry to the last");
        }
        if sources.iter().any(|source| *source as usize >= slots) {
            return no("an entry has a source beyond its particles");
        }
        let whole =
            |masses: &[u64]| masses.iter().map(|m| u128::from(*m)).sum::<u128>() == ONE.into();
        if !whole(self.start) || !whole(self.teleport) {
            return no("its start or its teleport does not sum to 2^62");
        }
        Ok(())
    }
}
