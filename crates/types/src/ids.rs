//! Fixed-size names: accounts, keys, tasks, hashes, content ids, and byte strings.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use thiserror::Error;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not a {what}: {reason}")]
pub struct ParseIdError {
    /// The text that was given, shortened.
    pub text: String,
    /// The kind of id that was expected.
    pub what: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

fn parse_error(text: &str, what: &'static str, reason: &'static str) -> ParseIdError {
    ParseIdError { text: text.chars().take(80).collect(), what, reason }
}

/// Lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of a lower- or upper-case hexadecimal text, or `None`.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    // Digits alone: `from_str_radix` takes a sign too, so that an id would have two texts.
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The first eight hexadecimal digits, for tables.
            pub fn short(&self) -> String {
                to_hex(&self.0[..4])
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self([0; $len])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let bytes = from_hex(text).ok_or_else(|| parse_error(text, $what, "not hexadecimal"))?;
                let array = bytes.try_into().map_err(|_| parse_error(text, $what, "wrong length"))?;
                Ok(Self(array))
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let array = d.bytes()?.try_into().map_err(|_| decode::Error::message(concat!($what, ": wrong length")))?;
                Ok(Self(array))
            }
        }
    };
}

id!(
    /// An account: an Ed25519 public key (`docs/spec/protocol.md` 3).
    AccountId, 32, "account id"
);
id!(
    /// A node's Ed25519 key: its transport identity, and the signer of its receipts.
    NodeKey, 32, "node key"
);
id!(
    /// A validator's Ed25519 key: the signer of votes.
    ValidatorKey, 32, "validator key"
);
id!(
    /// A task's name: SHA3-256 of submitter and sequence.
    TaskId, 32, "task id"
);
id!(
    /// SHA-256 of a header's canonical bytes.
    BlockHash, 32, "block hash"
);
id!(
    /// SHA3-256 of the genesis file's canonical bytes: the name of a chain.
    GenesisHash, 32, "genesis hash"
);
id!(
    /// A value of the random beacon, or a preimage of it.
    BeaconValue, 32, "beacon value"
);
id!(
    /// A 32-byte hash whose role its field names.
    Digest, 32, "digest"
);
id!(
    /// An Ed25519 signature.
    Signature, 64, "signature"
);

/// Bytes before the digest in a CIDv1: version 1, codec raw, multihash BLAKE3, 32 bytes.
const CID_PREFIX: [u8; 4] = [0x01, 0x55, 0x1e, 0x20];
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A content id: CIDv1, codec raw, BLAKE3 (<https://github.com/multiformats/cid>).
///
/// On the wire it is its 36 binary bytes; as text, multibase base32 (`b...`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cid(pub [u8; 32]);

impl Cid {
    /// The content id of some bytes.
    pub fn of(content: &[u8]) -> Self {
        Self(crate::hash::blake3(content))
    }

    /// The 36 binary bytes.
    pub fn to_binary(self) -> [u8; 36] {
        let mut out = [0; 36];
        out[..4].copy_from_slice(&CID_PREFIX);
        out[4..].copy_from_slice(&self.0);
        out
    }

    /// From the 36 binary bytes; `None` for another version, codec, hash or length.
    pub fn from_binary(bytes: &[u8]) -> Option<Self> {
        let digest = bytes.strip_prefix(&CID_PREFIX)?;
        digest.try_into().ok().map(Self)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from("b");
        let (mut acc, mut bits) = (0u32, 0u32);
        for byte in self.to_binary() {
            acc = (acc << 8 | u32::from(byte)) & 0xfff;
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                text.push(char::from(BASE32[(acc >> bits & 31) as usize]));
            }
        }
        if bits > 0 {
            text.push(char::from(BASE32[(acc << (5 - bits) & 31) as usize]));
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

impl FromStr for Cid {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bad = |reason| parse_error(text, "content id", reason);
        let body = text.strip_prefix('b').ok_or_else(|| bad("it must begin with b (base32)"))?;
        if body.len() != 58 {
            return Err(bad("wrong length"));
        }
        let (mut bytes, mut acc, mut bits) = (Vec::with_capacity(36), 0u32, 0u32);
        for c in body.bytes() {
            let v = BASE32.iter().position(|&b| b == c).ok_or_else(|| bad("not base32"))?;
            acc = (acc << 5 | v as u32) & 0xfff;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push((acc >> bits) as u8);
            }
        }
        let cid = Self::from_binary(&bytes).ok_or_else(|| bad("not CIDv1, raw, BLAKE3"))?;
        if cid.to_string() == text { Ok(cid) } else { Err(bad("spare bits are set")) }
    }
}

impl<C> Encode<C> for Cid {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.to_binary())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Cid {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Self::from_binary(d.bytes()?)
            .ok_or_else(|| decode::Error::message("not CIDv1, raw, BLAKE3"))
    }
}

/// A byte string of any length (bounded by the encoding that holds it).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Bytes(pub Vec<u8>);

impl<C> Encode<C> for Bytes {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Bytes {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Ok(Self(d.bytes()?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cid_is_its_text() {
        let cid = Cid::of(b"anthill");
        assert_eq!(cid.to_string().parse(), Ok(cid));
        assert!(cid.to_string().starts_with("bafkr4i"), "{cid}");
        assert!("bafkr4i".parse::<Cid>().is_err());
        let mut text = cid.to_string();
        text.replace_range(1..2, "b");
        assert!(text.parse::<Cid>().is_err());
    }

    #[test]
    fn ids_refuse_other_lengths() {
        assert!("00".parse::<AccountId>().is_err());
        assert!("zz".repeat(32).parse::<AccountId>().is_err());
        assert!("+7".repeat(32).parse::<AccountId>().is_err());
        let id = AccountId([7; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
