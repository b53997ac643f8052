//! The two passes of a step over rows: what flows in, and what the rest adds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anthill_kernels::parallel::Parallel;
use anthill_kernels::pull::{LANES, pull_row, pull_rows, scale};

use crate::fixed::mul_q62;
use crate::matrix::{Matrix, Part};

/// Values of the pass over all particles that one job takes.
const SPAN: usize = 1 << 15;

/// What both passes need.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub damping: u32,
    pub parallel: &'a dyn Parallel,
}

impl Work<'_> {
    /// Sums of what flows into each row; gives the sum of the damped ones.
    pub fn pull(&self, matrix: &Matrix, parts: &[Part], masses: &[u64], sums: &mut [u64]) -> u64 {
        let pieces = matrix.pieces();
        let heavy: Vec<AtomicU64> = pieces.iter().map(|_| AtomicU64::new(0)).collect();
        let total = AtomicU64::new(0);
        let mut rest = &mut *sums;
        let mut slices = Vec::with_capacity(parts.len());
        for part in parts {
            let (own, after) = rest.split_at_mut(part.groups * LANES);
            slices.push(Mutex::new(own));
            rest = after;
        }
        rest.fill(0);
        self.parallel.run(pieces.len() + parts.len(), &|job| match job.checked_sub(pieces.len()) {
            None => {
                let piece = &pieces[job];
                let lines = &matrix.lines()[piece.first..piece.first + piece.lines];
                heavy[job].store(pull_row(lines, masses), Ordering::Relaxed);
            }
            Some(job) => {
                let part = &parts[job];
                let lines = &matrix.lines()[part.first_line..part.first_line + part.lines];
                let widths = &matrix.widths()[part.first_group..part.first_group + part.groups];
                if let Ok(mut sums) = slices[job].lock() {
                    let damped = pull_rows(lines, widths, masses, self.damping, &mut sums);
                    total.fetch_add(damped, Ordering::Relaxed);
                }
            }
        });
        drop(slices);
        let heavy = pieces.iter().zip(heavy).map(|(piece, sum)| (piece.row, sum.into_inner()));
        let mut total = total.into_inner();
        for (row, more) in heavy.chain(matrix.late_flows(masses)) {
            let sum = &mut sums[row as usize];
            total = total.wrapping_sub(scale(*sum, self.damping));
            *sum = sum.wrapping_add(more);
            total = total.wrapping_add(scale(*sum, self.damping));
        }
        total
    }

    /// Damps the sums, adds the rest by the teleport vector and replaces the masses; gives the sum
    /// and the residual.
    pub fn replace(
        &self,
        rest: u64,
        sums: &[u64],
        teleport: &[u64],
        masses: &mut [u64],
    ) -> (u64, u64) {
        let (sum, residual) = (AtomicU64::new(0), AtomicU64::new(0));
        let spans = masses.chunks_mut(SPAN).zip(sums.chunks(SPAN));
        let spans = spans.zip(teleport.chunks(SPAN));
        let spans: Vec<_> = spans.map(|((m, s), t)| (Mutex::new(m), s, t)).collect();
        self.parallel.run(spans.len(), &|job| {
            let (masses, flows, teleport) = &spans[job];
            let Ok(mut masses) = masses.lock() else { return };
            let (mut all, mut changes) = (0u64, 0u64);
            for ((mass, flow), t) in masses.iter_mut().zip(*flows).zip(*teleport) {
                let next = scale(*flow, self.damping).wrapping_add(mul_q62(rest, *t));
                all = all.wrapping_add(next);
                changes = changes.wrapping_add(next.abs_diff(*mass));
                *mass = next;
            }
            sum.fetch_add(all, Ordering::Relaxed);
            residual.fetch_add(changes, Ordering::Relaxed);
        });
        (sum.into_inner(), residual.into_inner())
    }
}

/// Gives the missing units to the lowest id; gives the residual with that in it.
pub(crate) fn settle_rest(mass: &mut u64, before: u64, missing: u64, residual: u64) -> u64 {
    let without = residual.wrapping_sub(mass.abs_diff(before));
    *mass = mass.wrapping_add(missing);
    without.wrapping_add(mass.abs_diff(before))
}
