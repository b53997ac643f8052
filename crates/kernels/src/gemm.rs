//! Matrix products vectorised over output columns, strictly sequential over the inner dimension.

use crate::dispatch::dispatch;
use crate::{KernelError, check_len};

/// Columns of one panel.
const PANEL: usize = 16;
/// Rows computed together.
const ROWS: usize = 4;

/// A matrix of `inner` rows and `columns` columns, repacked in panels of 16 columns.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    inner: usize,
    columns: usize,
    panels: Vec<[f32; PANEL]>,
}

impl PackedMatrix {
    /// Packs a row-major `inner` x `columns` matrix.
    ///
    /// # Errors
    /// [`KernelError::Shape`] when the slice has another length.
    pub fn from_rows(values: &[f32], inner: usize, columns: usize) -> Result<Self, KernelError> {
        check_len("matrix", inner.saturating_mul(columns), values.len())?;
        Ok(Self::pack(inner, columns, |p, j| values[p * columns + j]))
    }

    /// Packs the transpose of a row-major `columns` x `inner` matrix: the layout in which linear
    /// layers store their weights, and keys in attention.
    ///
    /// # Errors
    /// [`KernelError::Shape`] when the slice has another length.
    pub fn from_transposed(
        values: &[f32],
        inner: usize,
        columns: usize,
    ) -> Result<Self, KernelError> {
        check_len("matrix", inner.saturating_mul(columns), values.len())?;
        Ok(Self::pack(inner, columns, |p, j| values[j * inner + p]))
    }

    fn pack(inner: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let mut panels = vec![[0.0; PANEL]; columns.div_ceil(PANEL) * inner];
        for j in 0..columns {
            let base = j / PANEL * inner;
            for p in 0..inner {
                panels[base + p][j % PANEL] = value(p, j);
            }
        }
        Self { inner, columns, panels }
    }

    /// Length of the inner dimension (rows of this matrix).
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// Multiplies `R` rows of `a` by one panel; each of the sums runs over `p` in sequence.
#[inline(always)]
fn tile<const R: usize>(a: [&[f32]; R], panel: &[[f32; PANEL]]) -> [[f32; PANEL]; R] {
    let mut sums = [[0.0f32; PANEL]; R];
    let a = a.map(|row| &row[..panel.len()]);
    for (p, b) in panel.iter().enumerate() {
        for (row, sum) in a.iter().zip(sums.iter_mut()) {
            let factor = row[p];
            for j in 0..PANEL {
                sum[j] += factor * b[j];
            }
        }
    }
    sums
}

#[inline(always)]
fn gemm_body(a: &[f32], b: &PackedMatrix, bias: &[f32], out: &mut [f32]) {
    let (inner, columns) = (b.inner, b.columns);
    let rows = out.len() / columns;
    for (index, panel) in b.panels.chunks_exact(inner).enumerate() {
        let from = index * PANEL;
        let width = PANEL.min(columns - from);
        let mut store = |row: usize, sums: &[f32; PANEL]| {
            let target = &mut out[row * columns + from..][..width];
            target.copy_from_slice(&sums[..width]);
            for (t, add) in target.iter_mut().zip(bias.iter().skip(from)) {
                *t += add;
            }
        };
        let mut row = 0;
        while row + ROWS <= rows {
            let block = std::array::from_fn(|r| &a[(row + r) * inner..(row + r + 1) * inner]);
            for (r, sums) in tile::<ROWS>(block, panel).iter().enumerate() {
                store(row + r, sums);
            }
            row += ROWS;
        }
        while row < rows {
            let [sums] = tile::<1>([&a[row * inner..(row + 1) * inner]], panel);
            store(row, &sums);
            row += 1;
        }
    }
}

dispatch! {
    fn gemm_any(a: &[f32], b: &PackedMatrix, bias: &[f32], out: &mut [f32]) = gemm_body
}

/// `out = a * b + bias`, `a` row-major with `b.inner()` columns, `out` row-major with
/// `b.columns()`. An empty `bias` adds nothing. Each output value is the sum of products in the
/// order of the inner dimension, starting from +0, then the bias: the number of rows in a batch
/// changes no bit.
///
/// # Errors
/// [`KernelError::Shape`] when a slice does not fit.
pub fn gemm(a: &[f32], b: &PackedMatrix, bias: &[f32], out: &mut [f32]) -> Result<(), KernelError> {
    if b.inner == 0 || b.columns == 0 || !out.len().is_multiple_of(b.columns) {
        return Err(KernelError::Shape { what: "product", expected: b.columns, found: out.len() });
    }
    check_len("left matrix", (out.len() / b.columns).saturating_mul(b.inner), a.len())?;
    if !bias.is_empty() {
        check_len("bias", b.columns, bias.len())?;
    }
    gemm_any(a, b, bias, out);
    Ok(())
}
