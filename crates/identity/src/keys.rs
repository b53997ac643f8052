//! Ed25519 key pairs and the one form of signed bytes.

use crate::{Entropy, IdentityError, Zeroizing, recent};
use ed25519_dalek::{Signature as DalekSignature, Signer as _, SigningKey, VerifyingKey};

/// An Ed25519 public key; of an account, it is its AccountId (protocol 3).
pub type PublicKey = [u8; 32];
/// An Ed25519 signature.
pub type Signature = [u8; 64];

/// An Ed25519 key pair; the secret half is wiped when it is dropped.
#[derive(Clone)]
pub struct KeyPair(SigningKey);

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair(public {})", crate::text::hex(&self.public()))
    }
}

impl KeyPair {
    /// The key pair of a 32-byte seed (the secret key of RFC 8032).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// A new key pair from 32 random bytes.
    pub fn generate(entropy: Entropy<'_>) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        entropy(&mut seed[..]);
        Self(SigningKey::from_bytes(&seed))
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.0.verifying_key().to_bytes()
    }

    /// The secret seed, for a key file or a backup.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The secret scalar, for key agreement inside this crate.
    pub(crate) fn agreement_scalar(&self) -> [u8; 32] {
        self.0.to_scalar_bytes()
    }

    /// Signs `body` as a message of `kind` on the network with this genesis hash.
    pub fn sign(&self, kind: &'static str, genesis: &[u8; 32], body: &[u8]) -> Signature {
        self.sign_bytes(&signed_bytes(kind, genesis, body))
    }

    /// Signs bytes as they are: only for formats that are fixed elsewhere (PoEI messages).
    pub fn sign_bytes(&self, message: &[u8]) -> Signature {
        self.0.sign(message).to_bytes()
    }
}

/// What is signed: `anthill/1/<kind> || 0x00 || genesis hash || body` (protocol 1).
pub fn signed_bytes(kind: &'static str, genesis: &[u8; 32], body: &[u8]) -> Vec<u8> {
    [b"anthill/1/", kind.as_bytes(), &[0], genesis, body].concat()
}

/// Checks a signature made by [`KeyPair::sign`], with `verify_strict`.
///
/// # Errors
/// [`IdentityError::BadPublicKey`] or [`IdentityError::BadSignature`].
pub fn verify(
    public: &PublicKey,
    kind: &'static str,
    genesis: &[u8; 32],
    body: &[u8],
    signature: &Signature,
) -> Result<(), IdentityError> {
    check(public, &signed_bytes(kind, genesis, body), signature, kind)
}

/// Checks a signature made by [`KeyPair::sign_bytes`], with `verify_strict`.
///
/// # Errors
/// [`IdentityError::BadPublicKey`] or [`IdentityError::BadSignature`].
pub fn verify_bytes(
    public: &PublicKey,
    message: &[u8],
    signature: &Signature,
) -> Result<(), IdentityError> {
    check(public, message, signature, "message")
}

fn check(
    public: &PublicKey,
    message: &[u8],
    signature: &Signature,
    kind: &'static str,
) -> Result<(), IdentityError> {
    let name = recent::name(public, message, signature);
    if recent::is_known(&name) {
        return Ok(());
    }
    let bad_key = |_| IdentityError::BadPublicKey(crate::text::hex(public));
    let key = VerifyingKey::from_bytes(public).map_err(bad_key)?;
    key.verify_strict(message, &DalekSignature::from_bytes(signature))
        .map_err(|_| IdentityError::BadSignature { kind })?;
    recent::remember(name);
    Ok(())
}
