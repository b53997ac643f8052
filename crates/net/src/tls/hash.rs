//! SHA-256 and HMAC-SHA-256 behind the traits of rustls.

use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::crypto::hmac::{Hmac as RustlsHmac, Key, Tag};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

const DIGEST_LEN: usize = 32;
const BLOCK_LEN: usize = 64;

/// SHA-256 (FIPS 180-4).
pub(super) struct Sha256Hash;

impl Hash for Sha256Hash {
    fn start(&self) -> Box<dyn Context> {
        Box::new(Running(Sha256::new()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        Output::new(&Sha256::digest(data))
    }

    fn output_len(&self) -> usize {
        DIGEST_LEN
    }

    fn algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }
}

/// A SHA-256 computation under way.
struct Running(Sha256);

impl Context for Running {
    fn fork_finish(&self) -> Output {
        Output::new(&self.0.clone().finalize())
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Running(self.0.clone()))
    }

    fn finish(self: Box<Self>) -> Output {
        Output::new(&self.0.finalize())
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}

/// HMAC with SHA-256 (RFC 2104).
pub(super) struct HmacSha256;

impl RustlsHmac for HmacSha256 {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        let mut block = [0u8; BLOCK_LEN];
        if let Some(head) = block.get_mut(..key.len()) {
            head.copy_from_slice(key);
        } else {
            block[..DIGEST_LEN].copy_from_slice(&Sha256::digest(key));
        }
        let keyed = Hmac::<Sha256>::new(&block.into());
        block.zeroize();
        Box::new(Keyed(keyed))
    }

    fn hash_output_len(&self) -> usize {
        DIGEST_LEN
    }
}

/// HMAC-SHA-256 with its key absorbed.
struct Keyed(Hmac<Sha256>);

impl Key for Keyed {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut mac = self.0.clone();
        mac.update(first);
        for part in middle {
            mac.update(part);
        }
        mac.update(last);
        Tag::new(&mac.finalize().into_bytes())
    }

    fn tag_len(&self) -> usize {
        DIGEST_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(key: &[u8], data: &[u8]) -> String {
        hex::encode(HmacSha256.with_key(key).sign_concat(b"", &[data], b"").as_ref())
    }

    #[test]
    fn hmac_matches_rfc_4231() {
        assert_eq!(
            sign(&[0x0b; 20], b"Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            sign(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        // A key longer than the block is hashed first.
        assert_eq!(
            sign(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn forks_do_not_disturb_the_running_hash() {
        let mut running = Sha256Hash.start();
        running.update(b"ab");
        let mut fork = running.fork();
        fork.update(b"x");
        assert_eq!(fork.finish().as_ref(), Sha256Hash.hash(b"abx").as_ref());
        assert_eq!(running.fork_finish().as_ref(), Sha256Hash.hash(b"ab").as_ref());
        running.update(b"c");
        assert_eq!(
            hex::encode(running.finish().as_ref()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
