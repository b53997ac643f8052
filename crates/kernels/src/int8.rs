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

#[cfg(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))]
mod pairs;
#[cfg(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))]
use pairs::gemm as gemm_baseline;

#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
use gemm_plain as gemm_baseline;

#[cfg(target_arch = "x86_64")]
mod x86;
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
