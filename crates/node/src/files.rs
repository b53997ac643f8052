//! How many files this process may have open.

use crate::error::NodeError;

/// Fewest open files with which a node works: sockets, database, blobs and the API.
pub const MIN_FILES: u64 = 256;

/// Raises the number of files that this process may open to what the system allows it; gives it.
///
/// # Errors
/// It is below [`MIN_FILES`].
pub fn raise_limit() -> Result<u64, NodeError> {
    let limit = raised();
    if limit < MIN_FILES {
        return Err(NodeError::TooFewFiles { limit });
    }
    Ok(limit)
}

#[cfg(unix)]
fn raised() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    // Refused, the limit stays as it is, which is read again below.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn raised() -> u64 {
    u64::MAX
}
