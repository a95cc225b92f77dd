//! The suite of every backend.

use crate::open;
use countersign_storage::Store;
use std::sync::Arc;

async fn with_store(case: impl AsyncFnOnce(Arc<dyn Store>)) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&directory.path().join("test.db")).await.unwrap());
    case(store.clone()).await;
    store.close().await.unwrap();
}

countersign_storage::conformance_tests!(with_store);
