//! Functions of single values, and reductions to one value, in f32.

use crate::device::Device;
use crate::error::{check_len, finite, nonzero, word};
use crate::{Approximate, GpuError, Kernel};

pub(crate) const MAP: Kernel =
    Kernel::new("elementwise", &[include_str!("shaders/elementwise.wgsl")]);
pub(crate) const REDUCE: Kernel = Kernel::new("reduce", &[include_str!("shaders/reduce.wgsl")]);

/// Invocations of a workgroup of the map.
const LANES: usize = 64;
/// Values that a workgroup reduces to one.
const BLOCK: usize = 4096;

/// Functions of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// Sum.
    Add,
    /// Product.
    Mul,
}

/// Functions of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// Negative values become zero.
    Relu,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// x times the normal distribution's share below x.
    Gelu,
}

/// Reductions to one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Sum of all.
    Sum,
    /// Greatest.
    Max,
    /// Least.
    Min,
    /// Sum divided by the number of values.
    Mean,
}

/// Applies a function to pairs of values.
///
/// # Errors
/// [`GpuError::Empty`], [`GpuError::Shape`], [`GpuError::NotFinite`], or what the driver says.
pub fn binary(
    device: &Device,
    function: Binary,
    x: &[f32],
    y: &[f32],
) -> Result<Approximate<Vec<f32>>, GpuError> {
    check_len("y", 1, x.len(), y.len())?;
    finite("y", y)?;
    let code = match function {
        Binary::Add => 0,
        Binary::Mul => 1,
    };
    map(device, code, x, Some(y))
}

/// Applies a function to each value.
///
/// # Errors
/// [`GpuError::Empty`], [`GpuError::NotFinite`], or what the driver says.
pub fn unary(
    device: &Device,
    function: Unary,
    x: &[f32],
) -> Result<Approximate<Vec<f32>>, GpuError> {
    let code = match function {
        Unary::Relu => 2,
        Unary::Sigmoid => 3,
        Unary::Gelu => 4,
    };
    map(device, code, x, None)
}

/// Reduces all values to one.
///
/// # Errors
/// [`GpuError::Empty`], [`GpuError::NotFinite`], or what the driver says.
pub fn reduce(
    device: &Device,
    reduction: Reduction,
    x: &[f32],
) -> Result<Approximate<f32>, GpuError> {
    nonzero(&[("the number of values", x.len())])?;
    finite("x", x)?;
    let code = match reduction {
        Reduction::Sum | Reduction::Mean => 0,
        Reduction::Max => 1,
        Reduction::Min => 2,
    };
    let mut values = x.to_vec();
    while values.len() > 1 {
        let part = |part: &[f32]| reduce_part(device, code, part);
        let parts = values.chunks(device.limits().binding_words()).map(part);
        values = parts.collect::<Result<Vec<_>, _>>()?.concat();
    }
    let value = values.first().copied().unwrap_or_default();
    let mean = reduction == Reduction::Mean;
    Ok(Approximate::new(if mean { value / x.len() as f32 } else { value }))
}

/// One pass: a value for each block of 4096.
fn reduce_part(device: &Device, code: u32, x: &[f32]) -> Result<Vec<f32>, GpuError> {
    let blocks = x.len().div_ceil(BLOCK);
    let (input, out) = (device.upload(x)?, device.alloc(blocks)?);
    let shape = [word("the number of values", x.len())?, code];
    device.run(&REDUCE, &shape, &[&input, &out], device.limits().line(blocks)?)?;
    device.read(&out)
}

fn map(
    device: &Device,
    code: u32,
    x: &[f32],
    y: Option<&[f32]>,
) -> Result<Approximate<Vec<f32>>, GpuError> {
    nonzero(&[("the number of values", x.len())])?;
    finite("x", x)?;
    let length = device.limits().binding_words();
    let mut result = Vec::with_capacity(x.len());
    for first in (0..x.len()).step_by(length) {
        let part = first..x.len().min(first + length);
        let input = device.upload(&x[part.clone()])?;
        let other = y.map(|y| device.upload(&y[part.clone()])).transpose()?;
        let out = device.alloc(part.len())?;
        let shape = [word("the number of values", part.len())?, code];
        let grid = device.limits().line(part.len().div_ceil(LANES))?;
        device.run(&MAP, &shape, &[&input, other.as_ref().unwrap_or(&input), &out], grid)?;
        result.extend(device.read::<f32>(&out)?);
    }
    Ok(Approximate::new(result))
}
