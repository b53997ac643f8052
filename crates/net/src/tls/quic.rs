//! QUIC packet and header protection with AES-128 (RFC 9001 5.3 and 5.4), multipath included.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use rustls::Error;
use rustls::crypto::cipher::{AeadKey, Iv, Nonce};
use rustls::quic::{Algorithm, HeaderProtectionKey, PacketKey, Tag};

use super::aead::{Gcm, KEY_LEN, TAG_LEN};

/// Packets that one key may encrypt (RFC 9001 6.6, packets of up to 2^11 bytes: 2^23).
const CONFIDENTIALITY_LIMIT: u64 = 1 << 23;
/// Forged packets that one key may meet before it must be dropped (RFC 9001 6.6).
const INTEGRITY_LIMIT: u64 = 1 << 52;
/// Bytes of ciphertext that are sampled for header protection (RFC 9001 5.4.3).
const SAMPLE_LEN: usize = 16;
/// Longest packet number on the wire, in bytes (RFC 9000 17.1).
const MAX_PACKET_NUMBER_LEN: usize = 4;

/// Makes the keys of a QUIC connection.
pub(super) struct QuicAes128;

impl Algorithm for QuicAes128 {
    fn packet_key(&self, key: AeadKey, iv: Iv) -> Box<dyn PacketKey> {
        Box::new(Packets { gcm: Gcm::new(key.as_ref()), iv })
    }

    fn header_protection_key(&self, key: AeadKey) -> Box<dyn HeaderProtectionKey> {
        let key = <[u8; KEY_LEN]>::try_from(key.as_ref()).ok();
        Box::new(Headers(key.map(|key| Aes128::new(&key.into()))))
    }

    fn aead_key_len(&self) -> usize {
        KEY_LEN
    }
}

/// Protects packets: AES-128-GCM under nonce = IV xor (path id, packet number).
struct Packets {
    gcm: Gcm,
    iv: Iv,
}

impl Packets {
    fn seal(&self, nonce: Nonce, header: &[u8], payload: &mut [u8]) -> Result<Tag, Error> {
        let tag = self.gcm.seal(nonce.0, header, payload)?;
        Ok(Tag::from(&tag[..]))
    }

    fn open<'a>(
        &self,
        nonce: Nonce,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        let len = self.gcm.open(nonce.0, header, payload)?;
        payload.get(..len).ok_or(Error::DecryptError)
    }
}

impl PacketKey for Packets {
    fn encrypt_in_place(
        &self,
        packet_number: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<Tag, Error> {
        self.seal(Nonce::new(&self.iv, packet_number), header, payload)
    }

    fn encrypt_in_place_for_path(
        &self,
        path_id: u32,
        packet_number: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<Tag, Error> {
        let nonce = Nonce::for_path(path_id, &self.iv, packet_number);
        self.seal(nonce, header, payload)
    }

    fn decrypt_in_place<'a>(
        &self,
        packet_number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        self.open(Nonce::new(&self.iv, packet_number), header, payload)
    }

    fn decrypt_in_place_for_path<'a>(
        &self,
        path_id: u32,
        packet_number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        let nonce = Nonce::for_path(path_id, &self.iv, packet_number);
        self.open(nonce, header, payload)
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        CONFIDENTIALITY_LIMIT
    }

    fn integrity_limit(&self) -> u64 {
        INTEGRITY_LIMIT
    }
}

/// Protects headers with AES-128 in electronic-codebook mode; `None` after a key of wrong length.
struct Headers(Option<Aes128>);

impl Headers {
    /// The five mask bytes of RFC 9001 5.4.1, from a sample of the ciphertext.
    fn mask(&self, sample: &[u8], packet_number: &[u8]) -> Result<[u8; 5], Error> {
        if packet_number.len() > MAX_PACKET_NUMBER_LEN {
            return Err(Error::General("packet number longer than 4 bytes".into()));
        }
        let sample = <[u8; SAMPLE_LEN]>::try_from(sample)
            .map_err(|_| Error::General("header protection sample is not 16 bytes".into()))?;
        let aes = self
            .0
            .as_ref()
            .ok_or_else(|| Error::General("header protection key is not 16 bytes".into()))?;
        let mut block = sample.into();
        aes.encrypt_block(&mut block);
        Ok([block[0], block[1], block[2], block[3], block[4]])
    }
}

/// Bits of the first byte that are masked: four in a long header, five in a short one.
fn first_byte_bits(first: u8) -> u8 {
    if first & 0x80 == 0x80 { 0x0f } else { 0x1f }
}

impl HeaderProtectionKey for Headers {
    fn encrypt_in_place(
        &self,
        sample: &[u8],
        first: &mut u8,
        packet_number: &mut [u8],
    ) -> Result<(), Error> {
        let [head, tail @ ..] = self.mask(sample, packet_number)?;
        let number_len = usize::from(*first & 0x03) + 1;
        *first ^= head & first_byte_bits(*first);
        for (byte, mask) in packet_number.iter_mut().zip(tail).take(number_len) {
            *byte ^= mask;
        }
        Ok(())
    }

    fn decrypt_in_place(
        &self,
        sample: &[u8],
        first: &mut u8,
        packet_number: &mut [u8],
    ) -> Result<(), Error> {
        let [head, tail @ ..] = self.mask(sample, packet_number)?;
        // The length of the packet number is itself masked, so the first byte comes first.
        *first ^= head & first_byte_bits(*first);
        let number_len = usize::from(*first & 0x03) + 1;
        for (byte, mask) in packet_number.iter_mut().zip(tail).take(number_len) {
            *byte ^= mask;
        }
        Ok(())
    }

    fn sample_len(&self) -> usize {
        SAMPLE_LEN
    }
}
