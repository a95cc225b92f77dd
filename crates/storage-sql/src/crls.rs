//! Our issuers and their CRLs, and the port that they share with the ledger.

use crate::certificates;
use crate::codec::{Columns, execute, fetch_all, fetch_first, insert, integer};
use crate::dialect::Connection;
use crate::store::SqliteStore;
use async_trait::async_trait;
use countersign_model::certificate::{CertificateRecord, CrlRecord, Issuer, IssuerRole};
use countersign_model::change::Changed;
use countersign_model::{IssuerId, KeyId, Serial, Thumbprint, Timestamp};
use countersign_storage::StorageError;
use countersign_storage::stores::{CertificateFilter, CertificateStore, Expiring, RevokedCertificate};

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[ISSUERS, INSERT_ISSUER, CRL, RAISE_CRL_NUMBER, PUT_CRL];

const ISSUERS: &str = "SELECT id, role, certificate, key_id, created_at FROM issuers ORDER BY created_at, id";
const INSERT_ISSUER: &str =
    "INSERT INTO issuers (id, role, certificate, key_id, created_at) VALUES ($1, $2, $3, $4, $5)";
const CRL: &str = "SELECT issuer, shard, number, this_update, next_update, der FROM crls \
     WHERE issuer = $1 AND shard = $2";
const RAISE_CRL_NUMBER: &str =
    "UPDATE crls SET number = $3, this_update = 0 WHERE issuer = $1 AND shard = $2 AND number < $3";
/// Rule R1: CRLNumber strictly increases.
const PUT_CRL: &str = "INSERT INTO crls (issuer, shard, number, this_update, next_update, der) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (issuer, shard) DO UPDATE SET number = excluded.number, this_update = excluded.this_update, \
     next_update = excluded.next_update, der = excluded.der WHERE crls.number < excluded.number";

const ROLES: [IssuerRole; 3] = [IssuerRole::Root, IssuerRole::Clients, IssuerRole::Servers];

#[async_trait]
impl CertificateStore for SqliteStore {
    async fn certificate(
        &self,
        issuer: &IssuerId,
        serial: &Serial,
    ) -> Result<Option<CertificateRecord>, StorageError> {
        certificates::certificate(self, issuer, serial).await
    }

    async fn certificate_by_thumbprint(
        &self,
        thumbprint: &Thumbprint,
    ) -> Result<Option<CertificateRecord>, StorageError> {
        certificates::certificate_by_thumbprint(self, thumbprint).await
    }

    async fn certificates(
        &self,
        filter: &CertificateFilter,
        limit: u32,
    ) -> Result<Vec<CertificateRecord>, StorageError> {
        certificates::certificates(self, filter, limit).await
    }

    async fn expiring_certificates(
        &self,
        filter: &Expiring,
        limit: u32,
    ) -> Result<Vec<CertificateRecord>, StorageError> {
        certificates::expiring_certificates(self, filter, limit).await
    }

    async fn pending_certificates(&self) -> Result<Vec<CertificateRecord>, StorageError> {
        certificates::pending_certificates(self).await
    }

    async fn revoked_certificates(
        &self,
        issuer: &IssuerId,
        shard: u16,
        expires_from: Timestamp,
    ) -> Result<Vec<RevokedCertificate>, StorageError> {
        certificates::revoked_certificates(self, issuer, shard, expires_from).await
    }

    async fn issuers(&self) -> Result<Vec<Issuer>, StorageError> {
        fetch_all(self.readers(), sqlx::query(ISSUERS), issuer).await
    }

    async fn crl(&self, issuer: &IssuerId, shard: u16) -> Result<Option<CrlRecord>, StorageError> {
        let query = sqlx::query(CRL).bind(issuer.as_str()).bind(i64::from(shard));
        fetch_first(self.readers(), query, crl).await
    }
}

fn issuer(columns: &mut Columns<'_>) -> Result<Issuer, StorageError> {
    Ok(Issuer {
        id: columns.parsed()?,
        role: columns.one_of(&ROLES, IssuerRole::as_str)?,
        certificate: columns.bytes()?,
        key: KeyId(columns.text()?),
        created_at: columns.time()?,
    })
}

fn crl(columns: &mut Columns<'_>) -> Result<CrlRecord, StorageError> {
    Ok(CrlRecord {
        issuer: columns.parsed()?,
        shard: columns.unsigned()?,
        number: columns.unsigned()?,
        this_update: columns.time()?,
        next_update: columns.time()?,
        der: columns.bytes()?,
    })
}

pub(crate) async fn insert_issuer(
    connection: &mut Connection,
    issuer: &Issuer,
) -> Result<Changed, StorageError> {
    let query = sqlx::query(INSERT_ISSUER)
        .bind(issuer.id.as_str())
        .bind(issuer.role.as_str())
        .bind(issuer.certificate.as_slice())
        .bind(issuer.key.0.as_str())
        .bind(issuer.created_at.unix_ms());
    insert(connection, query, "issuer").await?;
    Ok(Changed::Issuers)
}

pub(crate) async fn raise_crl_number(
    connection: &mut Connection,
    issuer: &IssuerId,
    shard: u16,
    number: u64,
) -> Result<Option<Changed>, StorageError> {
    let query =
        sqlx::query(RAISE_CRL_NUMBER).bind(issuer.as_str()).bind(i64::from(shard)).bind(integer(number));
    let raised = execute(connection, query).await? == 1;
    Ok(raised.then(|| Changed::Crl(issuer.clone(), shard)))
}

pub(crate) async fn put_crl(connection: &mut Connection, crl: &CrlRecord) -> Result<Changed, StorageError> {
    let query = sqlx::query(PUT_CRL)
        .bind(crl.issuer.as_str())
        .bind(i64::from(crl.shard))
        .bind(integer(crl.number))
        .bind(crl.this_update.unix_ms())
        .bind(crl.next_update.unix_ms())
        .bind(crl.der.as_slice());
    match execute(connection, query).await? {
        0 => Err(StorageError::Conflict("CRL")),
        _ => Ok(Changed::Crl(crl.issuer.clone(), crl.shard)),
    }
}
