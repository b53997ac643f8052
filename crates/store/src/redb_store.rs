//! The durable back-end: one redb file with one table, two-phase commit.

use crate::error::from_io;
use crate::files::{self, OsFiles};
use crate::{Batch, DEFAULT_CACHE_BYTES, Row, Store, StoreError, check};
use redb::{
    CommitError, Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase,
    SetDurabilityError, StorageBackend, StorageError, TableDefinition, TableError,
    TransactionError,
};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("state");

/// A [`Store`] in one redb file.
///
/// Every commit is synced and two-phase: redb's one-phase checksum is not cryptographic, so a value
/// chosen by an attacker could fake a complete commit after a crash.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    place: Arc<str>,
}

impl RedbStore {
    /// Opens the file at `path`, or creates it.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Corrupted`], [`StoreError::DiskFull`] and the like.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with_cache(path, DEFAULT_CACHE_BYTES)
    }

    /// As [`RedbStore::open`], with a page cache of `cache_bytes`.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_with_cache(path: impl AsRef<Path>, cache_bytes: usize) -> Result<Self, StoreError> {
        let path = path.as_ref();
        if !path.exists() {
            Self::create(path)?;
        }
        Self::at(path, path.display().to_string(), cache_bytes)
    }

    /// Makes an empty file under another name first: a crash leaves all of it or nothing. (A half
    /// of one is refused as damaged.)
    fn create(path: &Path) -> Result<(), StoreError> {
        let place = || path.display().to_string();
        let failed = |error: &std::io::Error| from_io(place(), error);
        let new = files::temporary(path);
        match Self::at(&new, place(), DEFAULT_CACHE_BYTES) {
            Err(StoreError::Corrupted { .. }) => {
                std::fs::remove_file(&new).map_err(|error| failed(&error))?;
                Self::at(&new, place(), DEFAULT_CACHE_BYTES)?;
            }
            other => drop(other?),
        }
        files::move_whole(&OsFiles, &new, path).map_err(|error| failed(&error.error))
    }

    fn at(path: &Path, place: String, cache_bytes: usize) -> Result<Self, StoreError> {
        Self::prepare(place, || Database::builder().set_cache_size(cache_bytes).create(path))
    }

    /// Opens a store on a storage back-end of the caller's (crash tests, browser files).
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, StoreError> {
        Self::prepare("storage back-end".to_owned(), || {
            Database::builder().set_cache_size(DEFAULT_CACHE_BYTES).create_with_backend(backend)
        })
    }

    /// Opens and checks the file, and creates the table in a new one, so that reads need not ask
    /// whether it exists.
    fn prepare(
        place: String,
        open: impl FnOnce() -> Result<Database, DatabaseError>,
    ) -> Result<Self, StoreError> {
        // redb trusts a file that was closed in order and panics on some damage inside a page.
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let mut database = open()?;
            database.check_integrity()?;
            Ok(database)
        }));
        let opened = checked.unwrap_or_else(|_| {
            let detail = "a page cannot be read".to_owned();
            Err(DatabaseError::Storage(StorageError::Corrupted(detail)))
        });
        let database = opened.map_err(|error| from_database(&place, error))?;
        let store = Self { database, place: place.into() };
        let missing = match store.begin_read()?.open_table(ROWS) {
            Ok(_) => false,
            Err(TableError::TableDoesNotExist(_)) => true,
            Err(error) => return Err(store.table(error)),
        };
        if missing {
            store.write(&Batch::new())?;
        }
        Ok(store)
    }

    fn begin_read(&self) -> Result<redb::ReadTransaction, StoreError> {
        self.database.begin_read().map_err(|error| self.transaction(error))
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut transaction =
            self.database.begin_write().map_err(|error| self.transaction(error))?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(|error| self.durability(&error))?;
        transaction.set_two_phase_commit(true);
        {
            let mut table = transaction.open_table(ROWS).map_err(|error| self.table(error))?;
            for (key, value) in batch {
                match value {
                    Some(value) => table.insert(key.as_slice(), value.as_slice()),
                    None => table.remove(key.as_slice()),
                }
                .map_err(|error| self.storage(error))?;
            }
        }
        transaction.commit().map_err(|error| match error {
            CommitError::Storage(error) => self.storage(error),
            other => self.other(&other),
        })
    }

    fn transaction(&self, error: TransactionError) -> StoreError {
        match error {
            TransactionError::Storage(error) => self.storage(error),
            other => self.other(&other),
        }
    }

    fn table(&self, error: TableError) -> StoreError {
        match error {
            TableError::Storage(error) => self.storage(error),
            other => {
                StoreError::Corrupted { place: self.place.to_string(), detail: other.to_string() }
            }
        }
    }

    fn durability(&self, error: &SetDurabilityError) -> StoreError {
        self.other(error)
    }

    fn storage(&self, error: StorageError) -> StoreError {
        from_storage(&self.place, error)
    }

    fn other(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Io { place: self.place.to_string(), detail: error.to_string() }
    }
}

impl Store for RedbStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Frozen::new(self)?.get(key)
    }

    fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Frozen::new(self)?.range(start, end, limit)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        check(batch)?;
        if batch.is_empty() { Ok(()) } else { self.write(batch) }
    }

    fn frozen(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Frozen::new(self)?))
    }
}

/// One read transaction: what was committed when it began, whatever is committed since.
#[derive(Clone)]
struct Frozen {
    table: Arc<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    place: Arc<str>,
}

impl Frozen {
    fn new(store: &RedbStore) -> Result<Self, StoreError> {
        let transaction = store.begin_read()?;
        let table = transaction.open_table(ROWS).map_err(|error| store.table(error))?;
        Ok(Self { table: Arc::new(table), place: store.place.clone() })
    }

    fn storage(&self, error: StorageError) -> StoreError {
        from_storage(&self.place, error)
    }
}

impl Store for Frozen {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.table.get(key).map_err(|error| self.storage(error))?;
        Ok(found.map(|value| value.value().to_vec()))
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
        let bounds = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let found = self.table.range::<&[u8]>(bounds);
        found
            .map_err(|error| self.storage(error))?
            .take(limit)
            .map(|row| match row {
                Ok((key, value)) => Ok((key.value().to_vec(), value.value().to_vec())),
                Err(error) => Err(self.storage(error)),
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

fn from_database(place: &str, error: DatabaseError) -> StoreError {
    let place_owned = place.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked { place: place_owned },
        DatabaseError::UpgradeRequired(found) => StoreError::Format { place: place_owned, found },
        DatabaseError::Storage(error) => from_storage(place, error),
        DatabaseError::RepairAborted => {
            StoreError::Corrupted { place: place_owned, detail: "repair was aborted".to_owned() }
        }
        other => StoreError::Io { place: place_owned, detail: other.to_string() },
    }
}

fn from_storage(place: &str, error: StorageError) -> StoreError {
    let place = place.to_owned();
    match error {
        StorageError::Corrupted(detail) => StoreError::Corrupted { place, detail },
        StorageError::PreviousIo | StorageError::DatabaseClosed => {
            StoreError::NeedsReopen { place }
        }
        StorageError::Io(error) => from_io(place, &error),
        other => StoreError::Io { place, detail: other.to_string() },
    }
}
