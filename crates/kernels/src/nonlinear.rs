//! exp, erf, tanh, GELU and softmax from own polynomials.

use crate::dispatch::dispatch;
use crate::reduce::sum;

/// Adding and taking away 1.5 * 2^23 rounds a small float to the nearest integer.
const ROUND: f32 = 12_582_912.0;
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts, the first with few enough bits that its products by |n| <= 128 are exact.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// e^x with a relative error below 2e-7: Cody-Waite reduction to |r| <= ln 2 / 2, the Taylor
/// polynomial of degree 7 there, and a power of two put into the exponent bits.
///
/// Below -87 the result is 0, above 88 it is e^88; neither is reached by a max-shifted softmax.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let result = p * f32::from_bits(exponent.wrapping_shl(23));
    if x < -87.0 { 0.0 } else { result }
}

/// The error function with an absolute error below 5e-7 (Abramowitz and Stegun, "Handbook of
/// mathematical functions", formula 7.1.26).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4;
    p = p * t + -1.453_152;
    p = p * t + 1.421_413_8;
    p = p * t + -0.284_496_74;
    p = p * t + 0.254_829_6;
    let magnitude = 1.0 - p * t * exp(-a * a);
    magnitude.copysign(x)
}

/// The hyperbolic tangent with an absolute error below 3e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs().min(40.0);
    let s = x * x;
    let series = x * (1.0 + s * (-1.0 / 3.0 + s * (2.0 / 15.0 - s * (17.0 / 315.0))));
    let large = (1.0 - 2.0 / (exp(2.0 * a) + 1.0)).copysign(x);
    if a < 0.125 { series } else { large }
}

/// The logistic function `1 / (1 + e^-x)` with an absolute error below 2e-7.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn sigmoids_body(values: &mut [f32]) {
    for x in values.iter_mut() {
        *x = sigmoid(*x);
    }
}

#[inline(always)]
fn tanhs_body(values: &mut [f32]) {
    for x in values.iter_mut() {
        *x = tanh(*x);
    }
}

#[inline(always)]
fn gelu_body(values: &mut [f32]) {
    for x in values.iter_mut() {
        *x *= 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

#[inline(always)]
fn exp_shifted_body(values: &mut [f32], shift: f32) {
    for x in values.iter_mut() {
        *x = exp(*x - shift);
    }
}

dispatch! {
    /// The Gaussian error linear unit `x * Phi(x)`, exact form with erf, value by value
    /// (Hendrycks and Gimpel, "Gaussian error linear units", 2016).
    pub fn gelu(values: &mut [f32]) = gelu_body
}
dispatch! {
    /// [`sigmoid`], value by value.
    pub fn sigmoids(values: &mut [f32]) = sigmoids_body
}
dispatch! {
    /// [`tanh`], value by value.
    pub fn tanhs(values: &mut [f32]) = tanhs_body
}
dispatch! {
    /// `exp(x - shift)`, value by value.
    fn exp_shifted(values: &mut [f32], shift: f32) = exp_shifted_body
}

/// Softmax of one row: shifted by the maximum, summed over the virtual lanes. An empty row stays
/// empty. The caller keeps NaN and infinity out.
pub fn softmax(row: &mut [f32]) {
    let mut max = f32::MIN;
    for &x in row.iter() {
        if x > max {
            max = x;
        }
    }
    exp_shifted(row, max);
    let total = sum(row);
    for x in row.iter_mut() {
        *x /= total;
    }
}
