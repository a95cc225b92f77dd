//! The suite of every backend.

use countersign_storage::Store;
use countersign_storage::conformance::fixtures::FixedClock;
use countersign_storage_sql::{Options, SqliteStore};
use std::sync::Arc;

async fn with_store(case: impl AsyncFnOnce(Arc<dyn Store>)) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(Arc::new(FixedClock));
    let store = Arc::new(SqliteStore::open(&directory.path().join("test.db"), options).await.unwrap());
    case(store.clone()).await;
    store.close().await.unwrap();
}

countersign_storage::conformance_tests!(with_store);
