//! `/admin/v1/clients`: partners as data.

use super::certificates::revoked_answer;
use super::input::{Json, Query, malformed, parse_or_not_found};
use super::shapes::{
    ClientAdded, ClientList, ClientQuery, ClientView, CredentialKindName, CredentialView, EditClient,
    NewClient, OneTimeSecret, PartnerEndpoints, Revoke, Revoked, RotateSecret, SecretRotated,
};
use super::{MOST, cut, one_more_than};
use crate::Context;
use crate::answer::{Call, Refused};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::{Extension, Json as Answer};
use countersign_model::client::{
    CertificateMatcher, Client, ClientChanges, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::{ClientId, ReasonCode, Scopes};
use countersign_oauth::{NewSecret, RegistrationError};
use countersign_policy::{ClientEntry, Denial, Registry};
use countersign_storage::essential::Enforced;
use http::StatusCode;
use std::sync::Arc;

/// Lists clients by `client_id`, 1000 at most.
#[utoipa::path(
    get, path = "/clients", operation_id = "list_clients", params(ClientQuery),
    responses((status = 200, body = ClientList))
)]
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    Query(query): Query<ClientQuery>,
) -> Result<Answer<ClientList>, Refused> {
    let found = context.store.clients_after(query.after.as_ref(), one_more_than(MOST)).await;
    let mut found = found.map_err(|error| Refused::storage(&error))?;
    let more = cut(&mut found, MOST);
    let enforced = context.essential.enforced();
    let shown = |(client, credentials)| as_enforced(client, credentials, &enforced);
    let clients = found.into_iter().map(shown).collect();
    Ok(Answer(ClientList { clients, more }))
}

/// Shows one client.
#[utoipa::path(
    get, path = "/clients/{id}", operation_id = "show_client", params(("id" = String, Path)),
    responses((status = 200, body = ClientView))
)]
pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Answer<ClientView>, Refused> {
    let (client, credentials) = find(&context, &parse_or_not_found(&id)?).await?;
    Ok(Answer(view(&context, client, credentials)))
}

/// Registers a client. A secret is made where its method uses one, and shown this once.
#[utoipa::path(
    post, path = "/clients", operation_id = "add_client", request_body = NewClient,
    responses((status = 201, body = ClientAdded))
)]
pub(super) async fn add(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Json(new): Json<NewClient>,
) -> Result<impl IntoResponse, Refused> {
    scopes_are_known(&context, &new.scopes)?;
    let new = countersign_oauth::NewClient {
        name: new.name.unwrap_or_else(|| new.client_id.to_string()),
        id: new.client_id,
        environment: new.environment,
        contacts: new.contacts,
        auth_method: new.auth_method,
        scopes: new.scopes,
        audiences: new.audiences,
    };
    let id = new.id.clone();
    let (receipt, made) = context
        .registrar()
        .register(new, None, call.order(&context))
        .await
        .map_err(|error| refused(&error).of(&id))?;
    let committed = match made {
        Some(_) => {
            "the client is registered, but its secret was not shown: when /readyz is ready, make one with rotate-secret"
        }
        None => "the client is registered and can be used when /readyz is ready again",
    };
    context.in_force(receipt.sequence, committed).await?;
    if let Some(made) = &made {
        still_live(&context, &id, made)?;
    }
    let (client, credentials) = find(&context, &id).await?;
    let client_secret = made.map(|made| OneTimeSecret::new(made.secret.expose().clone()));
    let partner = PartnerEndpoints::of(&context.issuer);
    let client = view(&context, client, credentials);
    Ok((StatusCode::CREATED, Answer(ClientAdded { client, client_secret, partner })))
}

/// Disables a client: its tokens, secrets and certificates are refused from the next request on.
#[utoipa::path(
    post, path = "/clients/{id}/disable", operation_id = "disable_client", params(("id" = String, Path)),
    responses((status = 200, body = ClientView))
)]
pub(super) async fn disable(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Path(id): Path<String>,
) -> Result<Answer<ClientView>, Refused> {
    let id = parse_or_not_found(&id)?;
    let receipt = context
        .registrar()
        .disable(&id, call.order(&context))
        .await
        .map_err(|error| refused(&error).of(&id))?;
    let committed = "the client is disabled in the database; when /readyz is ready, repeat the call";
    let in_force = context.in_force(receipt.sequence, committed).await;
    context.connections.cut_client(&id).await;
    in_force?;
    let (client, credentials) = find(&context, &id).await?;
    Ok(Answer(view(&context, client, credentials)))
}

/// Enables a client again: its secrets and certificates that have not ended are accepted, its tokens from before are not.
#[utoipa::path(
    post, path = "/clients/{id}/enable", operation_id = "enable_client", params(("id" = String, Path)),
    responses((status = 200, body = ClientView))
)]
pub(super) async fn enable(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Path(id): Path<String>,
) -> Result<Answer<ClientView>, Refused> {
    let id = parse_or_not_found(&id)?;
    let receipt = context
        .registrar()
        .enable(&id, call.order(&context))
        .await
        .map_err(|error| refused(&error).of(&id))?;
    context
        .in_force(receipt.sequence, "the client is enabled, and works when /readyz is ready again")
        .await?;
    let (client, credentials) = find(&context, &id).await?;
    Ok(Answer(view(&context, client, credentials)))
}

/// Changes the name, contacts, scopes or audiences of a client. Its tokens and connections end if a scope or an audience is
/// taken away.
#[utoipa::path(
    post, path = "/clients/{id}/edit", operation_id = "edit_client", params(("id" = String, Path)),
    request_body = EditClient, responses((status = 200, body = ClientView))
)]
pub(super) async fn edit(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Path(id): Path<String>,
    Json(edit): Json<EditClient>,
) -> Result<Answer<ClientView>, Refused> {
    let id = parse_or_not_found(&id)?;
    if let Some(scopes) = &edit.scopes {
        scopes_are_known(&context, scopes)?;
    }
    let EditClient { name, contacts, scopes, audiences } = edit;
    let changes = ClientChanges { name, contacts, scopes, audiences };
    let (receipt, took_away) = context
        .registrar()
        .edit(&id, changes, call.order(&context))
        .await
        .map_err(|error| refused(&error).of(&id))?;
    let committed = "the client is changed in the database; when /readyz is ready, repeat the call";
    let in_force = context.in_force(receipt.sequence, committed).await;
    if took_away {
        context.connections.cut_client(&id).await;
    }
    in_force?;
    let (client, credentials) = find(&context, &id).await?;
    Ok(Answer(view(&context, client, credentials)))
}

/// Makes a new secret beside the present ones, which end after an overlap (rule C12).
#[utoipa::path(
    post, path = "/clients/{id}/rotate-secret", operation_id = "rotate_client_secret",
    params(("id" = String, Path)), request_body = RotateSecret,
    responses((status = 200, body = SecretRotated))
)]
pub(super) async fn rotate_secret(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Path(id): Path<String>,
    Json(rotation): Json<RotateSecret>,
) -> Result<Answer<SecretRotated>, Refused> {
    let client_id = parse_or_not_found(&id)?;
    let order = call.order(&context);
    let overlap_s = rotation.overlap_s.unwrap_or(RotateSecret::DEFAULT_OVERLAP_S);
    let previous_end_at = order.at.plus_s(i64::from(overlap_s));
    let rotated = context.registrar().rotate_secret(&client_id, previous_end_at, order).await;
    let (receipt, made) = rotated.map_err(|error| refused(&error).of(&client_id))?;
    let committed = "the secret is rotated, but the new one was not shown, and the earlier ones are still accepted: \
                     when /readyz is ready, rotate again";
    context.in_force(receipt.sequence, committed).await?;
    still_live(&context, &client_id, &made)?;
    let client_secret = OneTimeSecret::new(made.secret.expose().clone());
    Ok(Answer(SecretRotated { client_id, credential: made.credential, client_secret, previous_end_at }))
}

/// Revokes every valid certificate of a client.
#[utoipa::path(
    post, path = "/clients/{id}/revoke-certificates", operation_id = "revoke_client_certificates",
    params(("id" = String, Path)), request_body = Revoke,
    responses((status = 200, body = Revoked))
)]
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
        .map_err(|refusal| super::certificates::refused(&refusal).of(&client))?;
    revoked_answer(&context, revocation).await.map(Answer)
}

/// A misspelt scope would be registered, and refused with each request for a token. Before the first API is configured
/// none is known, and clients may come first.
fn scopes_are_known(context: &Context, scopes: &Scopes) -> Result<(), Refused> {
    let settings = context.tokens.settings.load();
    let unknown = scopes.iter().find(|scope| settings.api_of_scope(scope).is_none());
    match unknown {
        Some(scope) if !settings.apis().is_empty() => {
            let hint = if scope.as_str().contains(',') { "; give several scopes one by one" } else { "" };
            Err(malformed(format!("no API of the configuration has the scope {scope}{hint}")))
        }
        _ => Ok(()),
    }
}

/// A secret that another call ended before this answer is not handed out as good.
fn still_live(context: &Context, client: &ClientId, made: &NewSecret) -> Result<(), Refused> {
    let lives = |entry: &ClientEntry| {
        entry.client.state == ClientState::Active
            && entry.credentials.iter().any(|credential| {
                credential.id == made.credential && credential.state == CredentialState::Active
            })
    };
    match context.views.client(client) {
        Some(entry) if lives(&entry) => Ok(()),
        _ => Err(refused(&RegistrationError::Overtaken(client.clone()))),
    }
}

async fn find(context: &Context, id: &ClientId) -> Result<(Client, Vec<Credential>), Refused> {
    let found = context.store.client(id).await.map_err(|error| Refused::storage(&error))?;
    found.ok_or_else(|| Denial::new(ReasonCode::ObjectNotFound).note(format!("no client {id}")).into())
}

/// A refusal of the registration as the operator reads it: he may know the exact reason.
fn refused(error: &RegistrationError) -> Refused {
    Refused(Denial::new(error.reason()).note(error.to_string()))
}

fn view(context: &Context, client: Client, credentials: Vec<Credential>) -> ClientView {
    as_enforced(client, credentials, &context.essential.enforced())
}

/// A client as this node goes by it: also what could not be stored is shown.
fn as_enforced(client: Client, mut credentials: Vec<Credential>, enforced: &Enforced) -> ClientView {
    let not_stored = client.state == ClientState::Active && enforced.clients.contains(&client.id);
    credentials.reverse(); // oldest first in storage
    ClientView {
        client_id: client.id,
        environment: client.environment,
        name: client.name,
        contacts: client.contacts,
        auth_method: client.auth_method,
        scopes: client.scopes,
        audiences: client.audiences,
        state: if not_stored { ClientState::Disabled } else { client.state },
        not_stored,
        created_at: client.created_at,
        updated_at: client.updated_at,
        credentials: credentials
            .into_iter()
            .map(|credential| credential_view(credential, enforced))
            .collect(),
    }
}

fn credential_view(credential: Credential, enforced: &Enforced) -> CredentialView {
    let not_stored =
        credential.state == CredentialState::Active && enforced.credentials.contains(&credential.id);
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
        state: if not_stored { CredentialState::Revoked } else { credential.state },
        not_stored,
        not_before: credential.not_before,
        expires_at: credential.expires_at,
        created_at: credential.created_at,
        last_used_at: credential.last_used_at,
        uses: credential.uses,
    }
}
