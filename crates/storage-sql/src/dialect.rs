//! What differs between the engines, all of it: types of the driver, connection settings, error codes and the few
//! statements that have no portable form.

use crate::store::Options;
use countersign_storage::StorageError;
use sqlx::ConnectOptions;
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use std::path::Path;

pub(crate) type Database = sqlx::Sqlite;
pub(crate) type Connection = sqlx::SqliteConnection;
pub(crate) type Pool = sqlx::SqlitePool;
pub(crate) type PoolOptions = sqlx::sqlite::SqlitePoolOptions;
pub(crate) type Row = sqlx::sqlite::SqliteRow;
pub(crate) type Arguments = sqlx::sqlite::SqliteArguments;

/// Takes the write lock at once, so that no transaction fails half-way because another process has it.
pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";
/// Writes the log back into the database file and empties it.
pub(crate) const CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
pub(crate) const JOURNAL_MODE: &str = "PRAGMA journal_mode";
pub(crate) const SYNCHRONOUS: &str = "PRAGMA synchronous";
pub(crate) const FOREIGN_KEYS: &str = "PRAGMA foreign_keys";
pub(crate) const MAX_PAGE_COUNT: &str = "PRAGMA max_page_count";

/// The one connection that writes.
pub(crate) fn writer(database: &Path, options: &Options) -> SqliteConnectOptions {
    let connection = SqliteConnectOptions::new()
        .filename(database)
        .busy_timeout(options.busy_timeout)
        // Readers go on while the writer writes.
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode only FULL syncs the log at every commit: what was acknowledged survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // A log that once grew long does not stay so.
        .pragma("journal_size_limit", "67108864")
        // 16 MiB: the pages of the indexes that random serial numbers touch.
        .pragma("cache_size", "-16384")
        .thread_name(|_| "storage-writer".to_owned())
        .disable_statement_logging();
    match options.max_page_count {
        Some(pages) => connection.pragma("max_page_count", pages.to_string()),
        None => connection,
    }
}

/// The connections that read, and cannot do anything else.
pub(crate) fn reader(database: &Path, options: &Options) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .busy_timeout(options.busy_timeout)
        .read_only(true)
        .thread_name(|n| format!("storage-reader-{n}"))
        .disable_statement_logging()
}

/// A connection of a program that reads while another one may hold the lock.
pub(crate) fn beside_others(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(database).read_only(true).disable_statement_logging()
}

/// What an error of the driver means to a caller. Unique and foreign keys are told apart by [`violation`] before.
pub(crate) fn storage_error(error: sqlx::Error) -> StorageError {
    match &error {
        sqlx::Error::Database(database) => match primary_code(&**database) {
            Some(SQLITE_FULL) => StorageError::Full,
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => StorageError::Corrupt(error.to_string()),
            _ => StorageError::Unavailable(error.to_string()),
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            StorageError::Corrupt(error.to_string())
        }
        _ => StorageError::Unavailable(error.to_string()),
    }
}

/// Which constraint a write ran into.
pub(crate) fn violation(error: &sqlx::Error) -> Option<ErrorKind> {
    let kind = error.as_database_error()?.kind();
    matches!(kind, ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation).then_some(kind)
}

const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_NOTADB: u32 = 26;

/// SQLite's primary result code is the low byte of the extended one.
fn primary_code(error: &dyn DatabaseError) -> Option<u32> {
    error.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}
