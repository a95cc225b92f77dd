//! The change feed, and the counters that number it.

use crate::codec::{Columns, execute, fetch_all, fetch_first, integer};
use crate::dialect::Connection;
use crate::store::SqliteStore;
use async_trait::async_trait;
use countersign_model::Timestamp;
use countersign_model::change::{Change, Changed};
use countersign_storage::StorageError;
use countersign_storage::stores::ChangeFeed;
use tokio::sync::watch;

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] =
    &[CHANGES_AFTER, LAST_CHANGE, INSERT_CHANGE, FORGET_CHANGES, COUNTERS, SAVE_COUNTERS];

const CHANGES_AFTER: &str = "SELECT sequence, changed_at, kind, object FROM changes \
     WHERE sequence > $1 ORDER BY sequence LIMIT $2";
const LAST_CHANGE: &str = "SELECT last_change FROM counters WHERE id = 1";
const INSERT_CHANGE: &str =
    "INSERT INTO changes (sequence, changed_at, kind, object) VALUES ($1, $2, $3, $4)";
const FORGET_CHANGES: &str = "DELETE FROM changes WHERE sequence <= $1";
const COUNTERS: &str = "SELECT last_change, last_event FROM counters WHERE id = 1";
const SAVE_COUNTERS: &str = "UPDATE counters SET last_change = $1, last_event = $2 WHERE id = 1";

const CLIENT: &str = "client";
const CERTIFICATE: &str = "certificate";
const TOKEN_KEYS: &str = "token-keys";
const ISSUERS: &str = "issuers";
const OPERATORS: &str = "operators";
const CRL: &str = "crl";

/// The last numbers given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) change: u64,
    pub(crate) event: u64,
}

#[async_trait]
impl ChangeFeed for SqliteStore {
    async fn changes_after(&self, sequence: u64, limit: u32) -> Result<Vec<Change>, StorageError> {
        let query = sqlx::query(CHANGES_AFTER).bind(integer(sequence)).bind(i64::from(limit));
        fetch_all(self.readers(), query, change).await
    }

    async fn last_change(&self) -> Result<u64, StorageError> {
        let last =
            fetch_first(self.readers(), sqlx::query(LAST_CHANGE), |columns| columns.unsigned()).await?;
        Ok(last.unwrap_or(0))
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.follow()
    }
}

fn change(columns: &mut Columns<'_>) -> Result<Change, StorageError> {
    let (sequence, at) = (columns.unsigned()?, columns.time()?);
    let (kind, object) = (columns.text()?, columns.text()?);
    match subject(&kind, &object) {
        Some(subject) => Ok(Change { sequence, at, subject }),
        None => Err(columns.corrupt(&"not a change that this program knows")),
    }
}

fn subject(kind: &str, object: &str) -> Option<Changed> {
    Some(match kind {
        CLIENT => Changed::Client(object.parse().ok()?),
        CERTIFICATE => {
            let (issuer, serial) = object.split_once('/')?;
            Changed::Certificate(issuer.parse().ok()?, serial.parse().ok()?)
        }
        TOKEN_KEYS => Changed::TokenKeys,
        ISSUERS => Changed::Issuers,
        OPERATORS => Changed::Operators,
        CRL => {
            let (issuer, shard) = object.split_once('/')?;
            Changed::Crl(issuer.parse().ok()?, shard.parse().ok()?)
        }
        _ => return None,
    })
}

/// The kind and the key of the object. No issuer's name has a slash.
fn columns_of(subject: &Changed) -> (&'static str, String) {
    match subject {
        Changed::Client(client) => (CLIENT, client.to_string()),
        Changed::Certificate(issuer, serial) => (CERTIFICATE, format!("{issuer}/{serial}")),
        Changed::TokenKeys => (TOKEN_KEYS, String::new()),
        Changed::Issuers => (ISSUERS, String::new()),
        Changed::Operators => (OPERATORS, String::new()),
        Changed::Crl(issuer, shard) => (CRL, format!("{issuer}/{shard}")),
    }
}

pub(crate) async fn insert_change(
    connection: &mut Connection,
    sequence: u64,
    now: Timestamp,
    subject: &Changed,
) -> Result<(), StorageError> {
    let (kind, object) = columns_of(subject);
    let query =
        sqlx::query(INSERT_CHANGE).bind(integer(sequence)).bind(now.unix_ms()).bind(kind).bind(object);
    execute(connection, query).await.map(drop)
}

pub(crate) async fn forget_changes(connection: &mut Connection, through: u64) -> Result<(), StorageError> {
    execute(connection, sqlx::query(FORGET_CHANGES).bind(integer(through))).await.map(drop)
}

pub(crate) async fn counters(connection: &mut Connection) -> Result<Counters, StorageError> {
    let read =
        |columns: &mut Columns<'_>| Ok(Counters { change: columns.unsigned()?, event: columns.unsigned()? });
    let counters = fetch_first(connection, sqlx::query(COUNTERS), read).await?;
    counters.ok_or_else(|| StorageError::Corrupt("the counters are gone".to_owned()))
}

pub(crate) async fn save_counters(
    connection: &mut Connection,
    counters: Counters,
) -> Result<(), StorageError> {
    let query = sqlx::query(SAVE_COUNTERS).bind(integer(counters.change)).bind(integer(counters.event));
    execute(connection, query).await.map(drop)
}
