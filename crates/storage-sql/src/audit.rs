//! Audit events that are not yet in the log, and the heads of the chains.

use crate::codec::{Columns, execute, fetch_all, fetch_first, integer, json};
use crate::dialect::Connection;
use crate::store::SqliteStore;
use async_trait::async_trait;
use countersign_model::audit::AuditEvent;
use countersign_storage::StorageError;
use countersign_storage::stores::AuditOutbox;
use countersign_storage::transaction::AuditHead;

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] =
    &[OUTBOX, LAST_EVENT, INSERT_EVENT, SETTLE_OUTBOX, AUDIT_HEAD, SAVE_AUDIT_HEAD];

const OUTBOX: &str = "SELECT id, event FROM audit_outbox ORDER BY id LIMIT $1";
const LAST_EVENT: &str = "SELECT last_event FROM counters WHERE id = 1";
const INSERT_EVENT: &str = "INSERT INTO audit_outbox (id, event) VALUES ($1, $2)";
const SETTLE_OUTBOX: &str = "DELETE FROM audit_outbox WHERE id <= $1";
const AUDIT_HEAD: &str = "SELECT chain, sequence, hash FROM audit_heads WHERE chain = $1";
const SAVE_AUDIT_HEAD: &str = "INSERT INTO audit_heads (chain, sequence, hash) VALUES ($1, $2, $3) \
     ON CONFLICT (chain) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash \
     WHERE excluded.sequence >= audit_heads.sequence";

#[async_trait]
impl AuditOutbox for SqliteStore {
    async fn outbox(&self, limit: u32) -> Result<Vec<(u64, AuditEvent)>, StorageError> {
        let waiting = |columns: &mut Columns<'_>| Ok((columns.unsigned()?, columns.json()?));
        fetch_all(self.readers(), sqlx::query(OUTBOX).bind(i64::from(limit)), waiting).await
    }

    async fn last_event(&self) -> Result<u64, StorageError> {
        let last = fetch_first(self.readers(), sqlx::query(LAST_EVENT), |columns| columns.unsigned()).await?;
        Ok(last.unwrap_or(0))
    }

    async fn audit_head(&self, chain: &str) -> Result<Option<AuditHead>, StorageError> {
        let head = |columns: &mut Columns<'_>| {
            Ok(AuditHead { chain: columns.text()?, sequence: columns.unsigned()?, hash: columns.octets()? })
        };
        fetch_first(self.readers(), sqlx::query(AUDIT_HEAD).bind(chain), head).await
    }
}

pub(crate) async fn insert_event(
    connection: &mut Connection,
    row: u64,
    event: &AuditEvent,
) -> Result<(), StorageError> {
    execute(connection, sqlx::query(INSERT_EVENT).bind(integer(row)).bind(json(event)?)).await.map(drop)
}

pub(crate) async fn settle_outbox(connection: &mut Connection, through: u64) -> Result<(), StorageError> {
    execute(connection, sqlx::query(SETTLE_OUTBOX).bind(integer(through))).await.map(drop)
}

pub(crate) async fn save_audit_head(
    connection: &mut Connection,
    head: &AuditHead,
) -> Result<(), StorageError> {
    let query = sqlx::query(SAVE_AUDIT_HEAD)
        .bind(head.chain.as_str())
        .bind(integer(head.sequence))
        .bind(head.hash.to_vec());
    execute(connection, query).await.map(drop)
}
