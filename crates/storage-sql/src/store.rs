//! Opening, using and closing a database.

use crate::dialect::{self, Pool, PoolOptions};
use crate::exclusive::{Exclusive, Refusal, private_file};
use crate::in_place::DatabaseFiles;
use crate::migrate::migrate;
use crate::writer::{Writer, WriterHandle, WriterSettings};
use crate::{changes, dialect::storage_error};
use async_trait::async_trait;
use countersign_model::Clock;
use countersign_storage::stores::Commit;
use countersign_storage::{Receipt, StorageError, Transaction};
use sqlx::ConnectOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Connections for look-ups: few, because one takes microseconds and the data path reads views in memory.
const READERS: u32 = 3;
/// Connections for what reads many rows. Apart from the others: the views that follow a revocation never wait for
/// somebody's listings.
const SCANNERS: u32 = 2;

/// How to open a database.
#[derive(Clone)]
pub struct Options {
    /// Dates the changes of the feed.
    pub clock: Arc<dyn Clock>,
    /// How many pages (of 4 KiB) the database may have; `None` is SQLite's own limit. What would make it grow beyond
    /// is refused with [`StorageError::Full`], and what is there is safe.
    pub max_page_count: Option<u32>,
    /// How long to wait for a lock that a foreign program holds, such as a backup, before a commit or a read is
    /// refused with [`StorageError::Unavailable`]. 5 seconds.
    pub busy_timeout: Duration,
}

impl Options {
    /// The usual ones.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, max_page_count: None, busy_timeout: Duration::from_secs(5) }
    }
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another handle of this one, uses it.
    #[error(
        "the database {} is in use by another process (it holds the lock {}): stop that process first",
        database.display(), lock.display()
    )]
    InUse {
        /// The database.
        database: PathBuf,
        /// The file that is locked.
        lock: PathBuf,
    },
    /// A file cannot be made, opened or locked.
    #[error("cannot open {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there, but cannot be used as a database.
    #[error("cannot use the database {}: {source}", path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// Why: a newer schema, a file that is no database, a full disk.
        source: StorageError,
    },
}

/// A store in an SQLite file.
pub struct SqliteStore {
    writer: WriterHandle,
    readers: Pool,
    scanners: Pool,
    last_change: watch::Receiver<u64>,
    files: DatabaseFiles,
}

impl SqliteStore {
    /// Opens the database at `path`, makes it if it is not there (mode 0600, as its log and index get by themselves),
    /// and brings it to the present schema. Its directory must exist.
    ///
    /// The writer runs on the tokio runtime of the caller.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let file = |source| OpenError::File { path: path.to_owned(), source };
        drop(private_file(path).map_err(file)?);
        // One file has one name, so that it has one lock.
        let path = &path.canonicalize().map_err(file)?;
        let exclusive = Exclusive::acquire(path).map_err(|refusal| match refusal {
            Refusal::InUse(lock) => OpenError::InUse { database: path.clone(), lock },
            Refusal::File(path, source) => OpenError::File { path, source },
        })?;
        Self::open_exclusively(path, options, exclusive)
            .await
            .map_err(|source| OpenError::Database { path: path.clone(), source })
    }

    async fn open_exclusively(
        path: &Path,
        options: Options,
        exclusive: Exclusive,
    ) -> Result<Self, StorageError> {
        let connection = dialect::writer(path, &options);
        let mut connection = connection.connect().await.map_err(storage_error)?;
        migrate(&mut connection, options.clock.now()).await?;
        let counters = changes::counters(&mut connection).await?;
        let (signal, last_change) = watch::channel(counters.change);
        let files = DatabaseFiles::of(path).map_err(|error| StorageError::Unavailable(error.to_string()))?;
        let clock = options.clock.clone();
        let mut writer =
            Writer { connection, counters, last_change: signal, clock, files: files.clone(), exclusive };
        require_durable(&writer.settings().await?)?;
        let readers = pool(path, &options, READERS).await?;
        let scanners = pool(path, &options, SCANNERS).await?;
        Ok(Self { writer: writer.start(), readers, scanners, last_change, files })
    }

    /// The files that are written to, to look after.
    pub fn files(&self) -> DatabaseFiles {
        self.files.clone()
    }

    /// How the writer's connection is set up.
    ///
    /// # Errors
    /// When the writer has stopped.
    pub async fn writer_settings(&self) -> Result<WriterSettings, StorageError> {
        self.writer.settings().await
    }

    /// Commits what is waiting, writes the log back into the database file, and lets go of both. Reads and commits
    /// that come later answer `Unavailable`.
    ///
    /// Without it nothing is lost either: the next one to open the database replays its log.
    ///
    /// # Errors
    /// When the log could not be written back.
    pub async fn close(&self) -> Result<(), StorageError> {
        // Readers first: the log can be emptied only when nobody reads it.
        self.readers.close().await;
        self.scanners.close().await;
        self.writer.close().await
    }

    /// For look-ups.
    pub(crate) fn readers(&self) -> &Pool {
        &self.readers
    }

    /// For what reads many rows.
    pub(crate) fn scanners(&self) -> &Pool {
        &self.scanners
    }

    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        let mut follower = self.last_change.clone();
        follower.mark_unchanged();
        follower
    }
}

async fn pool(path: &Path, options: &Options, connections: u32) -> Result<Pool, StorageError> {
    let pool = PoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(dialect::reader(path, options));
    pool.await.map_err(storage_error)
}

/// Some file systems cannot do WAL, and SQLite then goes on without a word.
fn require_durable(settings: &WriterSettings) -> Result<(), StorageError> {
    if settings.journal_mode == "wal" && settings.synchronous == 2 && settings.foreign_keys {
        return Ok(());
    }
    Err(StorageError::Unavailable(format!(
        "the engine does not take the settings that it needs: {settings:?}"
    )))
}

#[async_trait]
impl Commit for SqliteStore {
    async fn commit(&self, transaction: Transaction) -> Result<Receipt, StorageError> {
        self.writer.commit(transaction).await
    }
}
