//! A linear layer with a low-rank adapter: y = x W + (x A) B * scale, in f32.

use crate::device::Device;
use crate::error::{check_len, finite, nonzero, word};
use crate::matmul::{self, Matrix};
use crate::{Approximate, Buffer, GpuError, Kernel};

pub(crate) const ADD_SCALED: Kernel =
    Kernel::new("add_scaled_product", &[include_str!("shaders/add_scaled_product.wgsl")]);

/// Invocations of a workgroup.
const LANES: usize = 64;

/// Sizes of a layer with an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoraShape {
    /// Inputs.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
    /// Rank of the adapter.
    pub rank: usize,
}

/// A layer with its adapter on a device, uploaded once.
#[derive(Debug)]
pub struct Lora {
    weights: Matrix,
    down: Matrix,
    up: Vec<Buffer>,
    shape: LoraShape,
    scale: f32,
}

impl Lora {
    /// Uploads W (`inputs` x `outputs`), A (`inputs` x `rank`) and B (`rank` x `outputs`), row-major.
    ///
    /// # Errors
    /// [`GpuError::Empty`], [`GpuError::Shape`], [`GpuError::NotFinite`], [`GpuError::TooLarge`], or what
    /// the driver says.
    pub fn upload(
        device: &Device,
        shape: LoraShape,
        (w, a, b): (&[f32], &[f32], &[f32]),
        scale: f32,
    ) -> Result<Self, GpuError> {
        let LoraShape { inputs, outputs, rank } = shape;
        nonzero(&[("inputs", inputs), ("outputs", outputs), ("rank", rank)])?;
        check_len("w", inputs, outputs, w.len())?;
        check_len("a", inputs, rank, a.len())?;
        check_len("b", rank, outputs, b.len())?;
        finite("b", b)?;
        finite("scale", &[scale])?;
        let weights = Matrix::upload_beside(device, w, inputs, outputs, rank)?;
        let mut first = 0;
        let mut up = Vec::new();
        for (wide, _) in weights.panels() {
            let columns = |row: &[f32]| row[first..first + wide].to_vec();
            up.push(device.upload(&b.chunks(outputs).flat_map(columns).collect::<Vec<_>>())?);
            first += wide;
        }
        let down = Matrix::upload(device, a, inputs, rank)?;
        Ok(Self { weights, down, up, shape, scale })
    }

    /// Runs `m` rows of inputs through the layer; gives `m` rows of outputs.
    ///
    /// # Errors
    /// [`GpuError::Empty`], [`GpuError::Shape`], [`GpuError::NotFinite`], or what the driver says.
    pub fn forward(&self, x: &[f32], m: usize) -> Result<Approximate<Vec<f32>>, GpuError> {
        nonzero(&[("m", m)])?;
        check_len("x", m, self.shape.inputs, x.len())?;
        finite("x", x)?;
        let rows = self.weights.block_rows()?.min(self.down.block_rows()?);
        let mut result = vec![0.0; m * self.shape.outputs];
        let blocks =
            x.chunks(rows * self.shape.inputs).zip(result.chunks_mut(rows * self.shape.outputs));
        for (block, out) in blocks {
            self.forward_block(block, out)?;
        }
        Ok(Approximate::new(result))
    }

    /// One batch: t = x A, then for each panel of columns y = x W and y += scale * (t B).
    fn forward_block(&self, x: &[f32], out: &mut [f32]) -> Result<(), GpuError> {
        let device = self.weights.device();
        let LoraShape { inputs, outputs, rank } = self.shape;
        let m = x.len() / inputs;
        let x = device.upload(x)?;
        let mut batch = device.batch();
        let low = device.alloc(m * rank)?;
        let [(_, down)] = self.down.panels() else {
            let limit = device.limits().binding_bytes;
            return Err(GpuError::TooLarge { what: "a in bytes", limit, found: limit + 1 });
        };
        matmul::record(&mut batch, device, (&x, down, &low), [m, inputs, rank])?;
        let mut products = Vec::new();
        for ((wide, panel), up) in self.weights.panels().iter().zip(&self.up) {
            let y = device.alloc(m * wide)?;
            matmul::record(&mut batch, device, (&x, panel, &y), [m, inputs, *wide])?;
            let (rows, columns) = (word("m", m)?, word("outputs", *wide)?);
            let shape = [rows, word("rank", rank)?, columns, self.scale.to_bits()];
            let grid = device.limits().line((m * wide).div_ceil(LANES))?;
            batch.run(&ADD_SCALED, &shape, &[&low, up, &y], grid)?;
            products.push(y);
        }
        batch.submit()?;
        matmul::scatter(device, self.weights.panels(), &products, out, outputs)
    }
}
