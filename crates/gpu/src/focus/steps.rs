//! Focus on a device: pi stays there, steps run one after the other, their residuals come back.

use std::collections::VecDeque;

use anthill_focus::Stepper;

use super::layout::Sizes;
use super::record::{Chunk, MOST_AHEAD, Recorded, STATE_HEAD, Target, record};
use super::{Mode, Problem};
use crate::batch::Prepared;
use crate::device::Device;
use crate::{Buffer, GpuError, Kernel};

/// Entries and slots that a submission passes over, about: more steps ahead than that save no time, and
/// drivers end submissions that last for seconds.
const WORK_AHEAD: usize = 1 << 27;
/// Steps ahead while two residuals are not yet known.
const FIRST_AHEAD: usize = 4;

/// The iteration of one graph on a device, from its start on.
///
/// Several steps are submitted at once where that saves waiting. The device itself stops after the step
/// that reaches the tolerance, and what was handed out by [`Stepper::step`] is what
/// [`Stepper::into_masses`] belongs to, whatever ran ahead.
pub struct Steps {
    device: Device,
    recorded: Recorded<Buffer>,
    program: Vec<Prepared>,
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

impl Steps {
    /// Uploads a graph and its start.
    ///
    /// # Errors
    /// [`GpuError::Shape`] or [`GpuError::Graph`] for a problem that is none, [`GpuError::OutOfMemory`]
    /// with what the graph needs and what found room, [`GpuError::TooLarge`], or what the driver says.
    pub fn new(device: &Device, problem: &Problem, mode: Mode) -> Result<Self, GpuError> {
        problem.check()?;
        let sizes = Sizes::new(device.limits().binding_words())?;
        let mut target = OnDevice { device, program: Vec::new(), placed: 0 };
        let recorded = record(&mut target, problem, mode, sizes)
            .map_err(|error| with_needs(error, problem.device_bytes(), target.placed))?;
        let program = target.program;
        let work = problem.matrix.sources.len() + problem.start.len();
        Ok(Self {
            device: device.clone(),
            recorded,
            program,
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
        let words: Vec<u32> = self.device.read(&self.recorded.state)?;
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
            let alloc = |chunk: &Chunk<Buffer>| self.device.alloc(chunk.slots * 2);
            self.before = self.recorded.chunks.iter().map(alloc).collect::<Result<_, _>>()?;
        }
        let mut pairs = self.recorded.chunks.iter().zip(&self.before);
        pairs.try_for_each(|(chunk, before)| self.device.copy(&chunk.pi, before))
    }

    /// Submits steps from an unfrozen state.
    fn run(&self, steps: usize) -> Result<(), GpuError> {
        self.device.write(&self.recorded.state, 0, &[0_u32; STATE_HEAD])?;
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
            for (chunk, before) in self.recorded.chunks.iter().zip(&self.before) {
                self.device.copy(before, &chunk.pi)?;
            }
            self.run(self.taken)?;
        }
        let mut masses = Vec::new();
        for chunk in &self.recorded.chunks {
            let words: Vec<u32> = self.device.read(&chunk.pi)?;
            masses.extend(words.as_chunks().0.iter().map(joined));
        }
        Ok(masses)
    }
}

/// Prepares the dispatches on a device.
struct OnDevice<'a> {
    device: &'a Device,
    program: Vec<Prepared>,
    /// Bytes that found room so far.
    placed: u64,
}

/// Drivers do not tell how much memory there is; what was placed before it ended is the next best.
fn with_needs(error: GpuError, needed: u64, placed: u64) -> GpuError {
    match error {
        GpuError::OutOfMemory { adapter, reason } => {
            let (needed, placed) = (needed >> 20, placed >> 20);
            let reason = format!(
                "the graph needs {needed} MiB there, of which {placed} MiB found room; {reason}"
            );
            GpuError::OutOfMemory { adapter, reason }
        }
        other => other,
    }
}

impl Target for OnDevice<'_> {
    type Buffer = Buffer;

    fn upload(&mut self, words: &[u32]) -> Result<Buffer, GpuError> {
        let buffer = self.device.upload(words)?;
        self.placed += words.len() as u64 * 4;
        Ok(buffer)
    }

    fn zeros(&mut self, words: usize) -> Result<Buffer, GpuError> {
        let buffer = self.device.alloc(words)?;
        self.placed += words as u64 * 4;
        Ok(buffer)
    }

    fn dispatch(
        &mut self,
        kernel: &Kernel,
        words: &[u32],
        buffers: &[&Buffer],
        groups: usize,
    ) -> Result<(), GpuError> {
        let grid = self.device.limits().line(groups)?;
        self.program.push(self.device.prepare(kernel, words, buffers, grid)?);
        Ok(())
    }
}

/// The number of a low word and a high word.
fn joined([low, high]: &[u32; 2]) -> u64 {
    (u64::from(*high) << 32) | u64::from(*low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_memory_tells_what_was_needed_and_what_found_room() {
        let error = GpuError::OutOfMemory { adapter: "card".into(), reason: "full".into() };
        let text = with_needs(error, 900 << 20, 512 << 20).to_string();
        assert!(text.contains("needs 900 MiB there, of which 512 MiB found room; full"), "{text}");
        let other = GpuError::Empty { what: "m" };
        assert_eq!(with_needs(other.clone(), 1, 1), other);
    }
}
