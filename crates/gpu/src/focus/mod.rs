//! The focus of a knowledge graph, by the definition's integers: the processor's bits on every adapter.
//!
//! [`run`] ranks a graph as [`anthill_focus::solve()`] does, [`run_light`] as closely as a picture needs;
//! [`Steps`] is the back-end under both. [`Crossover`] says which graphs are worth the way to the adapter.

mod crossover;
mod kernels;
mod layout;
mod plan;
mod preview;
mod record;
mod steps;

pub use crossover::Crossover;
pub(crate) use kernels::{COMBINE, GATHER, HEAVY, NARROW_PASSES, WIDE_PASSES};
pub use plan::{Content, Dispatch, Plan};
pub use preview::Preview;
pub use steps::Steps;

use anthill_focus::solve::{run_to, start_masses};
use anthill_focus::{Csc, Damping, EPSILON, Graph, ONE, Run};

use crate::error::check_len;
use crate::{Device, GpuError};

/// Tolerance of the light mode: 1e-4 of all mass.
const LIGHT_EPSILON: u64 = ONE / 10_000;

/// Ranks a graph on a device: masses, residuals and steps are those of [`anthill_focus::solve()`], bit
/// for bit. `start` (by slot) is where it begins; without it the teleport vector.
///
/// # Errors
/// As [`Steps::new`].
pub fn run(
    device: &Device,
    graph: &Graph,
    damping: Damping,
    start: Option<&[u64]>,
) -> Result<Run, GpuError> {
    run_in(Mode::Consensus, device, graph, damping, start)
}

/// Ranks a graph for showing it: to 1e-4, with workgroups of 64 invocations.
///
/// # Errors
/// As [`Steps::new`].
pub fn run_light(
    device: &Device,
    graph: &Graph,
    damping: Damping,
    start: Option<&[u64]>,
) -> Result<Preview<Run>, GpuError> {
    run_in(Mode::Light, device, graph, damping, start).map(Preview::new)
}

fn run_in(
    mode: Mode,
    device: &Device,
    graph: &Graph,
    damping: Damping,
    start: Option<&[u64]>,
) -> Result<Run, GpuError> {
    let Some(lowest) = graph.lowest() else {
        return Ok(Run { converged: true, ..Run::default() });
    };
    let (matrix, teleport) = (graph.csc(), graph.teleport());
    let start = start.map_or_else(|| teleport.clone(), |start| start_masses(graph, start));
    let problem = Problem {
        matrix: &matrix,
        teleport: &teleport,
        start: &start,
        lowest,
        damping: damping.quantised(),
    };
    run_to(Steps::new(device, &problem, mode)?, mode.tolerance())
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
            Self::Consensus => EPSILON,
            Self::Light => LIGHT_EPSILON,
        }
    }
}

impl Problem<'_> {
    /// Bytes that the device holds for it, about.
    pub fn device_bytes(&self) -> u64 {
        // Pi, its copy, the teleport, the sums and the ends of a row; a source and a weight for each entry.
        self.start.len() as u64 * 44 + self.matrix.sources.len() as u64 * 8
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
