//! Compiles one safe kernel body for several vector widths and calls the selected one.

/// Defines a function whose body is compiled for AVX-512, AVX2 and the baseline.
///
/// The body is ordinary safe Rust marked `#[inline(always)]`; the widths change which instructions
/// carry it out, never the order of operations, so all of them return the same bits. The long form
/// names another body for the scalar reference and for each width, since a tile that fits the
/// registers of one does not fit those of another.
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:path) => {
        dispatch! {
            $(#[$meta])* $vis fn $name($($arg: $ty),*) $(-> $ret)? =
                scalar $body, baseline $body, avx2 $body, avx512 $body
        }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? =
        scalar $scalar:expr, baseline $baseline:expr, avx2 $avx2:expr, avx512 $avx512:expr) => {
        $(#[$meta])*
        #[inline]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                $avx512($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                $avx2($($arg),*)
            }
            match $crate::Backend::selected() {
                // SAFETY: a backend is selected only when the processor has all its features.
                #[cfg(target_arch = "x86_64")]
                $crate::Backend::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::Backend::Avx2 => unsafe { avx2($($arg),*) },
                $crate::Backend::Scalar => $scalar($($arg),*),
                _ => $baseline($($arg),*),
            }
        }
    };
}

pub(crate) use dispatch;
