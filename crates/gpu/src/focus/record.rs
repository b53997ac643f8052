//! The buffers and the dispatches of one step, for whatever carries them out.

use super::kernels::{GATHER, Kernels, NARROW_SET, SLICE, WIDE_SET};
use super::layout::{Part, Sizes, cut};
use super::{Mode, Problem};
use crate::error::word;
use crate::{GpuError, Kernel};

/// Most steps whose residuals the state holds.
pub(crate) const MOST_AHEAD: usize = 32;
/// Words of the state before the residuals: frozen, steps, rest (2).
pub(crate) const STATE_HEAD: usize = 4;

/// What takes buffers and dispatches: a device, or a plan for one elsewhere.
pub(crate) trait Target {
    /// A buffer's handle.
    type Buffer;

    /// A buffer of these words.
    fn upload(&mut self, words: &[u32]) -> Result<Self::Buffer, GpuError>;

    /// A buffer of zeros.
    fn zeros(&mut self, words: usize) -> Result<Self::Buffer, GpuError>;

    /// A dispatch of `groups` workgroups, after those that were given before.
    fn dispatch(
        &mut self,
        kernel: &Kernel,
        words: &[u32],
        buffers: &[&Self::Buffer],
        groups: usize,
    ) -> Result<(), GpuError>;
}

/// As many slots as fit into a buffer.
#[derive(Debug)]
pub(crate) struct Chunk<B> {
    pub slots: usize,
    pub pi: B,
    teleport: B,
    sums: B,
}

/// What outlives the recording.
#[derive(Debug)]
pub(crate) struct Recorded<B> {
    pub state: B,
    pub chunks: Vec<Chunk<B>>,
}

/// Hands the buffers of a problem and the dispatches of one step to a target.
pub(crate) fn record<T: Target>(
    target: &mut T,
    problem: &Problem,
    mode: Mode,
    sizes: Sizes,
) -> Result<Recorded<T::Buffer>, GpuError> {
    let state = target.zeros(STATE_HEAD + 2 * MOST_AHEAD)?;
    let mut chunks = Vec::new();
    for (pi, teleport) in
        problem.start.chunks(sizes.slots).zip(problem.teleport.chunks(sizes.slots))
    {
        chunks.push(Chunk {
            slots: pi.len(),
            pi: target.upload(&parted(pi))?,
            teleport: target.upload(&parted(teleport))?,
            sums: target.zeros(pi.len() * 2)?,
        });
    }
    let kernels = mode.kernels();
    let mut recorder = Recorder { target, kernels, state: &state, chunks: &chunks };
    cut(problem.matrix, sizes, &mut |part| recorder.part(part))?;
    recorder.passes(problem, mode.tolerance(), sizes.slots)?;
    Ok(Recorded { state, chunks })
}

struct Recorder<'a, T: Target> {
    target: &'a mut T,
    kernels: &'static Kernels,
    state: &'a T::Buffer,
    chunks: &'a [Chunk<T::Buffer>],
}

impl<T: Target> Recorder<'_, T> {
    /// The sums over the entries of a part.
    fn part(&mut self, part: &Part) -> Result<(), GpuError> {
        let entries = self.target.upload(part.entries.as_flattened())?;
        if !part.heavy.is_empty() {
            self.heavy(part, &entries)?;
        }
        if part.rows.is_empty() {
            return Ok(());
        }
        let starts = self.target.upload(&part.starts)?;
        let rows = self.target.upload(&part.rows)?;
        let slices = part.rows.len() / SLICE;
        let (pi, sums) = (&self.chunks[part.source].pi, &self.chunks[part.target].sums);
        let buffers = [self.state, &starts, &rows, &entries, pi, sums];
        self.target.dispatch(&GATHER, &[word("slices", slices)?], &buffers, slices)
    }

    fn heavy(&mut self, part: &Part, entries: &T::Buffer) -> Result<(), GpuError> {
        let (count, rows) = (part.pieces.len(), part.heavy.len());
        let pieces = self.target.upload(part.pieces.as_flattened())?;
        let heavy = self.target.upload(part.heavy.as_flattened())?;
        let moved = self.target.zeros(count * 2)?;
        let (pi, sums) = (&self.chunks[part.source].pi, &self.chunks[part.target].sums);
        let buffers = [self.state, &pieces, entries, pi, &moved];
        let words = [word("pieces of rows", count)?];
        self.target.dispatch(&self.kernels.heavy, &words, &buffers, count)?;
        let buffers = [self.state, &heavy, &moved, sums];
        self.target.dispatch(&self.kernels.combine, &[word("heavy rows", rows)?], &buffers, rows)
    }

    /// The passes over all slots: the sum of y, the new pi, the residual.
    fn passes(&mut self, problem: &Problem, tolerance: u64, width: usize) -> Result<(), GpuError> {
        let blocks = |chunk: &Chunk<T::Buffer>| chunk.slots.div_ceil(self.kernels.block);
        let all = self.chunks.iter().map(blocks).sum::<usize>();
        let count = word("blocks of particles", all)?;
        let totals = self.target.zeros(all * 2)?;
        let changes = self.target.zeros(all * 4)?;
        let mut first = 0;
        for chunk in self.chunks {
            let words = [word("particles", chunk.slots)?, problem.damping, first];
            let buffers = [self.state, &chunk.sums, &totals];
            self.target.dispatch(&self.kernels.total, &words, &buffers, blocks(chunk))?;
            first += blocks(chunk) as u32;
        }
        self.target.dispatch(&self.kernels.rest, &[count], &[self.state, &totals], 1)?;
        let home = problem.lowest as usize / width;
        let lowest = problem.lowest % width as u32;
        first = 0;
        for (number, chunk) in self.chunks.iter().enumerate() {
            let here = if number == home { lowest } else { u32::MAX };
            let words = [word("particles", chunk.slots)?, problem.damping, first, here];
            let buffers = [self.state, &chunk.sums, &chunk.teleport, &chunk.pi, &changes];
            self.target.dispatch(&self.kernels.apply, &words, &buffers, blocks(chunk))?;
            first += blocks(chunk) as u32;
        }
        let [low, high] = halves(tolerance);
        let words = [count, lowest, low, high];
        let buffers = [self.state, &changes, &self.chunks[home].pi];
        self.target.dispatch(&self.kernels.close, &words, &buffers, 1)
    }
}

impl Mode {
    pub(crate) fn kernels(self) -> &'static Kernels {
        match self {
            Self::Consensus => &WIDE_SET,
            Self::Light => &NARROW_SET,
        }
    }
}

/// The low word and the high word of a number.
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn parted(values: &[u64]) -> Vec<u32> {
    values.iter().flat_map(|value| halves(*value)).collect()
}
