//! The reads.

use super::{MemoryStore, Registration};
use crate::StorageError;
use crate::stores::{
    AuditOutbox, CertificateFilter, CertificateStore, ChangeFeed, ClientStore, Expiring, KeyStore,
    OperatorStore, RevokedCertificate,
};
use crate::transaction::AuditHead;
use async_trait::async_trait;
use countersign_model::audit::AuditEvent;
use countersign_model::certificate::{CertificateRecord, CertificateState, CrlRecord, Issuer};
use countersign_model::change::Change;
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::operator::Operator;
use countersign_model::{ClientId, IssuerId, KeyId, Serial, Thumbprint, Timestamp};
use std::cmp::Reverse;
use std::ops::Bound::{Excluded, Unbounded};
use tokio::sync::watch;

#[async_trait]
impl ClientStore for MemoryStore {
    async fn client(&self, id: &ClientId) -> Result<Option<Registration>, StorageError> {
        Ok(self.state().clients.get(id).cloned())
    }

    async fn clients_after(
        &self,
        after: Option<&ClientId>,
        limit: u32,
    ) -> Result<Vec<Registration>, StorageError> {
        let from = after.map_or(Unbounded, Excluded);
        let state = self.state();
        let page = state.clients.range::<ClientId, _>((from, Unbounded)).take(size(limit));
        Ok(page.map(|(_, registration)| registration.clone()).collect())
    }
}

#[async_trait]
impl CertificateStore for MemoryStore {
    async fn certificate(
        &self,
        issuer: &IssuerId,
        serial: &Serial,
    ) -> Result<Option<CertificateRecord>, StorageError> {
        Ok(self.state().certificates.get(&(issuer.clone(), *serial)).cloned())
    }

    async fn certificate_by_thumbprint(
        &self,
        thumbprint: &Thumbprint,
    ) -> Result<Option<CertificateRecord>, StorageError> {
        let state = self.state();
        let key = state.thumbprints.get(thumbprint);
        Ok(key.and_then(|key| state.certificates.get(key)).cloned())
    }

    async fn certificates(
        &self,
        filter: &CertificateFilter,
        limit: u32,
    ) -> Result<Vec<CertificateRecord>, StorageError> {
        let state = self.state();
        let prefix = filter.serial_prefix.as_deref().unwrap_or_default().to_ascii_lowercase();
        let before = filter.before.as_ref().map(|(at, serial)| (*at, serial.octets()));
        let shown = |record: &CertificateRecord| {
            filter.client.as_ref().is_none_or(|client| record.client.as_ref() == Some(client))
                && filter.state.as_deref().is_none_or(|state| record.state.as_str() == state)
                && filter.profile.is_none_or(|profile| record.profile == profile)
                && filter.valid_until.is_none_or(|until| record.not_after >= until)
                && filter.expired_before.is_none_or(|end| record.not_after < end)
                && before.is_none_or(|before| (record.created_at, record.serial.octets()) < before)
                && record.serial.to_string().starts_with(&prefix)
        };
        let mut page: Vec<_> = state.certificates.values().filter(|record| shown(record)).collect();
        page.sort_by_key(|record| Reverse((record.created_at, record.serial.octets())));
        Ok(page.into_iter().take(size(limit)).cloned().collect())
    }

    async fn expiring_certificates(
        &self,
        filter: &Expiring,
        limit: u32,
    ) -> Result<Vec<CertificateRecord>, StorageError> {
        let state = self.state();
        let place = |record: &CertificateRecord| (record.not_after, record.serial.octets().to_vec());
        let after = filter.after.as_ref().map(|(at, serial)| (*at, serial.octets().to_vec()));
        let listed = |record: &&CertificateRecord| {
            record.state == CertificateState::Issued
                && filter.client.as_ref().is_none_or(|client| record.client.as_ref() == Some(client))
                && record.not_after >= filter.from
                && record.not_after < filter.before
                && after.as_ref().is_none_or(|after| place(record) > *after)
        };
        let mut page: Vec<_> = state.certificates.values().filter(listed).collect();
        page.sort_by_key(|record| place(record));
        Ok(page.into_iter().take(size(limit)).cloned().collect())
    }

    async fn pending_certificates(&self) -> Result<Vec<CertificateRecord>, StorageError> {
        let state = self.state();
        let pending = |record: &&CertificateRecord| record.state == CertificateState::Pending;
        Ok(state.certificates.values().filter(pending).cloned().collect())
    }

    async fn revoked_certificates(
        &self,
        issuer: &IssuerId,
        shard: u16,
        expires_from: Timestamp,
    ) -> Result<Vec<RevokedCertificate>, StorageError> {
        let state = self.state();
        let of_shard = state.certificates.values().filter(|record| {
            record.issuer == *issuer && record.crl_shard == shard && record.not_after >= expires_from
        });
        let mut revoked: Vec<_> = of_shard.filter_map(RevokedCertificate::of).collect();
        revoked.sort_by_key(|entry| entry.serial);
        Ok(revoked)
    }

    async fn issuers(&self) -> Result<Vec<Issuer>, StorageError> {
        let mut issuers: Vec<_> = self.state().issuers.values().cloned().collect();
        issuers.sort_by_key(|issuer| issuer.created_at); // stable: by name where the times are equal
        Ok(issuers)
    }

    async fn crl(&self, issuer: &IssuerId, shard: u16) -> Result<Option<CrlRecord>, StorageError> {
        Ok(self.state().crls.get(&(issuer.clone(), shard)).cloned())
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StorageError> {
        Ok(self.state().keys.get(id).cloned())
    }

    async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<KeyRecord>, StorageError> {
        let state = self.state();
        let mut keys: Vec<_> = state.keys.values().filter(|key| key.purpose == purpose).cloned().collect();
        keys.sort_by_key(|key| key.created_at); // stable: by id where the times are equal
        Ok(keys)
    }
}

#[async_trait]
impl OperatorStore for MemoryStore {
    async fn operators(&self) -> Result<Vec<Operator>, StorageError> {
        Ok(self.state().operators.values().cloned().collect())
    }
}

#[async_trait]
impl ChangeFeed for MemoryStore {
    async fn changes_after(&self, sequence: u64, limit: u32) -> Result<Vec<Change>, StorageError> {
        let state = self.state();
        let page = state.changes.range((Excluded(sequence), Unbounded)).take(size(limit));
        Ok(page.map(|(_, change)| change.clone()).collect())
    }

    async fn last_change(&self) -> Result<u64, StorageError> {
        Ok(self.state().counters.change)
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.last_change.subscribe()
    }
}

#[async_trait]
impl AuditOutbox for MemoryStore {
    async fn outbox(&self, limit: u32) -> Result<Vec<(u64, AuditEvent)>, StorageError> {
        let state = self.state();
        Ok(state.outbox.iter().take(size(limit)).map(|(row, event)| (*row, event.clone())).collect())
    }

    async fn last_event(&self) -> Result<u64, StorageError> {
        Ok(self.state().counters.event)
    }

    async fn audit_head(&self, chain: &str) -> Result<Option<AuditHead>, StorageError> {
        Ok(self.state().audit_heads.get(chain).cloned())
    }
}

fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
