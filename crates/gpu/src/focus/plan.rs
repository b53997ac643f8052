//! A run as data, for a browser: the buffers, and the dispatches of one step.

use super::kernels::{COMBINE, GATHER, HEAVY, Passes};
use super::layout::Sizes;
use super::record::{MOST_AHEAD, Target, record};
use super::{Mode, Problem};
use crate::{GpuError, Grid, Kernel};

/// What a browser makes the steps of a graph from, as `web/focus.mjs` does: it makes the buffers, then
/// carries out the dispatches in their order, again and again, until the state is frozen.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For whom the run is.
    pub mode: Mode,
    /// The buffers; the first is the state (words: frozen, steps, rest (2), residuals (2 each)).
    pub buffers: Vec<Content>,
    /// The dispatches of one step.
    pub dispatches: Vec<Dispatch>,
    /// Buffers that hold the masses, by slot, two words each, the low one first.
    pub masses: Vec<usize>,
    /// Steps that may be made before the state is read and its first four words are set to zero.
    pub most_ahead: usize,
    /// Name and text of each kernel.
    pub kernels: Vec<(String, String)>,
}

/// What a buffer holds at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These words.
    Words(Vec<u32>),
    /// So many zeros.
    Zeros(usize),
}

/// One dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// The uniform block, binding 0.
    pub words: Vec<u32>,
    /// Positions of the buffers for the bindings from 1 on.
    pub buffers: Vec<usize>,
    /// Workgroups.
    pub grid: Grid,
}

impl Plan {
    /// Plans a run within a browser's limits: `binding_bytes` is its `maxStorageBufferBindingSize` (128 MiB
    /// at least), `groups` its `maxComputeWorkgroupsPerDimension` (65,535 at least).
    ///
    /// # Errors
    /// [`GpuError::Shape`] or [`GpuError::Graph`] for a problem that is none, [`GpuError::TooLarge`].
    pub fn new(
        problem: &Problem,
        mode: Mode,
        binding_bytes: u32,
        groups: u32,
    ) -> Result<Self, GpuError> {
        problem.check()?;
        let sizes = Sizes::new(binding_bytes as usize / 4)?;
        let mut planner = Planner { groups, buffers: Vec::new(), dispatches: Vec::new() };
        let recorded = record(&mut planner, problem, mode, sizes)?;
        let Passes { total, rest, apply, close, .. } = mode.passes();
        let kernels = [&GATHER, &HEAVY, &COMBINE, total, rest, apply, close];
        Ok(Self {
            mode,
            buffers: planner.buffers,
            dispatches: planner.dispatches,
            masses: recorded.chunks.iter().map(|chunk| chunk.pi).collect(),
            most_ahead: MOST_AHEAD,
            kernels: kernels.iter().flat_map(|kernel| kernel.variants()).collect(),
        })
    }
}

struct Planner {
    groups: u32,
    buffers: Vec<Content>,
    dispatches: Vec<Dispatch>,
}

impl Planner {
    fn add(&mut self, content: Content) -> usize {
        self.buffers.push(content);
        self.buffers.len() - 1
    }
}

impl Target for Planner {
    type Buffer = usize;

    fn upload(&mut self, words: &[u32]) -> Result<usize, GpuError> {
        Ok(self.add(Content::Words(words.to_vec())))
    }

    fn zeros(&mut self, words: usize) -> Result<usize, GpuError> {
        Ok(self.add(Content::Zeros(words)))
    }

    fn dispatch(
        &mut self,
        kernel: &Kernel,
        words: &[u32],
        buffers: &[&usize],
        groups: usize,
    ) -> Result<(), GpuError> {
        let grid = Grid::line(groups, self.groups)?;
        let buffers = buffers.iter().map(|buffer| **buffer).collect();
        self.dispatches.push(Dispatch {
            kernel: kernel.name(),
            words: words.to_vec(),
            buffers,
            grid,
        });
        Ok(())
    }
}
