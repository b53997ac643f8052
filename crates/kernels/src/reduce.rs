//! Sums and dot products over a fixed tree of virtual lanes, and scaled additions.

use crate::dispatch::dispatch;

/// Virtual lanes of every reduction: value `i` is added into lane `i mod LANES`.
pub const LANES: usize = 32;

/// Folds the lanes in halves: lane `i` takes lane `i + 16`, then `i + 8`, down to one.
#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn dot_body(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (left, left_rest) = a.as_chunks::<LANES>();
    let (right, right_rest) = b.as_chunks::<LANES>();
    for (x, y) in left.iter().zip(right) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(left_rest.iter().zip(right_rest)) {
        *lane += x * y;
    }
    fold(lanes)
}

#[inline(always)]
fn sum_body(a: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for x in chunks {
        for i in 0..LANES {
            lanes[i] += x[i];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    fold(lanes)
}

#[inline(always)]
fn axpy_body(y: &mut [f32], alpha: f32, x: &[f32]) {
    for (out, value) in y.iter_mut().zip(x) {
        *out += alpha * value;
    }
}

#[inline(always)]
fn axpy_i8_body(y: &mut [f32], alpha: f32, x: &[i8]) {
    for (out, &value) in y.iter_mut().zip(x) {
        *out += alpha * f32::from(value);
    }
}

dispatch! {
    /// The dot product of two vectors of one length, over [`LANES`] virtual lanes.
    ///
    /// The caller has checked that the lengths are equal.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 = dot_body
}
dispatch! {
    /// The sum of a vector, over [`LANES`] virtual lanes.
    pub fn sum(a: &[f32]) -> f32 = sum_body
}
dispatch! {
    /// Adds `alpha * x` to `y`, value by value, over the shorter length.
    pub fn axpy(y: &mut [f32], alpha: f32, x: &[f32]) = axpy_body
}
dispatch! {
    /// Adds `alpha * x` to `y` where `x` is a quantised row, value by value.
    pub fn axpy_i8(y: &mut [f32], alpha: f32, x: &[i8]) = axpy_i8_body
}

/// The Euclidean length of a vector; square root is exactly rounded by IEEE 754.
pub fn l2_norm(a: &[f32]) -> f32 {
    dot(a, a).sqrt()
}
