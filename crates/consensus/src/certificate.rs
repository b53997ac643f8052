//! The commit certificate: more than two thirds of the voting power signed one block hash.
//!
//! A vote's body is the CBOR array `[kind, height, round, block hash or null]` (kind 0 prevote, 1
//! precommit), signed as protocol 1 says with kind `vote`. A certificate is the array `[height,
//! round, block hash, [[validator key, signature], ...]]` of precommits, ascending by key.

use crate::wire::{Malformed, Reader, Writer, same};
use std::collections::BTreeMap;

/// Most validators of a set, and so most signatures of a certificate.
pub const MAX_VALIDATORS: usize = 1024;
/// Longest certificate, in bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 64 + MAX_VALIDATORS * (1 + 2 + 32 + 2 + 64);
/// `kind` of a prevote.
pub const PREVOTE: u8 = 0;
/// `kind` of a precommit.
pub const PRECOMMIT: u8 = 1;

/// Proof that a block was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Height of the block.
    pub height: u64,
    /// Round in which it was accepted.
    pub round: u32,
    /// Hash of the block.
    pub block_hash: [u8; 32],
    /// Validator keys and their signatures of the precommit, ascending by key.
    pub signatures: Vec<([u8; 32], [u8; 64])>,
}

/// Why a certificate was refused.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum CertificateError {
    /// The bytes are no certificate in its one encoding.
    #[error("malformed certificate: {0}; fetch it again from another peer")]
    Malformed(&'static str),
    /// Longer than any certificate.
    #[error("a certificate of {0} bytes is longer than any can be ({MAX_CERTIFICATE_BYTES})")]
    TooLong(usize),
    /// The validator set itself is unusable.
    #[error("the validator set is unusable: {0}; take it from the state of the parent block")]
    BadValidatorSet(&'static str),
    /// Signatures are not in strictly ascending order of key, so one may count twice.
    #[error("signature {0} is not in ascending order of validator key; refuse the certificate")]
    NotSorted(usize),
    /// A signer is no validator of this height.
    #[error("signature {0} is by a key outside the validator set; refuse the certificate")]
    Stranger(usize),
    /// A signature is wrong.
    #[error("signature {0} does not fit; refuse the certificate")]
    BadSignature(usize),
    /// Two thirds or less signed.
    #[error("voting power {signed} of {total} signed, which is not more than two thirds")]
    TooLittlePower {
        /// Power of the signers.
        signed: u128,
        /// Power of the set.
        total: u128,
    },
}

/// The bytes that a validator signs for a vote; `block_hash` `None` is a vote for no block.
pub fn vote_bytes(
    genesis: &[u8; 32],
    kind: u8,
    height: u64,
    round: u32,
    block_hash: Option<&[u8; 32]>,
) -> Vec<u8> {
    anthill_identity::signed_bytes("vote", genesis, &vote_body(kind, height, round, block_hash))
}

/// The body of a vote, without the prefix of protocol 1.
pub(crate) fn vote_body(
    kind: u8,
    height: u64,
    round: u32,
    block_hash: Option<&[u8; 32]>,
) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(4).uint(kind.into()).uint(height).uint(round.into()).optional_bytes(block_hash);
    writer.0
}

/// Checks that validators with strictly more than two thirds of the power signed `certificate`.
///
/// Every signature is checked with `verify_strict`, also those beyond the quorum, and the order is
/// fixed, so that no byte of a certificate can be altered. It does not say that the block is the
/// child of a known one: compare `height` and `block_hash` with the header.
///
/// # Errors
/// A [`CertificateError`] that names the first fault.
pub fn verify_certificate(
    genesis: &[u8; 32],
    validators: &[([u8; 32], u64)],
    certificate: &Certificate,
) -> Result<(), CertificateError> {
    if validators.is_empty() || validators.len() > MAX_VALIDATORS {
        return Err(CertificateError::BadValidatorSet("it has none, or more than 1024, members"));
    }
    let powers: BTreeMap<&[u8; 32], u64> = validators.iter().map(|(key, p)| (key, *p)).collect();
    if powers.len() != validators.len() {
        return Err(CertificateError::BadValidatorSet("a key occurs twice"));
    }
    let total: u128 = powers.values().map(|power| u128::from(*power)).sum();
    let Certificate { height, round, block_hash, signatures } = certificate;
    let message = vote_bytes(genesis, PRECOMMIT, *height, *round, Some(block_hash));
    let mut signed = 0u128;
    let mut previous = None;
    for (i, (key, _)) in signatures.iter().enumerate() {
        if previous.replace(key).is_some_and(|previous| previous >= key) {
            return Err(CertificateError::NotSorted(i));
        }
        signed += u128::from(*powers.get(key).ok_or(CertificateError::Stranger(i))?);
    }
    let off_by_one = anthill_types::planted!(QuorumOffByOne) && signed * 3 == total * 2;
    if signed * 3 <= total * 2 && !off_by_one {
        return Err(CertificateError::TooLittlePower { signed, total });
    }
    for (i, (key, signature)) in signatures.iter().enumerate() {
        anthill_identity::verify_bytes(key, &message, signature)
            .map_err(|_| CertificateError::BadSignature(i))?;
    }
    Ok(())
}

/// The message that shows a validator that has fallen behind that a height is decided: `[4,
/// certificate, block]`, the same for every back-end.
pub fn catch_up_message(certificate: &Certificate, block: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    certificate.write(writer.array(3).uint(4));
    writer.bytes(block);
    writer.0
}

impl Certificate {
    /// The one encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.write(&mut writer);
        writer.0
    }

    /// Reads a certificate, refusing every encoding but the one of [`Certificate::to_bytes`].
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] or [`CertificateError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLong(bytes.len()));
        }
        let certificate =
            Self::read(&mut Reader::new(bytes)).map_err(CertificateError::Malformed)?;
        same(bytes, &certificate.to_bytes()).map_err(CertificateError::Malformed)?;
        Ok(certificate)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.array(4).uint(self.height).uint(self.round.into()).bytes(&self.block_hash);
        writer.array(self.signatures.len());
        for (key, signature) in &self.signatures {
            writer.array(2).bytes(key).bytes(signature);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(4)?;
        let (height, round, block_hash) = (reader.uint()?, reader.round()?, reader.bytes()?);
        let count = reader.array(MAX_VALIDATORS)?;
        let mut signatures = Vec::with_capacity(count);
        for _ in 0..count {
            reader.tuple(2)?;
            signatures.push((reader.bytes()?, reader.bytes()?));
        }
        Ok(Self { height, round, block_hash, signatures })
    }
}
