//! The store that forgets: everything in memory under one lock, for tests and for trying things out.
//!
//! It keeps the same promises as a database but for the one of surviving: [`crate::conformance`] holds it to them.

mod apply;
mod read;
mod table;

use crate::stores::Commit;
use crate::transaction::AuditHead;
use crate::{Receipt, StorageError, Transaction};
use async_trait::async_trait;
use countersign_model::audit::AuditEvent;
use countersign_model::certificate::{CertificateRecord, CrlRecord, Issuer};
use countersign_model::change::Change;
use countersign_model::client::{Client, Credential};
use countersign_model::key::KeyRecord;
use countersign_model::operator::Operator;
use countersign_model::{ClientId, Clock, CredentialId, IssuerId, KeyId, Serial, Thumbprint};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::Table;
use tokio::sync::watch;

/// A store in memory.
pub struct MemoryStore {
    state: Mutex<State>,
    last_change: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
    /// Tells of each commit how it fails.
    #[cfg(test)]
    pub(crate) fails: Mutex<Box<dyn FnMut() -> Fails + Send>>,
}

/// How a commit fails, for tests.
#[cfg(test)]
pub(crate) enum Fails {
    No,
    /// Nothing is stored.
    Before(StorageError),
    /// It is stored, and nobody hears of it.
    After(StorageError),
}

/// The rows, and the indexes that keep look-ups short.
#[derive(Debug, Default)]
struct State {
    clients: Table<ClientId, Registration>,
    /// Whose a credential is.
    credential_owners: Table<CredentialId, ClientId>,
    /// Which active credential has a certificate matcher.
    matchers: Table<String, CredentialId>,
    certificates: Table<(IssuerId, Serial), CertificateRecord>,
    thumbprints: Table<Thumbprint, (IssuerId, Serial)>,
    issuers: Table<IssuerId, Issuer>,
    crls: Table<(IssuerId, u16), CrlRecord>,
    keys: Table<KeyId, KeyRecord>,
    operators: Table<String, Operator>,
    changes: Table<u64, Change>,
    outbox: Table<u64, AuditEvent>,
    audit_heads: Table<String, AuditHead>,
    /// The last numbers given. They outlive their rows: a forgotten change does not come back.
    counters: Counters,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counters {
    change: u64,
    event: u64,
}

/// A client and its credentials, oldest first.
type Registration = (Client, Vec<Credential>);

impl MemoryStore {
    /// An empty store. `clock` dates the changes of the feed.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::default(),
            last_change: watch::Sender::new(0),
            clock,
            #[cfg(test)]
            fails: Mutex::new(Box::new(|| Fails::No)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.take_back(); // What a panic may have left half done.
        state
    }
}

#[async_trait]
impl Commit for MemoryStore {
    async fn commit(&self, transaction: Transaction) -> Result<Receipt, StorageError> {
        #[cfg(test)]
        let fails = (self.fails.lock().unwrap())();
        #[cfg(test)]
        if let Fails::Before(error) = fails {
            return Err(error);
        }
        let now = self.clock.now();
        let mut state = self.state();
        let before = state.counters;
        if let Err(error) = transaction.writes.into_iter().try_for_each(|write| state.apply(write, now)) {
            state.take_back();
            state.counters = before;
            return Err(error);
        }
        for event in transaction.events {
            state.counters.event += 1;
            let row = state.counters.event;
            state.outbox.put(row, event);
        }
        state.keep();
        let sequence = state.counters.change;
        // Under the lock, so that followers never see the sequence go back.
        if sequence != before.change {
            self.last_change.send_replace(sequence);
        }
        #[cfg(test)]
        if let Fails::After(error) = fails {
            return Err(error);
        }
        Ok(Receipt { sequence })
    }
}

impl State {
    fn keep(&mut self) {
        self.clients.keep();
        self.credential_owners.keep();
        self.matchers.keep();
        self.certificates.keep();
        self.thumbprints.keep();
        self.issuers.keep();
        self.crls.keep();
        self.keys.keep();
        self.operators.keep();
        self.changes.keep();
        self.outbox.keep();
        self.audit_heads.keep();
    }

    fn take_back(&mut self) {
        self.clients.take_back();
        self.credential_owners.take_back();
        self.matchers.take_back();
        self.certificates.take_back();
        self.thumbprints.take_back();
        self.issuers.take_back();
        self.crls.take_back();
        self.keys.take_back();
        self.operators.take_back();
        self.changes.take_back();
        self.outbox.take_back();
        self.audit_heads.take_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::fixtures::FixedClock;

    async fn with_store(case: impl AsyncFnOnce(Arc<dyn crate::Store>)) {
        case(Arc::new(MemoryStore::new(Arc::new(FixedClock)))).await;
    }

    crate::conformance_tests!(with_store);
}
