//! Supply TLS 1.3 cryptography to QUIC in pure Rust: one cipher suite, one key exchange.
//!
//! Only `TLS13_AES_128_GCM_SHA256` and X25519 are offered, so every hop is AES-GCM and no C
//! compiler is needed. Signatures are absent on purpose: iroh authenticates raw Ed25519 public
//! keys itself.

mod aead;
mod hash;
mod kx;
mod quic;

use std::sync::Arc;

use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::crypto::{CryptoProvider, KeyProvider, WebPkiSupportedAlgorithms};
use rustls::{CipherSuite, CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite};

/// Records that one TLS key may encrypt (RFC 9846 5.5: 2^24.5 full-size records for AES-GCM).
const TCP_CONFIDENTIALITY_LIMIT: u64 = 1 << 24;

/// The only cipher suite on offer: AES-128-GCM with SHA-256 (RFC 9846 B.4), QUIC included.
pub static TLS13_AES_128_GCM_SHA256: Tls13CipherSuite = Tls13CipherSuite {
    common: CipherSuiteCommon {
        suite: CipherSuite::TLS13_AES_128_GCM_SHA256,
        hash_provider: &hash::Sha256Hash,
        confidentiality_limit: TCP_CONFIDENTIALITY_LIMIT,
    },
    hkdf_provider: &HkdfUsingHmac(&hash::HmacSha256),
    aead_alg: &aead::RecordAead,
    quic: Some(&quic::QuicAes128),
};

/// The rustls provider of this crate: one suite, X25519, the operating system's random numbers.
///
/// It verifies no X.509 signature and loads no private key; both attempts give an error.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![SupportedCipherSuite::Tls13(&TLS13_AES_128_GCM_SHA256)],
        kx_groups: vec![&kx::X25519],
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
        secure_random: &kx::SystemRandom,
        key_provider: &NoKeys,
    })
}

/// Refuses private keys: this provider has no signature algorithm.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(
        &self,
        _key: rustls::pki_types::PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn rustls::sign::SigningKey>, rustls::Error> {
        Err(rustls::Error::General(
            "this TLS provider signs nothing; peers are authenticated by raw Ed25519 keys".into(),
        ))
    }
}
