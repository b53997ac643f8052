//! What can go wrong with keys, and what to do about it.

/// Why a key, a signature, a backup or a sealed message was refused.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum IdentityError {
    /// The 32 bytes are no usable Ed25519 public key.
    #[error("{0} is not a usable Ed25519 public key; ask its owner for the right one")]
    BadPublicKey(String),
    /// The signature does not fit key, kind, network and message.
    #[error("the signature does not fit this {kind} and this network; refuse the message")]
    BadSignature {
        /// What was signed.
        kind: &'static str,
    },
    /// A text form of an identifier has a wrong length, letter or spare bit.
    #[error("'{text}' is not a {what}: {detail}")]
    BadText {
        /// The text, cut to 80 characters.
        text: String,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        detail: &'static str,
    },
    /// A cluster's secret that can be guessed.
    #[error(
        "a cluster's secret has at least 16 bytes, this one {0}: write 32 random bytes as text into its file"
    )]
    ShortSecret(usize),
    /// No password was given.
    #[error("the password is empty; choose one")]
    EmptyPassword,
    /// The secret to back up is too long.
    #[error("a secret of {0} bytes is too long for a backup (64 KiB)")]
    SecretTooLong(usize),
    /// The file is no backup, was cut short or was altered.
    #[error("this is not a whole backup ({0}); copy the file again")]
    DamagedBackup(&'static str),
    /// The backup comes from a newer version.
    #[error("the backup has format {0}, which this version cannot read; use a newer one")]
    BackupVersion(u8),
    /// The header asks for more memory or time than is allowed.
    #[error(
        "the backup asks for {memory_kib} KiB, {passes} passes and {lanes} lanes of Argon2, which is outside the limits; it was not made by this program"
    )]
    CostOutOfBounds {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// The machine has too little memory to derive the key.
    #[error("not enough memory to derive the key; {0} KiB are needed")]
    OutOfMemory(u32),
    /// The password is wrong (or somebody altered the backup and its checksum).
    #[error("wrong password: the backup does not open with it; try again, nothing was changed")]
    WrongPassword,
    /// The recipient's key is one of the few that make every sealed message readable.
    #[error("the recipient's X25519 key is a weak point; ask for another one")]
    WeakSealKey,
    /// A message is too long to be sealed or opened.
    #[error("a message of {0} bytes is too long to seal (16 MiB); store it as a blob")]
    SealTooLong(usize),
    /// A piece of data is too long to be encrypted at once.
    #[error("a piece of {0} bytes is too long to encrypt at once (8 MiB); cut it")]
    PieceTooLong(usize),
    /// A piece of data does not decrypt.
    #[error("this does not decrypt: it is for another key, or was altered or cut short")]
    NotDecrypted,
    /// The sealed message is not for this key, or was altered.
    #[error("the sealed message does not open: it is for another key or context, or was altered")]
    NotOpened,
}
