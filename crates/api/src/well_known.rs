//! `/.well-known/`: the metadata of the authorization server (RFC 8414) and of each route (RFC 9728).

use crate::Context;
use crate::answer::Refused;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use countersign_model::ReasonCode;
use countersign_oauth::metadata::{
    AUTHORIZATION_SERVER_PATH, OPENID_CONFIGURATION_PATH, PROTECTED_RESOURCE_PATH,
};
use countersign_policy::Denial;
use std::sync::Arc;

/// The router of the metadata.
pub fn router() -> Router<Arc<Context>> {
    Router::new()
        .route(AUTHORIZATION_SERVER_PATH, get(authorization_server))
        .route(OPENID_CONFIGURATION_PATH, get(authorization_server))
        .route(&format!("{PROTECTED_RESOURCE_PATH}/{{route}}"), get(protected_resource))
}

async fn authorization_server(State(context): State<Arc<Context>>) -> Response {
    context.metadata.load().authorization_server().map(Body::from)
}

async fn protected_resource(State(context): State<Arc<Context>>, Path(route): Path<String>) -> Response {
    match context.metadata.load().protected_resource(&route) {
        Some(response) => response.map(Body::from),
        None => {
            Refused(Denial::new(ReasonCode::RouteNotFound).note("no such protected resource")).into_response()
        }
    }
}
