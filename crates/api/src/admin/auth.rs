//! Who calls the admin API, and whether he may: every operation stands behind one of the layers of this file.

use crate::Context;
use crate::answer::{Call, Refused};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use countersign_model::ReasonCode;
use countersign_model::audit::Actor;
use countersign_model::operator::{Operator, Role};
use countersign_policy::Denial;
use countersign_policy::client_auth::secret;
use countersign_storage::{Transaction, Write};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::sync::Arc;

/// Authenticates the caller by its bearer token (RFC 6750 section 2.1), and names him to the call.
pub(super) async fn authenticate(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Response {
    match operator(&context, request.headers()) {
        Some((operator, restated)) => {
            if let Some(call) = request.extensions().get::<Call>() {
                call.identify(Actor::Operator(operator.name.clone()));
            }
            request.extensions_mut().insert(operator.role);
            if let Some(restated) = restated {
                restate(&context, restated).await;
            }
            next.run(request).await
        }
        None => Refused(Denial::new(ReasonCode::AdminCredentialInvalid)).into_response(),
    }
}

/// Lets only callers of at least this role pass. Behind [`authenticate`]: a call that nobody authenticated has no role.
pub(super) async fn require(State(needed): State<Role>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Role>() {
        Some(role) if *role >= needed => next.run(request).await,
        Some(_) => Refused(Denial::new(ReasonCode::AdminRoleInsufficient)).into_response(),
        None => Refused(Denial::new(ReasonCode::AdminCredentialInvalid)).into_response(),
    }
}

/// Who calls; and the write by which the token's value is stored under the key of operators, if it is not yet.
fn operator(context: &Context, headers: &HeaderMap) -> Option<(Operator, Option<Write>)> {
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (credentials.next()?.to_str().ok()?, credentials.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let token = token.trim();
    let presented = secret::operator_hmac(&context.pepper, token);
    let former = secret::former_operator_hmac(&context.pepper, token);
    // Every operator is compared, in constant time each: how long it takes tells nothing about whom it matched.
    let mut found = None;
    for operator in context.operators.load().iter().filter(|operator| operator.enabled) {
        let stored = &operator.token_hmac;
        let is_former = former.is_some_and(|former| secret::same(&former, stored));
        if secret::same(&presented, stored) || is_former {
            let name = operator.name.clone();
            let restated =
                is_former.then_some(Write::RestateOperatorToken { name, from: *stored, to: presented });
            found = Some((operator.clone(), restated));
        }
    }
    found
}

/// A value from before operators had a key of their own is replaced at its first use. It does no harm when that fails: the
/// next use tries again.
async fn restate(context: &Context, restated: Write) {
    if let Err(error) = context.store.commit(Transaction::new().write(restated)).await {
        tracing::warn!(%error, "the token of an operator is not stored under its own key yet");
    }
}
