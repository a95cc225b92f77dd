//! A store in memory that remembers what was committed, and fails the commit that it is told to fail.

use async_trait::async_trait;
use countersign_model::audit::AuditEvent;
use countersign_model::certificate::{CertificateRecord, CrlRecord, Issuer};
use countersign_model::change::Change;
use countersign_model::client::{Client, Credential};
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::operator::Operator;
use countersign_model::{ClientId, Clock, IssuerId, KeyId, Serial, Thumbprint, Timestamp};
use countersign_storage::memory::MemoryStore;
use countersign_storage::stores::{
    AuditOutbox, CertificateFilter, CertificateStore, ChangeFeed, ClientStore, Commit, Expiring, KeyStore,
    OperatorStore, RevokedCertificate,
};
use countersign_storage::transaction::AuditHead;
use countersign_storage::{Receipt, StorageError, Transaction, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

pub(crate) struct FaultyStore {
    inner: MemoryStore,
    /// How many commits succeed before one fails; the next ones succeed again.
    succeed: AtomicUsize,
    committed: Mutex<Vec<Write>>,
    /// Whether lists of revoked certificates cannot be read.
    refuses_reads: AtomicBool,
}

impl FaultyStore {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let inner = MemoryStore::new(clock);
        Self {
            inner,
            succeed: AtomicUsize::new(usize::MAX),
            committed: Mutex::default(),
            refuses_reads: AtomicBool::default(),
        }
    }

    /// Fails the `nth` commit from now, counted from 1.
    pub(crate) fn fail(&self, nth: usize) {
        self.succeed.store(nth - 1, Ordering::SeqCst);
    }

    /// Whether lists of revoked certificates cannot be read from now on.
    pub(crate) fn refuse_reads(&self, refuse: bool) {
        self.refuses_reads.store(refuse, Ordering::SeqCst);
    }

    /// What was committed since the last call.
    pub(crate) fn committed(&self) -> Vec<Write> {
        std::mem::take(&mut self.committed.lock().unwrap())
    }
}

#[async_trait]
impl Commit for FaultyStore {
    async fn commit(&self, transaction: Transaction) -> Result<Receipt, StorageError> {
        // A commit is where the other callers get their turn, as with a database.
        tokio::task::yield_now().await;
        let left = self.succeed.load(Ordering::SeqCst);
        self.succeed.store(left.checked_sub(1).unwrap_or(usize::MAX), Ordering::SeqCst);
        if left == 0 {
            return Err(StorageError::Full);
        }
        let writes = transaction.writes.clone();
        let receipt = self.inner.commit(transaction).await?;
        self.committed.lock().unwrap().extend(writes);
        Ok(receipt)
    }
}

#[async_trait]
impl ClientStore for FaultyStore {
    async fn client(&self, id: &ClientId) -> Result<Option<(Client, Vec<Credential>)>, StorageError> {
        self.inner.client(id).await
    }
    async fn clients_after(
        &self,
        after: Option<&ClientId>,
        limit: u32,
    ) -> Result<Vec<(Client, Vec<Credential>)>, StorageError> {
        self.inner.clients_after(after, limit).await
    }
}

#[async_trait]
impl CertificateStore for FaultyStore {
    async fn certificate(
        &self,
        issuer: &IssuerId,
        serial: &Serial,
    ) -> Result<Option<CertificateRecord>, StorageError> {
        self.inner.certificate(issuer, serial).await
    }
    async fn certificate_by_thumbprint(
        &self,
        thumbprint: &Thumbprint,
    ) -> Result<Option<CertificateRecord>, StorageError> {
        self.inner.certificate_by_thumbprint(thumbprint).await
    }
    async fn certificates(
        &self,
        filter: &CertificateFilter,
        limit: u32,
    ) -> Result<Vec<CertificateRecord>, StorageError> {
        self.inner.certificates(filter, limit).await
    }
    async fn expiring_certificates(
        &self,
        filter: &Expiring,
        limit: u32,
    ) -> Result<Vec<CertificateRecord>, StorageError> {
        self.inner.expiring_certificates(filter, limit).await
    }

    async fn pending_certificates(&self) -> Result<Vec<CertificateRecord>, StorageError> {
        self.inner.pending_certificates().await
    }
    async fn revoked_certificates(
        &self,
        issuer: &IssuerId,
        shard: u16,
        expires_from: Timestamp,
    ) -> Result<Vec<RevokedCertificate>, StorageError> {
        if self.refuses_reads.load(Ordering::SeqCst) {
            return Err(StorageError::Unavailable("the disk is away".to_owned()));
        }
        self.inner.revoked_certificates(issuer, shard, expires_from).await
    }
    async fn issuers(&self) -> Result<Vec<Issuer>, StorageError> {
        self.inner.issuers().await
    }
    async fn crl(&self, issuer: &IssuerId, shard: u16) -> Result<Option<CrlRecord>, StorageError> {
        self.inner.crl(issuer, shard).await
    }
}

#[async_trait]
impl KeyStore for FaultyStore {
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StorageError> {
        self.inner.key(id).await
    }
    async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<KeyRecord>, StorageError> {
        self.inner.keys(purpose).await
    }
}

#[async_trait]
impl OperatorStore for FaultyStore {
    async fn operators(&self) -> Result<Vec<Operator>, StorageError> {
        self.inner.operators().await
    }
}

#[async_trait]
impl ChangeFeed for FaultyStore {
    async fn changes_after(&self, sequence: u64, limit: u32) -> Result<Vec<Change>, StorageError> {
        self.inner.changes_after(sequence, limit).await
    }
    async fn last_change(&self) -> Result<u64, StorageError> {
        self.inner.last_change().await
    }
    fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.subscribe()
    }
}

#[async_trait]
impl AuditOutbox for FaultyStore {
    async fn outbox(&self, limit: u32) -> Result<Vec<(u64, AuditEvent)>, StorageError> {
        self.inner.outbox(limit).await
    }
    async fn last_event(&self) -> Result<u64, StorageError> {
        self.inner.last_event().await
    }

    async fn audit_head(&self, chain: &str) -> Result<Option<AuditHead>, StorageError> {
        self.inner.audit_head(chain).await
    }
}
