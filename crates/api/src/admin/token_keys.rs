//! `/admin/v1/token-keys`: the keys that sign access tokens.

use super::input::Json;
use super::shapes::{RotateTokenKey, TokenKeyRotated};
use crate::Context;
use crate::answer::{Call, Refused};
use axum::extract::State;
use axum::{Extension, Json as Answer};
use countersign_oauth::Rotation;
use countersign_policy::Denial;
use std::sync::Arc;

/// Publishes a new token key now, and signs with it once relying parties have had the time to fetch it (rule K9).
#[utoipa::path(
    post, path = "/token-keys/rotate", operation_id = "rotate_token_key", request_body = RotateTokenKey,
    responses((status = 200, body = TokenKeyRotated))
)]
pub(super) async fn rotate(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Json(rotation): Json<RotateTokenKey>,
) -> Result<Answer<TokenKeyRotated>, Refused> {
    let rotation = if rotation.now { Rotation::Now } else { Rotation::AfterPublication };
    let now = context.clock.now();
    let rotated = context
        .token_keys
        .rotate(context.store.as_ref(), rotation, call.actor(), call.reference, now)
        .await
        .map_err(|error| Denial::new(error.reason()).note(error.to_string()))?;
    // The ring of this node signs and verifies by the new keys already.
    let committed = "the token key was rotated; do not repeat the call, but wait until /readyz is ready";
    context.in_force(rotated.receipt.sequence, committed).await?;
    Ok(Answer(TokenKeyRotated { key_id: rotated.key, signs_from: rotated.signs_from }))
}
