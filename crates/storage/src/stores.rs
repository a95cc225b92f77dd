//! The ports, by aggregate. A backend implements all of them; a use case takes the ones it needs as `&dyn Store`.

use crate::transaction::AuditHead;
use crate::{Receipt, StorageError, Transaction};
use async_trait::async_trait;
use countersign_model::audit::AuditEvent;
use countersign_model::certificate::{
    CertificateRecord, CertificateState, CrlRecord, Issuer, Profile, RevocationReason,
};
use countersign_model::change::Change;
use countersign_model::client::{Client, Credential};
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::operator::Operator;
use countersign_model::{ClientId, IssuerId, KeyId, Serial, Thumbprint, Timestamp};
use tokio::sync::watch;

/// Everything that a backend offers.
pub trait Store:
    Commit + ClientStore + CertificateStore + KeyStore + OperatorStore + ChangeFeed + AuditOutbox + Send + Sync
{
}

impl<T> Store for T where
    T: Commit
        + ClientStore
        + CertificateStore
        + KeyStore
        + OperatorStore
        + ChangeFeed
        + AuditOutbox
        + Send
        + Sync
{
}

/// Writes.
#[async_trait]
pub trait Commit {
    /// Commits the whole transaction and returns when it is safe on disk.
    ///
    /// # Errors
    /// The first precondition that does not hold, or any error of the backend. Nothing was written then.
    async fn commit(&self, transaction: Transaction) -> Result<Receipt, StorageError>;
}

/// Clients and their credentials.
#[async_trait]
pub trait ClientStore {
    /// The client with this id and its credentials, oldest first.
    async fn client(&self, id: &ClientId) -> Result<Option<(Client, Vec<Credential>)>, StorageError>;

    /// Up to `limit` clients with their credentials, in the order of their ids, after `after`.
    async fn clients_after(
        &self,
        after: Option<&ClientId>,
        limit: u32,
    ) -> Result<Vec<(Client, Vec<Credential>)>, StorageError>;
}

/// Which certificates a listing shows. Empty: all of them.
#[derive(Debug, Clone, Default)]
pub struct CertificateFilter {
    /// Only those of this client.
    pub client: Option<ClientId>,
    /// Only those in this state (`pending`, `issued`, `abandoned`, `revoked`).
    pub state: Option<String>,
    /// Only those of this profile.
    pub profile: Option<Profile>,
    /// Only those whose serial begins so (hexadecimal).
    pub serial_prefix: Option<String>,
    /// Only those that are valid until this moment or longer.
    pub valid_until: Option<Timestamp>,
    /// Only those that expired before this moment.
    pub expired_before: Option<Timestamp>,
    /// Only those made before this row: the last one of the page before.
    pub before: Option<(Timestamp, Serial)>,
}

/// Which certificates expire soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// Only those of this client.
    pub client: Option<ClientId>,
    /// Only those that expire at this moment or later: now, for those that are valid still.
    pub from: Timestamp,
    /// Only those that expire before this moment.
    pub before: Timestamp,
    /// Only those that expire after this row: the last one of the page before.
    pub after: Option<(Timestamp, Serial)>,
}

/// A line of a CRL to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Which.
    pub serial: Serial,
    /// Since when. For an abandoned row: when that was found.
    pub at: Timestamp,
    /// Why. Abandoned rows read `CessationOfOperation`.
    pub reason: RevocationReason,
    /// When it expires by itself.
    pub not_after: Timestamp,
}

impl RevokedCertificate {
    /// The line of a row; `None` if it has not ended.
    pub fn of(row: &CertificateRecord) -> Option<Self> {
        let (at, reason) = match row.state {
            CertificateState::Pending | CertificateState::Issued => return None,
            CertificateState::Abandoned { at } => (at, RevocationReason::CessationOfOperation),
            CertificateState::Revoked { at, reason } => (at, reason),
        };
        Some(Self { serial: row.serial, at, reason, not_after: row.not_after })
    }
}

/// The ledger, the issuers and the CRLs.
#[async_trait]
pub trait CertificateStore {
    /// The row of this issuer's serial.
    async fn certificate(
        &self,
        issuer: &IssuerId,
        serial: &Serial,
    ) -> Result<Option<CertificateRecord>, StorageError>;

    /// The row with this thumbprint.
    async fn certificate_by_thumbprint(
        &self,
        thumbprint: &Thumbprint,
    ) -> Result<Option<CertificateRecord>, StorageError>;

    /// Up to `limit` rows, newest first.
    async fn certificates(
        &self,
        filter: &CertificateFilter,
        limit: u32,
    ) -> Result<Vec<CertificateRecord>, StorageError>;

    /// Up to `limit` issued certificates that expire in a span of time, the soonest first.
    async fn expiring_certificates(
        &self,
        filter: &Expiring,
        limit: u32,
    ) -> Result<Vec<CertificateRecord>, StorageError>;

    /// All rows that are still pending.
    async fn pending_certificates(&self) -> Result<Vec<CertificateRecord>, StorageError>;

    /// The revoked and abandoned certificates of an issuer's shard that expire at `expires_from` or later, by serial.
    ///
    /// For the next CRL hand in the `this_update` of the present one: an entry goes only when it was on a CRL after its
    /// expiry (RFC 5280 section 3.3, rule R1).
    async fn revoked_certificates(
        &self,
        issuer: &IssuerId,
        shard: u16,
        expires_from: Timestamp,
    ) -> Result<Vec<RevokedCertificate>, StorageError>;

    /// Our issuers, in the order of their making.
    async fn issuers(&self) -> Result<Vec<Issuer>, StorageError>;

    /// The present CRL of an issuer's shard.
    async fn crl(&self, issuer: &IssuerId, shard: u16) -> Result<Option<CrlRecord>, StorageError>;
}

/// Keys in custody.
#[async_trait]
pub trait KeyStore {
    /// The key with this id.
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StorageError>;

    /// All keys for one purpose, oldest first.
    async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<KeyRecord>, StorageError>;
}

/// Operators.
#[async_trait]
pub trait OperatorStore {
    /// All operators, by name: they are few.
    async fn operators(&self) -> Result<Vec<Operator>, StorageError>;
}

/// The change feed (design, decision 17).
#[async_trait]
pub trait ChangeFeed {
    /// Up to `limit` changes after `sequence`, in order.
    async fn changes_after(&self, sequence: u64, limit: u32) -> Result<Vec<Change>, StorageError>;

    /// The sequence of the last change, 0 when there was none.
    async fn last_change(&self) -> Result<u64, StorageError>;

    /// Wakes whoever follows: holds the sequence of the last change that this process committed or heard of.
    fn subscribe(&self) -> watch::Receiver<u64>;
}

/// Audit events that wait to be appended to the log (design, decision 18).
#[async_trait]
pub trait AuditOutbox {
    /// Up to `limit` waiting events with their row numbers, oldest first.
    async fn outbox(&self, limit: u32) -> Result<Vec<(u64, AuditEvent)>, StorageError>;

    /// The number of the last event that was committed ([`AuditEvent::committed`]); 0 when there was none.
    async fn last_event(&self) -> Result<u64, StorageError>;

    /// The saved head of a chain.
    async fn audit_head(&self, chain: &str) -> Result<Option<AuditHead>, StorageError>;
}
