//! A store that lets a test decide who comes first: between what a use case reads and what it then writes, the test runs
//! what another caller does.

use crate::stores::{
    AuditOutbox, CertificateFilter, CertificateStore, ChangeFeed, ClientStore, Commit, Expiring, KeyStore,
    OperatorStore, RevokedCertificate,
};
use crate::transaction::AuditHead;
use crate::{Receipt, StorageError, Store, Transaction};
use async_trait::async_trait;
use countersign_model::audit::AuditEvent;
use countersign_model::certificate::{CertificateRecord, CrlRecord, Issuer};
use countersign_model::change::Change;
use countersign_model::client::{Client, Credential};
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::operator::Operator;
use countersign_model::{ClientId, IssuerId, KeyId, Serial, Thumbprint, Timestamp};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

/// What was just done, or is about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A client was read.
    ClientRead,
    /// A listing of certificates was read.
    CertificatesRead,
    /// The revoked certificates of a list were read.
    RevokedRead,
    /// The keys of a purpose were read.
    KeysRead,
    /// A transaction is about to be committed.
    BeforeCommit,
    /// A transaction was committed.
    Committed,
}

type Turn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Passes everything on to another store, and waits at each [`Step`] for what the test does there.
pub struct Interleaved {
    inner: Arc<dyn Store>,
    at: Box<dyn Fn(Step) -> Turn + Send + Sync>,
}

impl Interleaved {
    /// Awaits what `at` returns at each step.
    pub fn new<F: Future<Output = ()> + Send + 'static>(
        inner: Arc<dyn Store>,
        at: impl Fn(Step) -> F + Send + Sync + 'static,
    ) -> Self {
        Self { inner, at: Box::new(move |step| Box::pin(at(step))) }
    }

    async fn after<T>(&self, step: Step, outcome: T) -> T {
        (self.at)(step).await;
        outcome
    }
}

#[async_trait]
impl Commit for Interleaved {
    async fn commit(&self, transaction: Transaction) -> Result<Receipt, StorageError> {
        (self.at)(Step::BeforeCommit).await;
        let receipt = self.inner.commit(transaction).await;
        self.after(Step::Committed, receipt).await
    }
}

#[async_trait]
impl ClientStore for Interleaved {
    async fn client(&self, id: &ClientId) -> Result<Option<(Client, Vec<Credential>)>, StorageError> {
        let read = self.inner.client(id).await;
        self.after(Step::ClientRead, read).await
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
impl CertificateStore for Interleaved {
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
        let read = self.inner.certificates(filter, limit).await;
        self.after(Step::CertificatesRead, read).await
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
        let read = self.inner.revoked_certificates(issuer, shard, expires_from).await;
        self.after(Step::RevokedRead, read).await
    }
    async fn issuers(&self) -> Result<Vec<Issuer>, StorageError> {
        self.inner.issuers().await
    }
    async fn crl(&self, issuer: &IssuerId, shard: u16) -> Result<Option<CrlRecord>, StorageError> {
        self.inner.crl(issuer, shard).await
    }
}

#[async_trait]
impl KeyStore for Interleaved {
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StorageError> {
        self.inner.key(id).await
    }
    async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<KeyRecord>, StorageError> {
        let read = self.inner.keys(purpose).await;
        self.after(Step::KeysRead, read).await
    }
}

#[async_trait]
impl OperatorStore for Interleaved {
    async fn operators(&self) -> Result<Vec<Operator>, StorageError> {
        self.inner.operators().await
    }
}

#[async_trait]
impl ChangeFeed for Interleaved {
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
impl AuditOutbox for Interleaved {
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
