//! Sealing: against another implementation of RFC 9180, and what must not open.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_identity::*;
use proptest::prelude::*;

fn entropy(seed: u8) -> impl FnMut(&mut [u8]) {
    let mut next = seed;
    move |bytes| {
        for byte in bytes {
            next = next.wrapping_mul(5).wrapping_add(1);
            *byte = next;
        }
    }
}

/// Sealed by the Python package cryptography (`hpke.Suite(X25519, HKDF_SHA256, AES_256_GCM)`) to
/// the secret key 2a2a...2a; each line is info, message, sealed bytes.
#[test]
fn messages_sealed_by_another_implementation_open() {
    let key = SealKey::from_seed([0x2a; 32]);
    let unhex = |text: &str| if text == "-" { vec![] } else { hex::decode(text).unwrap() };
    let mut lines = 0;
    for line in include_str!("python-hpke.txt").lines() {
        let parts: Vec<Vec<u8>> = line.split(' ').map(unhex).collect();
        let [info, message, sealed] = &parts[..] else { panic!("{line}") };
        assert_eq!(open(&key, info, b"", sealed).unwrap()[..], message[..]);
        lines += 1;
    }
    assert_eq!(lines, 2);
}

#[test]
fn a_weak_key_is_refused() {
    // The points of small order 0 and 1.
    for point in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let result = seal(&point, b"", b"", b"secret", &mut entropy(1));
        assert_eq!(result, Err(IdentityError::WeakSealKey));
    }
}

#[test]
fn bounds_are_typed_errors() {
    let key = SealKey::generate(&mut entropy(1));
    let vast = vec![0; MAX_SEALED_BYTES + 1];
    assert_eq!(open(&key, b"", b"", &vast), Err(IdentityError::SealTooLong(vast.len())));
    let result = seal(&key.public(), b"", b"", &vast, &mut entropy(1));
    assert_eq!(result, Err(IdentityError::SealTooLong(vast.len())));
    assert_eq!(open(&key, b"", b"", &[1; 47]), Err(IdentityError::NotOpened));
    assert_eq!(open(&key, b"", b"", &[]), Err(IdentityError::NotOpened));
    assert!(!format!("{key:?}").is_empty());
}

proptest! {
    #[test]
    fn only_the_recipient_opens_it_and_only_unaltered(
            message in prop::collection::vec(any::<u8>(), 0..300), seed in any::<u8>(),
            at in any::<prop::sample::Index>(), flip in 1u8..) {
        let key = SealKey::from_seed([9; 32]);
        let sealed = seal(&key.public(), b"info", b"aad", &message, &mut entropy(seed)).unwrap();
        prop_assert_eq!(sealed.len(), message.len() + SEAL_OVERHEAD);
        prop_assert_eq!(&open(&key, b"info", b"aad", &sealed).unwrap()[..], &message[..]);
        let other = SealKey::from_seed([8; 32]);
        prop_assert!(open(&other, b"info", b"aad", &sealed).is_err());
        prop_assert!(open(&key, b"inf", b"aad", &sealed).is_err());
        prop_assert!(open(&key, b"info", b"ad", &sealed).is_err());
        let mut altered = sealed.clone();
        // The top bit of an X25519 point is ignored by its definition, yet the key is bound.
        altered[at.index(sealed.len())] ^= flip;
        prop_assert!(open(&key, b"info", b"aad", &altered).is_err());
    }
}
