//! Matrix products vectorised over output columns, strictly sequential over the inner dimension.

use crate::dispatch::dispatch;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Baseline, Lanes, prefetch_line};
use crate::{KernelError, check_len};

/// Columns of one panel.
const PANEL: usize = 16;
/// How many rows of a panel ahead the weights are asked for from memory.
const AHEAD: usize = 96;

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

/// One product, as the bodies below take it: `out` has `rows` rows of `b.columns`.
struct Product<'a> {
    a: &'a [f32],
    b: &'a PackedMatrix,
    bias: &'a [f32],
    out: &'a mut [f32],
}

impl Product<'_> {
    fn rows(&self) -> usize {
        self.out.len() / self.b.columns
    }

    fn panel(&self, index: usize) -> &[[f32; PANEL]] {
        &self.b.panels[index * self.b.inner..(index + 1) * self.b.inner]
    }

    /// Writes the sums of one row under one panel, with the bias added last.
    #[inline(always)]
    fn store(&mut self, row: usize, panel: usize, sums: &[f32; PANEL]) {
        let from = panel * PANEL;
        let width = PANEL.min(self.b.columns - from);
        let target = &mut self.out[row * self.b.columns + from..][..width];
        target.copy_from_slice(&sums[..width]);
        for (t, add) in target.iter_mut().zip(self.bias.iter().skip(from)) {
            *t += add;
        }
    }
}

/// Multiplies `R` rows of `a`, from `row` on, by `P` panels from `panel` on; each sum runs over
/// the inner dimension in sequence, all of them side by side.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const P: usize>(
    product: &mut Product<'_>,
    row: usize,
    panel: usize,
) {
    let inner = product.b.inner;
    let panels: [&[[f32; PANEL]]; P] = std::array::from_fn(|i| product.panel(panel + i));
    let a: [&[f32]; R] = std::array::from_fn(|r| &product.a[(row + r) * inner..][..inner]);
    // SAFETY: the caller's processor has the instructions; rows and panels have `inner` entries.
    unsafe {
        let mut sums = [[L::splat(0.0); P]; R];
        for p in 0..inner {
            for panel in panels {
                prefetch_line(panel.as_ptr().wrapping_add(p + AHEAD));
            }
            let b: [L; P] = std::array::from_fn(|i| L::load(panels[i].get_unchecked(p)));
            for r in 0..R {
                let factor = L::splat(*a[r].get_unchecked(p));
                for i in 0..P {
                    sums[r][i] = sums[r][i].add_product(factor, b[i]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (i, sums) in sums.into_iter().enumerate() {
                let mut values = [0.0; PANEL];
                sums.store(&mut values);
                product.store(row + r, panel + i, &values);
            }
        }
    }
}

/// Few rows: `P` panels at once, so that enough independent sums hide the latency of an addition.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn strip<L: Lanes, const R: usize, const P: usize>(product: &mut Product<'_>) {
    let panels = product.b.columns.div_ceil(PANEL);
    let mut panel = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while panel + P <= panels {
            tile::<L, R, P>(product, 0, panel);
            panel += P;
        }
        while panel < panels {
            tile::<L, R, 1>(product, 0, panel);
            panel += 1;
        }
    }
}

/// Many rows: blocks of at most `most` rows, as equal as can be, so that a panel of weights is read
/// from memory once.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn blocks<L: Lanes>(product: &mut Product<'_>, most: usize) {
    let rows = product.rows();
    let count = rows.div_ceil(most);
    for panel in 0..product.b.columns.div_ceil(PANEL) {
        let mut row = 0;
        for block in 0..count {
            let size = (rows - row).div_ceil(count - block);
            // SAFETY: the caller's promise.
            unsafe { block_of::<L>(product, size.min(most), row, panel) };
            row += size;
        }
    }
}

/// One block of up to 14 rows.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn block_of<L: Lanes>(product: &mut Product<'_>, size: usize, row: usize, panel: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match size {
            1 => tile::<L, 1, 1>(product, row, panel),
            2 => tile::<L, 2, 1>(product, row, panel),
            3 => tile::<L, 3, 1>(product, row, panel),
            4 => tile::<L, 4, 1>(product, row, panel),
            5 => tile::<L, 5, 1>(product, row, panel),
            6 => tile::<L, 6, 1>(product, row, panel),
            7 => tile::<L, 7, 1>(product, row, panel),
            8 => tile::<L, 8, 1>(product, row, panel),
            9 => tile::<L, 9, 1>(product, row, panel),
            10 => tile::<L, 10, 1>(product, row, panel),
            11 => tile::<L, 11, 1>(product, row, panel),
            12 => tile::<L, 12, 1>(product, row, panel),
            13 => tile::<L, 13, 1>(product, row, panel),
            _ => tile::<L, 14, 1>(product, row, panel),
        }
    }
}

/// 32 registers of 16 values: 14 sums, a panel's row and the products beside them.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn gemm_avx512(product: &mut Product<'_>) {
    // SAFETY: called only inside the function that is compiled for AVX-512 and selected with it.
    unsafe {
        match product.rows() {
            1 => strip::<Avx512, 1, 8>(product),
            2 => strip::<Avx512, 2, 4>(product),
            3 => strip::<Avx512, 3, 4>(product),
            _ => blocks::<Avx512>(product, 14),
        }
    }
}

/// 16 registers of 8 values.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn gemm_avx2(product: &mut Product<'_>) {
    // SAFETY: called only inside the function that is compiled for AVX2 and selected with it.
    unsafe {
        match product.rows() {
            1 => strip::<Avx2, 1, 4>(product),
            2 => strip::<Avx2, 2, 2>(product),
            _ => blocks::<Avx2>(product, 6),
        }
    }
}

/// 16 or 32 registers of 4 values, which every processor of the target has.
#[inline(always)]
fn gemm_baseline(product: &mut Product<'_>) {
    let most = if cfg!(target_arch = "aarch64") { 6 } else { 3 };
    // SAFETY: the baseline's instructions are there on every processor of the target.
    unsafe {
        match product.rows() {
            1 => strip::<Baseline, 1, 2>(product),
            _ => blocks::<Baseline>(product, most),
        }
    }
}

/// The definition: one sum after the other.
fn gemm_scalar(product: &mut Product<'_>) {
    let (inner, columns) = (product.b.inner, product.b.columns);
    for row in 0..product.rows() {
        for column in 0..columns {
            let panel = product.panel(column / PANEL);
            let mut total = 0.0f32;
            for (a, b) in product.a[row * inner..][..inner].iter().zip(panel) {
                total += a * b[column % PANEL];
            }
            product.out[row * columns + column] = match product.bias.get(column) {
                Some(bias) => total + bias,
                None => total,
            };
        }
    }
}

dispatch! {
    fn gemm_any(product: &mut Product<'_>) =
        scalar gemm_scalar, baseline gemm_baseline, avx2 gemm_avx2, avx512 gemm_avx512
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
    gemm_any(&mut Product { a, b, bias, out });
    Ok(())
}

/// `out = x * b + bias` for one row: the matrix-vector product of a decoder's single token, with the
/// bits of [`gemm`].
///
/// # Errors
/// [`KernelError::Shape`] when a slice does not fit.
pub fn gemv(x: &[f32], b: &PackedMatrix, bias: &[f32], out: &mut [f32]) -> Result<(), KernelError> {
    check_len("product", b.columns, out.len())?;
    gemm(x, b, bias, out)
}
