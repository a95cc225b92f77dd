//! A full disk, by the limit on the database's size.

use crate::{add_client, open, options};
use countersign_model::client::ClientState;
use countersign_storage::conformance::fixtures::NOW;
use countersign_storage::conformance::fixtures::{client_id, event};
use countersign_storage::essential::{EssentialStore, Reserve};
use countersign_storage::stores::{AuditOutbox, ChangeFeed, ClientStore, Commit};
use countersign_storage::{StorageError, Transaction, Write};
use countersign_storage_sql::SqliteStore;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;

async fn open_small(database: &Path) -> SqliteStore {
    let mut options = options();
    options.max_page_count = Some(80);
    SqliteStore::open(database, options).await.unwrap()
}

/// An event of about `kib` KiB.
fn large(n: u64, kib: usize) -> Transaction {
    let mut event = event(n);
    event.facts.detail = Some("x".repeat(kib * 1024));
    Transaction::new().record(event)
}

/// Adds events until there is no room for another. How many were acknowledged.
async fn fill(store: &SqliteStore) -> usize {
    for n in 0..1000 {
        match store.commit(large(n, 4)).await {
            Ok(_) => {}
            Err(StorageError::Full) => return usize::try_from(n).unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it was never full");
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("test.db");
    let store = open_small(&database).await;
    add_client(&store, "before").await.unwrap();
    let acknowledged = fill(&store).await;
    assert!(acknowledged > 3, "{acknowledged}");
    for _ in 0..3 {
        assert_eq!(store.commit(large(9999, 40)).await, Err(StorageError::Full));
    }
    assert_eq!(store.outbox(1000).await.unwrap().len(), acknowledged);
    assert!(store.client(&client_id("before")).await.unwrap().is_some());
    store.close().await.unwrap();

    // With more room it goes on where it was.
    let store = open(&database).await.unwrap();
    assert_eq!(store.outbox(1000).await.unwrap().len(), acknowledged);
    store.commit(large(9999, 40)).await.unwrap();
    add_client(&store, "after").await.unwrap();
    assert_eq!(store.last_change().await, Ok(2));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_recovers_in_place_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_small(&directory.path().join("test.db")).await;
    fill(&store).await;
    // Settling deletes, and so works on a full disk: the audit log is not on it.
    let through = store.outbox(1000).await.unwrap().last().unwrap().0;
    store.commit(Transaction::new().write(Write::SettleOutbox { through })).await.unwrap();
    store.commit(large(1, 40)).await.unwrap();
    add_client(&store, "acme-pay").await.unwrap();
    store.close().await.unwrap();
}

/// One that is too large fails alone, also in a group with others.
#[tokio::test]
async fn a_transaction_that_does_not_fit_does_not_take_others_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_small(&directory.path().join("test.db")).await;
    let (before, too_large, after) =
        tokio::join!(add_client(&store, "before"), store.commit(large(1, 1000)), add_client(&store, "after"));
    assert_eq!((before.unwrap().sequence, after.unwrap().sequence), (1, 2));
    assert_eq!(too_large, Err(StorageError::Full));
    for name in ["before", "after"] {
        assert!(store.client(&client_id(name)).await.unwrap().is_some(), "{name}");
    }
    store.close().await.unwrap();
}

/// Makes room as the reserve's file does, and counts how often it was asked to.
struct Room {
    store: Arc<SqliteStore>,
    asked: AtomicUsize,
}

impl Reserve for Room {
    fn give_up(&self) -> bool {
        let settle = async {
            let through = self.store.outbox(1000).await.unwrap().last().unwrap().0;
            self.store.commit(Transaction::new().write(Write::SettleOutbox { through })).await.unwrap();
        };
        tokio::task::block_in_place(|| Handle::current().block_on(settle));
        self.asked.fetch_add(1, Ordering::SeqCst) == 0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_g20_on_a_full_disk_the_reserve_is_for_what_takes_rights_away() {
    let directory = tempfile::tempdir().unwrap();
    let database = Arc::new(open_small(&directory.path().join("test.db")).await);
    add_client(database.as_ref(), "acme-pay").await.unwrap();
    fill(&database).await;
    let room = Arc::new(Room { store: database.clone(), asked: AtomicUsize::new(0) });
    let store = EssentialStore::new(database.clone(), room.clone());
    assert_eq!(store.commit(large(1, 40)).await, Err(StorageError::Full));
    assert_eq!(room.asked.load(Ordering::SeqCst), 0, "nobody else gets it");
    let set = |state| {
        let write = Write::SetClientState { client: client_id("acme-pay"), state, at: NOW };
        Transaction::new().write(write).record(large(2, 40).events.remove(0))
    };
    store.commit(set(ClientState::Disabled)).await.unwrap();
    assert_eq!(room.asked.load(Ordering::SeqCst), 1);
    let (client, _) = store.client(&client_id("acme-pay")).await.unwrap().unwrap();
    assert_eq!(client.state, ClientState::Disabled);
    // Where nothing is enforced in memory yet, a failure stays what it is.
    fill(&database).await;
    assert_eq!(store.commit(set(ClientState::Disabled)).await, Err(StorageError::Full));
    database.close().await.unwrap();
}
