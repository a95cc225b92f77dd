//! Brings a database to the schema that this program knows. All steps in one transaction: a failed one leaves the
//! database as it was. A newer schema is refused: the newer program may have given the old columns another meaning.

use crate::codec::{execute, fetch_one};
use crate::dialect::{BEGIN, Connection, storage_error};
use countersign_model::Timestamp;
use countersign_storage::StorageError;

/// The steps, oldest first; the version of the schema is how many of them were taken.
const MIGRATIONS: [&str; 3] = [
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_listings.sql"),
    include_str!("../migrations/0003_keys_and_expiry.sql"),
];

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[CREATE_VERSIONS, VERSION, INSERT_VERSION];

const CREATE_VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)";
const VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM schema_versions";
const INSERT_VERSION: &str = "INSERT INTO schema_versions (version, applied_at) VALUES ($1, $2)";

/// Applies what is missing.
pub(crate) async fn migrate(connection: &mut Connection, now: Timestamp) -> Result<(), StorageError> {
    execute(connection, sqlx::query(BEGIN)).await?;
    let outcome = migrate_in_transaction(connection, now).await;
    let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
    execute(connection, sqlx::query(end)).await?;
    outcome
}

async fn migrate_in_transaction(connection: &mut Connection, now: Timestamp) -> Result<(), StorageError> {
    execute(connection, sqlx::query(CREATE_VERSIONS)).await?;
    let row = fetch_one(&mut *connection, sqlx::query(VERSION)).await?;
    let found: i64 = sqlx::Row::try_get(&row, 0).map_err(storage_error)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StorageError::NewerSchema { found, known });
    }
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        sqlx::raw_sql(migration).execute(&mut *connection).await.map_err(storage_error)?;
        execute(connection, sqlx::query(INSERT_VERSION).bind(version).bind(now.unix_ms())).await?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) const ALL_MIGRATIONS: &[&str] = &MIGRATIONS;
