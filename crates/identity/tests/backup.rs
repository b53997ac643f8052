//! Backups: restored with the right password, refused in every other way.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_identity::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

fn entropy() -> impl FnMut(&mut [u8]) {
    let mut next = 0u8;
    move |bytes| {
        for byte in bytes {
            next = next.wrapping_mul(5).wrapping_add(1);
            *byte = next;
        }
    }
}

/// `backup` with the checksum made right again, as an attacker would.
fn resummed(mut backup: Vec<u8>) -> Vec<u8> {
    let body = backup.len() - 8;
    let sum: [u8; 32] = Sha256::digest(&backup[..body]).into();
    backup[body..].copy_from_slice(&sum[..8]);
    backup
}

#[test]
fn a_key_comes_back_at_full_cost() {
    let pair = KeyPair::generate(&mut entropy());
    let backup =
        back_up(&pair.seed()[..], b"correct horse", Cost::default(), &mut entropy()).unwrap();
    let seed = restore(&backup, b"correct horse").unwrap();
    assert_eq!(KeyPair::from_seed(seed[..].try_into().unwrap()).public(), pair.public());
    assert_eq!(restore(&backup, b"correct house"), Err(IdentityError::WrongPassword));
}

/// Made with the Python package cryptography (Argon2id, AESGCM; see the header of
/// `src/backup.rs` for the bytes).
#[test]
fn a_backup_made_by_other_libraries_is_read() {
    let backup = hex::decode(include_str!("python-backup.hex").trim()).unwrap();
    assert_eq!(restore(&backup, b"pa\xc3\x9fwort").unwrap()[..], *b"the secret of another program");
}

#[test]
fn a_malicious_header_allocates_nothing() {
    let backup = back_up(b"s", b"p", CHEAP, &mut entropy()).unwrap();
    for (at, name) in [(9, "memory"), (13, "passes"), (17, "lanes")] {
        for number in [0u32, 1 << 20, u32::MAX] {
            let mut altered = backup.clone();
            altered[at..at + 4].copy_from_slice(&number.to_be_bytes());
            let error = restore(&resummed(altered), b"p").unwrap_err();
            assert!(
                matches!(error, IdentityError::CostOutOfBounds { .. }),
                "{name} {number}: {error}"
            );
        }
    }
}

#[test]
fn bad_input_has_typed_errors() {
    assert_eq!(back_up(b"s", b"", CHEAP, &mut entropy()), Err(IdentityError::EmptyPassword));
    let long = vec![0; MAX_SECRET_BYTES + 1];
    let too_long = Err(IdentityError::SecretTooLong(long.len()));
    assert_eq!(back_up(&long, b"p", CHEAP, &mut entropy()), too_long);
    assert!(matches!(restore(b"", b"p"), Err(IdentityError::DamagedBackup(_))));
    assert!(matches!(restore(&[0; 90], b"p"), Err(IdentityError::DamagedBackup(_))));
    let vast = vec![0; MAX_BACKUP_BYTES + 1];
    assert!(matches!(restore(&vast, b"p"), Err(IdentityError::DamagedBackup(_))));
    let mut newer = back_up(b"s", b"p", CHEAP, &mut entropy()).unwrap();
    newer[8] = 2;
    assert_eq!(restore(&resummed(newer), b"p"), Err(IdentityError::BackupVersion(2)));
}

proptest! {
    #[test]
    fn any_secret_comes_back_and_any_altered_byte_does_not(
            secret in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(),
            flip in 1u8.., cut in any::<bool>()) {
        let backup = back_up(&secret, b"p", CHEAP, &mut entropy()).unwrap();
        prop_assert_eq!(&restore(&backup, b"p").unwrap()[..], &secret[..]);
        let at = at.index(backup.len());
        let mut altered = backup.clone();
        if cut { altered.truncate(at) } else { altered[at] ^= flip }
        prop_assert!(matches!(restore(&altered, b"p"), Err(IdentityError::DamagedBackup(_))));
        if !cut && at >= 21 && at < backup.len() - 8 {
            // Salt, nonce or ciphertext, with a right checksum: the cipher refuses it.
            prop_assert_eq!(restore(&resummed(altered), b"p"), Err(IdentityError::WrongPassword));
        }
    }
}
