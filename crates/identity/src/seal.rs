//! Sealing to one recipient: HPKE (RFC 9180) in base mode, single shot.
//!
//! Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Sealed bytes = encapsulated key (32)
//! and ciphertext with tag. `info` names the purpose and `aad` what the message belongs to; both
//! must be the same on opening. The sender is not authenticated: sign inside if that matters.

use crate::{Entropy, IdentityError, Zeroizing};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};

/// An X25519 public key that messages are sealed to.
pub type SealPublicKey = [u8; 32];

/// Bytes that sealing adds.
pub const SEAL_OVERHEAD: usize = 32 + 16;
/// Longest sealed message, in bytes.
pub const MAX_SEALED_BYTES: usize = (16 << 20) + SEAL_OVERHEAD;

const KEM_SUITE: &[u8] = b"KEM\x00\x20";
const HPKE_SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x02";

/// An X25519 key pair for opening; the secret half is wiped when it is dropped.
#[derive(Clone)]
pub struct SealKey(StaticSecret);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealKey(public {})", crate::text::hex(&self.public()))
    }
}

impl SealKey {
    /// The key pair of a 32-byte secret.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(StaticSecret::from(seed))
    }

    /// The X25519 key pair of an Ed25519 key pair (the birational map of RFC 7748 4.1), for opening
    /// what was sealed to [`seal_key_of`] its public key. Using one key for both is safe: what is
    /// signed and what is derived here have no input in common (eprint 2021/509).
    pub fn of(pair: &crate::KeyPair) -> Self {
        Self(StaticSecret::from(pair.agreement_scalar()))
    }

    /// A new key pair from 32 random bytes.
    pub fn generate(entropy: Entropy<'_>) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        entropy(&mut seed[..]);
        Self(StaticSecret::from(*seed))
    }

    /// The public key.
    pub fn public(&self) -> SealPublicKey {
        PublicKey::from(&self.0).to_bytes()
    }
}

/// The X25519 public key that belongs to an Ed25519 public key.
///
/// # Errors
/// [`IdentityError::BadPublicKey`] when the 32 bytes are no point of the curve.
pub fn seal_key_of(public: &crate::PublicKey) -> Result<SealPublicKey, IdentityError> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(public);
    let key = key.map_err(|_| IdentityError::BadPublicKey(crate::text::hex(public)))?;
    Ok(key.to_montgomery().to_bytes())
}

/// Seals `message` to `recipient`; the ephemeral key comes from `entropy`.
///
/// # Errors
/// [`IdentityError::WeakSealKey`] or [`IdentityError::SealTooLong`].
pub fn seal(
    recipient: &SealPublicKey,
    info: &[u8],
    aad: &[u8],
    message: &[u8],
    entropy: Entropy<'_>,
) -> Result<Vec<u8>, IdentityError> {
    if message.len() > MAX_SEALED_BYTES - SEAL_OVERHEAD {
        return Err(IdentityError::SealTooLong(message.len()));
    }
    let ephemeral = SealKey::generate(entropy);
    let encapsulated = ephemeral.public();
    let shared = shared_secret(&ephemeral, recipient, &encapsulated, recipient)?;
    let (cipher, nonce) = key_schedule(&shared, info);
    let sealed = cipher
        .encrypt(&nonce, Payload { msg: message, aad })
        .map_err(|_| IdentityError::SealTooLong(message.len()))?;
    Ok([encapsulated.as_slice(), &sealed].concat())
}

/// Opens what [`seal`] made for this key with the same `info` and `aad`.
///
/// # Errors
/// [`IdentityError::NotOpened`], [`IdentityError::SealTooLong`] or [`IdentityError::WeakSealKey`].
pub fn open(
    key: &SealKey,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    if sealed.len() > MAX_SEALED_BYTES {
        return Err(IdentityError::SealTooLong(sealed.len()));
    }
    let (encapsulated, ciphertext) =
        sealed.split_first_chunk::<32>().ok_or(IdentityError::NotOpened)?;
    let shared = shared_secret(key, encapsulated, encapsulated, &key.public())?;
    let (cipher, nonce) = key_schedule(&shared, info);
    cipher
        .decrypt(&nonce, Payload { msg: ciphertext, aad })
        .map(Zeroizing::new)
        .map_err(|_| IdentityError::NotOpened)
}

/// `ExtractAndExpand` of RFC 9180 section 4.1.
fn shared_secret(
    own: &SealKey,
    other: &SealPublicKey,
    encapsulated: &SealPublicKey,
    recipient: &SealPublicKey,
) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    let dh = own.0.diffie_hellman(&PublicKey::from(*other));
    if !dh.was_contributory() {
        return Err(IdentityError::WeakSealKey);
    }
    let prk = extract(KEM_SUITE, &[], b"eae_prk", dh.as_bytes());
    Ok(expand(KEM_SUITE, &prk, b"shared_secret", &[encapsulated, recipient]))
}

/// `KeySchedule` of RFC 9180 section 5.1 for base mode: cipher and first nonce.
fn key_schedule(shared: &[u8; 32], info: &[u8]) -> (Aes256Gcm, Nonce<aes_gcm::aead::consts::U12>) {
    let no_psk = digest(HPKE_SUITE, b"psk_id_hash", &[]);
    let info = digest(HPKE_SUITE, b"info_hash", info);
    let context: [&[u8]; 3] = [&[0], &no_psk, &info];
    let secret = extract(HPKE_SUITE, shared, b"secret", &[]);
    let key: Zeroizing<[u8; 32]> = expand(HPKE_SUITE, &secret, b"key", &context);
    let nonce: Zeroizing<[u8; 12]> = expand(HPKE_SUITE, &secret, b"base_nonce", &context);
    (Aes256Gcm::new((&*key).into()), Nonce::from(*nonce))
}

/// `LabeledExtract`.
fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Hkdf<Sha256> {
    let labeled = Zeroizing::new([b"HPKE-v1", suite, label, ikm].concat());
    Hkdf::<Sha256>::new(Some(salt), &labeled)
}

/// `LabeledExtract` whose output is public.
fn digest(suite: &[u8], label: &[u8], ikm: &[u8]) -> [u8; 32] {
    let labeled = [b"HPKE-v1", suite, label, ikm].concat();
    Hkdf::<Sha256>::extract(Some(&[]), &labeled).0.into()
}

/// `LabeledExpand` to `N` bytes, of which HKDF-SHA256 has at least the 32 asked for here.
fn expand<const N: usize>(
    suite: &[u8],
    prk: &Hkdf<Sha256>,
    label: &[u8],
    info: &[&[u8]],
) -> Zeroizing<[u8; N]> {
    let length = (N as u16).to_be_bytes();
    let labeled = [&length, b"HPKE-v1".as_slice(), suite, label, &info.concat()].concat();
    let mut out = Zeroizing::new([0; N]);
    // Fails only above 255 x 32 bytes.
    let filled = prk.expand(&labeled, &mut out[..]);
    debug_assert!(filled.is_ok());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyPair;

    #[test]
    fn what_is_sealed_to_a_signing_key_opens_with_it_alone() {
        let mut count = 0u8;
        let mut entropy = |buffer: &mut [u8]| {
            count += 1;
            buffer.fill(count);
        };
        let (own, other) = (KeyPair::from_seed([5; 32]), KeyPair::from_seed([6; 32]));
        let public = seal_key_of(&own.public()).unwrap();
        assert_eq!(SealKey::of(&own).public(), public);
        let sealed = seal(&public, b"test", b"aad", b"a secret", &mut entropy).unwrap();
        assert_eq!(&open(&SealKey::of(&own), b"test", b"aad", &sealed).unwrap()[..], b"a secret");
        assert!(open(&SealKey::of(&other), b"test", b"aad", &sealed).is_err());
        assert!(seal_key_of(&[2; 32]).is_err() || seal_key_of(&[0xff; 32]).is_err());
    }
}
