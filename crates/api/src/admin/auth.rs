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
        Some(operator) => {
            if let Some(call) = request.extensions().get::<Call>() {
                call.identify(Actor::Operator(operator.name.clone()));
            }
            request.extensions_mut().insert(operator.role);
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

fn operator(context: &Context, headers: &HeaderMap) -> Option<Operator> {
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (credentials.next()?.to_str().ok()?, credentials.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let presented = secret::hmac(&context.pepper, token.trim());
    // Every operator is compared, in constant time each: how long it takes tells nothing about whom it matched.
    let mut found = None;
    for operator in context.operators.load().iter() {
        if secret::same(&presented, &operator.token_hmac) && operator.enabled {
            found = Some(operator.clone());
        }
    }
    found
}
