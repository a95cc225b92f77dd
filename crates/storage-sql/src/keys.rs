//! Keys in custody.

use crate::codec::{Columns, Query, fetch_all, fetch_first, fetch_optional, insert, milliseconds};
use crate::dialect::Connection;
use crate::store::SqliteStore;
use async_trait::async_trait;
use countersign_model::change::Changed;
use countersign_model::key::{KeyAlgorithm, KeyPurpose, KeyRecord};
use countersign_model::{KeyId, Timestamp};
use countersign_storage::StorageError;
use countersign_storage::stores::KeyStore;

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[KEY, KEYS, INSERT_KEY, RETIRE_KEY, KEY_EXISTS, DELETE_KEY];

macro_rules! select_keys {
    ($condition:literal) => {
        concat!(
            "SELECT id, purpose, algorithm, public_key, sealed, created_at, signs_from, retired_at FROM keys WHERE ",
            $condition
        )
    };
}

const KEY: &str = select_keys!("id = $1");
const KEYS: &str = select_keys!("purpose = $1 ORDER BY created_at, id");
const INSERT_KEY: &str = "INSERT INTO keys (id, purpose, algorithm, public_key, sealed, created_at, signs_from, retired_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const RETIRE_KEY: &str = "UPDATE keys SET retired_at = $2 \
     WHERE id = $1 AND (retired_at IS NULL OR retired_at > $2) RETURNING purpose";
const KEY_EXISTS: &str = "SELECT id FROM keys WHERE id = $1";
const DELETE_KEY: &str = "DELETE FROM keys WHERE id = $1 RETURNING purpose";

const PURPOSES: [KeyPurpose; 3] =
    [KeyPurpose::CertificateAuthority, KeyPurpose::Token, KeyPurpose::TlsServer];

#[async_trait]
impl KeyStore for SqliteStore {
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StorageError> {
        fetch_first(self.readers(), sqlx::query(KEY).bind(id.0.as_str()), key).await
    }

    async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<KeyRecord>, StorageError> {
        fetch_all(self.readers(), sqlx::query(KEYS).bind(purpose.as_str()), key).await
    }
}

fn key(columns: &mut Columns<'_>) -> Result<KeyRecord, StorageError> {
    Ok(KeyRecord {
        id: KeyId(columns.text()?),
        purpose: purpose(columns)?,
        algorithm: columns.one_of(&[KeyAlgorithm::EcdsaP256], KeyAlgorithm::as_str)?,
        public_key: columns.bytes()?,
        sealed: columns.bytes()?,
        created_at: columns.time()?,
        signs_from: columns.time()?,
        retired_at: columns.optional_time()?,
    })
}

fn purpose(columns: &mut Columns<'_>) -> Result<KeyPurpose, StorageError> {
    columns.one_of(&PURPOSES, KeyPurpose::as_str)
}

pub(crate) async fn insert_key(
    connection: &mut Connection,
    key: &KeyRecord,
) -> Result<Option<Changed>, StorageError> {
    let query = sqlx::query(INSERT_KEY)
        .bind(key.id.0.as_str())
        .bind(key.purpose.as_str())
        .bind(key.algorithm.as_str())
        .bind(key.public_key.as_slice())
        .bind(key.sealed.as_slice())
        .bind(key.created_at.unix_ms())
        .bind(key.signs_from.unix_ms())
        .bind(milliseconds(key.retired_at));
    insert(connection, query, "key").await?;
    Ok(token_keys(key.purpose))
}

pub(crate) async fn retire_key(
    connection: &mut Connection,
    key: &KeyId,
    at: Timestamp,
) -> Result<Option<Changed>, StorageError> {
    let update = sqlx::query(RETIRE_KEY).bind(key.0.as_str()).bind(at.unix_ms());
    if let Some(purpose) = changed_purpose(&mut *connection, update).await? {
        return Ok(token_keys(purpose));
    }
    let there = fetch_optional(connection, sqlx::query(KEY_EXISTS).bind(key.0.as_str())).await?;
    if there.is_some() { Ok(None) } else { Err(StorageError::Missing("key")) }
}

pub(crate) async fn delete_key(
    connection: &mut Connection,
    key: &KeyId,
) -> Result<Option<Changed>, StorageError> {
    let deleted = changed_purpose(connection, sqlx::query(DELETE_KEY).bind(key.0.as_str())).await?;
    Ok(deleted.and_then(token_keys))
}

/// Runs a statement that returns the purpose of the key that it changed, if any.
async fn changed_purpose(
    connection: &mut Connection,
    query: Query,
) -> Result<Option<KeyPurpose>, StorageError> {
    fetch_first(connection, query, purpose).await
}

/// The feed tells of token keys only: nobody caches the others.
fn token_keys(purpose: KeyPurpose) -> Option<Changed> {
    (purpose == KeyPurpose::Token).then_some(Changed::TokenKeys)
}
