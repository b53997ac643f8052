//! Focus on a device: pi stays there, steps run one after the other, their residuals come back.

use std::collections::VecDeque;

use anthill_focus::Stepper;

use super::kernels::{GATHER, Kernels, NARROW_SET, SLICE, WIDE_SET};
use super::layout::{Part, Sizes, cut};
use super::{Mode, Problem};
use crate::batch::Prepared;
use crate::device::Device;
use crate::error::word;
use crate::{Buffer, GpuError, Grid};

/// Most steps of a submission.
const MOST_AHEAD: usize = 32;
/// Entries and slots that a submission passes over, about: more steps ahead than that save no time, and
/// drivers end submissions that last for seconds.
const WORK_AHEAD: usize = 1 << 27;
/// Steps ahead while two residuals are not yet known.
const FIRST_AHEAD: usize = 4;
/// Words of the state before the residuals: frozen, steps, rest (2).
const STATE_HEAD: usize = 4;

/// The iteration of one graph on a device, from its start on.
///
/// Several steps are submitted at once where that saves waiting. The device itself stops after the step
/// that reaches the tolerance, and what was handed out by [`Stepper::step`] is what
/// [`Stepper::into_masses`] belongs to, whatever ran ahead.
pub struct Steps {
    device: Device,
    chunks: Vec<Chunk>,
    program: Vec<Prepared>,
    state: Buffer,
    /// Pi before the last submission, if that was of several steps.
    before: Vec<Buffer>,
    tolerance: u64,
    most_ahead: usize,
    /// Residuals that the device has computed and nobody has asked for.
    waiting: VecDeque<u64>,
    /// Steps of the last submission that were handed out.
    taken: usize,
    /// The last two residuals handed out, the latest last.
    seen: [Option<u64>; 2],
}

/// As many slots as fit into a buffer.
struct Chunk {
    slots: usize,
    pi: Buffer,
    teleport: Buffer,
    sums: Buffer,
}

impl Steps {
    /// Uploads a graph and its start.
    ///
    /// # Errors
    /// [`GpuError::Shape`] or [`GpuError::Graph`] for a problem that is none, [`GpuError::OutOfMemory`]
    /// with what the graph needs, [`GpuError::TooLarge`], or what the driver says.
    pub fn new(device: &Device, problem: &Problem, mode: Mode) -> Result<Self, GpuError> {
        problem.check()?;
        let needs = problem.device_bytes();
        Self::upload(device, problem, mode).map_err(|error| match error {
            GpuError::OutOfMemory { adapter, reason } => {
                let reason = format!("the graph needs {} MiB there; {reason}", needs >> 20);
                GpuError::OutOfMemory { adapter, reason }
            }
            other => other,
        })
    }

    fn upload(device: &Device, problem: &Problem, mode: Mode) -> Result<Self, GpuError> {
        let sizes = Sizes::new(device.limits().binding_words())?;
        let state = device.alloc(STATE_HEAD + 2 * MOST_AHEAD)?;
        let chunks = problem.start.chunks(sizes.slots).zip(problem.teleport.chunks(sizes.slots));
        let chunks = chunks
            .map(|(start, teleport)| Chunk::upload(device, start, teleport))
            .collect::<Result<Vec<_>, _>>()?;
        let kernels = mode.kernels();
        let mut recorder =
            Recorder { device, kernels, state: &state, chunks: &chunks, program: Vec::new() };
        cut(problem.matrix, sizes, &mut |part| recorder.part(part))?;
        recorder.passes(problem, mode.tolerance(), sizes.slots)?;
        let program = recorder.program;
        let work = problem.matrix.sources.len() + problem.start.len();
        Ok(Self {
            device: device.clone(),
            chunks,
            program,
            state,
            before: Vec::new(),
            tolerance: mode.tolerance(),
            most_ahead: (WORK_AHEAD / work.max(1)).clamp(1, MOST_AHEAD),
            waiting: VecDeque::new(),
            taken: 0,
            seen: [None; 2],
        })
    }

    /// Submits steps and waits for their residuals.
    fn submit(&mut self) -> Result<(), GpuError> {
        let ahead = self.ahead();
        if ahead > 1 {
            self.keep()?;
        }
        self.run(ahead)?;
        let words: Vec<u32> = self.device.read(&self.state)?;
        let made = (words[1] as usize).min(ahead);
        let residuals = words[STATE_HEAD..].as_chunks().0.iter();
        self.waiting.extend(residuals.take(made).map(joined));
        self.taken = 0;
        Ok(())
    }

    /// How many steps to submit: as many as the tolerance is away by the last two residuals.
    fn ahead(&self) -> usize {
        let [Some(before), Some(last)] = self.seen else {
            return FIRST_AHEAD.min(self.most_ahead);
        };
        if last <= self.tolerance {
            // Beyond the tolerance the device stops after every step.
            return 1;
        }
        if last >= before {
            return FIRST_AHEAD.min(self.most_ahead);
        }
        let rate = (before as f64 / last as f64).ln();
        let left = (last as f64 / self.tolerance as f64).ln() / rate;
        (left.ceil() as usize).clamp(1, self.most_ahead)
    }

    fn keep(&mut self) -> Result<(), GpuError> {
        if self.before.is_empty() {
            let alloc = |chunk: &Chunk| self.device.alloc(chunk.slots * 2);
            self.before = self.chunks.iter().map(alloc).collect::<Result<_, _>>()?;
        }
        let mut pairs = self.chunks.iter().zip(&self.before);
        pairs.try_for_each(|(chunk, before)| self.device.copy(&chunk.pi, before))
    }

    /// Submits steps from an unfrozen state.
    fn run(&self, steps: usize) -> Result<(), GpuError> {
        self.device.write(&self.state, 0, &[0_u32; STATE_HEAD])?;
        let mut batch = self.device.batch();
        for _ in 0..steps {
            self.program.iter().try_for_each(|dispatch| batch.add(dispatch))?;
        }
        batch.submit()
    }
}

impl Stepper for Steps {
    type Error = GpuError;

    fn step(&mut self) -> Result<u64, GpuError> {
        if self.waiting.is_empty() {
            self.submit()?;
        }
        let missing = || self.device.refused(&"a step of focus gave no residual");
        let residual = self.waiting.pop_front().ok_or_else(missing)?;
        self.taken += 1;
        self.seen = [self.seen[1], Some(residual)];
        Ok(residual)
    }

    fn into_masses(self) -> Result<Vec<u64>, GpuError> {
        if !self.waiting.is_empty() {
            // More ran than was asked for: back to where that began, and as many steps as were.
            for (chunk, before) in self.chunks.iter().zip(&self.before) {
                self.device.copy(before, &chunk.pi)?;
            }
            self.run(self.taken)?;
        }
        let mut masses = Vec::new();
        for chunk in &self.chunks {
            let words: Vec<u32> = self.device.read(&chunk.pi)?;
            masses.extend(words.as_chunks().0.iter().map(joined));
        }
        Ok(masses)
    }
}

impl Chunk {
    fn upload(device: &Device, start: &[u64], teleport: &[u64]) -> Result<Self, GpuError> {
        Ok(Self {
            slots: start.len(),
            pi: device.upload(&parted(start))?,
            teleport: device.upload(&parted(teleport))?,
            sums: device.alloc(start.len() * 2)?,
        })
    }
}

/// Prepares the dispatches of one step, in their order.
struct Recorder<'a> {
    device: &'a Device,
    kernels: &'static Kernels,
    state: &'a Buffer,
    chunks: &'a [Chunk],
    program: Vec<Prepared>,
}

impl Recorder<'_> {
    /// Adds the sums over the entries of a part.
    fn part(&mut self, part: &Part) -> Result<(), GpuError> {
        let entries = self.device.upload::<u32>(bytemuck::cast_slice(&part.entries))?;
        if !part.heavy.is_empty() {
            self.heavy(part, &entries)?;
        }
        if !part.rows.is_empty() {
            let starts = self.device.upload(&part.starts)?;
            let rows = self.device.upload(&part.rows)?;
            let slices = part.rows.len() / SLICE;
            let (pi, sums) = (&self.chunks[part.source].pi, &self.chunks[part.target].sums);
            let buffers = [self.state, &starts, &rows, &entries, pi, sums];
            self.add(&GATHER, &[word("slices", slices)?], &buffers, slices)?;
        }
        Ok(())
    }

    fn heavy(&mut self, part: &Part, entries: &Buffer) -> Result<(), GpuError> {
        let (count, rows) = (part.pieces.len(), part.heavy.len());
        let pieces = self.device.upload::<u32>(bytemuck::cast_slice(&part.pieces))?;
        let heavy = self.device.upload::<u32>(bytemuck::cast_slice(&part.heavy))?;
        let moved = self.device.alloc(count * 2)?;
        let (pi, sums) = (&self.chunks[part.source].pi, &self.chunks[part.target].sums);
        let buffers = [self.state, &pieces, entries, pi, &moved];
        self.add(&self.kernels.heavy, &[word("pieces of rows", count)?], &buffers, count)?;
        let buffers = [self.state, &heavy, &moved, sums];
        self.add(&self.kernels.combine, &[word("heavy rows", rows)?], &buffers, rows)
    }

    /// Adds the passes over all slots: the sum of y, the new pi, the residual.
    fn passes(&mut self, problem: &Problem, tolerance: u64, width: usize) -> Result<(), GpuError> {
        let blocks = |chunk: &Chunk| chunk.slots.div_ceil(self.kernels.block);
        let all = self.chunks.iter().map(blocks).sum::<usize>();
        let count = word("blocks of particles", all)?;
        let totals = self.device.alloc(all * 2)?;
        let changes = self.device.alloc(all * 4)?;
        let mut first = 0;
        for chunk in self.chunks {
            let words = [word("particles", chunk.slots)?, problem.damping, first];
            let blocks = blocks(chunk);
            let buffers = [self.state, &chunk.sums, &totals];
            self.add(&self.kernels.total, &words, &buffers, blocks)?;
            first += blocks as u32;
        }
        self.add(&self.kernels.rest, &[count], &[self.state, &totals], 1)?;
        let home = problem.lowest as usize / width;
        let lowest = problem.lowest % width as u32;
        first = 0;
        for (number, chunk) in self.chunks.iter().enumerate() {
            let here = if number == home { lowest } else { u32::MAX };
            let words = [word("particles", chunk.slots)?, problem.damping, first, here];
            let blocks = blocks(chunk);
            let buffers = [self.state, &chunk.sums, &chunk.teleport, &chunk.pi, &changes];
            self.add(&self.kernels.apply, &words, &buffers, blocks)?;
            first += blocks as u32;
        }
        let [low, high] = halves(tolerance);
        let buffers = [self.state, &changes, &self.chunks[home].pi];
        self.add(&self.kernels.close, &[count, lowest, low, high], &buffers, 1)
    }

    fn add(
        &mut self,
        kernel: &crate::Kernel,
        words: &[u32],
        buffers: &[&Buffer],
        groups: usize,
    ) -> Result<(), GpuError> {
        let grid: Grid = self.device.limits().line(groups)?;
        self.program.push(self.device.prepare(kernel, words, buffers, grid)?);
        Ok(())
    }
}

impl Mode {
    fn kernels(self) -> &'static Kernels {
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

fn joined([low, high]: &[u32; 2]) -> u64 {
    u64::from(*high) << 32 | u64::from(*low)
}
