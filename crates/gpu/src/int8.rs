//! Products of int8 matrices with i32 sums: exact, so the same on every adapter.

use crate::device::Device;
use crate::error::{at_most, check_len, nonzero, word};
use crate::{Buffer, GpuError, Kernel};

pub(crate) const GEMM: Kernel =
    Kernel::with_dot4("int8_gemm", &[include_str!("shaders/int8_gemm.wgsl")]);

/// Longest row: one more, and 128 x 128 in every place would leave i32.
pub const MAX_INNER: usize = 131_071;

/// Outputs of a workgroup in each direction.
const TILE: usize = 64;

/// Weights of a linear layer in int8, `n` rows of `k`, uploaded once and multiplied often.
#[derive(Debug)]
pub struct Int8Weights {
    device: Device,
    parts: Vec<Part>,
    n: usize,
    k: usize,
}

/// As many rows as one buffer takes.
#[derive(Debug)]
struct Part {
    rows: usize,
    buffer: Buffer,
}

/// Multiplies `a` (`m` rows of `k`) with the transpose of `b` (`n` rows of `k`); gives `m` rows of `n`.
///
/// # Errors
/// As [`Int8Weights::upload`] and [`Int8Weights::multiply`].
pub fn int8_gemm(
    device: &Device,
    a: &[i8],
    b: &[i8],
    m: usize,
    k: usize,
    n: usize,
) -> Result<Vec<i32>, GpuError> {
    nonzero(&[("m", m)])?;
    Int8Weights::upload(device, b, n, k)?.multiply(a, m)
}

impl Int8Weights {
    /// Uploads `n` rows of `k` values.
    ///
    /// # Errors
    /// [`GpuError::Empty`], [`GpuError::Shape`], [`GpuError::TooLarge`] above [`MAX_INNER`], or what the
    /// driver says.
    pub fn upload(device: &Device, b: &[i8], n: usize, k: usize) -> Result<Self, GpuError> {
        nonzero(&[("n", n), ("k", k)])?;
        at_most("k", k, MAX_INNER as u64)?;
        check_len("b", n, k, b.len())?;
        let limits = device.limits();
        let rows = limits
            .rows("a row of b in bytes", k.div_ceil(4))?
            .min(limits.binding_words())
            .min(TILE * limits.groups as usize);
        let part = |values: &[i8]| {
            let buffer = device.upload(&pack(values, k))?;
            Ok(Part { rows: values.len() / k, buffer })
        };
        let parts = b.chunks(rows.saturating_mul(k)).map(part).collect::<Result<_, _>>()?;
        Ok(Self { device: device.clone(), parts, n, k })
    }

    /// Number of rows, which is the number of outputs of the layer.
    pub fn rows(&self) -> usize {
        self.n
    }

    /// Length of a row, which is the number of inputs of the layer.
    pub fn inner(&self) -> usize {
        self.k
    }

    /// Multiplies `m` rows of `k` values with every row of the weights; gives `m` rows of `n` sums.
    ///
    /// # Errors
    /// [`GpuError::Empty`], [`GpuError::Shape`], or what the driver says.
    pub fn multiply(&self, a: &[i8], m: usize) -> Result<Vec<i32>, GpuError> {
        nonzero(&[("m", m)])?;
        check_len("a", m, self.k, a.len())?;
        let limits = self.device.limits();
        let widest = self.parts.iter().map(|p| p.rows).max().unwrap_or(1);
        let rows = limits
            .rows("a row of a in bytes", self.k.div_ceil(4))?
            .min(limits.rows("a row of the result in bytes", widest)?)
            .min(TILE * limits.groups as usize);
        let mut result = vec![0; m * self.n];
        let blocks = a.chunks(rows * self.k).zip(result.chunks_mut(rows * self.n));
        for (block, out) in blocks {
            self.multiply_block(block, out)?;
        }
        Ok(result)
    }

    /// Multiplies rows that fit into one buffer: one batch over all parts of the weights.
    fn multiply_block(&self, a: &[i8], out: &mut [i32]) -> Result<(), GpuError> {
        let m = a.len() / self.k;
        let left = self.device.upload(&pack(a, self.k))?;
        let mut batch = self.device.batch();
        let mut products = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let product = self.device.alloc(m * part.rows)?;
            let shape = [word("m", m)?, word("n", part.rows)?, word("k", self.k.div_ceil(4))?];
            let grid = self.device.limits().grid(part.rows.div_ceil(TILE), m.div_ceil(TILE), 1)?;
            batch.run(&GEMM, &shape, &[&left, &part.buffer, &product], grid)?;
            products.push(product);
        }
        batch.submit()?;
        let mut column = 0;
        for (part, product) in self.parts.iter().zip(&products) {
            let sums: Vec<i32> = self.device.read(product)?;
            for (row, sums) in sums.chunks(part.rows).enumerate() {
                let at = row * self.n + column;
                out[at..at + part.rows].copy_from_slice(sums);
            }
            column += part.rows;
        }
        Ok(())
    }
}

/// Packs rows of bytes in words, the first byte lowest, each row padded with zeros.
pub(crate) fn pack(values: &[i8], row: usize) -> Vec<u32> {
    let word = |four: &[i8]| {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(four) {
            *to = from.cast_unsigned();
        }
        u32::from_le_bytes(bytes)
    };
    values.chunks(row).flat_map(|row| row.chunks(4).map(word)).collect()
}
