//! Certificates: what counts, what does not, and that no byte can be altered.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_consensus::certificate::*;
use anthill_identity::KeyPair;
use proptest::prelude::*;

const GENESIS: [u8; 32] = [5; 32];

fn keys(n: u8) -> Vec<KeyPair> {
    let mut keys: Vec<_> = (0..n).map(|i| KeyPair::from_seed([i + 1; 32])).collect();
    keys.sort_by_key(KeyPair::public);
    keys
}

fn set(keys: &[KeyPair], power: u64) -> Vec<([u8; 32], u64)> {
    keys.iter().map(|key| (key.public(), power)).collect()
}

fn certificate(signers: &[KeyPair]) -> Certificate {
    let (height, round, block_hash) = (7, 2, [9; 32]);
    let message = vote_bytes(&GENESIS, PRECOMMIT, height, round, Some(&block_hash));
    let signatures = signers.iter().map(|k| (k.public(), k.sign_bytes(&message))).collect();
    Certificate { height, round, block_hash, signatures }
}

#[test]
fn more_than_two_thirds_is_needed() {
    for (n, needed) in [(1, 1), (2, 2), (3, 3), (4, 3), (6, 5), (7, 5), (10, 7)] {
        let keys = keys(n);
        let set = set(&keys, 100);
        verify_certificate(&GENESIS, &set, &certificate(&keys[..needed])).unwrap();
        let short = verify_certificate(&GENESIS, &set, &certificate(&keys[..needed - 1]));
        assert!(matches!(short, Err(CertificateError::TooLittlePower { .. })), "{n} validators");
    }
}

#[test]
fn power_counts_and_not_heads() {
    let keys = keys(4);
    let mut set = set(&keys, 1);
    set[0].1 = u64::MAX;
    verify_certificate(&GENESIS, &set, &certificate(&keys[..1])).unwrap();
    let three = verify_certificate(&GENESIS, &set, &certificate(&keys[1..]));
    assert!(matches!(three, Err(CertificateError::TooLittlePower { signed: 3, .. })));
}

#[test]
fn every_fault_has_its_error() {
    let keys = keys(5);
    let set = set(&keys[..4], 1);
    let check = |certificate: &Certificate| verify_certificate(&GENESIS, &set, certificate);
    let good = certificate(&keys[..4]);
    check(&good).unwrap();
    let mut twice = good.clone();
    twice.signatures[1] = twice.signatures[0];
    assert_eq!(check(&twice), Err(CertificateError::NotSorted(1)));
    let mut swapped = good.clone();
    swapped.signatures.swap(2, 3);
    assert_eq!(check(&swapped), Err(CertificateError::NotSorted(3)));
    assert_eq!(check(&certificate(&keys)), Err(CertificateError::Stranger(4)));
    let mut other_round = good.clone();
    other_round.round = 3;
    assert_eq!(check(&other_round), Err(CertificateError::BadSignature(0)));
    let foreign = verify_certificate(&[6; 32], &set, &good);
    assert_eq!(foreign, Err(CertificateError::BadSignature(0)));
    let empty = verify_certificate(&GENESIS, &[], &good);
    assert!(matches!(empty, Err(CertificateError::BadValidatorSet(_))));
    let double = verify_certificate(&GENESIS, &[set[0], set[0]], &good);
    assert!(matches!(double, Err(CertificateError::BadValidatorSet(_))));
    let too_long = Certificate::from_bytes(&vec![0; MAX_CERTIFICATE_BYTES + 1]);
    assert_eq!(too_long, Err(CertificateError::TooLong(MAX_CERTIFICATE_BYTES + 1)));
}

#[test]
fn the_vote_body_is_plain_cbor() {
    let bytes = vote_bytes(&[0; 32], PREVOTE, 1000, 3, None);
    assert_eq!(bytes[..15], *b"anthill/1/vote\0");
    assert_eq!(bytes[15 + 32..], [0x84, 0x00, 0x19, 0x03, 0xe8, 0x03, 0xf6]);
}

proptest! {
    #[test]
    fn an_altered_byte_never_verifies(n in 1u8..6, at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>()) {
        let keys = keys(n);
        let set = set(&keys, 3);
        let good = certificate(&keys);
        let bytes = good.to_bytes();
        prop_assert_eq!(Certificate::from_bytes(&bytes).unwrap(), good);
        let at = at.index(bytes.len());
        let mut altered = bytes.clone();
        if cut { altered.truncate(at) } else { altered[at] ^= flip }
        let verdict = Certificate::from_bytes(&altered)
            .and_then(|certificate| verify_certificate(&GENESIS, &set, &certificate));
        prop_assert!(verdict.is_err(), "byte {}", at);
    }
}
