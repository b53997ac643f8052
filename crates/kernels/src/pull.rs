//! Sums over the rows of a sparse matrix with Q32 weights, exact in integers: a step of focus.
//!
//! A product is `floor(mass * weight / 2^32)` with a mass of at most 2^62. Split into words it is
//! `high * weight + floor(low * weight / 2^32)`, two multiplications of 32 bits, and integer sums
//! have no order: every backend gives the same bits.

use crate::Backend;
use crate::lanes::prefetch_line;

/// Entries in a line, and rows in a sheet's group.
pub const LANES: usize = 8;

/// Eight entries of the matrix: one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Line {
    /// Where each entry's mass comes from.
    pub sources: [u32; LANES],
    /// Its weight in Q32; 0 fills what is not used.
    pub weights: [u32; LANES],
}

/// Asks for a line that is written soon: weights of one source lie all over the matrix.
#[inline(always)]
pub fn warm(lines: &[Line], line: usize) {
    prefetch_line(lines.as_ptr().wrapping_add(line));
}

/// `floor(mass * weight / 2^32)`.
#[inline(always)]
pub fn scale(mass: u64, weight: u32) -> u64 {
    let (high, low) = (mass >> 32, mass & 0xffff_ffff);
    (high * u64::from(weight)).wrapping_add((low * u64::from(weight)) >> 32)
}

/// Sums of groups of eight rows, and in return the sum of all sums times `damping` (Q32): group `g` has `widths[g]` lines, and lane `l` of them is row
/// `8 g + l`. Lines follow one another in the order of groups. Sources beyond the masses are taken
/// as the last one; the caller has checked them.
///
/// # Panics
/// `sums` has not 8 values a group, there are fewer lines than the widths say, or no mass.
pub fn pull_rows(
    lines: &[Line],
    widths: &[u16],
    masses: &[u64],
    damping: u32,
    sums: &mut [u64],
) -> u64 {
    assert_eq!(sums.len(), widths.len() * LANES, "one sum a row");
    let all: usize = widths.iter().map(|w| usize::from(*w)).sum();
    assert!(lines.len() >= all, "{} lines, {all} wanted", lines.len());
    assert!(all == 0 || !masses.is_empty(), "no masses");
    match Backend::selected() {
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 if i32::try_from(masses.len()).is_ok() => {
            // SAFETY: the processor has the features of a backend that is selected.
            unsafe { x86::rows(lines, widths, masses, damping, sums) }
        }
        _ => rows_plain(lines, widths, masses, damping, sums),
    }
}

/// The sum of one row whose entries fill whole lines.
///
/// # Panics
/// There are lines and no mass.
pub fn pull_row(lines: &[Line], masses: &[u64]) -> u64 {
    assert!(lines.is_empty() || !masses.is_empty(), "no masses");
    match Backend::selected() {
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 if i32::try_from(masses.len()).is_ok() => {
            // SAFETY: as above.
            let sums = unsafe { x86::lanes(lines, masses) };
            sums.iter().fold(0, |sum: u64, part| sum.wrapping_add(*part))
        }
        _ => {
            let sums = lanes_plain(lines, masses);
            sums.iter().fold(0, |sum: u64, part| sum.wrapping_add(*part))
        }
    }
}

#[inline(always)]
fn lanes_plain(lines: &[Line], masses: &[u64]) -> [u64; LANES] {
    let last = masses.len().saturating_sub(1);
    let mut sums = [0u64; LANES];
    for line in lines {
        for (lane, sum) in sums.iter_mut().enumerate() {
            let mass = masses[(line.sources[lane] as usize).min(last)];
            *sum = sum.wrapping_add(scale(mass, line.weights[lane]));
        }
    }
    sums
}

fn rows_plain(
    lines: &[Line],
    widths: &[u16],
    masses: &[u64],
    damping: u32,
    sums: &mut [u64],
) -> u64 {
    let (mut rest, mut total) = (lines, 0u64);
    for (width, out) in widths.iter().zip(sums.chunks_exact_mut(LANES)) {
        let (group, after) = rest.split_at(usize::from(*width));
        out.copy_from_slice(&lanes_plain(group, masses));
        total = out.iter().fold(total, |all, sum| all.wrapping_add(scale(*sum, damping)));
        rest = after;
    }
    total
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Eight masses are gathered at once.
    use super::{LANES, Line};
    use std::arch::x86_64::*;

    /// Products with Q32 factors (in the low halves), rounded down.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
    fn scaled(values: __m512i, factors: __m512i) -> __m512i {
        let low = _mm512_srli_epi64::<32>(_mm512_mul_epu32(values, factors));
        let high = _mm512_mul_epu32(_mm512_srli_epi64::<32>(values), factors);
        _mm512_add_epi64(low, high)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
    fn sum(lines: &[Line], masses: &[u64]) -> __m512i {
        let last = _mm256_set1_epi32((masses.len() - 1) as i32);
        let mut sum = _mm512_setzero_si512();
        for line in lines {
            // SAFETY: a line is 64 bytes and aligned; its halves are read.
            let (sources, weights) = unsafe {
                (
                    _mm256_load_si256(line.sources.as_ptr().cast()),
                    _mm256_load_si256(line.weights.as_ptr().cast()),
                )
            };
            let at = _mm256_min_epu32(sources, last);
            // SAFETY: each index is at most that of the last mass, and fits an i32.
            let mass = unsafe { _mm512_i32gather_epi64::<8>(at, masses.as_ptr().cast()) };
            sum = _mm512_add_epi64(sum, scaled(mass, _mm512_cvtepu32_epi64(weights)));
        }
        sum
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
    pub(super) fn lanes(lines: &[Line], masses: &[u64]) -> [u64; LANES] {
        let mut out = [0; LANES];
        if !lines.is_empty() {
            // SAFETY: eight values of 64 bits are one register.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum(lines, masses)) };
        }
        out
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
    pub(super) fn rows(
        lines: &[Line],
        widths: &[u16],
        masses: &[u64],
        damping: u32,
        sums: &mut [u64],
    ) -> u64 {
        let damping = _mm512_set1_epi64(i64::from(damping));
        let (mut rest, mut total) = (lines, _mm512_setzero_si512());
        for (width, out) in widths.iter().zip(sums.chunks_exact_mut(LANES)) {
            let (group, after) = rest.split_at(usize::from(*width));
            let sums = if group.is_empty() { _mm512_setzero_si512() } else { sum(group, masses) };
            total = _mm512_add_epi64(total, scaled(sums, damping));
            // SAFETY: a chunk has eight values of 64 bits: one register.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) };
            rest = after;
        }
        _mm512_reduce_add_epi64(total) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u32, masses: u32) -> Vec<Line> {
        let number = |i: u32| i.wrapping_mul(0x9e37_79b9).rotate_left(13).wrapping_mul(0x85eb_ca6b);
        (0..count)
            .map(|line| Line {
                sources: std::array::from_fn(|lane| number(line * 8 + lane as u32) % masses),
                weights: std::array::from_fn(|lane| match lane {
                    0 => u32::MAX,
                    1 => 0,
                    _ => number(line * 8 + lane as u32 + 7),
                }),
            })
            .collect()
    }

    #[test]
    fn what_is_selected_has_the_bits_of_plain_loops() {
        let masses: Vec<u64> = (0..1_000u64).map(|i| (1 << 62) / (i + 1) - i).collect();
        let lines = lines(600, 1_000);
        let widths: Vec<u16> = (0..24).collect();
        let (mut found, mut plain) = (vec![0; 24 * LANES], vec![1; 24 * LANES]);
        let all = pull_rows(&lines, &widths, &masses, 3_650_722_201, &mut found);
        assert_eq!(all, rows_plain(&lines, &widths, &masses, 3_650_722_201, &mut plain));
        assert_eq!(found, plain);
        let wide = |line: &Line| {
            let of = |lane: usize| {
                let product = u128::from(masses[line.sources[lane] as usize])
                    * u128::from(line.weights[lane]);
                (product >> 32) as u64
            };
            (0..LANES).map(of).fold(0u64, u64::wrapping_add)
        };
        let expected = lines.iter().map(wide).fold(0u64, u64::wrapping_add);
        assert_eq!(pull_row(&lines, &masses), expected);
        assert_eq!(pull_row(&[], &[]), 0);
    }
}
