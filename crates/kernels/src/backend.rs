//! The instruction sets that a kernel can run on, and the choice between them.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that kernels are compiled for. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Backend {
    /// Plain loops over single values: the reference that says what the others must give.
    Scalar = 1,
    /// 128-bit vectors of every x86-64 processor.
    Sse2,
    /// 256-bit vectors.
    Avx2,
    /// 512-bit vectors (F, VL, BW and DQ).
    Avx512,
    /// 128-bit vectors of every 64-bit ARM processor.
    Neon,
    /// WebAssembly: with 128-bit vectors where the module was built for them.
    Wasm,
}

/// Why a backend could not be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No backend has this name.
    #[error("there is no backend {name:?}; choose one of {}", names(&Backend::ALL))]
    Unknown {
        /// The name given.
        name: String,
    },
    /// This machine or build lacks it.
    #[error(
        "this machine has no {backend}; it can run {}",
        names(&Backend::available())
    )]
    Unavailable {
        /// The backend asked for.
        backend: Backend,
    },
}

fn names(backends: &[Backend]) -> String {
    backends.iter().map(|b| b.name()).collect::<Vec<_>>().join(", ")
}

/// The backend in use; 0 before the first look at the processor.
static SELECTED: AtomicU8 = AtomicU8::new(0);

impl Backend {
    /// Every backend, the slowest first.
    pub const ALL: [Self; 6] =
        [Self::Scalar, Self::Sse2, Self::Avx2, Self::Avx512, Self::Neon, Self::Wasm];

    /// The name as it is typed: `scalar`, `sse2`, `avx2`, `avx512`, `neon`, `wasm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Sse2 => "sse2",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::Wasm => "wasm",
        }
    }

    /// Whether this machine and build can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Wasm => cfg!(target_family = "wasm"),
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Sse2 | Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// The backends that this machine and build can run, the slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|b| b.is_available()).collect()
    }

    /// The fastest available one.
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|b| b.is_available()).unwrap_or(Self::Scalar)
    }

    /// The backend that the whole process uses: [`Self::best`] unless [`Self::select`] chose.
    #[inline]
    pub fn selected() -> Self {
        match SELECTED.load(Ordering::Relaxed) {
            1 => Self::Scalar,
            2 => Self::Sse2,
            3 => Self::Avx2,
            4 => Self::Avx512,
            5 => Self::Neon,
            6 => Self::Wasm,
            _ => Self::detect(),
        }
    }

    #[cold]
    fn detect() -> Self {
        let best = Self::best();
        // Another thread may have chosen meanwhile; its choice stays.
        let _ = SELECTED.compare_exchange(0, best as u8, Ordering::Relaxed, Ordering::Relaxed);
        best
    }

    /// Makes the whole process use this backend from now on. It changes speed, never a result.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`].
    pub fn select(self) -> Result<(), BackendError> {
        if !self.is_available() {
            return Err(BackendError::Unavailable { backend: self });
        }
        SELECTED.store(self as u8, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        let found = Self::ALL.into_iter().find(|b| b.name() == name);
        found.ok_or_else(|| BackendError::Unknown { name: name.to_string() })
    }
}
