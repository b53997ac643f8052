//! A secret that the members of one cluster share: who knows it can prove that, and read what is
//! sealed for the exchange in which he did.

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use crate::IdentityError;

/// Fewest bytes of a cluster's secret.
pub const MIN_CLUSTER_SECRET: usize = 16;

/// A cluster's secret.
pub struct ClusterSecret(Zeroizing<[u8; 32]>);

/// The random numbers of one exchange: the server's, then the client's. The server's is new for each,
/// so a proof is good once; with the client's an answer fits its question only.
pub type Exchange = [[u8; 32]; 2];

impl ClusterSecret {
    /// The secret of these bytes, without white space around them.
    ///
    /// # Errors
    /// They are fewer than [`MIN_CLUSTER_SECRET`].
    pub fn new(bytes: &[u8]) -> Result<Self, IdentityError> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < MIN_CLUSTER_SECRET {
            return Err(IdentityError::ShortSecret(bytes.len()));
        }
        Ok(Self(Zeroizing::new(blake3::derive_key("anthill 2026-11-22 cluster secret v1", bytes))))
    }

    fn keyed(&self, purpose: &[u8], exchange: &Exchange, message: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // All parts but the last have a fixed length.
        hasher.update(&[purpose.len() as u8]).update(purpose);
        hasher.update(&exchange[0]).update(&exchange[1]).update(message);
        hasher.finalize()
    }

    /// Shows that the maker of a message knows the secret.
    pub fn prove(&self, exchange: &Exchange, message: &[u8]) -> [u8; 32] {
        self.keyed(b"question", exchange, message).into()
    }

    /// Whether a proof is right; takes as long for any wrong one.
    pub fn accepts(&self, exchange: &Exchange, message: &[u8], proof: &[u8; 32]) -> bool {
        // The comparison of these hashes takes constant time.
        self.keyed(b"question", exchange, message) == blake3::Hash::from_bytes(*proof)
    }

    fn cipher(&self, exchange: &Exchange) -> Aes256Gcm {
        let key = Zeroizing::new(*self.keyed(b"answer", exchange, &[]).as_bytes());
        Aes256Gcm::new((&*key).into())
    }

    /// Seals the one answer of an exchange (AES-256-GCM; the key is used once).
    ///
    /// # Errors
    /// It is too long for the cipher.
    pub fn seal(&self, exchange: &Exchange, answer: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let sealed = self.cipher(exchange).encrypt(&Nonce::from([0; 12]), answer);
        sealed.map_err(|_| IdentityError::SealTooLong(answer.len()))
    }

    /// Opens the answer of an exchange.
    ///
    /// # Errors
    /// It was not sealed for this exchange by one who knows the secret.
    pub fn open(&self, exchange: &Exchange, sealed: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let opened = self.cipher(exchange).decrypt(&Nonce::from([0; 12]), sealed);
        opened.map_err(|_| IdentityError::NotOpened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: Exchange = [[1; 32], [2; 32]];

    #[test]
    fn who_knows_the_secret_is_heard_once_and_nobody_else() {
        let secret = ClusterSecret::new(b" a long enough secret\n").unwrap();
        let same = ClusterSecret::new(b"a long enough secret").unwrap();
        let other = ClusterSecret::new(b"a long enough Secret").unwrap();
        let proof = same.prove(&EXCHANGE, b"let me in");
        assert!(secret.accepts(&EXCHANGE, b"let me in", &proof));
        assert!(!secret.accepts(&EXCHANGE, b"let me iN", &proof));
        assert!(!secret.accepts(&[[3; 32], [2; 32]], b"let me in", &proof));
        assert!(!secret.accepts(&[[1; 32], [3; 32]], b"let me in", &proof));
        assert!(!secret.accepts(&EXCHANGE, b"let me in", &other.prove(&EXCHANGE, b"let me in")));
        let mut turned = proof;
        turned[31] ^= 1;
        assert!(!secret.accepts(&EXCHANGE, b"let me in", &turned));
    }

    #[test]
    fn an_answer_opens_in_its_own_exchange_alone() {
        let secret = ClusterSecret::new(b"a long enough secret").unwrap();
        let other = ClusterSecret::new(b"a long enough Secret").unwrap();
        let sealed = secret.seal(&EXCHANGE, b"welcome").unwrap();
        assert_eq!(secret.open(&EXCHANGE, &sealed).unwrap(), b"welcome");
        assert!(other.open(&EXCHANGE, &sealed).is_err());
        assert!(secret.open(&[[1; 32], [9; 32]], &sealed).is_err());
        for i in 0..sealed.len() {
            let mut turned = sealed.clone();
            turned[i] ^= 1;
            assert!(secret.open(&EXCHANGE, &turned).is_err(), "byte {i}");
        }
        assert!(secret.open(&EXCHANGE, b"").is_err());
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(matches!(ClusterSecret::new(b"  short \n"), Err(IdentityError::ShortSecret(5))));
        assert!(ClusterSecret::new(&[7; MIN_CLUSTER_SECRET]).is_ok());
    }
}
