//! What can go wrong with a store, and what to do about it.

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Another process has the file open.
    #[error("{place} is in use by another process; stop it or choose another data folder")]
    Locked {
        /// The file.
        place: String,
    },
    /// The file is damaged or is no store.
    #[error(
        "{place} is damaged or not a store of this program ({detail}); \
         move it away and let the node fetch the state again, or restore a copy"
    )]
    Corrupted {
        /// The file.
        place: String,
        /// What the back-end found.
        detail: String,
    },
    /// The file was written by another version.
    #[error(
        "{place} has file format {found}, which this version cannot read; use the version that wrote it"
    )]
    Format {
        /// The file.
        place: String,
        /// Format number found.
        found: u8,
    },
    /// No space is left.
    #[error("no space left on the disk of {place}; free some and start again, nothing is lost")]
    DiskFull {
        /// The file.
        place: String,
    },
    /// The process may not read or write the file.
    #[error("{place} cannot be opened: {detail}; check owner and permissions of the data folder")]
    Denied {
        /// The file.
        place: String,
        /// What the system said.
        detail: String,
    },
    /// The folder of the file does not exist.
    #[error("{place} cannot be created: its folder does not exist; create it first")]
    NoFolder {
        /// The file.
        place: String,
    },
    /// A write failed before; the store refuses to go on until it is opened again.
    #[error("{place} had a failed write before; close it and open it again")]
    NeedsReopen {
        /// The file.
        place: String,
    },
    /// A key or value over the limit.
    #[error("a {what} of {bytes} bytes is over the limit of {limit}; split it or store a CID")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Any other failure of the system.
    #[error("{place}: {detail}; see the system log, then start again")]
    Io {
        /// The file.
        place: String,
        /// What the system said.
        detail: String,
    },
    /// A failure that a test asked for.
    #[error("injected fault at operation {operation}")]
    Injected {
        /// Number of the operation, from 1.
        operation: u64,
    },
    /// More waits to be persisted than the bound allows; the batch was not taken.
    #[error(
        "{queued} bytes wait to be persisted and {bytes} more are over the limit of {limit}; \
         flush first, or raise the limit if one batch alone is over it"
    )]
    QueueFull {
        /// Bytes that wait.
        queued: usize,
        /// Bytes of the batch that was refused.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
}

/// What the system said of the file `place`.
#[cfg(any(feature = "redb", feature = "fjall"))]
pub(crate) fn from_io(place: String, error: &std::io::Error) -> StoreError {
    use std::io::ErrorKind;
    let detail = error.to_string();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::DiskFull { place }
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::IsADirectory => {
            StoreError::Denied { place, detail }
        }
        ErrorKind::NotFound => StoreError::NoFolder { place },
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            StoreError::Corrupted { place, detail }
        }
        _ => StoreError::Io { place, detail },
    }
}
