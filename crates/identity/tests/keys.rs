//! Signatures against RFC 8032, identifiers against their definition and their text forms.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_identity::*;
use proptest::prelude::*;

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature.
const RFC8032: [[&str; 4]; 3] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
];

#[test]
fn rfc_8032_vectors() {
    for [seed, public, message, signature] in RFC8032 {
        let pair = KeyPair::from_seed(unhex(seed));
        let message = hex::decode(message).unwrap();
        assert_eq!(pair.public(), unhex(public));
        assert_eq!(pair.sign_bytes(&message), unhex(signature));
        verify_bytes(&unhex(public), &message, &unhex(signature)).unwrap();
    }
}

#[test]
fn a_signature_is_bound_to_kind_network_and_key() {
    let pair = KeyPair::from_seed([7; 32]);
    let (public, genesis) = (pair.public(), [1; 32]);
    let signature = pair.sign("receipt", &genesis, b"body");
    verify(&public, "receipt", &genesis, b"body", &signature).unwrap();
    let bad = |kind| Err(IdentityError::BadSignature { kind });
    assert_eq!(verify(&public, "vote", &genesis, b"body", &signature), bad("vote"));
    assert_eq!(verify(&public, "receipt", &[2; 32], b"body", &signature), bad("receipt"));
    assert_eq!(verify(&public, "receipt", &genesis, b"bode", &signature), bad("receipt"));
    let other = KeyPair::from_seed([8; 32]).public();
    assert_eq!(verify(&other, "receipt", &genesis, b"body", &signature), bad("receipt"));
    assert_eq!(
        signed_bytes("vote", &[9; 32], b"x"),
        [b"anthill/1/vote\0".as_slice(), &[9; 32], b"x"].concat()
    );
}

#[test]
fn weak_keys_and_signatures_are_refused() {
    // The identity point as key and as R, with S = 0: plain verification accepts every message.
    let mut point = [0; 32];
    point[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(verify_bytes(&point, b"anything", &signature).is_err());
    assert!(verify_bytes(&[2; 32], b"anything", &signature).is_err());
}

#[test]
fn debug_shows_no_secret() {
    let pair = KeyPair::from_seed([0x5a; 32]);
    let shown = format!("{pair:?}");
    assert!(shown.contains(&hex::encode(pair.public())));
    assert!(!shown.contains(&hex::encode([0x5a; 32])));
}

#[test]
fn identifiers_have_their_lengths() {
    let key = KeyPair::from_seed([3; 32]).public();
    let pi = PiKey::of(&key);
    let mut whole = [0; 64];
    blake3::Hasher::new().update(b"anthill pi").update(&key).finalize_xof().fill(&mut whole);
    assert_eq!(pi.as_bytes()[..39], whole[..39]);
    assert_eq!(pi.as_bytes()[39], whole[39] & 0b1100_0000);
    assert_eq!(SessionKeyId::of(&key).as_bytes()[33] & 1, 0);
    assert_eq!(GenesisKey::of(&key, 5).as_bytes()[20] & 0x7f, 0);
    assert_ne!(GenesisKey::of(&key, 5), GenesisKey::of(&key, 6));
    assert_eq!((PiKey::BITS, SessionKeyId::BITS, GenesisKey::BITS), (314, 271, 161));
    assert_eq!(pi.short().len(), 12);
}

#[test]
fn base32_is_that_of_rfc_4648() {
    // Computed with Python's base64.b32encode.
    let bytes: [u8; 40] = b"foobarfoobarfoobarfoobarfoobarfoobarfo@@".to_owned();
    let pi = PiKey::from_bytes(bytes).unwrap();
    assert_eq!(pi.to_string(), "mzxw6ytbojtg633cmfzgm33pmjqxeztpn5rgc4tgn5xweylsmzxw6ytbojtg6qca");
}

#[test]
fn wrong_texts_are_refused() {
    let pi = PiKey::of(&[1; 32]);
    let mut text = pi.to_string();
    assert!(text.parse::<PiKey>().is_ok());
    text.pop();
    assert!(matches!(text.parse::<PiKey>(), Err(IdentityError::BadText { .. })));
    text.push('7');
    assert!(matches!(text.parse::<PiKey>(), Err(IdentityError::BadText { .. })));
    text.pop();
    text.push('!');
    assert!(matches!(text.parse::<PiKey>(), Err(IdentityError::BadText { .. })));
}

proptest! {
    #[test]
    fn texts_come_back(key in any::<[u8; 32]>(), epoch in any::<u64>()) {
        let pi = PiKey::of(&key);
        prop_assert_eq!(pi.to_string().parse::<PiKey>().unwrap(), pi);
        prop_assert_eq!(pi.to_hex().parse::<PiKey>().unwrap(), pi);
        let session = SessionKeyId::of(&key);
        prop_assert_eq!(session.to_string().parse::<SessionKeyId>().unwrap(), session);
        let genesis = GenesisKey::of(&key, epoch);
        prop_assert_eq!(genesis.to_string().to_uppercase().parse::<GenesisKey>().unwrap(), genesis);
    }

    #[test]
    fn an_altered_signature_is_refused(at in 0usize..64, flip in 1u8..) {
        let pair = KeyPair::from_seed([7; 32]);
        let mut signature = pair.sign("vote", &[0; 32], b"body");
        signature[at] ^= flip;
        prop_assert!(verify(&pair.public(), "vote", &[0; 32], b"body", &signature).is_err());
    }
}
