//! The buffers and the dispatches of one step, for whatever carries them out.

use super::kernels::{COMBINE, GATHER, GATHERED, HEAVY, NARROW_PASSES, Passes, WIDE_PASSES};
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
    let passes = mode.passes();
    let mut recorder = Recorder { target, passes, sizes, state: &state, chunks: &chunks };
    cut(problem.matrix, sizes, &mut |part| recorder.part(part))?;
    recorder.passes(problem, mode.tolerance())?;
    Ok(Recorded { state, chunks })
}

struct Recorder<'a, T: Target> {
    target: &'a mut T,
    passes: &'static Passes,
    sizes: Sizes,
    state: &'a T::Buffer,
    chunks: &'a [Chunk<T::Buffer>],
}

impl<T: Target> Recorder<'_, T> {
    /// The sums over the entries of a part, from each chunk of pi in turn.
    fn part(&mut self, part: &Part) -> Result<(), GpuError> {
        let sources = self.target.upload(part.sources)?;
        let weights = self.target.upload(part.weights)?;
        if !part.heavy.is_empty() {
            self.heavy(part, [&sources, &weights])?;
        }
        let sums = &self.chunks[part.chunk].sums;
        for light in part.light.chunks(self.sizes.rows) {
            let rows = self.target.upload(light.as_flattened())?;
            for (number, chunk) in self.chunks.iter().enumerate() {
                let words = self.shape(light.len(), number)?;
                let buffers = [self.state, &rows, &sources, &weights, &chunk.pi, sums];
                self.target.dispatch(&GATHER, &words, &buffers, light.len().div_ceil(GATHERED))?;
            }
        }
        Ok(())
    }

    fn heavy(&mut self, part: &Part, entries: [&T::Buffer; 2]) -> Result<(), GpuError> {
        let (count, rows) = (part.pieces.len(), part.heavy.len());
        let pieces = self.target.upload(part.pieces.as_flattened())?;
        let heavy = self.target.upload(part.heavy.as_flattened())?;
        let moved = self.target.zeros(count * 2)?;
        for (number, chunk) in self.chunks.iter().enumerate() {
            let words = self.shape(count, number)?;
            let buffers = [self.state, &pieces, entries[0], entries[1], &chunk.pi, &moved];
            self.target.dispatch(&HEAVY, &words, &buffers, count)?;
            let buffers = [self.state, &heavy, &moved, &self.chunks[part.chunk].sums];
            self.target.dispatch(&COMBINE, &[word("heavy rows", rows)?], &buffers, rows)?;
        }
        Ok(())
    }

    /// How many rows or pieces there are, and which slots the chunk of pi holds.
    fn shape(&self, count: usize, chunk: usize) -> Result<[u32; 3], GpuError> {
        Ok([
            word("rows", count)?,
            word("particles", chunk * self.sizes.slots)?,
            word("particles", self.chunks[chunk].slots)?,
        ])
    }

    /// The passes over all slots: the sum of y, the new pi, the residual.
    fn passes(&mut self, problem: &Problem, tolerance: u64) -> Result<(), GpuError> {
        let blocks = |chunk: &Chunk<T::Buffer>| chunk.slots.div_ceil(self.passes.block);
        let all = self.chunks.iter().map(blocks).sum::<usize>();
        let count = word("blocks of particles", all)?;
        let totals = self.target.zeros(all * 2)?;
        let changes = self.target.zeros(all * 4)?;
        let mut first = 0;
        for chunk in self.chunks {
            let words = [word("particles", chunk.slots)?, problem.damping, first];
            let buffers = [self.state, &chunk.sums, &totals];
            self.target.dispatch(&self.passes.total, &words, &buffers, blocks(chunk))?;
            first += blocks(chunk) as u32;
        }
        self.target.dispatch(&self.passes.rest, &[count], &[self.state, &totals], 1)?;
        let width = self.sizes.slots;
        let home = problem.lowest as usize / width;
        let lowest = word("particles", problem.lowest as usize % width)?;
        first = 0;
        for (number, chunk) in self.chunks.iter().enumerate() {
            let here = if number == home { lowest } else { u32::MAX };
            let words = [word("particles", chunk.slots)?, problem.damping, first, here];
            let buffers = [self.state, &chunk.sums, &chunk.teleport, &chunk.pi, &changes];
            self.target.dispatch(&self.passes.apply, &words, &buffers, blocks(chunk))?;
            first += blocks(chunk) as u32;
        }
        let [low, high] = halves(tolerance);
        let words = [count, lowest, low, high];
        let buffers = [self.state, &changes, &self.chunks[home].pi];
        self.target.dispatch(&self.passes.close, &words, &buffers, 1)
    }
}

impl Mode {
    pub(crate) fn passes(self) -> &'static Passes {
        match self {
            Self::Consensus => &WIDE_PASSES,
            Self::Light => &NARROW_PASSES,
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
