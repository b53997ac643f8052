//! Int8 products with AVX2, and with the dot-product instruction that some AVX-512 processors have.

use super::pairs::widened;
use super::{DEPTH, PANEL, PackedInt8, Step, gemm_baseline, groups, store};
use std::arch::x86_64::*;

/// A row's groups as unsigned values (`q + 128`) in one word each.
fn unsigned(row: &[i8]) -> Vec<u32> {
    groups(row).map(|g| u32::from_le_bytes(g.map(|v| (v as u8) ^ 0x80))).collect()
}

/// `R` rows by one panel: one instruction takes four products for each of 16 columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn vnni_tile<const R: usize>(rows: [&[u32]; R], panel: &[Step]) -> [[i32; PANEL]; R] {
    let mut sums = [_mm512_setzero_si512(); R];
    for (p, step) in panel.iter().enumerate() {
        // SAFETY: a step is 64 bytes, and unaligned loads are meant.
        let weights = unsafe { _mm512_loadu_si512(step.as_ptr().cast()) };
        for r in 0..R {
            let group = _mm512_set1_epi32(rows[r][p] as i32);
            sums[r] = _mm512_dpbusd_epi32(sums[r], group, weights);
        }
    }
    // SAFETY: 16 sums of 32 bits are one register.
    sums.map(|sum| unsafe { std::mem::transmute::<__m512i, [i32; PANEL]>(sum) })
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn gemm_vnni(a: &[i8], b: &PackedInt8, out: &mut [i32]) {
    const ROWS: usize = 8;
    let groups: Vec<Vec<u32>> = a.chunks_exact(b.inner).map(unsigned).collect();
    for panel in 0..b.columns.div_ceil(PANEL) {
        let excess = &b.excess[panel * PANEL..(panel + 1) * PANEL];
        let steps = b.panel(panel);
        let mut put = |row: usize, mut sums: [i32; PANEL]| {
            sums.iter_mut().zip(excess).for_each(|(s, e)| *s = s.wrapping_sub(*e));
            store(b, out, row, panel, &sums);
        };
        let mut row = 0;
        while row + ROWS <= groups.len() {
            let rows: [&[u32]; ROWS] = std::array::from_fn(|r| &groups[row + r][..steps.len()]);
            let sums = vnni_tile(rows, steps);
            sums.into_iter().enumerate().for_each(|(r, s)| put(row + r, s));
            row += ROWS;
        }
        while row < groups.len() {
            let [sums] = vnni_tile([&groups[row][..steps.len()]], steps);
            put(row, sums);
            row += 1;
        }
    }
}

/// Four rows at most by one panel in 16-bit products added in pairs.
#[target_feature(enable = "avx2")]
fn madd_tile<const R: usize>(rows: [&[u64]; R], panel: &[Step]) -> [[i32; PANEL]; R] {
    let mut sums = [[_mm256_setzero_si256(); DEPTH]; R];
    for (p, step) in panel.iter().enumerate() {
        for quarter in 0..DEPTH {
            // SAFETY: four columns of four values are the 16 bytes that are read.
            let four = unsafe { _mm_loadu_si128(step[quarter * 4..].as_ptr().cast()) };
            let weights = _mm256_cvtepi8_epi16(four);
            for r in 0..R {
                let group = _mm256_set1_epi64x(rows[r][p] as i64);
                let pairs = _mm256_madd_epi16(weights, group);
                sums[r][quarter] = _mm256_add_epi32(sums[r][quarter], pairs);
            }
        }
    }
    sums.map(|quarters| {
        let mut out = [0; PANEL];
        for (quarter, sum) in quarters.into_iter().enumerate() {
            // SAFETY: eight sums of 32 bits are one register.
            let pairs = unsafe { std::mem::transmute::<__m256i, [i32; 8]>(sum) };
            for column in 0..4 {
                out[quarter * 4 + column] = pairs[2 * column].wrapping_add(pairs[2 * column + 1]);
            }
        }
        out
    })
}

#[target_feature(enable = "avx2")]
pub(super) fn gemm_avx2(a: &[i8], b: &PackedInt8, out: &mut [i32]) {
    let groups: Vec<Vec<u64>> = a.chunks_exact(b.inner).map(widened).collect();
    for panel in 0..b.columns.div_ceil(PANEL) {
        let steps = b.panel(panel);
        let (pairs, last) = groups.as_chunks::<2>();
        for (pair, rows) in pairs.iter().enumerate() {
            let rows = [&rows[0][..steps.len()], &rows[1][..steps.len()]];
            let sums = madd_tile(rows, steps);
            sums.iter().enumerate().for_each(|(r, s)| store(b, out, 2 * pair + r, panel, s));
        }
        if let [last] = last {
            let [sums] = madd_tile([&last[..steps.len()]], steps);
            store(b, out, 2 * pairs.len(), panel, &sums);
        }
    }
}

/// With the dot-product instruction where the processor has it beside AVX-512.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) fn gemm_avx512(a: &[i8], b: &PackedInt8, out: &mut [i32]) {
    if is_x86_feature_detected!("avx512vnni") {
        // SAFETY: the processor was just seen to have the instruction.
        unsafe { gemm_vnni(a, b, out) }
    } else if is_x86_feature_detected!("avx2") {
        gemm_avx2(a, b, out);
    } else {
        gemm_baseline(a, b, out);
    }
}
