//! Opening what is there, and refusing what cannot be used.

use crate::{add_client, open};
use countersign_storage::conformance::fixtures::{client_id, event, pending};
use countersign_storage::stores::{AuditOutbox, CertificateStore, ChangeFeed, ClientStore, Commit};
use countersign_storage::{StorageError, Transaction, Write};
use countersign_storage_sql::OpenError;
use sqlx::Connection;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

async fn run(database: &Path, statement: &'static str) {
    let url = format!("sqlite:{}", database.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("test.db")).await.unwrap();
    add_client(&store, "acme-pay").await.unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["test.db", "test.db-shm", "test.db-wal", "test.db.lock"]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_closed_store_answers_and_leaves_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("test.db");
    let store = open(&database).await.unwrap();
    let mut follower = store.subscribe();
    add_client(&store, "acme-pay").await.unwrap();
    store.close().await.unwrap();

    let stopped = |error: StorageError| assert!(matches!(error, StorageError::Unavailable(_)), "{error}");
    stopped(add_client(&store, "late").await.unwrap_err());
    stopped(store.client(&client_id("acme-pay")).await.unwrap_err());
    stopped(store.close().await.unwrap_err());
    // Who follows sees what was committed, and then the end.
    assert!(follower.changed().await.is_ok());
    assert!(follower.changed().await.is_err());
    // The log was written back and is gone: a copy of the one file is a backup.
    assert!(!directory.path().join("test.db-wal").exists());
    let store = open(&database).await.unwrap();
    assert!(store.client(&client_id("acme-pay")).await.unwrap().is_some());
    store.close().await.unwrap();
}

/// As when the process dies: the runtime goes, and with it the writer, in the middle of anything.
#[test]
fn what_was_acknowledged_is_there_when_nobody_closed() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("test.db");
    let mut numbers = Vec::new();
    for n in 1..=3u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = runtime.block_on(open(&database)).unwrap();
        let read = runtime.block_on(async {
            let transaction = Transaction::new()
                .write(Write::InsertClient(countersign_storage::conformance::fixtures::client(&format!(
                    "c{n}"
                ))))
                .write(Write::InsertPendingCertificate(pending(n)))
                .record(event(n));
            let sequence = store.commit(transaction).await.unwrap().sequence;
            assert_eq!(*store.subscribe().borrow(), sequence);
            let changes = store.changes_after(0, 10).await.unwrap();
            (
                sequence,
                changes.len(),
                store.pending_certificates().await.unwrap().len(),
                store.outbox(10).await,
            )
        });
        let (sequence, changes, pending, outbox) = read;
        let outbox = outbox.unwrap();
        let expected = usize::try_from(n).unwrap();
        assert_eq!((changes, pending, outbox.len()), (expected, expected, expected));
        numbers.push((sequence, outbox.last().unwrap().0));
        drop(runtime);
        drop(store);
    }
    // The numbers go on where they were.
    assert!(numbers.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{numbers:?}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("test.db");
    open(&database).await.unwrap().close().await.unwrap();
    run(&database, "INSERT INTO schema_versions (version, applied_at) VALUES (999, 0)").await;
    let before = std::fs::read(&database).unwrap();
    // Twice: the refused one lets go of the lock.
    for _ in 0..2 {
        let refused = open(&database).await.err().unwrap();
        let OpenError::Database { source, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!(*source, StorageError::NewerSchema { found: 999, known: 3 });
        let text = refused.to_string();
        assert!(text.contains("test.db") && text.contains("newer program"), "{text}");
    }
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("test.db");
    std::fs::write(&database, "this is a letter, not a database\n".repeat(100)).unwrap();
    let before = std::fs::read(&database).unwrap();
    let refused = open(&database).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Database { source: StorageError::Corrupt(_), .. }), "{refused:?}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let refused = open(Path::new("/nowhere/at/all/test.db")).await.err().unwrap();
    assert!(matches!(&refused, OpenError::File { .. }), "{refused:?}");
    assert!(refused.to_string().contains("/nowhere/at/all/test.db"), "{refused}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_and_not_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("test.db");
    let store = open(&database).await.unwrap();
    add_client(&store, "acme-pay").await.unwrap();
    add_client(&store, "other").await.unwrap();
    store.close().await.unwrap();
    run(&database, "UPDATE clients SET environment = 'moon' WHERE id = 'acme-pay'").await;
    let store = open(&database).await.unwrap();
    let corrupt = store.client(&client_id("acme-pay")).await.unwrap_err();
    assert!(matches!(&corrupt, StorageError::Corrupt(text) if text.contains("environment")), "{corrupt}");
    assert!(!corrupt.to_string().contains("moon"), "{corrupt}");
    assert!(store.client(&client_id("other")).await.unwrap().is_some());
    store.close().await.unwrap();
}
