//! Clients and their credentials.

use crate::codec::{
    Columns, execute, fetch_all, fetch_first, fetch_optional, insert, integer, json, milliseconds,
};
use crate::dialect::{Connection, Row, storage_error};
use crate::store::SqliteStore;
use async_trait::async_trait;
use countersign_model::change::Changed;
use countersign_model::client::{
    CertificateMatcher, Client, ClientChanges, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::{ClientId, CredentialId, Timestamp};
use countersign_storage::StorageError;
use countersign_storage::stores::ClientStore;

/// The rows of all identifiers.
pub(crate) async fn ids(connection: &mut sqlx::SqliteConnection) -> sqlx::Result<Vec<crate::dialect::Row>> {
    sqlx::query(CLIENT_IDS).fetch_all(connection).await
}

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[
    CLIENT,
    CLIENTS_AFTER,
    INSERT_CLIENT,
    CLIENT_EXISTS,
    CLIENT_IDS,
    SET_CLIENT_STATE,
    CLIENT_ALONE,
    EDIT_CLIENT,
    INSERT_CREDENTIAL,
    MATCHER_HOLDER,
    EXPIRE_CREDENTIAL,
    REVOKE_CREDENTIAL,
    CREDENTIAL_EXISTS,
    CLIENT_STATE,
    ACTIVE_SECRETS,
    EXPIRE_OTHER_SECRETS,
    REVOKE_OTHER_SECRETS,
    CREDENTIAL_USED,
];

/// A client with its credentials is read by one statement: both are of the same moment.
macro_rules! select_registrations {
    ($condition:literal) => {
        concat!(
            "SELECT c.id, c.environment, c.name, c.contacts, c.auth_method, c.scopes, c.audiences, c.state, c.epoch, ",
            "c.created_at, c.updated_at, ",
            "k.id, k.client, k.name, k.kind, k.secret_hmac, k.matcher, k.state, k.epoch, k.not_before, k.expires_at, ",
            "k.created_at, k.last_used_at, k.uses ",
            "FROM clients AS c LEFT JOIN credentials AS k ON k.client = c.id WHERE ",
            $condition,
            " ORDER BY c.id, k.created_at, k.id"
        )
    };
}

const CLIENT: &str = select_registrations!("c.id = $1");
const CLIENTS_AFTER: &str =
    select_registrations!("c.id IN (SELECT id FROM clients WHERE id > $1 ORDER BY id LIMIT $2)");
const INSERT_CLIENT: &str = "INSERT INTO clients (id, environment, name, contacts, auth_method, scopes, audiences, \
     state, epoch, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const CLIENT_IDS: &str = "SELECT id FROM clients ORDER BY id";
const CLIENT_EXISTS: &str = "SELECT id FROM clients WHERE id = $1";
const SET_CLIENT_STATE: &str =
    "UPDATE clients SET state = $2, epoch = epoch + 1, updated_at = $3 WHERE id = $1 AND state <> $2";
const CLIENT_ALONE: &str = "SELECT id, environment, name, contacts, auth_method, scopes, audiences, state, epoch, \
     created_at, updated_at FROM clients WHERE id = $1";
const EDIT_CLIENT: &str = "UPDATE clients SET name = $2, contacts = $3, scopes = $4, audiences = $5, epoch = $6, \
     updated_at = $7 WHERE id = $1";
const INSERT_CREDENTIAL: &str = "INSERT INTO credentials (id, client, name, kind, secret_hmac, matcher, state, epoch, \
     not_before, expires_at, created_at, last_used_at, uses) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
const MATCHER_HOLDER: &str =
    "SELECT client FROM credentials WHERE kind = $1 AND matcher = $2 AND state = 'active'";
const EXPIRE_CREDENTIAL: &str = "UPDATE credentials SET expires_at = $2 \
     WHERE id = $1 AND (expires_at IS NULL OR expires_at > $2) RETURNING client";
const REVOKE_CREDENTIAL: &str = "UPDATE credentials SET state = 'revoked', epoch = epoch + 1 \
     WHERE id = $1 AND state <> 'revoked' RETURNING client";
const CREDENTIAL_EXISTS: &str = "SELECT id FROM credentials WHERE id = $1";
const CLIENT_STATE: &str = "SELECT state FROM clients WHERE id = $1";
const ACTIVE_SECRETS: &str =
    "SELECT id FROM credentials WHERE client = $1 AND kind = 'secret' AND state = 'active'";
const EXPIRE_OTHER_SECRETS: &str = "UPDATE credentials SET expires_at = $3 \
     WHERE client = $1 AND id <> $2 AND kind = 'secret' AND state = 'active' \
     AND (expires_at IS NULL OR expires_at > $3)";
const REVOKE_OTHER_SECRETS: &str = "UPDATE credentials SET state = 'revoked', epoch = epoch + 1 \
     WHERE client = $1 AND id <> $2 AND kind = 'secret' AND state = 'active'";
const CREDENTIAL_USED: &str = "UPDATE credentials SET uses = uses + $3, \
     last_used_at = CASE WHEN last_used_at > $2 THEN last_used_at ELSE $2 END WHERE id = $1";

const SECRET: &str = "secret";
const SAN_URI: &str = "san-uri";

type Registration = (Client, Vec<Credential>);

#[async_trait]
impl ClientStore for SqliteStore {
    async fn client(&self, id: &ClientId) -> Result<Option<Registration>, StorageError> {
        let rows = sqlx::query(CLIENT).bind(id.as_str()).fetch_all(self.readers()).await;
        Ok(registrations(&rows.map_err(storage_error)?)?.pop())
    }

    async fn clients_after(
        &self,
        after: Option<&ClientId>,
        limit: u32,
    ) -> Result<Vec<Registration>, StorageError> {
        // Every id comes after the empty text.
        let after = after.map_or("", ClientId::as_str);
        let query = sqlx::query(CLIENTS_AFTER).bind(after).bind(i64::from(limit));
        registrations(&query.fetch_all(self.scanners()).await.map_err(storage_error)?)
    }
}

/// Folds the rows of the join: a client's rows stand together.
fn registrations(rows: &[Row]) -> Result<Vec<Registration>, StorageError> {
    let mut registrations: Vec<Registration> = Vec::new();
    for row in rows {
        let mut columns = Columns::of(row);
        let client = client(&mut columns)?;
        let credential = if columns.at_null()? { None } else { Some(credential(&mut columns)?) };
        match registrations.last_mut() {
            Some((last, credentials)) if last.id == client.id => credentials.extend(credential),
            _ => registrations.push((client, credential.into_iter().collect())),
        }
    }
    Ok(registrations)
}

fn client(columns: &mut Columns<'_>) -> Result<Client, StorageError> {
    Ok(Client {
        id: columns.parsed()?,
        environment: columns.parsed()?,
        name: columns.text()?,
        contacts: columns.json()?,
        auth_method: columns.parsed()?,
        scopes: columns.json()?,
        audiences: columns.json()?,
        state: client_state(columns)?,
        epoch: columns.unsigned()?,
        created_at: columns.time()?,
        updated_at: columns.time()?,
    })
}

fn credential(columns: &mut Columns<'_>) -> Result<Credential, StorageError> {
    Ok(Credential {
        id: columns.parsed()?,
        client: columns.parsed()?,
        name: columns.text()?,
        kind: credential_kind(columns)?,
        state: columns
            .one_of(&[CredentialState::Active, CredentialState::Revoked], CredentialState::as_str)?,
        epoch: columns.unsigned()?,
        not_before: columns.time()?,
        expires_at: columns.optional_time()?,
        created_at: columns.time()?,
        last_used_at: columns.optional_time()?,
        uses: columns.unsigned()?,
    })
}

fn credential_kind(columns: &mut Columns<'_>) -> Result<CredentialKind, StorageError> {
    let kind = columns.one_of(&[SECRET, SAN_URI], |name| name)?;
    let (hmac, matcher) = (columns.optional_octets()?, columns.optional_parsed::<String>()?);
    match (kind, hmac, matcher) {
        (SECRET, Some(hmac), None) => Ok(CredentialKind::Secret { hmac }),
        (SAN_URI, None, Some(uri)) => Ok(CredentialKind::Certificate(CertificateMatcher::SanUri(uri))),
        _ => Err(columns.corrupt(&"not what a credential of its kind has")),
    }
}

fn client_state(columns: &mut Columns<'_>) -> Result<ClientState, StorageError> {
    columns.one_of(&[ClientState::Active, ClientState::Disabled], ClientState::as_str)
}

fn owner(columns: &mut Columns<'_>) -> Result<ClientId, StorageError> {
    columns.parsed()
}

pub(crate) async fn insert_client(
    connection: &mut Connection,
    client: &Client,
) -> Result<Changed, StorageError> {
    let query = sqlx::query(INSERT_CLIENT)
        .bind(client.id.as_str())
        .bind(client.environment.as_str())
        .bind(client.name.as_str())
        .bind(json(&client.contacts)?)
        .bind(client.auth_method.as_str())
        .bind(json(&client.scopes)?)
        .bind(json(&client.audiences)?)
        .bind(client.state.as_str())
        .bind(i64::from(client.epoch))
        .bind(client.created_at.unix_ms())
        .bind(client.updated_at.unix_ms());
    insert(connection, query, "client").await?;
    Ok(Changed::Client(client.id.clone()))
}

pub(crate) async fn set_client_state(
    connection: &mut Connection,
    client: &ClientId,
    state: ClientState,
    at: Timestamp,
) -> Result<Option<Changed>, StorageError> {
    let query = sqlx::query(SET_CLIENT_STATE).bind(client.as_str()).bind(state.as_str()).bind(at.unix_ms());
    if execute(connection, query).await? == 1 {
        return Ok(Some(Changed::Client(client.clone())));
    }
    let there = fetch_optional(connection, sqlx::query(CLIENT_EXISTS).bind(client.as_str())).await?;
    if there.is_some() { Ok(None) } else { Err(StorageError::Missing("client")) }
}

/// Reads and writes in the writer's transaction: nobody else changes the row in between.
pub(crate) async fn edit_client(
    connection: &mut Connection,
    id: &ClientId,
    changes: &ClientChanges,
    at: Timestamp,
) -> Result<Option<Changed>, StorageError> {
    let row = fetch_optional(&mut *connection, sqlx::query(CLIENT_ALONE).bind(id.as_str())).await?;
    let mut edited = client(&mut Columns::of(&row.ok_or(StorageError::Missing("client"))?))?;
    if !changes.clone().apply(&mut edited, at) {
        return Ok(None);
    }
    let query = sqlx::query(EDIT_CLIENT)
        .bind(id.as_str())
        .bind(edited.name.as_str().to_owned())
        .bind(json(&edited.contacts)?)
        .bind(json(&edited.scopes)?)
        .bind(json(&edited.audiences)?)
        .bind(i64::from(edited.epoch))
        .bind(edited.updated_at.unix_ms());
    execute(connection, query).await?;
    Ok(Some(Changed::Client(id.clone())))
}

pub(crate) async fn insert_credential(
    connection: &mut Connection,
    credential: &Credential,
) -> Result<Changed, StorageError> {
    let (kind, hmac, matcher) = match &credential.kind {
        CredentialKind::Secret { hmac } => (SECRET, Some(hmac.to_vec()), None),
        CredentialKind::Certificate(CertificateMatcher::SanUri(uri)) => (SAN_URI, None, Some(uri.as_str())),
    };
    let query = sqlx::query(INSERT_CREDENTIAL)
        .bind(credential.id.to_string())
        .bind(credential.client.as_str())
        .bind(credential.name.as_str())
        .bind(kind)
        .bind(hmac)
        .bind(matcher)
        .bind(credential.state.as_str())
        .bind(i64::from(credential.epoch))
        .bind(credential.not_before.unix_ms())
        .bind(milliseconds(credential.expires_at))
        .bind(credential.created_at.unix_ms())
        .bind(milliseconds(credential.last_used_at))
        .bind(integer(credential.uses));
    insert(connection, query, "credential").await?;
    Ok(Changed::Client(credential.client.clone()))
}

pub(crate) async fn insert_matcher_if_absent(
    connection: &mut Connection,
    credential: &Credential,
) -> Result<Option<Changed>, StorageError> {
    let (CredentialKind::Certificate(CertificateMatcher::SanUri(uri)), CredentialState::Active) =
        (&credential.kind, credential.state)
    else {
        return Err(StorageError::Conflict("certificate matcher"));
    };
    // Asks first: most certificates are renewals, whose matcher is there.
    let query = sqlx::query(MATCHER_HOLDER).bind(SAN_URI).bind(uri.as_str());
    match fetch_first(&mut *connection, query, owner).await? {
        None => insert_credential(connection, credential).await.map(Some),
        Some(holder) if holder == credential.client => Ok(None),
        Some(_) => Err(StorageError::Conflict("certificate matcher")),
    }
}

pub(crate) async fn expire_credential(
    connection: &mut Connection,
    credential: CredentialId,
    expires_at: Timestamp,
) -> Result<Option<Changed>, StorageError> {
    let query = sqlx::query(EXPIRE_CREDENTIAL).bind(credential.to_string()).bind(expires_at.unix_ms());
    changed_credential(connection, query, credential).await
}

pub(crate) async fn revoke_credential(
    connection: &mut Connection,
    credential: CredentialId,
) -> Result<Option<Changed>, StorageError> {
    let query = sqlx::query(REVOKE_CREDENTIAL).bind(credential.to_string());
    changed_credential(connection, query, credential).await
}

/// Runs an update that returns whose the credential is, if it changed anything.
async fn changed_credential(
    connection: &mut Connection,
    update: crate::codec::Query,
    credential: CredentialId,
) -> Result<Option<Changed>, StorageError> {
    if let Some(client) = fetch_first(&mut *connection, update, owner).await? {
        return Ok(Some(Changed::Client(client)));
    }
    let there =
        fetch_optional(connection, sqlx::query(CREDENTIAL_EXISTS).bind(credential.to_string())).await?;
    if there.is_some() { Ok(None) } else { Err(StorageError::Missing("credential")) }
}

pub(crate) async fn replace_secrets(
    connection: &mut Connection,
    new: &Credential,
    known: &[CredentialId],
    others_end_at: Option<Timestamp>,
) -> Result<Changed, StorageError> {
    let client = new.client.as_str();
    let state = fetch_first(&mut *connection, sqlx::query(CLIENT_STATE).bind(client), client_state).await?;
    let is_active = state.ok_or(StorageError::Missing("client"))? == ClientState::Active;
    let id = |columns: &mut Columns<'_>| columns.parsed::<CredentialId>();
    let others = fetch_all(&mut *connection, sqlx::query(ACTIVE_SECRETS).bind(client), id).await?;
    let as_known = others.len() == known.len() && others.iter().all(|id| known.contains(id));
    if !is_active || !as_known {
        return Err(StorageError::Conflict("secret"));
    }
    let changed = insert_credential(connection, new).await?;
    let end = match others_end_at {
        Some(end) => {
            sqlx::query(EXPIRE_OTHER_SECRETS).bind(client).bind(new.id.to_string()).bind(end.unix_ms())
        }
        None => sqlx::query(REVOKE_OTHER_SECRETS).bind(client).bind(new.id.to_string()),
    };
    execute(connection, end).await?;
    Ok(changed)
}

pub(crate) async fn credential_used(
    connection: &mut Connection,
    credential: CredentialId,
    at: Timestamp,
    uses: u64,
) -> Result<(), StorageError> {
    let query =
        sqlx::query(CREDENTIAL_USED).bind(credential.to_string()).bind(at.unix_ms()).bind(integer(uses));
    execute(connection, query).await.map(drop)
}
