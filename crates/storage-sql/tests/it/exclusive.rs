//! One process at a time.

use crate::{add_client, open, options};
use countersign_storage::StorageError;
use countersign_storage::conformance::fixtures::client_id;
use countersign_storage::stores::ClientStore;
use countersign_storage_sql::{OpenError, Options, SqliteStore};
use sqlx::Connection;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_second_handle_is_refused_and_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("countersign.db");
    let store = open(&database).await.unwrap();

    let refused = open(&database).await.err().unwrap();
    let OpenError::InUse { lock, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(lock, &database.canonicalize().unwrap().with_file_name("countersign.db.lock"));
    let text = refused.to_string();
    assert!(text.contains("countersign.db") && text.contains("another process"), "{text}");

    // The same file by another name is the same file.
    let alias = directory.path().join("alias.db");
    std::os::unix::fs::symlink(&database, &alias).unwrap();
    assert!(matches!(open(&alias).await, Err(OpenError::InUse { .. })));

    add_client(&store, "acme-pay").await.unwrap();
    store.close().await.unwrap();
    let store = open(&database).await.unwrap();
    assert!(store.client(&client_id("acme-pay")).await.unwrap().is_some());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_second_process_is_kept_out_by_the_lock_file() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("countersign.db");
    let store = open(&database).await.unwrap();
    assert!(!can_lock(&database));
    store.close().await.unwrap();
    assert!(can_lock(&database));
}

/// Whether another process can take the lock. `flock` is of util-linux, which every Linux has.
fn can_lock(database: &Path) -> bool {
    let lock = format!("{}.lock", database.display());
    Command::new("flock").args(["--nonblock", &lock, "true"]).status().unwrap().success()
}

#[tokio::test]
async fn a_foreign_program_that_locks_the_database_delays_and_does_not_break() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("countersign.db");
    let mut options = options();
    options.busy_timeout = Duration::ZERO;
    let store = SqliteStore::open(&database, options).await.unwrap();

    let url = format!("sqlite:{}", database.display());
    let mut foreign = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut foreign).await.unwrap();
    let refused = add_client(&store, "acme-pay").await;
    assert!(matches!(refused, Err(StorageError::Unavailable(_))), "{refused:?}");
    assert_eq!(store.client(&client_id("acme-pay")).await, Ok(None)); // Reads go on.

    sqlx::query("ROLLBACK").execute(&mut foreign).await.unwrap();
    foreign.close().await.unwrap();
    add_client(&store, "acme-pay").await.unwrap();
    store.close().await.unwrap();
}

/// Each of a group by itself would wait for the same lock anew, one after the other.
#[tokio::test]
async fn all_who_wait_are_told_at_once_that_a_foreign_program_has_the_lock() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("countersign.db");
    let store = SqliteStore::open(&database, Options { busy_timeout: PATIENCE, ..options() }).await.unwrap();
    let url = format!("sqlite:{}", database.display());
    let mut foreign = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut foreign).await.unwrap();

    let begun = Instant::now();
    let names: Vec<String> = (0..40).map(|n| format!("client-{n}")).collect();
    let refused = futures_util::future::join_all(names.iter().map(|name| add_client(&store, name))).await;
    assert!(
        refused.iter().all(|refused| matches!(refused, Err(StorageError::Unavailable(_)))),
        "{refused:?}"
    );
    // One wait for each group. 40 of them would be 12 s; half of that leaves a busy machine its time.
    assert!(begun.elapsed() < 20 * PATIENCE, "{:?}", begun.elapsed());

    sqlx::query("ROLLBACK").execute(&mut foreign).await.unwrap();
    foreign.close().await.unwrap();
    add_client(&store, "acme-pay").await.unwrap();
    store.close().await.unwrap();
}
