//! `/livez`, `/readyz`, `/metrics`: on the admin listener, for the machines that watch over us.

use crate::Context;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use std::sync::Arc;

/// The router of the health endpoints.
pub fn router() -> Router<Arc<Context>> {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).route("/metrics", get(metrics))
}

/// What readiness is made of.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// How old the views are.
    feed_age_ms: u128,
    /// Whether the audit log can be written.
    audit_log: bool,
}

async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(context): State<Arc<Context>>) -> Response {
    let age = context.clock.now().since(context.views.heard_at());
    let audit_log = context.recorder.is_healthy();
    // Rule G16: a node that has not heard of the change feed for longer does not know what was revoked.
    let ready = age <= context.max_staleness && audit_log;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, feed_age_ms: age.as_millis(), audit_log })).into_response()
}

async fn metrics(State(context): State<Arc<Context>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], context.metrics.render()).into_response()
}
