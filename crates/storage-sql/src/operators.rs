//! Operators.

use crate::codec::{Columns, execute, fetch_all, insert};
use crate::dialect::Connection;
use crate::store::SqliteStore;
use async_trait::async_trait;
use countersign_model::change::Changed;
use countersign_model::operator::Operator;
use countersign_storage::StorageError;
use countersign_storage::stores::OperatorStore;

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[OPERATORS, INSERT_OPERATOR, REPLACE_TOKEN, RESTATE_TOKEN];

const OPERATORS: &str = "SELECT name, role, token_hmac, enabled, created_at FROM operators ORDER BY name";
const INSERT_OPERATOR: &str =
    "INSERT INTO operators (name, role, token_hmac, enabled, created_at) VALUES ($1, $2, $3, $4, $5)";
const REPLACE_TOKEN: &str = "UPDATE operators SET token_hmac = $2, enabled = TRUE WHERE name = $1";

const RESTATE_TOKEN: &str = "UPDATE operators SET token_hmac = $3 WHERE name = $1 AND token_hmac = $2";

#[async_trait]
impl OperatorStore for SqliteStore {
    async fn operators(&self) -> Result<Vec<Operator>, StorageError> {
        fetch_all(self.readers(), sqlx::query(OPERATORS), operator).await
    }
}

fn operator(columns: &mut Columns<'_>) -> Result<Operator, StorageError> {
    Ok(Operator {
        name: columns.text()?,
        role: columns.parsed()?,
        token_hmac: columns.octets()?,
        enabled: columns.boolean()?,
        created_at: columns.time()?,
    })
}

pub(crate) async fn insert_operator(
    connection: &mut Connection,
    operator: &Operator,
) -> Result<Changed, StorageError> {
    let query = sqlx::query(INSERT_OPERATOR)
        .bind(operator.name.as_str())
        .bind(operator.role.as_str())
        .bind(operator.token_hmac.to_vec())
        .bind(operator.enabled)
        .bind(operator.created_at.unix_ms());
    insert(connection, query, "operator").await?;
    Ok(Changed::Operators)
}

pub(crate) async fn replace_token(
    connection: &mut Connection,
    name: &str,
    token_hmac: [u8; 32],
) -> Result<Changed, StorageError> {
    let query = sqlx::query(REPLACE_TOKEN).bind(name).bind(token_hmac.to_vec());
    match execute(connection, query).await? {
        0 => Err(StorageError::Missing("operator")),
        _ => Ok(Changed::Operators),
    }
}

pub(crate) async fn restate_token(
    connection: &mut Connection,
    name: &str,
    from: [u8; 32],
    to: [u8; 32],
) -> Result<Option<Changed>, StorageError> {
    let query = sqlx::query(RESTATE_TOKEN).bind(name).bind(from.to_vec()).bind(to.to_vec());
    Ok((execute(connection, query).await? > 0).then_some(Changed::Operators))
}
