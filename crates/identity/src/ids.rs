//! Identifiers derived from keys, with the bit lengths of protocol 3.
//!
//! An identifier of n bits is the first n bits (most significant first) of a digest; the spare
//! bits of its last byte are zero, and a text form in which they are not is refused.

use crate::text::{base32, hex, parse};
use crate::{IdentityError, PublicKey};
use sha2::{Digest as _, Sha256};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $bits:literal, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Length in bits.
            pub const BITS: usize = $bits;

            /// The bytes, spare bits zero.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Reads the bytes.
            ///
            /// # Errors
            /// [`IdentityError::BadText`] when a spare bit is set.
            pub fn from_bytes(bytes: [u8; $bytes]) -> Result<Self, IdentityError> {
                let cut = Self::cut(bytes);
                if cut.0 == bytes {
                    return Ok(cut);
                }
                Err(IdentityError::BadText {
                    text: hex(&bytes),
                    what: $what,
                    detail: "its spare bits are not zero",
                })
            }

            /// Clears the spare bits.
            fn cut(mut bytes: [u8; $bytes]) -> Self {
                bytes[$bytes - 1] &= 0xff_u8 << ($bytes * 8 - $bits);
                Self(bytes)
            }

            /// Hexadecimal form.
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }

            /// Short form for people: the first 60 bits, 12 letters of base32. Not unique.
            pub fn short(&self) -> String {
                self.to_string().chars().take(12).collect()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&base32(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdentityError;

            /// Reads the base32 or the hexadecimal form.
            fn from_str(text: &str) -> Result<Self, IdentityError> {
                Self::from_bytes(parse(text, $what)?)
            }
        }
    };
}

identifier!(
    /// Identity of a key: 314 bits of the BLAKE3 XOF of `anthill pi` and the public key.
    PiKey, "Pi-Key", 314, 40
);
identifier!(
    /// Identifier of a session key: 271 bits of the BLAKE3 XOF of `anthill session` and the
    /// session's X25519 public key.
    SessionKeyId, "session key id", 271, 34
);
identifier!(
    /// Genesis key of an epoch: 161 bits of SHA-256 of `anthill genesis`, the genesis hash and the
    /// epoch as 8 bytes big-endian.
    GenesisKey, "genesis key", 161, 21
);

impl PiKey {
    /// The identity of a public key.
    pub fn of(public: &PublicKey) -> Self {
        Self::cut(xof(b"anthill pi", public))
    }
}

impl SessionKeyId {
    /// The identifier of a session's X25519 public key.
    pub fn of(session_public: &[u8; 32]) -> Self {
        Self::cut(xof(b"anthill session", session_public))
    }
}

impl GenesisKey {
    /// The key of `epoch` on the network with this genesis hash.
    pub fn of(genesis: &[u8; 32], epoch: u64) -> Self {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(b"anthill genesis")
            .chain_update(genesis)
            .chain_update(epoch.to_be_bytes())
            .finalize()
            .into();
        let mut bytes = [0; 21];
        bytes.copy_from_slice(&digest[..21]);
        Self::cut(bytes)
    }
}

fn xof<const N: usize>(domain: &[u8], key: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    blake3::Hasher::new().update(domain).update(key).finalize_xof().fill(&mut out);
    out
}
