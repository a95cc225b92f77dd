//! `/admin/v1/clients`: partners as data.

use super::certificates::revoked_answer;
use super::input::{Json, parse_or_not_found};
use super::shapes::{
    ClientAdded, ClientList, ClientView, CredentialKindName, CredentialView, NewClient, OneTimeSecret,
    Problem, Revoke, Revoked, RotateSecret, SecretRotated,
};
use crate::Context;
use crate::answer::{Call, Refused};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::{Extension, Json as Answer};
use countersign_model::audit::{AuditAction, AuditEvent, Facts};
use countersign_model::client::{
    CertificateMatcher, Client, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::{ClientId, CredentialId, ReasonCode, Secret, Timestamp};
use countersign_policy::Denial;
use countersign_policy::client_auth::secret;
use countersign_storage::{Transaction, Write};
use http::StatusCode;
use std::sync::Arc;

/// How many clients are read at once.
const PAGE: u32 = 1000;

/// Lists all clients, by `client_id`.
#[utoipa::path(get, path = "/clients", responses(
    (status = 200, body = ClientList), (status = 401, body = Problem), (status = 403, body = Problem)
))]
pub(super) async fn list(State(context): State<Arc<Context>>) -> Result<Answer<ClientList>, Refused> {
    let mut clients = Vec::new();
    let mut after: Option<ClientId> = None;
    loop {
        let page =
            context.store.clients_after(after.as_ref(), PAGE).await.map_err(|e| Refused::storage(&e))?;
        let Some((last, _)) = page.last() else { return Ok(Answer(ClientList { clients })) };
        after = Some(last.id.clone());
        clients.extend(page.into_iter().map(|(client, credentials)| view(client, credentials)));
    }
}

/// Shows one client.
#[utoipa::path(get, path = "/clients/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = ClientView), (status = 401, body = Problem), (status = 404, body = Problem)
))]
pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Answer<ClientView>, Refused> {
    let (client, credentials) = find(&context, &parse_or_not_found(&id)?).await?;
    Ok(Answer(view(client, credentials)))
}

/// Registers a client. A secret is made where its method uses one, and shown this once.
#[utoipa::path(post, path = "/clients", request_body = NewClient, responses(
    (status = 201, body = ClientAdded), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 409, body = Problem)
))]
pub(super) async fn add(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Json(new): Json<NewClient>,
) -> Result<impl IntoResponse, Refused> {
    let now = context.clock.now();
    let client = Client {
        name: new.name.unwrap_or_else(|| new.client_id.to_string()),
        id: new.client_id,
        environment: new.environment,
        contacts: new.contacts,
        auth_method: new.auth_method,
        scopes: new.scopes,
        audiences: new.audiences,
        state: ClientState::Active,
        epoch: 0,
        created_at: now,
        updated_at: now,
    };
    let facts = Facts {
        client: Some(client.id.clone()),
        environment: Some(client.environment),
        scope: Some(client.scopes.to_string()),
        auth_method: Some(client.auth_method.to_string()),
        ..Facts::default()
    };
    let mut transaction = Transaction::new()
        .write(Write::InsertClient(client.clone()))
        .record(AuditEvent::done(call.reference, now, AuditAction::ClientAdded, call.actor(), facts));
    let secret = client.auth_method.uses_secret().then(|| new_secret(&context, &client.id, now));
    transaction
        .writes
        .extend(secret.iter().map(|(credential, _)| Write::InsertCredential(credential.clone())));
    context.commit(transaction).await?;
    let (client, credentials) = find(&context, &client.id).await?;
    let client_secret = secret.map(|(_, secret)| OneTimeSecret::new(secret.expose().clone()));
    Ok((StatusCode::CREATED, Answer(ClientAdded { client: view(client, credentials), client_secret })))
}

/// Disables a client: its tokens, secrets and certificates are refused from the next request on.
#[utoipa::path(post, path = "/clients/{id}/disable", params(("id" = String, Path)), responses(
    (status = 200, body = ClientView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)
))]
pub(super) async fn disable(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Path(id): Path<String>,
) -> Result<Answer<ClientView>, Refused> {
    let now = context.clock.now();
    let (client, _) = find(&context, &parse_or_not_found(&id)?).await?;
    let facts =
        Facts { client: Some(client.id.clone()), environment: Some(client.environment), ..Facts::default() };
    let write = Write::SetClientState { client: client.id.clone(), state: ClientState::Disabled, at: now };
    let event = AuditEvent::done(call.reference, now, AuditAction::ClientDisabled, call.actor(), facts);
    context.commit(Transaction::new().write(write).record(event)).await?;
    context.connections.cut_client(&client.id).await;
    let (client, credentials) = find(&context, &client.id).await?;
    Ok(Answer(view(client, credentials)))
}

/// Makes a new secret beside the present ones, which end after an overlap (rule C12).
#[utoipa::path(post, path = "/clients/{id}/rotate-secret", params(("id" = String, Path)),
    request_body = RotateSecret, responses(
    (status = 200, body = SecretRotated), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem)
))]
pub(super) async fn rotate_secret(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Path(id): Path<String>,
    Json(rotation): Json<RotateSecret>,
) -> Result<Answer<SecretRotated>, Refused> {
    let now = context.clock.now();
    let (client, credentials) = find(&context, &parse_or_not_found(&id)?).await?;
    if !client.auth_method.uses_secret() {
        let note = format!("the client authenticates by {}", client.auth_method);
        return Err(Denial::new(ReasonCode::ObjectConflict).note(note).into());
    }
    let overlap_s = rotation.overlap_s.unwrap_or(RotateSecret::DEFAULT_OVERLAP_S);
    let previous_end_at = now.plus_s(i64::from(overlap_s));
    let (credential, secret) = new_secret(&context, &client.id, now);
    let mut transaction = Transaction::new().write(Write::InsertCredential(credential.clone()));
    for previous in credentials.iter().filter(|credential| is_secret(credential)) {
        transaction.writes.push(if overlap_s == 0 {
            Write::RevokeCredential { credential: previous.id }
        } else {
            Write::ExpireCredential { credential: previous.id, expires_at: previous_end_at }
        });
    }
    let facts = Facts {
        client: Some(client.id.clone()),
        environment: Some(client.environment),
        credential: Some(credential.id),
        ..Facts::default()
    };
    let action = AuditAction::ClientSecretRotated;
    let event = AuditEvent::done(call.reference, now, action, call.actor(), facts);
    context.commit(transaction.record(event)).await?;
    let client_secret = OneTimeSecret::new(secret.expose().clone());
    let answer =
        SecretRotated { client_id: client.id, credential: credential.id, client_secret, previous_end_at };
    Ok(Answer(answer))
}

/// Revokes every valid certificate of a client.
#[utoipa::path(post, path = "/clients/{id}/revoke-certificates", params(("id" = String, Path)),
    request_body = Revoke, responses(
    (status = 200, body = Revoked), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem)
))]
pub(super) async fn revoke_certificates(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Path(id): Path<String>,
    Json(revoke): Json<Revoke>,
) -> Result<Answer<Revoked>, Refused> {
    let client = parse_or_not_found(&id)?;
    let revocation = context
        .ca
        .revoke_client(&client, revoke.reason, call.actor(), call.reference)
        .await
        .map_err(|refusal| super::certificates::refused(&refusal))?;
    revoked_answer(&context, revocation).await.map(Answer)
}

async fn find(context: &Context, id: &ClientId) -> Result<(Client, Vec<Credential>), Refused> {
    let found = context.store.client(id).await.map_err(|error| Refused::storage(&error))?;
    found.ok_or_else(|| Denial::new(ReasonCode::ObjectNotFound).note(format!("no client {id}")).into())
}

fn new_secret(context: &Context, client: &ClientId, now: Timestamp) -> (Credential, Secret<String>) {
    let secret = secret::generate(context.rng.as_ref());
    let credential = Credential {
        id: CredentialId::generate(now, context.rng.as_ref()),
        client: client.clone(),
        name: now.date(),
        kind: CredentialKind::Secret { hmac: secret::hmac(&context.pepper, secret.expose()) },
        state: CredentialState::Active,
        epoch: 0,
        not_before: now,
        expires_at: None,
        created_at: now,
        last_used_at: None,
        uses: 0,
    };
    (credential, secret)
}

fn is_secret(credential: &Credential) -> bool {
    matches!(credential.kind, CredentialKind::Secret { .. }) && credential.state == CredentialState::Active
}

fn view(client: Client, mut credentials: Vec<Credential>) -> ClientView {
    credentials.reverse(); // oldest first in storage
    ClientView {
        client_id: client.id,
        environment: client.environment,
        name: client.name,
        contacts: client.contacts,
        auth_method: client.auth_method,
        scopes: client.scopes,
        audiences: client.audiences,
        state: client.state,
        created_at: client.created_at,
        updated_at: client.updated_at,
        credentials: credentials.into_iter().map(credential_view).collect(),
    }
}

fn credential_view(credential: Credential) -> CredentialView {
    let (kind, san_uri) = match credential.kind {
        CredentialKind::Secret { .. } => (CredentialKindName::Secret, None),
        CredentialKind::Certificate(CertificateMatcher::SanUri(uri)) => {
            (CredentialKindName::Certificate, Some(uri))
        }
    };
    CredentialView {
        id: credential.id,
        name: credential.name,
        kind,
        san_uri,
        state: credential.state,
        not_before: credential.not_before,
        expires_at: credential.expires_at,
        created_at: credential.created_at,
        last_used_at: credential.last_used_at,
        uses: credential.uses,
    }
}
