//! Numeric kernels that give the same bits on every backend: scalar, SIMD, WASM SIMD.
//!
//! A result in Anthill is a hash, so a float kernel may not depend on the width of the machine's
//! vectors. Every kernel here fixes the order of its additions: a dot product adds into
//! [`reduce::LANES`] virtual lanes and folds them in a fixed tree, a matrix product adds over the
//! inner dimension strictly in sequence and is vectorised over output columns only. Multiplication
//! and addition are always two roundings (no fused multiply-add), `exp`, `erf` and `tanh` are own
//! polynomials (no platform libm), and division and square root are exactly rounded by IEEE 754.
//! Not-a-number and infinity are refused at the edges by [`check_finite`].
//!
//! Architecture Invariant: the same inputs give the same bits on SSE2, AVX2, AVX-512, NEON and
//! WASM, with any number of threads and any batch size.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod backend;
mod dispatch;
pub mod distance;
pub mod gemm;
pub mod int8;
mod lanes;
pub mod nonlinear;
pub mod norm;
pub mod parallel;
pub mod pull;
pub mod reduce;
pub mod testing;

pub use backend::{Backend, BackendError};
pub use gemm::{PackedMatrix, gemm, gemv};
pub use int8::{PackedInt8, QuantizedRows, gemm_i8, quantize_rows, rescale};
pub use nonlinear::{erf, exp, gelu, sigmoid, sigmoids, softmax, tanh, tanhs};
pub use norm::{layer_norm, normalize};
pub use reduce::{axpy, axpy_i8, dot, l2_norm, sum};

/// Why a kernel refused its input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// A value is not a number or is infinite, so no two machines need agree on what follows.
    #[error("value {index} is {value}; only finite numbers are accepted, check what produced it")]
    NotFinite {
        /// Position of the first bad value.
        index: usize,
        /// The value itself.
        value: f32,
    },
    /// A vector has no direction: its length is zero or too small or large for `f32`.
    #[error("a vector of length {norm} cannot be normalised; leave empty inputs out")]
    NoDirection {
        /// The Euclidean length found.
        norm: f32,
    },
    /// A slice has not the length that the shape demands.
    #[error("{what} has {found} values but the shape demands {expected}; check the dimensions")]
    Shape {
        /// Which argument.
        what: &'static str,
        /// Values demanded.
        expected: usize,
        /// Values found.
        found: usize,
    },
}

/// Refuses a slice that holds a NaN or an infinity, naming the first one.
///
/// # Errors
/// [`KernelError::NotFinite`].
pub fn check_finite(values: &[f32]) -> Result<(), KernelError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(KernelError::NotFinite { index, value: values[index] }),
    }
}

/// Refuses a slice of the wrong length.
pub(crate) fn check_len(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), KernelError> {
    if expected == found { Ok(()) } else { Err(KernelError::Shape { what, expected, found }) }
}
