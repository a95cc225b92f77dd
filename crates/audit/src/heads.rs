//! Where the head of the log is kept beside it, and who carries it there.

use crate::record::Head;
use crate::shared::Shared;
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// Keeps the head of the log outside of the log, so that a cut tail shows.
#[async_trait]
pub trait HeadStore: Send + Sync {
    /// Saves `head`, which is on disk already. Must never go back: a head of a smaller sequence than the one that is
    /// saved is ignored (saves may overtake one another).
    ///
    /// # Errors
    /// Anything; the head is offered again.
    async fn save_head(&self, head: Head) -> Result<(), HeadStoreError>;
}

/// Whatever a [`HeadStore`] fails with.
pub type HeadStoreError = Box<dyn std::error::Error + Send + Sync>;

/// Saves the heads that the writer offers; ends with the writer.
pub(crate) async fn save_heads(
    mut offered: watch::Receiver<Head>,
    store: Arc<dyn HeadStore>,
    shared: Arc<Shared>,
) {
    while offered.changed().await.is_ok() {
        let head = *offered.borrow_and_update();
        match store.save_head(head).await {
            Ok(()) => {
                shared.head_saved.fetch_max(head.sequence, Ordering::Relaxed);
            }
            Err(error) => tracing::error!(
                error = &*error as &dyn std::error::Error,
                "the audit log's head is not saved"
            ),
        }
    }
}
