//! The one way from a value to bytes and back: deterministic CBOR with a re-encode guard.

use minicbor::{Decode, Encode};
use thiserror::Error;

/// Largest encoding that any value of this crate may have, in bytes (a full block).
pub const MAX_ENCODING: usize = 8 * 1024 * 1024;

/// Why bytes are not the canonical encoding of the expected value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input is longer than the bound of its kind.
    #[error("{what}: {len} bytes given, at most {max} are allowed")]
    TooLong {
        /// The expected value.
        what: &'static str,
        /// Length of the input in bytes.
        len: usize,
        /// The bound in bytes.
        max: usize,
    },
    /// The input is not CBOR of the expected shape.
    #[error("{what}: not the expected CBOR: {reason}")]
    Malformed {
        /// The expected value.
        what: &'static str,
        /// What the decoder met.
        reason: String,
    },
    /// The input decodes, but is not the one canonical encoding (RFC 8949 4.2.1).
    #[error("{what}: not canonical CBOR (decode-then-encode gives other bytes)")]
    NotCanonical {
        /// The expected value.
        what: &'static str,
    },
}

/// A value with one canonical encoding.
///
/// Implemented by [`wire!`](crate::wire!) for every type that crosses the wire or is kept in state.
pub trait Wire: Encode<()> + for<'b> Decode<'b, ()> {
    /// Name used in errors.
    const NAME: &'static str;
    /// Largest accepted encoding in bytes.
    const MAX: usize = MAX_ENCODING;

    /// The canonical bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match minicbor::encode(self, &mut out) {
            Ok(()) => out,
            // A `Vec` writer has the error type `Infallible` and our encoders add no error of their own.
            Err(_) => Vec::new(),
        }
    }

    /// Decodes canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when the input is too long, malformed, or not canonical (trailing bytes,
    /// longer integers than needed, indefinite lengths).
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > Self::MAX {
            return Err(DecodeError::TooLong {
                what: Self::NAME,
                len: bytes.len(),
                max: Self::MAX,
            });
        }
        let value: Self = minicbor::decode(bytes)
            .map_err(|e| DecodeError::Malformed { what: Self::NAME, reason: e.to_string() })?;
        if value.to_bytes() != bytes && !crate::planted!(AcceptNonCanonical) {
            return Err(DecodeError::NotCanonical { what: Self::NAME });
        }
        Ok(value)
    }
}

/// Implements [`Wire`] for a type, with its name and, optionally, its bound in bytes.
#[macro_export]
macro_rules! wire {
    ($($type:ty = $name:literal $(, max $max:expr)?;)+) => {$(
        impl $crate::wire::Wire for $type {
            const NAME: &'static str = $name;
            $(const MAX: usize = $max;)?
        }
    )+};
}
