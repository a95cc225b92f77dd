//! `/livez`, `/readyz`, `/metrics`: on the admin listener, for the machines that watch over us.

use crate::Context;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use countersign_policy::Registry;
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
    /// Whether every CRL that we serve is still valid.
    crls: bool,
    /// Whether there is a key that signs tokens.
    token_key: bool,
    /// Whether what was pending when the program stopped is given up.
    ledger: bool,
}

async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(context): State<Arc<Context>>) -> Response {
    let now = context.clock.now();
    let age = context.views.age(now);
    let audit_log = context.recorder.is_healthy();
    // Rule G16: a node that has not heard of the change feed for longer does not know what was revoked.
    let heard = age <= context.max_staleness;
    let crls = context.ca.crls_are_current();
    let token_key = context.token_keys.signer(now).is_some();
    let ledger = context.ca.is_recovered().await;
    let ready = heard && audit_log && crls && token_key && ledger;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let feed_age_ms = age.as_millis();
    (status, Json(Readiness { ready, feed_age_ms, audit_log, crls, token_key, ledger })).into_response()
}

async fn metrics(State(context): State<Arc<Context>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], context.metrics.render()).into_response()
}
