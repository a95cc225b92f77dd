//! Everything but commits goes to the backend as it is; a key that is withdrawn and could not be deleted is not there.

use super::EssentialStore;
use crate::stores::{
    AuditOutbox, CertificateFilter, CertificateStore, ChangeFeed, ClientStore, Commit, Expiring, KeyStore,
    OperatorStore, RevokedCertificate,
};
use crate::transaction::AuditHead;
use crate::{Receipt, StorageError, Transaction};
use async_trait::async_trait;
use countersign_model::audit::AuditEvent;
use countersign_model::certificate::{CertificateRecord, CrlRecord, Issuer};
use countersign_model::change::Change;
use countersign_model::client::{Client, Credential};
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::operator::Operator;
use countersign_model::{ClientId, IssuerId, KeyId, Serial, Thumbprint, Timestamp};
use tokio::sync::watch;

#[async_trait]
impl Commit for EssentialStore {
    async fn commit(&self, transaction: Transaction) -> Result<Receipt, StorageError> {
        self.commit_essentially(transaction).await
    }
}

#[async_trait]
impl ClientStore for EssentialStore {
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
impl CertificateStore for EssentialStore {
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
impl KeyStore for EssentialStore {
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StorageError> {
        Ok(self.inner.key(id).await?.filter(|key| !self.withdrawn_keys().contains(&key.id)))
    }

    async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<KeyRecord>, StorageError> {
        let mut keys = self.inner.keys(purpose).await?;
        let withdrawn = self.withdrawn_keys();
        keys.retain(|key| !withdrawn.contains(&key.id));
        Ok(keys)
    }
}

#[async_trait]
impl OperatorStore for EssentialStore {
    async fn operators(&self) -> Result<Vec<Operator>, StorageError> {
        self.inner.operators().await
    }
}

#[async_trait]
impl ChangeFeed for EssentialStore {
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
impl AuditOutbox for EssentialStore {
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
