//! Int8 matrix products with i32 sums: exact, hence equal on every machine in any order.
//!
//! Activations are quantised row by row (`x = scale * q`, `|q| <= 127`), weights column by column.
//! An i32 holds the sum of up to 2^16 products of 127 * 127 and more, so nothing overflows below
//! [`MAX_INNER`].

use crate::dispatch::dispatch;
use crate::{KernelError, check_finite, check_len};

/// Columns of one panel.
const PANEL: usize = 16;
/// Values of the inner dimension that lie side by side for one column.
const DEPTH: usize = 4;
/// Longest inner dimension: 127 * 128 * 2^16 < 2^31.
pub const MAX_INNER: usize = 1 << 16;
/// Adding and taking away 1.5 * 2^23 rounds a small float to the nearest integer, ties to even.
const ROUND: f32 = 12_582_912.0;

type Step = [[i8; DEPTH]; PANEL];

/// Rows of int8 values, each with the factor that gives the floats back.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedRows {
    /// `rows` x `width` values, row-major, in -127..=127.
    pub values: Vec<i8>,
    /// One factor for each row.
    pub scales: Vec<f32>,
}

/// Rounds one row to -127..=127 and gives its factor; a row of zeros has factor 0.
#[inline(always)]
fn quantize_row(row: &[f32], out: &mut [i8]) -> f32 {
    let mut largest = 0.0f32;
    for x in row {
        largest = if x.abs() > largest { x.abs() } else { largest };
    }
    // A denormal largest value would make the inverse infinite.
    let inverse = if largest.is_normal() { 127.0 / largest } else { 0.0 };
    if !inverse.is_finite() || inverse == 0.0 {
        out.fill(0);
        return 0.0;
    }
    for (q, x) in out.iter_mut().zip(row) {
        let shifted = x * inverse + ROUND;
        *q = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i8;
    }
    largest / 127.0
}

#[inline(always)]
fn quantize_body(values: &[f32], width: usize, out: &mut QuantizedRows) {
    let rows = values.chunks_exact(width).zip(out.values.chunks_exact_mut(width));
    for ((row, q), scale) in rows.zip(&mut out.scales) {
        *scale = quantize_row(row, q);
    }
}

dispatch! {
    fn quantize_any(values: &[f32], width: usize, out: &mut QuantizedRows) = quantize_body
}

/// Quantises each row of `width` values to int8, symmetric around zero: `q = round(127 x / max|x|)`
/// with ties to even, and the factor `max|x| / 127`.
///
/// # Errors
/// [`KernelError::Shape`] when the values are not whole rows, [`KernelError::NotFinite`].
pub fn quantize_rows(values: &[f32], width: usize) -> Result<QuantizedRows, KernelError> {
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(KernelError::Shape { what: "row", expected: width, found: values.len() });
    }
    check_finite(values)?;
    let mut out =
        QuantizedRows { values: vec![0; values.len()], scales: vec![0.0; values.len() / width] };
    quantize_any(values, width, &mut out);
    Ok(out)
}

/// An int8 matrix of `inner` rows and `columns` columns, packed in panels of 16 columns whose
/// values lie in groups of four along the inner dimension.
#[derive(Debug, Clone)]
pub struct PackedInt8 {
    inner: usize,
    columns: usize,
    panels: Vec<Step>,
    /// 128 times the sum of each column: what unsigned activations (`q + 128`) add too much.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only VNNI needs it"))]
    excess: Vec<i32>,
}

impl PackedInt8 {
    /// Packs the transpose of a row-major `columns` x `inner` matrix, the layout of linear layers.
    ///
    /// # Errors
    /// [`KernelError::Shape`] when the slice has another length or the inner dimension is 0 or
    /// above [`MAX_INNER`].
    pub fn from_transposed(
        values: &[i8],
        inner: usize,
        columns: usize,
    ) -> Result<Self, KernelError> {
        if inner == 0 || inner > MAX_INNER {
            return Err(KernelError::Shape {
                what: "inner dimension",
                expected: MAX_INNER,
                found: inner,
            });
        }
        check_len("matrix", inner.saturating_mul(columns), values.len())?;
        let steps = inner.div_ceil(DEPTH);
        let mut panels = vec![[[0; DEPTH]; PANEL]; columns.div_ceil(PANEL) * steps];
        let mut excess = vec![0; columns.next_multiple_of(PANEL)];
        for (j, column) in values.chunks_exact(inner).enumerate() {
            for (p, value) in column.iter().enumerate() {
                panels[j / PANEL * steps + p / DEPTH][j % PANEL][p % DEPTH] = *value;
                excess[j] += 128 * i32::from(*value);
            }
        }
        Ok(Self { inner, columns, panels, excess })
    }

    /// Length of the inner dimension.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn panel(&self, index: usize) -> &[Step] {
        let steps = self.inner.div_ceil(DEPTH);
        &self.panels[index * steps..(index + 1) * steps]
    }
}

/// Writes the sums of one row under one panel.
#[inline(always)]
fn store(b: &PackedInt8, out: &mut [i32], row: usize, panel: usize, sums: &[i32; PANEL]) {
    let from = panel * PANEL;
    let width = PANEL.min(b.columns - from);
    out[row * b.columns + from..][..width].copy_from_slice(&sums[..width]);
}

/// A row in groups of four, the last one filled with zeros.
fn groups(row: &[i8]) -> impl Iterator<Item = [i8; DEPTH]> + '_ {
    row.chunks(DEPTH).map(|chunk| std::array::from_fn(|i| chunk.get(i).copied().unwrap_or(0)))
}

/// Portable loops; the compiler chooses the instructions.
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
fn gemm_plain(a: &[i8], b: &PackedInt8, out: &mut [i32]) {
    for panel in 0..b.columns.div_ceil(PANEL) {
        for (row, values) in a.chunks_exact(b.inner).enumerate() {
            let mut sums = [0i32; PANEL];
            for (group, step) in groups(values).zip(b.panel(panel)) {
                let group = group.map(i16::from);
                for (sum, column) in sums.iter_mut().zip(step) {
                    for i in 0..DEPTH {
                        let product = i32::from(group[i]) * i32::from(i16::from(column[i]));
                        *sum = sum.wrapping_add(product);
                    }
                }
            }
            store(b, out, row, panel, &sums);
        }
    }
}

/// The definition: one sum after the other.
fn gemm_scalar(a: &[i8], b: &PackedInt8, out: &mut [i32]) {
    for (row, values) in a.chunks_exact(b.inner).enumerate() {
        for column in 0..b.columns {
            let panel = b.panel(column / PANEL);
            let weight = |p: usize| i32::from(panel[p / DEPTH][column % PANEL][p % DEPTH]);
            let products = values.iter().enumerate().map(|(p, a)| i32::from(*a) * weight(p));
            out[row * b.columns + column] = products.sum();
        }
    }
}

/// Products of 16-bit values added in pairs, in the 128-bit registers of SSE2 and of WASM's simd128.
#[cfg(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))]
mod pairs {
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
}

#[cfg(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))]
use pairs::gemm as gemm_baseline;

#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
use gemm_plain as gemm_baseline;

#[cfg(target_arch = "x86_64")]
mod x86 {
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
                    out[quarter * 4 + column] =
                        pairs[2 * column].wrapping_add(pairs[2 * column + 1]);
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
}

#[cfg(target_arch = "x86_64")]
use x86::{gemm_avx2, gemm_avx512};

dispatch! {
    fn gemm_any(a: &[i8], b: &PackedInt8, out: &mut [i32]) =
        scalar gemm_scalar, baseline gemm_baseline, avx2 gemm_avx2, avx512 gemm_avx512
}

/// `out = a * b` in exact i32 arithmetic: `a` row-major with `b.inner()` columns in -127..=127,
/// `out` row-major with `b.columns()`.
///
/// # Errors
/// [`KernelError::Shape`] when a slice does not fit.
pub fn gemm_i8(a: &[i8], b: &PackedInt8, out: &mut [i32]) -> Result<(), KernelError> {
    if b.columns == 0 || !out.len().is_multiple_of(b.columns) {
        return Err(KernelError::Shape { what: "product", expected: b.columns, found: out.len() });
    }
    check_len("left matrix", (out.len() / b.columns).saturating_mul(b.inner), a.len())?;
    gemm_any(a, b, out);
    Ok(())
}

#[inline(always)]
fn rescale_body(sums: &[i32], rows: &[f32], columns: &[f32], bias: &[f32], out: &mut [f32]) {
    let width = columns.len();
    let pairs = sums.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for ((sums, out), row) in pairs.zip(rows) {
        for (((o, s), c), b) in out.iter_mut().zip(sums).zip(columns).zip(bias) {
            *o = *s as f32 * (row * c) + b;
        }
    }
}

dispatch! {
    /// `out = sums * (row factor * column factor) + bias`: exact sums back to floats. All slices
    /// fit one another; the caller has checked.
    fn rescale_any(sums: &[i32], rows: &[f32], columns: &[f32], bias: &[f32], out: &mut [f32])
        = rescale_body
}

/// Gives the floats of an int8 product: `out[r][c] = sums[r][c] * (rows[r] * columns[c]) + bias[c]`.
///
/// # Errors
/// [`KernelError::Shape`] when a slice does not fit.
pub fn rescale(
    sums: &[i32],
    rows: &[f32],
    columns: &[f32],
    bias: &[f32],
    out: &mut [f32],
) -> Result<(), KernelError> {
    let all = rows.len().saturating_mul(columns.len());
    check_len("sums", all, sums.len())?;
    check_len("floats", all, out.len())?;
    check_len("bias", columns.len(), bias.len())?;
    if !columns.is_empty() {
        rescale_any(sums, rows, columns, bias, out);
    }
    Ok(())
}
