//! The database under the store: opened whole or not at all, locked against other processes, read through snapshots.

use std::fs::{self, File, TryLockError};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use clarion_proto::convert::Invalid;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot, UserKey, UserValue};

use super::Config;
use super::pending::Rows;
use super::schema::{self, Table};
use crate::error::{OpenError, ReadError};

/// A table's memory before it is written out; a few tables are busy at a time.
const TABLE_MEMORY: u64 = 16 << 20;

/// What a start has to replay at most.
const JOURNAL_BYTES: u64 = 256 << 20;

/// The rows that bring a database of one version of the schema to the next.
type Migration = fn(&View<'_>) -> Result<Rows, ReadError>;

/// One a version; the first is from version 1 to 2.
const MIGRATIONS: [Migration; schema::VERSION as usize - 1] = [
    // Version 2 has read states among the parts of an account, and their events in its log; nothing that was there changes.
    |_| Ok(Rows::new()),
];

/// An open database. Other processes are kept out until it is dropped.
pub(super) struct Db {
    tables: Vec<Keyspace>,
    database: Database,
    path: PathBuf,
    durability: PersistMode,
    /// Dropped last of all.
    _lock: Lock,
}

/// Keeps other processes out.
struct Lock(File);

/// Where a range of keys begins and ends.
pub(super) type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A row with its key.
pub(super) type Found = Result<(UserKey, UserValue), ReadError>;

/// One state of the whole database: a group of batches is in it whole or not at all, and if it is, it is durable.
pub(super) struct View<'a> {
    db: &'a Db,
    snapshot: Snapshot,
}

impl Db {
    /// Opens what is at the path, or creates it.
    ///
    /// A new database is made beside its place and moved there when it is complete: what a crash leaves of a half-made
    /// one is never opened.
    pub(super) fn open(config: &Config) -> Result<Self, OpenError> {
        let failed = |reason: &dyn std::fmt::Display| OpenError::Failed {
            path: config.path.display().to_string(),
            reason: reason.to_string(),
        };
        let lock = lock(&config.path).map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked(config.path.display().to_string()),
            TryLockError::Error(error) => failed(&error),
        })?;
        let data = config.path.join("data");
        if !data.try_exists().map_err(|e| failed(&e))? {
            create(config, &data).map_err(|e| failed(&e))?;
        }
        let (database, tables) = open_tables(config, &data).map_err(|e| failed(&e))?;
        let durability = config.sync.durability();
        let db = Self { tables, database, path: config.path.clone(), durability, _lock: lock };
        let found = db.version().map_err(|e| failed(&e))?;
        let known = schema::VERSION;
        if found > known {
            return Err(OpenError::Schema { path: config.path.display().to_string(), found, known });
        }
        for (from, migrate) in (1..known).zip(MIGRATIONS).filter(|(from, _)| *from >= found) {
            let mut rows = migrate(&db.view()).map_err(|e| failed(&format!("migration from schema {from}: {e}")))?;
            rows.insert((Table::Meta, schema::VERSION_KEY.into()), Some((from + 1).to_be_bytes().into()));
            db.write(rows).map_err(|e| failed(&e))?;
        }
        Ok(db)
    }

    /// The present state.
    pub(super) fn view(&self) -> View<'_> {
        View { db: self, snapshot: self.database.snapshot() }
    }

    /// Writes rows, all or nothing. Durable when it returns, and seen by views only then.
    ///
    /// After an error nothing can be written until the database is opened again.
    pub(super) fn write(&self, rows: Rows) -> Result<(), fjall::Error> {
        let mut batch = self.database.batch().durability(Some(self.durability));
        for ((table, key), value) in rows {
            match value {
                Some(value) => batch.insert(self.table(table), key, value),
                None => batch.remove(self.table(table), key),
            }
        }
        batch.commit()
    }

    /// The room left on its disk. Nobody can say: then the write itself will.
    pub(super) fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.path).map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
    }

    fn table(&self, table: Table) -> &Keyspace {
        &self.tables[table as usize]
    }

    fn version(&self) -> Result<u32, ReadError> {
        let bytes = self.view().get(Table::Meta, schema::VERSION_KEY)?;
        let bytes = bytes.as_deref().and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_be_bytes).ok_or_else(|| ReadError::Damaged("schema version".into()))
    }
}

impl View<'_> {
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<UserValue>, ReadError> {
        self.snapshot.get(self.db.table(table), key).map_err(unreadable)
    }

    /// The rows of a range of keys, in order; from both ends.
    pub(super) fn range(&self, table: Table, range: Range<'_>) -> impl DoubleEndedIterator<Item = Found> + use<> {
        let rows = (!is_empty(&range)).then(|| self.snapshot.range::<&[u8], _>(self.db.table(table), range));
        rows.into_iter().flatten().map(|row| row.into_inner().map_err(unreadable))
    }

    /// The rows whose keys start with the same bytes.
    pub(super) fn prefix(&self, table: Table, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Found> + use<> {
        self.snapshot.prefix(self.db.table(table), prefix).map(|row| row.into_inner().map_err(unreadable))
    }

    /// A record, decoded.
    pub(super) fn record<R: prost::Message + Default>(&self, table: Table, key: &[u8]) -> Result<Option<R>, ReadError> {
        self.get(table, key)?.map(|value| record(table, &value)).transpose()
    }
}

/// Decodes a record.
pub(super) fn record<R: prost::Message + Default>(table: Table, value: &[u8]) -> Result<R, ReadError> {
    R::decode(value).map_err(|error| ReadError::Damaged(format!("{}: {error}", table.name())))
}

/// Decodes what the contract has a message for.
pub(super) fn value<W, M>(table: Table, bytes: &[u8]) -> Result<M, ReadError>
where
    W: prost::Message + Default,
    M: TryFrom<W, Error = Invalid>,
{
    M::try_from(record::<W>(table, bytes)?).map_err(|error| ReadError::Damaged(format!("{}: {error}", table.name())))
}

fn unreadable(error: fjall::Error) -> ReadError {
    ReadError::Failed(error.to_string())
}

/// Ranges that end before they begin, which the database does not take.
fn is_empty(range: &Range<'_>) -> bool {
    match range {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
        _ => false,
    }
}

impl Drop for Lock {
    /// Said, and not left to the closing of the file: a child process that has not started its program yet has it open too.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn lock(path: &Path) -> Result<Lock, TryLockError> {
    fs::create_dir_all(path).map_err(TryLockError::Error)?;
    let file = File::options().create(true).truncate(false).write(true).open(path.join("lock"));
    let file = file.map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(Lock(file))
}

fn open_tables(config: &Config, path: &Path) -> Result<(Database, Vec<Keyspace>), fjall::Error> {
    let database = Database::builder(path)
        .cache_size(config.cache_bytes)
        .max_journaling_size(JOURNAL_BYTES)
        .manual_journal_persist(true)
        .open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(TABLE_MEMORY);
    let tables = Table::ALL.iter().map(|table| database.keyspace(table.name(), options)).collect::<Result<_, _>>()?;
    Ok((database, tables))
}

fn create(config: &Config, place: &Path) -> Result<(), fjall::Error> {
    let making = config.path.join("new");
    if making.try_exists()? {
        fs::remove_dir_all(&making)?;
    }
    let (database, tables) = open_tables(config, &making)?;
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(&tables[Table::Meta as usize], schema::VERSION_KEY, schema::VERSION.to_be_bytes());
    batch.commit()?;
    drop((tables, database));
    fs::rename(&making, place)?;
    File::open(&config.path)?.sync_all()?;
    Ok(())
}
