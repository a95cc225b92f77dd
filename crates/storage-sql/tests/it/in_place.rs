//! A database that somebody deletes, moves or replaces while it is open.

use crate::{add_client, open};
use countersign_storage::StorageError;
use countersign_storage::conformance::fixtures::client_id;
use countersign_storage::stores::ClientStore;
use std::fs;
use std::path::Path;

#[tokio::test]
async fn rule_g20_nothing_is_acknowledged_that_the_next_start_would_not_find() {
    type Harm = fn(&Path);
    let harms: [(Harm, &str); 5] = [
        (|at| fs::remove_file(at).unwrap(), ""),
        (|at| fs::rename(at, at.with_extension("away")).unwrap(), ""),
        (|at| fs::remove_dir_all(at.parent().unwrap()).unwrap(), ""),
        (
            |at| {
                fs::copy(at, at.with_extension("backup")).unwrap();
                fs::rename(at.with_extension("backup"), at).unwrap();
            },
            "",
        ),
        (|at| fs::remove_file(at.with_extension("db-wal")).unwrap(), "-wal"),
    ];
    for (harm, of) in harms {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        fs::create_dir(&home).unwrap();
        let database = home.canonicalize().unwrap().join("countersign.db");
        let store = open(&database).await.unwrap();
        add_client(&store, "before").await.unwrap();
        assert_eq!(store.files().displaced(), None);
        harm(&database);
        let displaced = store.files().displaced().unwrap().to_owned();
        assert_eq!(displaced.to_str().unwrap(), format!("{}{of}", database.display()));
        let refused = add_client(&store, "after").await.unwrap_err();
        let StorageError::Unavailable(why) = &refused else { panic!("{refused}") };
        assert!(why.contains("a restart would not find"), "{why}");
        store.close().await.ok();
    }
}

#[tokio::test]
async fn a_database_that_was_moved_back_is_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let (database, away) = (directory.path().join("countersign.db"), directory.path().join("away"));
    let store = open(&database).await.unwrap();
    fs::rename(&database, &away).unwrap();
    add_client(&store, "acme-pay").await.unwrap_err();
    fs::rename(&away, &database).unwrap();
    add_client(&store, "acme-pay").await.unwrap();
    store.close().await.unwrap();
    let store = open(&database).await.unwrap();
    assert!(store.client(&client_id("acme-pay")).await.unwrap().is_some());
}
