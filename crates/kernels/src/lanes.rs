//! Sixteen float lanes in the registers of each instruction set.

/// Sixteen lanes that are added and multiplied one by one: what a lane holds never depends on how
/// many of them a register has.
///
/// # Safety
/// The functions of an implementation run only where the processor has its instruction set; they
/// are inlined into functions that are compiled for it.
pub(crate) trait Lanes: Copy {
    /// The same value in every lane.
    unsafe fn splat(value: f32) -> Self;
    /// Sixteen values from memory.
    unsafe fn load(values: &[f32; 16]) -> Self;
    /// Sixteen values to memory.
    unsafe fn store(self, values: &mut [f32; 16]);
    /// `self + factor * other`, the product rounded before the sum.
    unsafe fn add_product(self, factor: Self, other: Self) -> Self;

    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
}

/// Asks for the cache line at an address, which need not be one that may be read.
#[inline(always)]
pub(crate) fn prefetch_line<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and a prefetch of any address has no effect but on caches.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Implements [`Lanes`] over `$count` registers of one type.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
))]
macro_rules! registers {
    ($(#[$meta:meta])* $name:ident, $count:literal x $register:ty, $width:literal,
     $splat:path, $load:path, $store:path, $add:path, $mul:path) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name([$register; $count]);

        impl Lanes for $name {
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                // SAFETY: the caller's processor has the instruction set (see the trait).
                Self([unsafe { $splat(value) }; $count])
            }
            #[inline(always)]
            unsafe fn load(values: &[f32; 16]) -> Self {
                // SAFETY: as above; register `i` reads values `$width * i` on, inside the sixteen.
                Self(std::array::from_fn(|i| unsafe {
                    $load(values.as_ptr().add($width * i).cast())
                }))
            }
            #[inline(always)]
            unsafe fn store(self, values: &mut [f32; 16]) {
                for (i, register) in self.0.into_iter().enumerate() {
                    // SAFETY: as for `load`.
                    unsafe { $store(values.as_mut_ptr().add($width * i).cast(), register) }
                }
            }
            #[inline(always)]
            unsafe fn add_product(self, factor: Self, other: Self) -> Self {
                // SAFETY: as for `splat`.
                Self(std::array::from_fn(|i| unsafe {
                    $add(self.0[i], $mul(factor.0[i], other.0[i]))
                }))
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: as for `splat`.
                Self(std::array::from_fn(|i| unsafe { $add(self.0[i], other.0[i]) }))
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    registers! {
        /// One register of AVX-512.
        Avx512, 1 x __m512, 16,
        _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_mul_ps
    }
    registers! {
        /// Two registers of AVX2.
        Avx2, 2 x __m256, 8,
        _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_mul_ps
    }
    registers! {
        /// Four registers of SSE2.
        Baseline, 4 x __m128, 4,
        _mm_set1_ps, _mm_loadu_ps, _mm_storeu_ps, _mm_add_ps, _mm_mul_ps
    }
}
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Baseline};

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Lanes;
    use std::arch::aarch64::*;

    registers! {
        /// Four registers of NEON.
        Baseline, 4 x float32x4_t, 4,
        vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vmulq_f32
    }
}
#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Baseline;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm {
    use super::Lanes;
    use std::arch::wasm32::*;

    registers! {
        /// Four registers of WASM's simd128.
        Baseline, 4 x v128, 4,
        f32x4_splat, v128_load, v128_store, f32x4_add, f32x4_mul
    }
}
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use wasm::Baseline;

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
mod plain {
    use super::Lanes;

    /// Plain arrays: the compiler chooses the instructions.
    #[derive(Clone, Copy)]
    pub(crate) struct Baseline([f32; 16]);

    impl Lanes for Baseline {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self([value; 16])
        }
        #[inline(always)]
        unsafe fn load(values: &[f32; 16]) -> Self {
            Self(*values)
        }
        #[inline(always)]
        unsafe fn store(self, values: &mut [f32; 16]) {
            *values = self.0;
        }
        #[inline(always)]
        unsafe fn add_product(self, factor: Self, other: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i] + factor.0[i] * other.0[i]))
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
        }
    }
}
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
pub(crate) use plain::Baseline;
