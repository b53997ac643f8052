//! Encrypted backups of secrets: Argon2id (RFC 9106) and AES-256-GCM, all parameters authenticated.
//!
//! Bytes: magic `ANTHILLK`, format 1, memory in KiB, passes and lanes (u32 big-endian each), salt
//! (16), nonce (12), ciphertext with tag, and 8 bytes of SHA-256 over all before them. The checksum
//! tells a damaged file from a wrong password; everything before the ciphertext is the associated
//! data of the cipher.

use crate::{Entropy, IdentityError, Zeroizing};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 8] = b"ANTHILLK";
const FORMAT: u8 = 1;
const HEADER: usize = 8 + 1 + 12 + 16 + 12;
const TAG: usize = 16;
const CHECKSUM: usize = 8;

/// Longest secret that can be backed up, in bytes.
pub const MAX_SECRET_BYTES: usize = 64 << 10;
/// Longest backup, in bytes.
pub const MAX_BACKUP_BYTES: usize = HEADER + MAX_SECRET_BYTES + TAG + CHECKSUM;

/// What deriving the key from the password costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB: 8 per lane to 262,144 (256 MiB).
    pub memory_kib: u32,
    /// Passes over it: 1 to 16.
    pub passes: u32,
    /// Lanes: 1 to 4.
    pub lanes: u32,
}

impl Default for Cost {
    /// 64 MiB, 3 passes, 1 lane (DESIGN 5).
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 1 }
    }
}

impl Cost {
    /// Refuses what would take gigabytes or minutes: a backup's header is foreign input.
    fn check(self) -> Result<Self, IdentityError> {
        let Self { memory_kib, passes, lanes } = self;
        let lanes_fit = (1..=4).contains(&lanes) && memory_kib >= 8 * lanes;
        if lanes_fit && memory_kib <= 256 << 10 && (1..=16).contains(&passes) {
            return Ok(self);
        }
        Err(IdentityError::CostOutOfBounds { memory_kib, passes, lanes })
    }

    fn derive(self, password: &[u8], salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
        let Self { memory_kib, passes, lanes } = self.check()?;
        let out_of_bounds = |_| IdentityError::CostOutOfBounds { memory_kib, passes, lanes };
        let parameters = Params::new(memory_kib, passes, lanes, Some(32)).map_err(out_of_bounds)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into(password, salt, &mut key[..])
            .map_err(|_| IdentityError::OutOfMemory(memory_kib))?;
        Ok(key)
    }
}

/// Encrypts `secret` under `password`; salt and nonce come from `entropy`.
///
/// # Errors
/// [`IdentityError::EmptyPassword`], [`IdentityError::SecretTooLong`] or a cost out of bounds.
pub fn back_up(
    secret: &[u8],
    password: &[u8],
    cost: Cost,
    entropy: Entropy<'_>,
) -> Result<Vec<u8>, IdentityError> {
    if password.is_empty() {
        return Err(IdentityError::EmptyPassword);
    }
    if secret.len() > MAX_SECRET_BYTES {
        return Err(IdentityError::SecretTooLong(secret.len()));
    }
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    entropy(&mut salt);
    entropy(&mut nonce);
    let key = cost.derive(password, &salt)?;
    let mut out = MAGIC.to_vec();
    out.push(FORMAT);
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        out.extend(number.to_be_bytes());
    }
    out.extend(salt);
    out.extend(nonce);
    let sealed = Aes256Gcm::new((&*key).into())
        .encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: &out })
        .map_err(|_| IdentityError::SecretTooLong(secret.len()))?;
    out.extend(sealed);
    out.extend(checksum(&out));
    Ok(out)
}

/// Decrypts a backup made by [`back_up`].
///
/// # Errors
/// [`IdentityError::WrongPassword`], [`IdentityError::DamagedBackup`] and the like; nothing is
/// allocated before the header has been checked.
pub fn restore(backup: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    if password.is_empty() {
        return Err(IdentityError::EmptyPassword);
    }
    if backup.len() > MAX_BACKUP_BYTES {
        return Err(IdentityError::DamagedBackup("it is longer than any backup"));
    }
    let (body, sum) = backup
        .split_last_chunk::<CHECKSUM>()
        .filter(|(body, _)| body.len() >= HEADER + TAG)
        .ok_or(IdentityError::DamagedBackup("it is too short"))?;
    if body.get(..8) != Some(MAGIC) {
        return Err(IdentityError::DamagedBackup("it does not begin like one"));
    }
    if checksum(body) != *sum {
        return Err(IdentityError::DamagedBackup("its checksum is wrong"));
    }
    if body[8] != FORMAT {
        return Err(IdentityError::BackupVersion(body[8]));
    }
    let (header, sealed) = body.split_at(HEADER);
    let (numbers, salt, nonce) = (&header[9..21], &header[21..37], &header[37..49]);
    let number = |i: usize| numbers[i * 4..i * 4 + 4].iter().fold(0, |n, b| n << 8 | u32::from(*b));
    let cost = Cost { memory_kib: number(0), passes: number(1), lanes: number(2) };
    let key = cost.derive(password, salt)?;
    let mut nonce_bytes = [0; 12];
    nonce_bytes.copy_from_slice(nonce);
    Aes256Gcm::new((&*key).into())
        .decrypt(&Nonce::from(nonce_bytes), Payload { msg: sealed, aad: header })
        .map(Zeroizing::new)
        .map_err(|_| IdentityError::WrongPassword)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&digest[..CHECKSUM]);
    sum
}
