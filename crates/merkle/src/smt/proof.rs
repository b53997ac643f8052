//! Proofs of presence and absence, and their strict bytes.
//!
//! Encoding: kind (1 byte: 1 present, 2 absent in an empty subtree, 3 absent beside another leaf),
//! depth (2 bytes big-endian, at most 256), a bit per sibling from the root down (most significant
//! first, 1 = a hash follows, 0 = empty subtree; spare bits zero), the hashes, and for kind 3 the
//! key hash and value hash of the leaf found instead. Each proof has exactly one encoding.

use super::{Hash, KeyHash, MAX_DEPTH, PLACEHOLDER, Root, ValueHash};
use super::{bit, common_bits, inner_hash, key_hash, leaf_hash, value_hash};

/// Bytes of the longest proof: more are refused before anything is read.
pub const MAX_PROOF_BYTES: usize = 3 + MAX_DEPTH / 8 + MAX_DEPTH * 32 + 64;

/// What a proof shows about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The key has the value that the verifier holds.
    Present,
    /// The key would lie in a subtree without keys.
    AbsentEmpty,
    /// The key would lie where another key is alone in its subtree.
    AbsentOther {
        /// Hash of the other key.
        key: KeyHash,
        /// Hash of its value.
        value: ValueHash,
    },
}

/// Why a proof was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum ProofError {
    /// More bytes than any proof has.
    #[error(
        "a proof of {0} bytes is longer than any can be ({MAX_PROOF_BYTES}); refuse its sender"
    )]
    TooLong(usize),
    /// The bytes are no proof in the one encoding.
    #[error("malformed proof: {0}; fetch it again")]
    Malformed(&'static str),
    /// It proves presence where absence is claimed, or the reverse.
    #[error("the proof shows that the key is {0}, which is not what is claimed")]
    WrongClaim(&'static str),
    /// The leaf shown as proof of absence does not lie on the key's path.
    #[error("the leaf in the proof of absence does not lie on the key's path; refuse its sender")]
    NotOnPath,
    /// The hashes lead to another root.
    #[error(
        "the proof leads to another root; key, value or proof was altered, or it is of another height"
    )]
    WrongRoot,
}

/// A proof that a key has a given value, or has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    claim: Claim,
    /// From the root down; [`PLACEHOLDER`] for empty subtrees.
    siblings: Vec<Hash>,
}

impl Proof {
    pub(super) fn new(claim: Claim, siblings: Vec<Hash>) -> Self {
        Self { claim, siblings }
    }

    /// What it shows about its key.
    pub fn claim(&self) -> Claim {
        self.claim
    }

    /// Sibling hashes from the root down.
    pub fn siblings(&self) -> &[Hash] {
        &self.siblings
    }

    /// Checks that under `root` the key has `value`, or none when it is `None`.
    ///
    /// # Errors
    /// A [`ProofError`] that says what does not fit.
    pub fn verify(&self, root: &Root, key: &[u8], value: Option<&[u8]>) -> Result<(), ProofError> {
        self.verify_hashes(root, &key_hash(key), value.map(value_hash).as_ref())
    }

    /// As [`Proof::verify`], from the hashes of key and value.
    ///
    /// # Errors
    /// A [`ProofError`] that says what does not fit.
    pub fn verify_hashes(
        &self,
        root: &Root,
        key: &KeyHash,
        value: Option<&ValueHash>,
    ) -> Result<(), ProofError> {
        if self.siblings.len() > MAX_DEPTH {
            return Err(ProofError::Malformed("more than 256 siblings"));
        }
        let mut hash = match (self.claim, value) {
            (Claim::Present, Some(value)) => leaf_hash(key, value),
            (Claim::Present, None) => return Err(ProofError::WrongClaim("present")),
            (_, Some(_)) => return Err(ProofError::WrongClaim("absent")),
            (Claim::AbsentEmpty, None) => PLACEHOLDER,
            (Claim::AbsentOther { key: other, value }, None) => {
                if other == *key || common_bits(&other, key) < self.siblings.len() {
                    return Err(ProofError::NotOnPath);
                }
                leaf_hash(&other, &value)
            }
        };
        for (depth, sibling) in self.siblings.iter().enumerate().rev() {
            hash = if bit(key, depth) {
                inner_hash(sibling, &hash)
            } else {
                inner_hash(&hash, sibling)
            };
        }
        if hash == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
    }

    /// The one encoding of this proof.
    pub fn to_bytes(&self) -> Vec<u8> {
        let kind = match self.claim {
            Claim::Present => 1,
            Claim::AbsentEmpty => 2,
            Claim::AbsentOther { .. } => 3,
        };
        let mut out = vec![kind];
        out.extend((self.siblings.len() as u16).to_be_bytes());
        let bitmap = out.len();
        out.resize(bitmap + self.siblings.len().div_ceil(8), 0);
        for (i, sibling) in self.siblings.iter().enumerate() {
            if *sibling != PLACEHOLDER {
                out[bitmap + i / 8] |= 0x80 >> (i % 8);
                out.extend(sibling);
            }
        }
        if let Claim::AbsentOther { key, value } = self.claim {
            out.extend(key);
            out.extend(value);
        }
        out
    }

    /// Reads a proof, refusing every encoding but the one of [`Proof::to_bytes`].
    ///
    /// # Errors
    /// [`ProofError::TooLong`] or [`ProofError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(ProofError::TooLong(bytes.len()));
        }
        let mut rest = bytes;
        let [kind, high, low] = take::<3>(&mut rest)?;
        let depth = usize::from(u16::from_be_bytes([high, low]));
        if depth > MAX_DEPTH {
            return Err(ProofError::Malformed("more than 256 siblings"));
        }
        let siblings = read_siblings(&mut rest, depth)?;
        let claim = match kind {
            1 => Claim::Present,
            2 => Claim::AbsentEmpty,
            3 => Claim::AbsentOther { key: take(&mut rest)?, value: take(&mut rest)? },
            _ => return Err(ProofError::Malformed("unknown kind")),
        };
        if !rest.is_empty() {
            return Err(ProofError::Malformed("bytes after the end"));
        }
        Ok(Self { claim, siblings })
    }
}

/// Reads the bitmap and the hashes that it announces.
fn read_siblings(rest: &mut &[u8], depth: usize) -> Result<Vec<Hash>, ProofError> {
    let (bitmap, mut tail) =
        rest.split_at_checked(depth.div_ceil(8)).ok_or(ProofError::Malformed("cut short"))?;
    let spare = if depth.is_multiple_of(8) { 0 } else { 0xff_u8 >> (depth % 8) };
    if bitmap.last().is_some_and(|last| last & spare != 0) {
        return Err(ProofError::Malformed("spare bits set"));
    }
    let mut siblings = Vec::with_capacity(depth);
    for i in 0..depth {
        if bitmap[i / 8] << (i % 8) & 0x80 == 0 {
            siblings.push(PLACEHOLDER);
            continue;
        }
        let hash = take::<32>(&mut tail)?;
        if hash == PLACEHOLDER {
            return Err(ProofError::Malformed("an empty subtree written as a hash"));
        }
        siblings.push(hash);
    }
    *rest = tail;
    Ok(siblings)
}

/// Takes `N` bytes off the front.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ProofError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(ProofError::Malformed("cut short"))?;
    *rest = tail;
    Ok(*head)
}
