//! Products of 16-bit values added in pairs, in the 128-bit registers of SSE2 and of WASM's simd128.

use super::{DEPTH, PANEL, PackedInt8, Step, groups, store};

#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::x86_64::*;

    pub(super) type Register = __m128i;

    /// Sixteen values as two registers of 16-bit values.
    #[inline(always)]
    pub(super) fn widen(values: &[i8; 16]) -> [Register; 2] {
        // SAFETY: SSE2 is part of x86-64; the load is of the 16 bytes that are there.
        unsafe {
            let bytes = _mm_loadu_si128(values.as_ptr().cast());
            let signs = _mm_cmpgt_epi8(_mm_setzero_si128(), bytes);
            [_mm_unpacklo_epi8(bytes, signs), _mm_unpackhi_epi8(bytes, signs)]
        }
    }

    #[inline(always)]
    pub(super) fn splat(word: i64) -> Register {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_set1_epi64x(word) }
    }

    #[inline(always)]
    pub(super) fn add_pairs(sum: Register, a: Register, b: Register) -> Register {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_add_epi32(sum, _mm_madd_epi16(a, b)) }
    }

    #[inline(always)]
    pub(super) fn values(sum: Register) -> [i32; 4] {
        // SAFETY: four sums of 32 bits are one register.
        unsafe { std::mem::transmute(sum) }
    }
}

#[cfg(target_arch = "wasm32")]
mod registers {
    use std::arch::wasm32::*;

    pub(super) type Register = v128;

    #[inline(always)]
    pub(super) fn widen(values: &[i8; 16]) -> [Register; 2] {
        // SAFETY: the load is of the 16 bytes that are there.
        let bytes = unsafe { v128_load(values.as_ptr().cast()) };
        [i16x8_extend_low_i8x16(bytes), i16x8_extend_high_i8x16(bytes)]
    }

    #[inline(always)]
    pub(super) fn splat(word: i64) -> Register {
        i64x2_splat(word)
    }

    #[inline(always)]
    pub(super) fn add_pairs(sum: Register, a: Register, b: Register) -> Register {
        i32x4_add(sum, i32x4_dot_i16x8(a, b))
    }

    #[inline(always)]
    pub(super) fn values(sum: Register) -> [i32; 4] {
        [
            i32x4_extract_lane::<0>(sum),
            i32x4_extract_lane::<1>(sum),
            i32x4_extract_lane::<2>(sum),
            i32x4_extract_lane::<3>(sum),
        ]
    }
}

use registers::{Register, add_pairs, splat, values, widen};

/// `R` rows by one panel: two columns in a register.
#[inline(always)]
fn tile<const R: usize>(rows: [&[u64]; R], panel: &[Step]) -> [[i32; PANEL]; R] {
    let mut sums: [[Register; 8]; R] = [[splat(0); 8]; R];
    for (p, step) in panel.iter().enumerate() {
        for (quarter, columns) in step.as_flattened().as_chunks::<16>().0.iter().enumerate() {
            let [low, high] = widen(columns);
            for r in 0..R {
                let group = splat(rows[r][p] as i64);
                let at = 2 * quarter;
                sums[r][at] = add_pairs(sums[r][at], low, group);
                sums[r][at + 1] = add_pairs(sums[r][at + 1], high, group);
            }
        }
    }
    sums.map(|row| {
        let mut out = [0; PANEL];
        for (two, sum) in out.as_chunks_mut::<2>().0.iter_mut().zip(row) {
            let [a, b, c, d] = values(sum);
            *two = [a.wrapping_add(b), c.wrapping_add(d)];
        }
        out
    })
}

/// A row's groups widened to 16 bits, four in one word.
pub(super) fn widened(row: &[i8]) -> Vec<u64> {
    let word = |g: [i8; DEPTH]| {
        g.iter().rev().fold(0u64, |w, v| (w << 16) | u64::from(i16::from(*v) as u16))
    };
    groups(row).map(word).collect()
}

pub(super) fn gemm(a: &[i8], b: &PackedInt8, out: &mut [i32]) {
    let rows: Vec<Vec<u64>> = a.chunks_exact(b.inner).map(widened).collect();
    for panel in 0..b.columns.div_ceil(PANEL) {
        let steps = b.panel(panel);
        for (row, values) in rows.iter().enumerate() {
            let [sums] = tile([&values[..steps.len()]], steps);
            store(b, out, row, panel, &sums);
        }
    }
}
