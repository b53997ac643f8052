//! Encryption of data in pieces under a named key, the same bytes on every machine.
//!
//! A piece is encrypted with AES-256-GCM under a key and nonce of its own, both derived from the data
//! key and a *synthetic value* `S = HMAC-SHA256(K_mac, header || plaintext)` (the construction of SIV,
//! Rogaway and Shrimpton 2006, with 256 bits). So the result is a function of key, header and
//! plaintext, and can be checked by hash; nothing is drawn at random while encrypting. Two pieces use
//! one cipher key and nonce only if header and plaintext are equal (then the bytes are equal too) or
//! SHA-256 collides. The header holds a salt that the file's owner draws, so equal plaintexts of two
//! files do not show as equal.
//!
//! Bytes: version 1 (1), key id (32), salt (16), index of the piece (u32 big-endian), 1 if it is the
//! last, else 0 (1), S (32), ciphertext and tag. Everything before the ciphertext is authenticated;
//! index and last forbid to swap, drop or add pieces (STREAM, Hoang et al. 2015).

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha256;

use crate::{Entropy, IdentityError, Zeroizing};

/// Bytes that encrypting a piece adds.
pub const PIECE_OVERHEAD: usize = HEADER + SYNTHETIC + 16;
/// Longest plaintext of a piece, in bytes.
pub const MAX_PIECE: usize = 8 << 20;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 32 + 16 + 4 + 1;
const SYNTHETIC: usize = 32;

/// Which piece of which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Drawn once for a file.
    pub salt: [u8; 16],
    /// Number of the piece, from 0.
    pub index: u32,
    /// No piece follows.
    pub last: bool,
}

/// A key for data; it is wiped when it is dropped.
#[derive(Clone)]
pub struct DataKey {
    secret: Zeroizing<[u8; 32]>,
    mac: Zeroizing<[u8; 32]>,
    id: [u8; 32],
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey(id {})", crate::text::hex(&self.id))
    }
}

impl DataKey {
    /// The key of 32 secret bytes.
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        let secret = Zeroizing::new(secret);
        let mut mac = Zeroizing::new([0; 32]);
        mac.copy_from_slice(&derive::<32>(&secret, &[b"anthill/1/data-key/mac"])[..]);
        let mut id = [0; 32];
        id.copy_from_slice(&derive::<32>(&secret, &[b"anthill/1/data-key/id"])[..]);
        Self { secret, mac, id }
    }

    /// A new key from 32 random bytes.
    pub fn generate(entropy: Entropy<'_>) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        entropy(&mut secret[..]);
        Self::from_bytes(*secret)
    }

    /// The key's public name: it follows from the key, so nobody can claim it with another one.
    pub fn id(&self) -> [u8; 32] {
        self.id
    }

    /// The secret bytes, for a key file, sealing or a backup.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        self.secret.clone()
    }

    /// Encrypts a piece.
    ///
    /// # Errors
    /// [`IdentityError::PieceTooLong`].
    pub fn encrypt(&self, place: &Place, plaintext: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let too_long = || IdentityError::PieceTooLong(plaintext.len());
        if plaintext.len() > MAX_PIECE {
            return Err(too_long());
        }
        let mut out = self.header(place);
        let synthetic = self.synthetic(&out, plaintext);
        out.extend(synthetic);
        let (cipher, nonce) = self.cipher(&synthetic);
        let sealed = cipher.encrypt(&nonce, Payload { msg: plaintext, aad: &out });
        out.extend(sealed.map_err(|_| too_long())?);
        Ok(out)
    }

    /// Decrypts a piece that [`Self::encrypt`] made; says which one it is.
    ///
    /// # Errors
    /// [`IdentityError::NotDecrypted`] for another key, another format or altered bytes.
    pub fn decrypt(&self, piece: &[u8]) -> Result<(Place, Zeroizing<Vec<u8>>), IdentityError> {
        let refuse = || IdentityError::NotDecrypted;
        if piece.len() > MAX_PIECE + PIECE_OVERHEAD {
            return Err(refuse());
        }
        let place = place(piece).ok_or_else(refuse)?;
        let (open, ciphertext) = piece.split_at_checked(HEADER + SYNTHETIC).ok_or_else(refuse)?;
        let (header, synthetic) = open.split_at(HEADER);
        let synthetic: [u8; SYNTHETIC] = synthetic.try_into().map_err(|_| refuse())?;
        if header != self.header(&place) {
            return Err(refuse());
        }
        let (cipher, nonce) = self.cipher(&synthetic);
        let opened = cipher.decrypt(&nonce, Payload { msg: ciphertext, aad: open });
        let plaintext = opened.map(Zeroizing::new).map_err(|_| refuse())?;
        // Only a holder of the key can get here with a wrong value; then the piece is not the one
        // encryption of its plaintext.
        if self.synthetic(header, &plaintext) != synthetic {
            return Err(refuse());
        }
        Ok((place, plaintext))
    }

    fn header(&self, place: &Place) -> Vec<u8> {
        let last = [u8::from(place.last)];
        [&[VERSION][..], &self.id, &place.salt, &place.index.to_be_bytes(), &last].concat()
    }

    /// HMAC-SHA256 of header and plaintext; HKDF's extraction is just that.
    fn synthetic(&self, header: &[u8], plaintext: &[u8]) -> [u8; SYNTHETIC] {
        let mut mac = HkdfExtract::<Sha256>::new(Some(&self.mac[..]));
        mac.input_ikm(header);
        mac.input_ikm(plaintext);
        mac.finalize().0.into()
    }

    fn cipher(&self, synthetic: &[u8]) -> (Aes256Gcm, Nonce<aes_gcm::aead::consts::U12>) {
        let bytes = derive::<44>(&self.secret, &[b"anthill/1/data-key/piece", synthetic]);
        let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 12]);
        key.copy_from_slice(&bytes[..32]);
        nonce.copy_from_slice(&bytes[32..]);
        (Aes256Gcm::new((&*key).into()), Nonce::from(nonce))
    }
}

/// Which piece of which file these bytes say they are, and under which key: not yet checked.
pub fn piece_key(piece: &[u8]) -> Option<[u8; 32]> {
    place(piece)?;
    piece.get(1..33)?.try_into().ok()
}

fn place(piece: &[u8]) -> Option<Place> {
    let header: &[u8; HEADER] = piece.first_chunk()?;
    let last = match (header[0], header[HEADER - 1]) {
        (VERSION, 0) => false,
        (VERSION, 1) => true,
        _ => return None,
    };
    let salt = header[33..49].try_into().ok()?;
    Some(Place { salt, index: u32::from_be_bytes(header[49..53].try_into().ok()?), last })
}

/// HKDF-SHA256 of a uniform secret; at most 255 blocks of output, so expansion cannot fail.
fn derive<const N: usize>(secret: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    let expanded = Hkdf::<Sha256>::new(None, secret).expand_multi_info(info, &mut out[..]);
    debug_assert!(expanded.is_ok());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DataKey {
        DataKey::from_bytes([byte; 32])
    }

    const PLACE: Place = Place { salt: [9; 16], index: 3, last: false };

    #[test]
    fn pieces_open_with_their_key_only_and_are_a_function_of_their_content() {
        for text in [&b""[..], b"a", &[7; 100_000]] {
            let piece = key(1).encrypt(&PLACE, text).unwrap();
            assert_eq!(piece.len(), text.len() + PIECE_OVERHEAD);
            assert_eq!(piece, key(1).encrypt(&PLACE, text).unwrap());
            assert_eq!(piece_key(&piece), Some(key(1).id()));
            let (place, opened) = key(1).decrypt(&piece).unwrap();
            assert_eq!((place, &opened[..]), (PLACE, text));
            assert_eq!(key(2).decrypt(&piece).unwrap_err(), IdentityError::NotDecrypted);
        }
        let long = vec![0; MAX_PIECE + 1];
        assert_eq!(key(1).encrypt(&PLACE, &long), Err(IdentityError::PieceTooLong(MAX_PIECE + 1)));
    }

    #[test]
    fn every_byte_is_authenticated() {
        let piece = key(1).encrypt(&PLACE, b"some text").unwrap();
        for at in 0..piece.len() {
            for bit in [1, 0x80] {
                let mut bad = piece.clone();
                bad[at] ^= bit;
                assert!(key(1).decrypt(&bad).is_err(), "byte {at}");
            }
            assert!(key(1).decrypt(&piece[..at]).is_err());
        }
    }

    /// Salt, index, end mark, plaintext and key each give another synthetic value, and with it another
    /// cipher key and nonce.
    #[test]
    fn no_two_pieces_share_a_nonce() {
        let places = [
            PLACE,
            Place { salt: [8; 16], ..PLACE },
            Place { index: 4, ..PLACE },
            Place { last: true, ..PLACE },
        ];
        let mut seen = std::collections::BTreeSet::new();
        for (k, place) in [1, 2].into_iter().flat_map(|k| places.map(|p| (k, p))) {
            for text in [&b"x"[..], b"y", b""] {
                let piece = key(k).encrypt(&place, text).unwrap();
                assert!(seen.insert(piece[HEADER..HEADER + SYNTHETIC].to_vec()));
            }
        }
    }

    /// Made with Python's `hmac`, and `cryptography`'s HKDF and AESGCM, after the text above.
    #[test]
    fn bytes_are_those_of_an_independent_implementation() {
        let secret: [u8; 32] = std::array::from_fn(|i| i as u8);
        let place = Place { salt: std::array::from_fn(|i| 0xf0 | i as u8), index: 5, last: true };
        let piece = DataKey::from_bytes(secret).encrypt(&place, b"anthill").unwrap();
        assert_eq!(crate::text::hex(&piece), VECTOR);
    }

    const VECTOR: &str = "01e9bf51def29a76e6a8b839b3eaa2072ae7f0df7461e17c2713015a8808a75ac2f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff0000000501f57dfa8ef2cd74e54691d2a5ca0582e3d3207cdd373deced33383977f433901fa5cb7c793f825c55af4fa459583daaab4ef75379706be0";
}
