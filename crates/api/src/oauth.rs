//! `/oauth2/`: the token endpoint and the keys that its tokens are verified with.

use crate::Context;
use crate::answer::broken_body;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use bytes::Bytes;
use countersign_audit::Recorded;
use countersign_gateway::body::{RequestBody, RequestBodyError};
use countersign_gateway::log_denial;
use countersign_model::ReasonCode;
use countersign_model::audit::AuditAction;
use countersign_oauth::metadata;
use countersign_oauth::metadata::JWKS_PATH;
use countersign_oauth::request::MAX_BODY_BYTES;
use countersign_policy::denial::{Surface, render};
use countersign_policy::{Denial, Peer};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::sync::Arc;

/// The router of the OAuth endpoints but the token endpoint.
pub fn router() -> Router<Arc<Context>> {
    Router::new().route(JWKS_PATH, get(jwks))
}

/// Answers a token request, and records what became of it. Of any method: the endpoint itself refuses what is none, so
/// that the refusal is an OAuth error with a reference, and recorded.
pub(crate) async fn token(
    context: &Context,
    peer: &Peer,
    prefix: &str,
    request: Request<RequestBody>,
) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let read = read(body).await;
    let now = context.clock.now();
    let outcome = match read {
        Ok(body) => match no_record_can_be_kept(context) {
            Some(denial) => context.tokens.refused(&parts, peer, now, denial),
            None => context.tokens.handle(&parts, &body, peer, now).await,
        },
        // Half a form may ask for something else than the whole: nothing is read from a body that breaks off.
        Err(error) => context.tokens.refused(&parts, peer, now, broken_body(&error)),
    };
    let (recorded, result) = match context.recorder.record_before_answer(outcome.event).await {
        Ok(recorded) => (recorded, outcome.result),
        // With `before_answer`, a token that is not recorded is not issued.
        Err(unrecorded) => {
            tracing::error!(%unrecorded, "a token request is not recorded");
            (unrecorded.recorded, Err(Denial::new(ReasonCode::StorageUnavailable)))
        }
    };
    match result {
        Ok(token) => token.to_response().map(Bytes::from),
        Err(denial) => refuse(context, &denial, &parts, peer, prefix, recorded),
    }
}

/// Why no client gets a token now: rule I4 requires a record of each token, and no record can be written.
fn no_record_can_be_kept(context: &Context) -> Option<Denial> {
    if let Some(since) = context.space.low_since() {
        let note = format!("{} MB free, below disk_floor since {since}", context.space.free() / 1_000_000);
        return Some(Denial::new(ReasonCode::StorageLow).note(note));
    }
    let since = context.recorder.failing_since()?;
    let note = format!("the audit log has not been written since {since}");
    Some(Denial::new(ReasonCode::StorageUnavailable).note(note))
}

/// The answer of a refusal that is recorded already, and its line in the log.
fn refuse(
    context: &Context,
    denial: &Denial,
    parts: &Parts,
    peer: &Peer,
    prefix: &str,
    recorded: Recorded,
) -> Response<Bytes> {
    let surface = Surface::OAuth { has_authorization: parts.headers.contains_key(AUTHORIZATION) };
    let request = (&parts.method, &parts.uri);
    log_denial(
        AuditAction::TokenRefused,
        denial,
        surface.status(denial),
        Some(peer),
        Some(request),
        prefix,
        recorded,
    );
    render(denial, &surface, recorded.reference, &context.issuer).map(Bytes::from)
}

async fn jwks(State(context): State<Arc<Context>>) -> Response<Body> {
    metadata::jwks(&context.token_keys.published()).map(Body::from)
}

/// The body, up to a little more than the limit, so that the endpoint sees that it was exceeded.
async fn read(mut body: RequestBody) -> Result<Vec<u8>, RequestBodyError> {
    let mut read = Vec::new();
    while read.len() <= MAX_BODY_BYTES
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            read.extend_from_slice(&data);
        }
    }
    Ok(read)
}
