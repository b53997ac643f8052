//! AES-GCM (NIST SP 800-38D) and the TLS 1.3 record layer on top of it.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
    Nonce, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
    UnsupportedOperationError, make_tls13_aad,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion};

/// Bytes of an AES-128 key.
pub(super) const KEY_LEN: usize = 16;
/// Bytes of the authentication tag.
pub(super) const TAG_LEN: usize = 16;
/// Bytes of the nonce.
const NONCE_LEN: usize = 12;

/// AES-GCM under one key.
///
/// TLS hands over 16-byte keys; iroh seals its address tokens through the same trait with a
/// 32-byte key, which selects AES-256. Any other length makes an object whose every operation
/// fails, because the traits of rustls leave no room for an error here.
pub(super) enum Gcm {
    /// Key of 16 bytes.
    Aes128(Box<Aes128Gcm>),
    /// Key of 32 bytes.
    Aes256(Box<Aes256Gcm>),
    /// Key of a length that AES-GCM does not have.
    Unusable,
}

impl Gcm {
    /// Expands `key`.
    pub(super) fn new(key: &[u8]) -> Self {
        if let Ok(key) = <[u8; 16]>::try_from(key) {
            Gcm::Aes128(Box::new(Aes128Gcm::new(&key.into())))
        } else if let Ok(key) = <[u8; 32]>::try_from(key) {
            Gcm::Aes256(Box::new(Aes256Gcm::new(&key.into())))
        } else {
            Gcm::Unusable
        }
    }

    /// Encrypts `data` in place and returns the tag.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Error> {
        let sealed = match self {
            Gcm::Aes128(gcm) => gcm.encrypt_inout_detached(&nonce.into(), aad, data.into()),
            Gcm::Aes256(gcm) => gcm.encrypt_inout_detached(&nonce.into(), aad, data.into()),
            Gcm::Unusable => return Err(Error::EncryptError),
        };
        sealed.map(Into::into).map_err(|_| Error::EncryptError)
    }

    /// Checks the tag at the end of `data`, decrypts in place, returns the plaintext's length.
    pub(super) fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<usize, Error> {
        let len = data.len().checked_sub(TAG_LEN).ok_or(Error::DecryptError)?;
        let (body, tag) = data.split_at_mut(len);
        let tag = <[u8; TAG_LEN]>::try_from(&*tag).map_err(|_| Error::DecryptError)?.into();
        let opened = match self {
            Gcm::Aes128(gcm) => gcm.decrypt_inout_detached(&nonce.into(), aad, body.into(), &tag),
            Gcm::Aes256(gcm) => gcm.decrypt_inout_detached(&nonce.into(), aad, body.into(), &tag),
            Gcm::Unusable => return Err(Error::DecryptError),
        };
        opened.map(|()| len).map_err(|_| Error::DecryptError)
    }
}

/// The record protection of TLS 1.3 (RFC 9846 5.2).
pub(super) struct RecordAead;

impl Tls13AeadAlgorithm for RecordAead {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Record::new(&key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Record::new(&key, iv))
    }

    fn key_len(&self) -> usize {
        KEY_LEN
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(ConnectionTrafficSecrets::Aes128Gcm { key, iv })
    }
}

/// One direction of a record layer.
struct Record {
    gcm: Gcm,
    iv: Iv,
}

impl Record {
    fn new(key: &AeadKey, iv: Iv) -> Self {
        Record { gcm: Gcm::new(key.as_ref()), iv }
    }
}

impl MessageEncrypter for Record {
    fn encrypt(
        &mut self,
        msg: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let total = self.encrypted_payload_len(msg.payload.len());
        let mut payload = PrefixedPayload::with_capacity(total);
        payload.extend_from_chunks(&msg.payload);
        payload.extend_from_slice(&[u8::from(msg.typ)]);
        let tag =
            self.gcm.seal(Nonce::new(&self.iv, seq).0, &make_tls13_aad(total), payload.as_mut())?;
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(
            ContentType::ApplicationData,
            // TLS 1.3 records carry the version number of TLS 1.2 (RFC 9846 5.2).
            ProtocolVersion::TLSv1_2,
            payload,
        ))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + 1 + TAG_LEN
    }
}

impl MessageDecrypter for Record {
    fn decrypt<'a>(
        &mut self,
        mut msg: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let payload = &mut msg.payload;
        let aad = make_tls13_aad(payload.len());
        let len = self.gcm.open(Nonce::new(&self.iv, seq).0, &aad, payload)?;
        payload.truncate(len);
        msg.into_tls13_unpadded_message()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustls::crypto::cipher::OutboundChunks;

    fn round_trip(key: AeadKey, again: AeadKey, flip: bool) -> Option<Vec<u8>> {
        let sent = OutboundPlainMessage {
            typ: ContentType::Handshake,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(b"ants"),
        };
        let out = RecordAead.encrypter(key, Iv::from([7; 12])).encrypt(sent, 3).ok()?;
        let mut bytes = out.payload.as_ref().to_vec();
        assert_eq!(bytes.len(), 4 + 1 + TAG_LEN);
        bytes[2] ^= u8::from(flip);
        let received = InboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            &mut bytes,
        );
        let mut decrypter = RecordAead.decrypter(again, Iv::from([7; 12]));
        let plain = decrypter.decrypt(received, 3).ok()?;
        assert_eq!(plain.typ, ContentType::Handshake);
        Some(plain.payload.to_vec())
    }

    #[test]
    fn records_round_trip_under_long_keys_and_notice_changes() {
        // rustls builds 16-byte keys only inside itself; iroh's tokens use 32 bytes.
        let key = || AeadKey::from([9; 32]);
        assert_eq!(round_trip(key(), key(), false).unwrap(), b"ants");
        assert!(round_trip(key(), key(), true).is_none());
        assert!(round_trip(key(), AeadKey::from([8; 32]), false).is_none());
    }

    #[test]
    fn impossible_keys_and_short_input_are_errors() {
        let gcm = Gcm::new(&[1; 17]);
        assert!(gcm.seal([0; 12], b"", &mut [0; 4]).is_err());
        assert!(gcm.open([0; 12], b"", &mut [0; 20]).is_err());
        assert!(Gcm::new(&[1; 16]).open([0; 12], b"", &mut [0; 15]).is_err());
    }

    #[test]
    fn aes_128_gcm_matches_the_gcm_paper_case_4() {
        // McGrew and Viega, "The Galois/Counter Mode of Operation", test case 4.
        let hex = |s: &str| hex::decode(s).unwrap();
        let gcm = Gcm::new(&hex("feffe9928665731c6d6a8f9467308308"));
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().unwrap();
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let mut data = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
        let tag = gcm.seal(nonce, &aad, &mut data).unwrap();
        assert_eq!(hex::encode(tag), "5bc94fbc3221a5db94fae95ae7121a47");
        assert_eq!(
            hex::encode(data),
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
        );
    }
}
