//! Revocations take effect even if the database cannot be written (rule G20).
//!
//! [`EssentialStore`] wraps a backend. If the disk is full, a transaction that takes rights away gets the space of the
//! reserve. If it still cannot be committed, it is enforced in memory at once, answered with [`StorageError::NotStored`],
//! and committed as soon as possible. All other transactions are passed on unchanged.

mod ending;
mod forward;
mod unstored;

pub use unstored::{Enforced, Unstored};

use crate::views::Views;
use crate::{Receipt, StorageError, Store, Transaction};
use countersign_model::Timestamp;
use countersign_model::change::Changed;
use ending::endings;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Space that is held back for revocations.
pub trait Reserve: Send + Sync {
    /// Gives the space up; false when there was none.
    fn give_up(&self) -> bool;
}

/// How many transactions wait to be stored at most; more are refused as the backend refuses them.
const WAITING: usize = 10_000;

/// A store whose revocations do not fail.
pub struct EssentialStore {
    inner: Arc<dyn Store>,
    reserve: Arc<dyn Reserve>,
    enforced_by: OnceLock<EnforcedBy>,
    waiting: Mutex<Vec<Waiting>>,
}

/// Where it is enforced at once.
struct EnforcedBy {
    views: Arc<Views>,
    cut: Box<dyn Fn(Changed) + Send + Sync>,
}

#[derive(Clone)]
struct Waiting {
    transaction: Transaction,
    since: Timestamp,
}

impl EssentialStore {
    /// Stands before `inner`, whose disk `reserve` is on. Nothing is enforced in memory before [`attach`](Self::attach).
    pub fn new(inner: Arc<dyn Store>, reserve: Arc<dyn Reserve>) -> Self {
        Self { inner, reserve, enforced_by: OnceLock::new(), waiting: Mutex::default() }
    }

    /// From now on what cannot be stored is enforced in `views`; `cut` is told what changed, as by the change feed.
    pub fn attach(&self, views: Arc<Views>, cut: impl Fn(Changed) + Send + Sync + 'static) {
        let _ = self.enforced_by.set(EnforcedBy { views, cut: Box::new(cut) }); // once for a process
    }

    /// How many changes are enforced and not stored, and since when the oldest of them.
    pub fn waiting(&self) -> (usize, Option<Timestamp>) {
        let waiting = self.lock();
        (waiting.len(), waiting.iter().map(|waiting| waiting.since).min())
    }

    /// What that is, by object, the oldest first.
    pub fn unstored(&self) -> Vec<Unstored> {
        self.lock().iter().flat_map(|waiting| Unstored::of(&waiting.transaction)).collect()
    }

    /// The same, to look objects up in.
    pub fn enforced(&self) -> Enforced {
        let mut enforced = Enforced::default();
        self.lock().iter().for_each(|waiting| enforced.add(&waiting.transaction));
        enforced
    }

    /// Stores what waits, as far as the backend takes it. How many were stored.
    pub async fn store_waiting(&self) -> usize {
        let mut stored = 0;
        while let Some(next) = { self.lock().first().cloned() } {
            match self.commit_with_reserve(&next.transaction).await {
                // Somebody else has stored the same meanwhile: there is nothing left to do.
                Ok(_) | Err(StorageError::Conflict(_) | StorageError::Missing(_)) => {
                    self.lock().remove(0);
                    stored += 1;
                }
                Err(_) => break,
            }
        }
        stored
    }

    async fn commit_essentially(&self, transaction: Transaction) -> Result<Receipt, StorageError> {
        let essential = endings(&transaction);
        if essential.writes.is_empty() {
            return self.inner.commit(transaction).await;
        }
        match self.commit_with_reserve(&transaction).await {
            Err(error) if is_the_backends(&error) => Err(self.enforce(essential, error)),
            outcome => outcome,
        }
    }

    async fn commit_with_reserve(&self, transaction: &Transaction) -> Result<Receipt, StorageError> {
        match self.inner.commit(transaction.clone()).await {
            Err(StorageError::Full) if self.reserve.give_up() => {
                tracing::error!("disk full: released the reserve file to store a revocation");
                self.inner.commit(transaction.clone()).await
            }
            outcome => outcome,
        }
    }

    /// Enforces what `essential` takes away, and keeps it until it is stored.
    fn enforce(&self, essential: Transaction, error: StorageError) -> StorageError {
        let Some(EnforcedBy { views, cut }) = self.enforced_by.get() else { return error };
        {
            let mut waiting = self.lock();
            let same = |waiting: &Waiting| ending::same(&waiting.transaction, &essential);
            if !waiting.iter().any(same) {
                if waiting.len() >= WAITING {
                    return error;
                }
                let since = essential.events.first().map_or_else(Timestamp::default, |event| event.at);
                waiting.push(Waiting { transaction: essential.clone(), since });
            }
        }
        for write in &essential.writes {
            if let Some(subject) = views.withhold(write) {
                cut(subject);
            }
        }
        for Unstored { what, client, reference } in Unstored::of(&essential) {
            tracing::error!(
                change = what,
                "countersign.client.id" = client.map(tracing::field::display),
                "countersign.ref" = reference.map(tracing::field::display),
                %error,
                "a change cannot be stored: only this node enforces it, and a restart undoes it"
            );
        }
        StorageError::NotStored(error.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the transaction may be right and the backend does not take it.
fn is_the_backends(error: &StorageError) -> bool {
    match error {
        StorageError::Full | StorageError::Unavailable(_) | StorageError::Corrupt(_) => true,
        StorageError::Conflict(_)
        | StorageError::Missing(_)
        | StorageError::NotStored(_)
        | StorageError::NewerSchema { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::fixtures::FixedClock;
    use crate::memory::MemoryStore;

    struct NoReserve;

    impl Reserve for NoReserve {
        fn give_up(&self) -> bool {
            false
        }
    }

    /// It is a store like any other as long as the backend is one.
    async fn with_store(case: impl AsyncFnOnce(Arc<dyn Store>)) {
        let inner = Arc::new(MemoryStore::new(Arc::new(FixedClock)));
        case(Arc::new(EssentialStore::new(inner, Arc::new(NoReserve)))).await;
    }

    crate::conformance_tests!(with_store);
}
