//! Following the change feed.

use super::Views;
use crate::{StorageError, Store};
use countersign_model::Clock;
use countersign_model::change::Change;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// The feed is looked at this often even when nobody signals: another process may have written.
const POLL: Duration = Duration::from_millis(500);

/// How many changes are read at once.
const BATCH: u32 = 500;

/// Applies every change to `views` in order, and tells `on_change` of each after it is applied. Runs until `stop` is
/// true or its sender is gone; a storage that fails is asked again, and the views grow older meanwhile, which
/// readiness sees (rule G16).
pub async fn follow(
    views: Arc<Views>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    mut on_change: impl FnMut(&Change) + Send,
    mut stop: watch::Receiver<bool>,
) {
    let mut signal = store.subscribe();
    loop {
        match catch_up(&views, store.as_ref(), clock.as_ref(), &mut on_change).await {
            Ok(()) => views.heard_ms.store(clock.now().unix_ms(), Ordering::Relaxed),
            Err(error) => tracing::error!(%error, "the change feed cannot be followed"),
        }
        tokio::select! {
            _ = signal.changed() => {}
            () = tokio::time::sleep(POLL) => {}
            _ = stop.wait_for(|&stop| stop) => return,
        }
    }
}

async fn catch_up(
    views: &Views,
    store: &dyn Store,
    clock: &dyn Clock,
    on_change: &mut (impl FnMut(&Change) + Send),
) -> Result<(), StorageError> {
    loop {
        let position = *views.applied.borrow();
        let changes = store.changes_after(position, BATCH).await?;
        if changes.is_empty() {
            return Ok(());
        }
        for change in &changes {
            views.apply(change, store, clock.now()).await?;
            on_change(change);
            views.applied.send_replace(change.sequence);
        }
    }
}
