//! Unit length and layer normalisation.

use crate::dispatch::dispatch;
use crate::reduce::{dot, l2_norm, sum};
use crate::{KernelError, check_finite, check_len};

#[inline(always)]
fn affine_body(row: &mut [f32], mean: f32, scale: f32, weight: &[f32], bias: &[f32]) {
    for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
        *x = (*x - mean) * scale * w + b;
    }
}

dispatch! {
    /// `(x - mean) * scale * weight + bias`, value by value.
    fn affine(row: &mut [f32], mean: f32, scale: f32, weight: &[f32], bias: &[f32]) = affine_body
}

/// Shortest length that can be divided by: the squares of a shorter vector's values lose bits, and the
/// quotient would not have length 1.
const SHORTEST: f32 = 1.0 / (1u64 << 50) as f32;

/// Divides a vector by its Euclidean length and returns that length.
///
/// # Errors
/// [`KernelError::NotFinite`] for a NaN or an infinity, [`KernelError::NoDirection`] when the
/// length is below 2^-50 or overflows.
pub fn normalize(values: &mut [f32]) -> Result<f32, KernelError> {
    check_finite(values)?;
    let norm = l2_norm(values);
    if !norm.is_finite() || norm < SHORTEST {
        return Err(KernelError::NoDirection { norm });
    }
    for value in values.iter_mut() {
        *value /= norm;
    }
    Ok(norm)
}

/// Normalises each row of `values` to mean 0 and variance 1, then applies `weight` and `bias`
/// (Ba, Kiros and Hinton, "Layer normalization", 2016). The variance is the mean of squared
/// deviations and `epsilon` is added to it.
///
/// # Errors
/// [`KernelError::Shape`] when `bias` or `values` do not fit the width of `weight`.
pub fn layer_norm(
    values: &mut [f32],
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
) -> Result<(), KernelError> {
    let width = weight.len();
    check_len("layer norm bias", width, bias.len())?;
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(KernelError::Shape {
            what: "layer norm input",
            expected: width,
            found: values.len(),
        });
    }
    let count = width as f32;
    let mut centred = vec![0.0; width];
    for row in values.chunks_exact_mut(width) {
        let mean = sum(row) / count;
        for (c, x) in centred.iter_mut().zip(row.iter()) {
            *c = x - mean;
        }
        let variance = dot(&centred, &centred) / count;
        affine(row, mean, 1.0 / (variance + epsilon).sqrt(), weight, bias);
    }
    Ok(())
}
