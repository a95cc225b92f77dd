//! Following the change feed.

use super::Views;
use crate::{StorageError, Store};
use countersign_model::Clock;
use countersign_model::change::Change;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

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
            Ok(instant) => views.freshness.heard(clock.now(), instant.into_std()),
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
) -> Result<Instant, StorageError> {
    loop {
        views.complete(store, clock.now()).await?;
        let position = *views.applied.borrow();
        // Before it is asked: what is committed while the answer is on its way is not in it.
        let instant = Instant::now();
        let changes = store.changes_after(position, BATCH).await?;
        if changes.is_empty() {
            return Ok(instant);
        }
        for change in &changes {
            views.apply(change, store, clock.now()).await?;
            on_change(change);
            views.applied.send_replace(change.sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::fixtures::{FixedClock, NOW, issuer, operator};
    use crate::memory::MemoryStore;
    use crate::{Transaction, Write, stores::Commit};
    use countersign_model::Timestamp;
    use countersign_model::certificate::IssuerRole;
    use countersign_policy::Registry;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// Goes on by a second whenever it is looked at: it is, in every attempt to apply a change.
    struct Looked(AtomicI64);

    impl Clock for Looked {
        fn now(&self) -> Timestamp {
            NOW.plus_s(self.0.fetch_add(1, Ordering::SeqCst) + 1)
        }
    }

    #[tokio::test]
    async fn rule_g16_a_feed_that_is_signalled_and_cannot_be_followed_grows_old() {
        let store = Arc::new(MemoryStore::new(Arc::new(FixedClock)));
        let views = Arc::new(Views::load(store.as_ref(), NOW).await.unwrap());
        let commit = async |write| store.commit(Transaction::new().write(write)).await.unwrap();
        // Its certificate cannot be read: no attempt gets behind it.
        commit(Write::InsertIssuer(issuer("clients", IssuerRole::Clients, NOW))).await;
        let clock = Arc::new(Looked(AtomicI64::new(0)));
        let (_stop, stopped) = watch::channel(false);
        let following = follow(views.clone(), store.clone(), clock.clone(), |_| {}, stopped);
        let signalling = async {
            let mut count = 0;
            while clock.0.load(Ordering::SeqCst) < 10 {
                count += 1;
                commit(Write::InsertOperator(operator(&format!("operator-{count}")))).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = following => panic!("it goes on"),
            () = signalling => {}
        }
        let (hour, instant) = (Duration::from_secs(3600), Instant::now().into_std());
        assert_eq!(views.age(NOW.plus_s(3600), instant), hour);
        assert_eq!(
            views.age(NOW.plus_s(-3600), instant),
            hour,
            "by a clock that was set back it is no younger"
        );
        assert!(views.age(NOW, instant + hour) >= hour, "nor by one that stands still");
        assert!(!views.applied(1, Duration::ZERO).await);
    }
}
