//! `/livez`, `/readyz`, `/metrics`: on the admin listener, for the machines that watch over us.

use crate::Context;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use countersign_ca::EndingIssuer;
use countersign_model::Timestamp;
use countersign_model::certificate::IssuerRole;
use countersign_policy::Registry;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;
use tokio::time::Instant;

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
    /// Whether the audit log can be written, and whether all that was written is still there. A node that can write goes on
    /// serving, and is ready: what is missing does not come back by refusing calls.
    audit_log: bool,
    /// Since when it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_log_failing_since: Option<Timestamp>,
    /// How many records are gone or changed, found at the start or since.
    audit_records_missing: u64,
    /// Whether there is enough space where we write. A node with little goes on serving, and is ready.
    disk_space: bool,
    /// Whether the database is where the next start looks for it: nobody deleted, moved or replaced its files.
    database: bool,
    /// Since when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    database_displaced_since: Option<Timestamp>,
    /// How many bytes are left on the fullest file system; absent before it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_free_bytes: Option<u64>,
    /// What is written there: `database` or `audit_log`.
    #[serde(skip_serializing_if = "str::is_empty")]
    disk_fullest: &'static str,
    /// Since when there is little.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_low_since: Option<Timestamp>,
    /// How many revocations, disabled clients and ended secrets are in force here and lost with a restart.
    changes_not_stored: usize,
    /// Since when the oldest of them waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes_not_stored_since: Option<Timestamp>,
    /// How many events are not in it and never will be. Counted in the log itself, when it can be written again.
    audit_events_lost: u64,
    /// What is refused now because of what is wrong, one sentence for each.
    refused: Vec<Cow<'static, str>>,
    /// What somebody should look at although nothing is refused, one sentence for each.
    warnings: Vec<Cow<'static, str>>,
    /// Whether every CRL that we serve is still valid.
    crls: bool,
    /// Whether the certificate of every listener is in time.
    server_certificates: bool,
    /// Whether there is a key that signs tokens.
    token_key: bool,
    /// Whether what was pending when the program stopped is given up.
    ledger: bool,
}

const AUDIT_LOG_FAILS: &str = "token requests are answered with 503 storage_unavailable: the audit log cannot be written, \
    and no token is issued without a record; calls of APIs go on";

const DATABASE_DISPLACED: &str = "administration is answered with 503: a file of the database was deleted, moved or replaced \
    while the server runs, and what it stores would be lost with a restart; revocations are in force here; the log names the \
    file: move it back, or stop the server, restore a backup, start, and repeat what was answered with not_stored";

const DISK_LOW: &str = "token requests are answered with 503 storage_low: little space is left on the disk, and it is kept \
    for administration; refusals are counted and not written; calls of APIs go on";

fn certificates_out_of_time(listeners: &[String]) -> String {
    format!(
        "callers of {} refuse the connection: the server certificate has expired or is not valid yet; replace it and reload",
        listeners.join(", ")
    )
}

/// What the end of one of our CAs means, for readiness and the log.
pub fn issuer_ends(issuer: &EndingIssuer, now: Timestamp) -> String {
    let EndingIssuer { id, role, not_after } = issuer;
    let what = match role {
        IssuerRole::Root => "nothing of this installation is trusted after it",
        IssuerRole::Clients => "no client certificate is valid after it",
        IssuerRole::Servers => "no server certificate of our own is valid after it",
    };
    let days = not_after.since(now).as_secs() / 86_400;
    let when = if *not_after < now { "has ended".to_owned() } else { format!("ends in {days} days") };
    format!(
        "the CA `{id}` {when} ({}), and {what}: make a new installation in time, and move partners to it",
        not_after.date()
    )
}

fn records_missing(records: u64) -> String {
    format!(
        "{records} records of the audit log are gone or changed: somebody removed or cut its files; `countersign audit \
         verify` says which ones; keep a copy of what is left, and ask who can write to the directory"
    )
}

/// Which ones they are is not told to everybody on this machine: the log and `client list` say it.
fn not_stored(changes: usize) -> String {
    format!(
        "administration is answered with 503: the database takes nothing; {changes} of its changes are in force here and not \
         stored, and a restart before they are stored forgets them: make room on its disk first; the log names each of them"
    )
}

async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(context): State<Arc<Context>>) -> Response {
    let now = context.clock.now();
    let age = context.views.age(now, Instant::now().into_std());
    let audit_log_failing_since = context.recorder.failing_since();
    let is_recorded = audit_log_failing_since.is_none();
    let recorded = context.recorder.stats();
    // Rule G16: a node that has not heard of the change feed for longer does not know what was revoked.
    let heard = age <= context.max_staleness;
    let crls = context.ca.crls_are_current();
    let token_key = context.token_keys.signer(now).is_some();
    let ledger = context.ca.is_recovered().await;
    let out_of_time = context.server_certificates.out_of_time(now);
    let server_certificates = out_of_time.is_empty();
    let displaced_since = context.space.displaced_since();
    let database = displaced_since.is_none();
    let ready = heard && is_recorded && database && crls && server_certificates && token_key && ledger;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let disk_low_since = context.space.low_since();
    let (changes_not_stored, changes_not_stored_since) = context.essential.waiting();
    let readiness = Readiness {
        ready,
        feed_age_ms: age.as_millis(),
        audit_log: is_recorded && recorded.missing == 0,
        audit_log_failing_since,
        audit_records_missing: recorded.missing,
        audit_events_lost: recorded.lost,
        disk_space: disk_low_since.is_none(),
        disk_free_bytes: Some(context.space.free()).filter(|free| *free != u64::MAX),
        disk_fullest: context.space.fullest(),
        disk_low_since,
        database,
        database_displaced_since: displaced_since,
        changes_not_stored,
        changes_not_stored_since,
        refused: [
            (!is_recorded).then_some(AUDIT_LOG_FAILS.into()),
            disk_low_since.map(|_| DISK_LOW.into()),
            displaced_since.map(|_| DATABASE_DISPLACED.into()),
            (!server_certificates).then(|| certificates_out_of_time(&out_of_time).into()),
            (changes_not_stored > 0).then(|| not_stored(changes_not_stored).into()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        warnings: (recorded.missing > 0)
            .then(|| records_missing(recorded.missing).into())
            .into_iter()
            .chain(context.ca.ending(now).iter().map(|issuer| issuer_ends(issuer, now).into()))
            .collect(),
        crls,
        server_certificates,
        token_key,
        ledger,
    };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(context): State<Arc<Context>>) -> Response {
    // At the moment of the question: what is lost is nothing to hear of a minute later.
    let recorded = context.recorder.stats();
    metrics::counter!("countersign_audit_written_total").absolute(recorded.written);
    metrics::counter!("countersign_audit_folded_total").absolute(recorded.folded);
    metrics::counter!("countersign_audit_lost_total").absolute(recorded.lost);
    let missing = u32::try_from(recorded.missing).unwrap_or(u32::MAX);
    metrics::gauge!("countersign_audit_missing_records").set(f64::from(missing));
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], context.metrics.render()).into_response()
}
