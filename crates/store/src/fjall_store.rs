//! The second durable back-end: a folder with one fjall database, a log-structured merge tree.

use crate::error::from_io;
use crate::files::{self, OsFiles};
use crate::{Batch, DEFAULT_CACHE_BYTES, Row, Store, StoreError, check};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

const ROWS: &str = "state";
/// The file that fjall writes last when it makes a database.
const MARKER: &str = "version";

/// Newest rows that are kept in memory (and in the log) before they go into a table, in bytes.
pub const DEFAULT_MEMTABLE_BYTES: u64 = 64 << 20;

/// A [`Store`] in a folder: commits append to a log, and threads of fjall's own sort them into tables.
///
/// A commit is one batch in the log with a checksum, synced before it is seen. What is weaker than in
/// `RedbStore`:
///
/// - the checksum (XXH3) is not cryptographic, so values chosen by an attacker could make half of a
///   batch look whole after a power cut;
/// - a power cut that leaves a hole inside the last batch of the log may leave a store that is
///   refused as damaged, though the commits before it are whole;
/// - of a log that is damaged elsewhere the rest may be dropped without a word.
///
/// Compare the state's root after opening; where it is wrong, fetch the state again.
pub struct FjallStore {
    database: Database,
    rows: Keyspace,
    place: Arc<str>,
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore").field("place", &self.place).finish_non_exhaustive()
    }
}

impl FjallStore {
    /// Opens the folder at `path`, or creates it.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Corrupted`], [`StoreError::DiskFull`] and the like.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, DEFAULT_CACHE_BYTES, DEFAULT_MEMTABLE_BYTES)
    }

    /// As [`FjallStore::open`], with a block cache of `cache_bytes`; a new store is made with
    /// memtables of `memtable_bytes`, which it keeps.
    ///
    /// # Errors
    /// As [`FjallStore::open`].
    pub fn open_with(
        path: impl AsRef<Path>,
        cache_bytes: usize,
        memtable_bytes: u64,
    ) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let place = path.display().to_string();
        if !path.exists() {
            Self::create(path, &place, memtable_bytes)?;
        } else if !path.is_dir() {
            let detail = "it is a file, and this back-end needs a folder".to_owned();
            return Err(StoreError::Denied { place, detail });
        } else if !path.join(MARKER).exists() {
            // fjall would make a database among somebody's files.
            let detail = "the folder holds no fjall database".to_owned();
            return Err(StoreError::Corrupted { place, detail });
        }
        Self::at(path, &place, cache_bytes, memtable_bytes)
    }

    /// Makes an empty database under another name first: a crash leaves all of it or nothing.
    fn create(path: &Path, place: &str, memtable_bytes: u64) -> Result<(), StoreError> {
        let failed = |error: &std::io::Error| from_io(place.to_owned(), error);
        // fjall would make all folders above it, which hides a mistyped path.
        let parent = path.parent().unwrap_or(Path::new(""));
        if !parent.as_os_str().is_empty() && !parent.exists() {
            return Err(StoreError::NoFolder { place: place.to_owned() });
        }
        let new = files::temporary(path);
        files::remove_whole(&OsFiles, &new).map_err(|error| failed(&error.error))?;
        drop(Self::at(&new, place, DEFAULT_CACHE_BYTES, memtable_bytes)?);
        files::move_whole(&OsFiles, &new, path).map_err(|error| failed(&error.error))
    }

    fn at(path: &Path, place: &str, cache: usize, memtable: u64) -> Result<Self, StoreError> {
        let open = || -> fjall::Result<(Database, Keyspace)> {
            let database = Database::builder(path).cache_size(cache as u64).open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable);
            let rows = database.keyspace(ROWS, options)?;
            Ok((database, rows))
        };
        // fjall panics on names in its folder that it did not give.
        let opened = catch_unwind(AssertUnwindSafe(open)).map_err(|_| StoreError::Corrupted {
            place: place.to_owned(),
            detail: "its files cannot be read".to_owned(),
        })?;
        let (database, rows) = opened.map_err(|error| opening(place, error))?;
        Ok(Self { database, rows, place: place.into() })
    }

    fn write(&self, batch: &Batch) -> fjall::Result<()> {
        let mut changes = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in batch {
            match value {
                Some(value) => changes.insert(&self.rows, inner(key), value.as_slice()),
                None => changes.remove(&self.rows, inner(key)),
            }
        }
        changes.commit()
    }

    fn view(&self) -> Frozen {
        Frozen {
            snapshot: self.database.snapshot(),
            rows: self.rows.clone(),
            place: self.place.clone(),
            _open: self.database.clone(),
        }
    }
}

impl Store for FjallStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.view().get(key)
    }

    fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.view().range(start, end, limit)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        check(batch)?;
        self.write(batch).map_err(|error| from_fjall(&self.place, error))
    }

    fn frozen(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(self.view()))
    }
}

/// One snapshot: what was committed when it was taken, whatever is committed since.
#[derive(Clone)]
struct Frozen {
    snapshot: Snapshot,
    rows: Keyspace,
    place: Arc<str>,
    /// Keeps the folder locked while it is read.
    _open: Database,
}

impl Store for Frozen {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.snapshot.get(&self.rows, inner(key));
        Ok(found.map_err(|error| from_fjall(&self.place, error))?.map(|value| value.to_vec()))
    }

    fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(Vec::new());
        }
        let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(inner(end)));
        let found = self.snapshot.range(&self.rows, (Bound::Included(inner(start)), end));
        found
            .take(limit)
            .map(|row| match row.into_inner() {
                Ok((key, value)) => Ok((key.get(1..).unwrap_or_default().to_vec(), value.to_vec())),
                Err(error) => Err(from_fjall(&self.place, error)),
            })
            .collect()
    }

    fn commit(&self, _: &Batch) -> Result<(), StoreError> {
        let detail = "a frozen view takes no writes".to_owned();
        Err(StoreError::Denied { place: self.place.to_string(), detail })
    }

    fn frozen(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

/// The key in the database: fjall takes no empty one, so all have a byte before them.
fn inner(key: &[u8]) -> Vec<u8> {
    [&[0], key].concat()
}

/// A file that is missing in a database is damage.
fn opening(place: &str, error: fjall::Error) -> StoreError {
    match from_fjall(place, error) {
        StoreError::NoFolder { place } => {
            StoreError::Corrupted { place, detail: "one of its files is missing".to_owned() }
        }
        other => other,
    }
}

fn from_fjall(place: &str, error: fjall::Error) -> StoreError {
    use fjall::{Error, LsmError};
    let detail = error.to_string();
    let place = place.to_owned();
    match error {
        Error::Locked => StoreError::Locked { place },
        Error::Poisoned => StoreError::NeedsReopen { place },
        Error::InvalidVersion(Some(version)) => {
            StoreError::Format { place, found: u8::from(version) }
        }
        Error::Storage(LsmError::InvalidVersion(found)) => StoreError::Format { place, found },
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => from_io(place, &error),
        Error::KeyspaceDeleted => StoreError::Io { place, detail },
        // What is left: checksums, tags, trailers, compression, the log.
        _ => StoreError::Corrupted { place, detail },
    }
}
