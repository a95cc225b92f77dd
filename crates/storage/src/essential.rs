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
use crate::{Receipt, StorageError, Store, Transaction, Write};
use countersign_model::certificate::CertificateState;
use countersign_model::change::Changed;
use countersign_model::{ClientId, KeyId, Timestamp};
use ending::{covers, enabled, endings};
use futures_util::future::join_all;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Space that is held back for revocations.
pub trait Reserve: Send + Sync {
    /// Gives the space up; false when there was none.
    fn give_up(&self) -> bool;
}

/// With so many that wait to be stored, more are refused as the backend refuses them.
const WAITING: usize = 10_000;

/// How many are handed to the backend at once: it shares a sync to disk among them, and each fails for itself.
const AT_ONCE: usize = 64;

/// A store whose revocations do not fail.
pub struct EssentialStore {
    inner: Arc<dyn Store>,
    reserve: Arc<dyn Reserve>,
    enforced_by: OnceLock<EnforcedBy>,
    waiting: Mutex<Vec<Waiting>>,
    next_number: AtomicU64,
    /// Held while an ending is committed: the same one is never committed twice side by side, and told of twice.
    storing: tokio::sync::Mutex<()>,
}

/// Where it is enforced at once.
struct EnforcedBy {
    views: Arc<Views>,
    cut: Box<dyn Fn(Changed) + Send + Sync>,
}

/// What is true together: a certificate by itself, or the credentials of a client. It is stored for itself, so that one
/// that somebody else has stored takes no other with it.
#[derive(Clone)]
struct Waiting {
    number: u64,
    transaction: Transaction,
    since: Timestamp,
}

/// What of that which waited was stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many changes.
    pub changes: usize,
    /// How many of them are revoked certificates: they belong on a CRL at once (rule R2).
    pub certificates: usize,
}

impl EssentialStore {
    /// Stands before `inner`, whose disk `reserve` is on. Nothing is enforced in memory before [`attach`](Self::attach).
    pub fn new(inner: Arc<dyn Store>, reserve: Arc<dyn Reserve>) -> Self {
        Self {
            inner,
            reserve,
            enforced_by: OnceLock::new(),
            waiting: Mutex::default(),
            next_number: AtomicU64::new(0),
            storing: tokio::sync::Mutex::default(),
        }
    }

    /// From now on what cannot be stored is enforced in `views`; `cut` is told what changed, as by the change feed.
    pub fn attach(&self, views: Arc<Views>, cut: impl Fn(Changed) + Send + Sync + 'static) {
        let _ = self.enforced_by.set(EnforcedBy { views, cut: Box::new(cut) }); // once for a process
    }

    /// How many changes are enforced and not stored, and since when the oldest of them.
    pub fn waiting(&self) -> (usize, Option<Timestamp>) {
        let waiting = self.lock();
        let changes = waiting.iter().map(|waiting| waiting.transaction.writes.len()).sum();
        (changes, waiting.iter().map(|waiting| waiting.since).min())
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

    /// Stores what waits, as far as the backend takes it.
    pub async fn store_waiting(&self) -> Stored {
        let mut stored = Stored::default();
        let numbers: Vec<u64> = self.lock().iter().map(|waiting| waiting.number).collect();
        for numbers in numbers.chunks(AT_ONCE) {
            let _alone = self.storing.lock().await;
            let kept = self.store(|waiting| numbers.contains(&waiting.number), &mut stored).await;
            if kept.len() == numbers.len() {
                // The next turn begins with others: one that is too large for the space that is left holds up none.
                let mut waiting = self.lock();
                let behind = waiting.iter().take_while(|waiting| numbers.contains(&waiting.number)).count();
                waiting.rotate_left(behind);
                break;
            }
        }
        stored
    }

    /// Stores those that wait and are `wanted`, each for itself. Why some of them wait still. For who holds `storing`.
    async fn store(&self, wanted: impl Fn(&Waiting) -> bool, stored: &mut Stored) -> Vec<StorageError> {
        let due: Vec<Waiting> = self.lock().iter().filter(|waiting| wanted(waiting)).cloned().collect();
        let outcomes =
            join_all(due.iter().map(|waiting| self.commit_with_reserve(&waiting.transaction))).await;
        let mut kept = Vec::new();
        for (Waiting { number, transaction, .. }, outcome) in due.into_iter().zip(outcomes) {
            let is_certificate = |write: &&Write| matches!(write, Write::RevokeCertificate { .. });
            match outcome {
                Ok(_) => {
                    stored.changes += transaction.writes.len();
                    stored.certificates += transaction.writes.iter().filter(is_certificate).count();
                }
                Err(_) if self.is_true_already(&transaction).await => {}
                Err(error) => {
                    kept.push(error);
                    continue;
                }
            }
            self.lock().retain(|waiting| waiting.number != number);
        }
        kept
    }

    /// Whether storage says the same already: somebody else revoked the certificate, gave it up, or disabled the client.
    /// All else is stored again and changes nothing.
    async fn is_true_already(&self, ending: &Transaction) -> bool {
        match ending.writes.as_slice() {
            [Write::RevokeCertificate { issuer, serial, .. }] => {
                let row = self.inner.certificate(issuer, serial).await.ok().flatten();
                row.is_some_and(|row| {
                    matches!(row.state, CertificateState::Revoked { .. } | CertificateState::Abandoned { .. })
                })
            }
            [Write::SetClientState { client, state, .. }] => {
                let found = self.inner.client(client).await.ok().flatten();
                found.is_some_and(|(client, _)| client.state == *state)
            }
            _ => false,
        }
    }

    async fn commit_essentially(&self, transaction: Transaction) -> Result<Receipt, StorageError> {
        if let Some(client) = enabled(&transaction) {
            return self.enable(client.clone(), transaction).await;
        }
        let endings = endings(&transaction);
        if endings.is_empty() {
            return match ending::may_use_the_reserve(&transaction) {
                true => self.commit_with_reserve(&transaction).await,
                false => self.inner.commit(transaction).await,
            };
        }
        let _alone = self.storing.lock().await;
        // The first time and reason of a revocation stay (rule R5), also when it was not stored at once.
        let revoked_before = |waiting: &Waiting| {
            let is_certificate = |write: &Write| matches!(write, Write::RevokeCertificate { .. });
            let covered = |write| endings.iter().any(|ending| covers(&ending.writes, write));
            waiting.transaction.writes.iter().any(|write| is_certificate(write) && covered(write))
        };
        let outcome = match self.store(revoked_before, &mut Stored::default()).await.pop() {
            Some(error) => Err(error),
            None => self.commit_with_reserve(&transaction).await,
        };
        match outcome {
            Ok(receipt) => {
                self.forget_what_is_stored(&endings);
                Ok(receipt)
            }
            Err(error) if is_the_backends(&error) => {
                let mut not_stored = Vec::new();
                for ending in endings {
                    if !self.is_true_already(&ending).await {
                        not_stored.push(ending);
                    }
                }
                Err(if not_stored.is_empty() { error } else { self.enforce(&not_stored, error) })
            }
            outcome => outcome,
        }
    }

    /// Storage says from now on what this client is. `Conflict` while its disabling waits to be stored: it would be disabled
    /// again a moment later, by an order from before.
    async fn enable(&self, client: ClientId, transaction: Transaction) -> Result<Receipt, StorageError> {
        let _alone = self.storing.lock().await;
        if self.enforced().clients.contains(&client) {
            return Err(StorageError::Conflict("client"));
        }
        if let Some(EnforcedBy { views, .. }) = self.enforced_by.get() {
            views.withhold_no_longer(&client);
        }
        self.inner.commit(transaction).await
    }

    /// What waits and was stored by another order needs no order of its own any more.
    fn forget_what_is_stored(&self, stored: &[Transaction]) {
        let mut waiting = self.lock();
        for waiting in waiting.iter_mut() {
            let is_stored = |write: &Write| stored.iter().any(|stored| covers(&stored.writes, write));
            waiting.transaction.writes.retain(|write| !is_stored(write));
        }
        waiting.retain(|waiting| !waiting.transaction.writes.is_empty());
    }

    /// The keys that are withdrawn and could not be deleted.
    fn withdrawn_keys(&self) -> Vec<KeyId> {
        let waiting = self.lock();
        let writes = waiting.iter().flat_map(|waiting| &waiting.transaction.writes);
        let deleted = |write: &Write| match write {
            Write::DeleteKey { key } => Some(key.clone()),
            _ => None,
        };
        writes.filter_map(deleted).collect()
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

    /// Enforces what `endings` take away, and keeps each until it is stored.
    fn enforce(&self, endings: &[Transaction], error: StorageError) -> StorageError {
        let Some(EnforcedBy { views, cut }) = self.enforced_by.get() else { return error };
        {
            let mut waiting = self.lock();
            let is_new = |waiting: &[Waiting], write: &Write| {
                !waiting.iter().any(|waiting| covers(&waiting.transaction.writes, write))
            };
            let mut new = endings.to_vec();
            new.iter_mut().for_each(|ending| ending.writes.retain(|write| is_new(&waiting, write)));
            new.retain(|ending| !ending.writes.is_empty());
            if !new.is_empty() && waiting.len() >= WAITING {
                return error;
            }
            for transaction in new {
                let since = transaction.events.first().map_or_else(Timestamp::default, |event| event.at);
                let number = self.next_number.fetch_add(1, Ordering::Relaxed);
                waiting.push(Waiting { number, transaction, since });
            }
        }
        for write in endings.iter().flat_map(|ending| &ending.writes) {
            if let Some(subject) = views.withhold(write) {
                cut(subject);
            }
        }
        for Unstored { what, client, reference } in endings.iter().flat_map(Unstored::of) {
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
        | StorageError::KeyTaken(_)
        | StorageError::Missing(_)
        | StorageError::NotStored(_)
        | StorageError::NewerSchema { .. } => false,
    }
}

#[cfg(test)]
mod tests;
