//! `/oauth2/`: the token endpoint and the keys that its tokens are verified with.

use crate::Context;
use crate::answer::broken_body;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Extension, Router};
use countersign_gateway::log_denial;
use countersign_model::{ReasonCode, Reference};
use countersign_oauth::metadata;
use countersign_oauth::metadata::{JWKS_PATH, TOKEN_PATH};
use countersign_oauth::request::MAX_BODY_BYTES;
use countersign_policy::denial::{Surface, render};
use countersign_policy::{Denial, Peer};
use http::request::Parts;
use http_body_util::BodyExt;
use std::sync::Arc;

/// The router of the OAuth endpoints.
pub fn router() -> Router<Arc<Context>> {
    // The endpoint itself refuses other methods, so that the refusal is an OAuth error with a reference, and recorded.
    Router::new().route(TOKEN_PATH, any(token)).route(JWKS_PATH, get(jwks))
}

/// Answers a token request, and records what became of it.
async fn token(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let read = read(body).await;
    let now = context.clock.now();
    let outcome = match read {
        Ok(body) => context.tokens.handle(&parts, &body, &peer, now).await,
        // Half a form may ask for something else than the whole: nothing is read from a body that breaks off.
        Err(error) => context.tokens.refused(&parts, &peer, now, broken_body(&error)),
    };
    let (reference, result) = match context.recorder.record_before_answer(outcome.event).await {
        Ok(reference) => (reference, outcome.result),
        // Who wants each token recorded before it is out wants none that is not.
        Err(unrecorded) => {
            tracing::error!(%unrecorded, "a token request is not recorded");
            (unrecorded.reference, Err(Denial::new(ReasonCode::StorageUnavailable)))
        }
    };
    match result {
        Ok(token) => token.to_response().map(Body::from),
        Err(denial) => refuse(&context, &denial, &parts, &peer, reference),
    }
}

/// The answer of a refusal that is recorded already, and its line in the log.
fn refuse(context: &Context, denial: &Denial, parts: &Parts, peer: &Peer, reference: Reference) -> Response {
    log_denial(denial, Some(peer), Some((&parts.method, &parts.uri)), "/oauth2/", reference);
    render(denial, &Surface::OAuth, reference, &context.issuer).map(Body::from)
}

async fn jwks(State(context): State<Arc<Context>>) -> Response {
    metadata::jwks(&context.token_keys.published()).map(Body::from)
}

/// The body, up to a little more than the limit, so that the endpoint sees that it was exceeded.
async fn read(mut body: Body) -> Result<Vec<u8>, axum::Error> {
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
