//! The SQLite store.

#![expect(clippy::unwrap_used, reason = "a panic is a test's verdict")]

mod conformance;
mod exclusive;
mod full;
mod in_place;
mod opening;
mod populate;
mod power_loss;
mod throughput;

use countersign_storage::conformance::fixtures::{FixedClock, client};
use countersign_storage::stores::Commit;
use countersign_storage::{Receipt, StorageError, Transaction, Write};
use countersign_storage_sql::{OpenError, Options, SqliteStore};
use std::path::Path;
use std::sync::Arc;

fn options() -> Options {
    Options::new(Arc::new(FixedClock))
}

async fn open(database: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(database, options()).await
}

async fn add_client(store: &SqliteStore, name: &str) -> Result<Receipt, StorageError> {
    store.commit(Transaction::new().write(Write::InsertClient(client(name)))).await
}
