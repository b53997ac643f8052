//! Sums and dot products over a fixed tree of virtual lanes, and scaled additions.

use crate::dispatch::dispatch;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Baseline, Lanes};

/// Virtual lanes of every reduction: value `i` is added into lane `i mod LANES`.
pub const LANES: usize = 32;

/// Folds the lanes in halves: lane `i` takes lane `i + 16`, then `i + 8`, down to one.
#[inline(always)]
pub(crate) fn fold(lanes: [f32; LANES]) -> f32 {
    let a: [f32; 16] = std::array::from_fn(|i| lanes[i] + lanes[i + 16]);
    let b: [f32; 8] = std::array::from_fn(|i| a[i] + a[i + 8]);
    let c: [f32; 4] = std::array::from_fn(|i| b[i] + b[i + 4]);
    (c[0] + c[2]) + (c[1] + c[3])
}

/// The definition: one value after the other into its lane.
fn dot_scalar(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        lanes[i % LANES] += x * y;
    }
    fold(lanes)
}

/// The definition: one value after the other into its lane.
fn sum_scalar(a: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (i, x) in a.iter().enumerate() {
        lanes[i % LANES] += x;
    }
    fold(lanes)
}

/// Lanes 0 to 15 and 16 to 31 as an array.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn joined<L: Lanes>(halves: [L; 2]) -> [f32; LANES] {
    let mut lanes = [0.0f32; LANES];
    for (half, values) in halves.into_iter().zip(lanes.as_chunks_mut::<16>().0) {
        // SAFETY: the caller's promise.
        unsafe { half.store(values) };
    }
    lanes
}

/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn dot_lanes<L: Lanes>(a: &[f32], b: &[f32]) -> f32 {
    let (left, left_rest) = a.as_chunks::<LANES>();
    let (right, right_rest) = b.as_chunks::<LANES>();
    // SAFETY: the caller's promise.
    let mut lanes = unsafe {
        let mut halves = [L::splat(0.0); 2];
        for (x, y) in left.iter().zip(right) {
            let (x, y) = (x.as_chunks::<16>().0, y.as_chunks::<16>().0);
            halves[0] = halves[0].add_product(L::load(&x[0]), L::load(&y[0]));
            halves[1] = halves[1].add_product(L::load(&x[1]), L::load(&y[1]));
        }
        joined(halves)
    };
    for (lane, (x, y)) in lanes.iter_mut().zip(left_rest.iter().zip(right_rest)) {
        *lane += x * y;
    }
    fold(lanes)
}

/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn sum_lanes<L: Lanes>(a: &[f32]) -> f32 {
    let (chunks, rest) = a.as_chunks::<LANES>();
    // SAFETY: the caller's promise.
    let mut lanes = unsafe {
        let mut halves = [L::splat(0.0); 2];
        for x in chunks {
            let x = x.as_chunks::<16>().0;
            halves[0] = halves[0].add(L::load(&x[0]));
            halves[1] = halves[1].add(L::load(&x[1]));
        }
        joined(halves)
    };
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    fold(lanes)
}

/// Safe names of a body for each instruction set: `dispatch!` calls each only where it may run.
macro_rules! bodies {
    ($body:ident($($arg:ident),*) : $baseline:ident, $avx2:ident, $avx512:ident) => {
        #[inline(always)]
        fn $baseline($($arg: &[f32]),*) -> f32 {
            // SAFETY: every processor of the target has the baseline's instructions.
            unsafe { $body::<Baseline>($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[inline(always)]
        fn $avx2($($arg: &[f32]),*) -> f32 {
            // SAFETY: called only inside the function that is compiled for AVX2 and selected with it.
            unsafe { $body::<Avx2>($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[inline(always)]
        fn $avx512($($arg: &[f32]),*) -> f32 {
            // SAFETY: as above, for AVX-512.
            unsafe { $body::<Avx512>($($arg),*) }
        }
    };
}

bodies!(dot_lanes(a, b): dot_baseline, dot_avx2, dot_avx512);
bodies!(sum_lanes(a): sum_baseline, sum_avx2, sum_avx512);

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
    pub fn dot(a: &[f32], b: &[f32]) -> f32 =
        scalar dot_scalar, baseline dot_baseline, avx2 dot_avx2, avx512 dot_avx512
}
dispatch! {
    /// The sum of a vector, over [`LANES`] virtual lanes.
    pub fn sum(a: &[f32]) -> f32 =
        scalar sum_scalar, baseline sum_baseline, avx2 sum_avx2, avx512 sum_avx512
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
