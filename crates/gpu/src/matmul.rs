//! Matrix products in f32: near, not exact.

use crate::device::Device;
use crate::error::{check_len, finite, nonzero, word};
use crate::{Approximate, Buffer, GpuError, Kernel};

pub(crate) const MATMUL: Kernel = Kernel::new(
    "matmul",
    &[include_str!("shaders/matrices.wgsl"), include_str!("shaders/matmul.wgsl")],
);
pub(crate) const THIN: Kernel = Kernel::new(
    "thin_matmul",
    &[include_str!("shaders/matrices.wgsl"), include_str!("shaders/thin_matmul.wgsl")],
);
pub(crate) const PINNED: Kernel = Kernel::new(
    "pinned_matmul",
    &[include_str!("shaders/matrices.wgsl"), include_str!("shaders/pinned_matmul.wgsl")],
);

/// Outputs of a workgroup of the tiled kernel in each direction.
const TILE: usize = 64;
/// Most rows of the left side for which no tile is filled.
const THIN_ROWS: usize = 8;
/// Columns of a workgroup of the thin kernel.
const THIN_COLUMNS: usize = 32;

/// A row-major matrix on a device, in panels of columns that fit into a buffer each.
#[derive(Debug)]
pub struct Matrix {
    device: Device,
    panels: Vec<(usize, Buffer)>,
    rows: usize,
    columns: usize,
}

/// Multiplies `a` (`m` rows of `k`) with `b` (`k` rows of `n`); gives `m` rows of `n`.
///
/// # Errors
/// As [`Matrix::upload`] and [`Matrix::multiply`].
pub fn matmul(
    device: &Device,
    a: &[f32],
    b: &[f32],
    m: usize,
    k: usize,
    n: usize,
) -> Result<Approximate<Vec<f32>>, GpuError> {
    nonzero(&[("m", m)])?;
    Matrix::upload(device, b, k, n)?.multiply(a, m)
}

/// The same with one invocation for each output, which sums in the order of the inner dimension. An
/// experiment: whether a driver keeps the two roundings of product and sum is its own affair.
///
/// # Errors
/// As [`matmul`]; [`GpuError::TooLarge`] when a matrix does not fit into one buffer.
pub fn matmul_in_order(
    device: &Device,
    a: &[f32],
    b: &[f32],
    m: usize,
    k: usize,
    n: usize,
) -> Result<Approximate<Vec<f32>>, GpuError> {
    nonzero(&[("m", m), ("k", k), ("n", n)])?;
    check_len("a", m, k, a.len())?;
    check_len("b", k, n, b.len())?;
    finite("a", a)?;
    finite("b", b)?;
    let (left, right) = (device.upload(a)?, device.upload(b)?);
    let out = device.alloc(m.saturating_mul(n))?;
    let grid = device.limits().line((m * n).div_ceil(TILE))?;
    let shape = [word("m", m)?, word("k", k)?, word("n", n)?];
    device.run(&PINNED, &shape, &[&left, &right, &out], grid)?;
    device.read(&out).map(Approximate::new)
}

impl Matrix {
    /// Uploads a row-major matrix.
    ///
    /// # Errors
    /// [`GpuError::Empty`], [`GpuError::Shape`], [`GpuError::NotFinite`], [`GpuError::TooLarge`] when a
    /// single column does not fit, or what the driver says.
    pub fn upload(
        device: &Device,
        values: &[f32],
        rows: usize,
        columns: usize,
    ) -> Result<Self, GpuError> {
        Self::upload_beside(device, values, rows, columns, rows)
    }

    /// The same in panels of which also one with `other_rows` rows would fit into a buffer.
    pub(crate) fn upload_beside(
        device: &Device,
        values: &[f32],
        rows: usize,
        columns: usize,
        other_rows: usize,
    ) -> Result<Self, GpuError> {
        nonzero(&[("the number of rows", rows), ("the number of columns", columns)])?;
        check_len("the matrix", rows, columns, values.len())?;
        finite("the matrix", values)?;
        let limits = device.limits();
        let fit = limits.rows("a column in bytes", rows.max(other_rows))?;
        let width = fit.min(THIN_COLUMNS * limits.groups as usize);
        let mut panels = Vec::new();
        for first in (0..columns).step_by(width) {
            let wide = width.min(columns - first);
            let buffer = if wide == columns {
                device.upload(values)?
            } else {
                let part = |row: &[f32]| row[first..first + wide].to_vec();
                device.upload(&values.chunks(columns).flat_map(part).collect::<Vec<_>>())?
            };
            panels.push((wide, buffer));
        }
        Ok(Self { device: device.clone(), panels, rows, columns })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The device that holds it.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Panels of columns: how many, and their buffer.
    pub(crate) fn panels(&self) -> &[(usize, Buffer)] {
        &self.panels
    }

    /// Multiplies `m` rows with this matrix.
    ///
    /// # Errors
    /// [`GpuError::Empty`], [`GpuError::Shape`], [`GpuError::NotFinite`], or what the driver says.
    pub fn multiply(&self, a: &[f32], m: usize) -> Result<Approximate<Vec<f32>>, GpuError> {
        nonzero(&[("m", m)])?;
        check_len("a", m, self.rows, a.len())?;
        finite("a", a)?;
        let rows = self.block_rows()?;
        let mut result = vec![0.0; m * self.columns];
        let blocks = a.chunks(rows * self.rows).zip(result.chunks_mut(rows * self.columns));
        for (block, out) in blocks {
            self.multiply_block(block, out)?;
        }
        Ok(Approximate::new(result))
    }

    /// How many rows of the left side fit, with their products, into a buffer each.
    pub(crate) fn block_rows(&self) -> Result<usize, GpuError> {
        let limits = self.device.limits();
        let widest = self.panels.iter().map(|(wide, _)| *wide).max().unwrap_or(1);
        let fit = limits.rows("a row of a in bytes", self.rows)?;
        let out = limits.rows("a row of the result in bytes", widest)?;
        Ok(fit.min(out).min(TILE * limits.groups as usize))
    }

    fn multiply_block(&self, a: &[f32], out: &mut [f32]) -> Result<(), GpuError> {
        let m = a.len() / self.rows;
        let left = self.device.upload(a)?;
        let mut batch = self.device.batch();
        let mut products = Vec::with_capacity(self.panels.len());
        for (wide, panel) in &self.panels {
            let product = self.device.alloc(m * wide)?;
            record(&mut batch, &self.device, (&left, panel, &product), [m, self.rows, *wide])?;
            products.push(product);
        }
        batch.submit()?;
        scatter(&self.device, &self.panels, &products, out, self.columns)
    }
}

/// Adds a product of buffers to a batch: (a, b, c) of shape [m, k, n].
pub(crate) fn record(
    batch: &mut crate::Batch,
    device: &Device,
    buffers: (&Buffer, &Buffer, &Buffer),
    shape: [usize; 3],
) -> Result<(), GpuError> {
    let [m, k, n] = shape;
    let limits = device.limits();
    let (kernel, grid) = if m <= THIN_ROWS {
        (&THIN, limits.grid(n.div_ceil(THIN_COLUMNS), m, 1)?)
    } else {
        (&MATMUL, limits.grid(n.div_ceil(TILE), m.div_ceil(TILE), 1)?)
    };
    let shape = [word("m", m)?, word("k", k)?, word("n", n)?];
    batch.run(kernel, &shape, &[buffers.0, buffers.1, buffers.2], grid)
}

/// Reads the products of the panels into the rows of one result.
pub(crate) fn scatter(
    device: &Device,
    panels: &[(usize, Buffer)],
    products: &[Buffer],
    out: &mut [f32],
    columns: usize,
) -> Result<(), GpuError> {
    let mut first = 0;
    for ((wide, _), product) in panels.iter().zip(products) {
        let values: Vec<f32> = device.read(product)?;
        for (row, values) in values.chunks(*wide).enumerate() {
            let at = row * columns + first;
            out[at..at + wide].copy_from_slice(values);
        }
        first += wide;
    }
    Ok(())
}
