//! `/admin/v1/audit`: reading the audit log. The files are read on the pool for blocking work.

use super::input::{Query, malformed};
use super::shapes::{AuditList, AuditQuery, AuditRecordView, AuditVerification};
use super::{cut, one_more_than};
use crate::Context;
use crate::answer::Refused;
use axum::Json as Answer;
use axum::extract::{Path, State};
use countersign_audit::{Filter, Head, Record, RecordHash, Report};
use countersign_model::{ReasonCode, Reference};
use countersign_policy::Denial;
use ipnet::IpNet;
use std::io;
use std::net::IpAddr;
use std::path::Path as FilePath;
use std::sync::Arc;

/// So many repairs are told one by one: a node that lost events over a long time recorded each count of them.
const MOST_REPAIRS: usize = 100;

/// Lists records, newest first.
#[utoipa::path(
    get, path = "/audit", operation_id = "list_audit_records", params(AuditQuery),
    responses((status = 200, body = AuditList))
)]
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    Query(query): Query<AuditQuery>,
) -> Result<Answer<AuditList>, Refused> {
    let action = match query.action {
        None => None,
        Some(name) => {
            let parsed = serde_json::from_value(serde_json::Value::String(name));
            Some(parsed.map_err(|error| malformed(error.to_string()))?)
        }
    };
    let limit = query.limit.unwrap_or(AuditQuery::DEFAULT_LIMIT).min(AuditQuery::MAX_LIMIT);
    let AuditQuery { client, since, until, before, .. } = query;
    let source = query.source.as_deref().map(network).transpose().map_err(|why| malformed(why.to_owned()))?;
    let filter = Filter { action, client, source, since, until, before, token_or_interaction: None };
    Ok(Answer(read(&context, move |directory| listed(directory, &filter, limit)).await?))
}

/// The newest records that `filter` admits, out of the files of a log.
///
/// # Errors
/// When a file cannot be read.
pub fn listed(directory: &FilePath, filter: &Filter, limit: u32) -> io::Result<AuditList> {
    let asked = usize::try_from(one_more_than(limit)).unwrap_or(usize::MAX);
    let mut records = countersign_audit::list(directory, filter, asked)?;
    let more = cut(&mut records, limit);
    Ok(answer(records, more))
}

/// The records behind a reference, a token's `jti` or an `x-fapi-interaction-id`, out of the files of a log.
///
/// # Errors
/// When a file cannot be read.
pub fn shown(directory: &FilePath, wanted: String) -> io::Result<AuditList> {
    // People copy references in lower case.
    if let Ok(reference) = wanted.to_ascii_uppercase().parse::<Reference>() {
        let found = countersign_audit::find(directory, reference)?;
        if !found.is_empty() {
            return Ok(answer(found, false));
        }
    }
    let filter = Filter { token_or_interaction: Some(wanted), ..Filter::default() };
    Ok(answer(countersign_audit::list(directory, &filter, MOST_OF_ONE)?, false))
}

/// An address, or a network.
///
/// # Errors
/// What it should look like.
pub fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    address.or_else(|_| text.parse()).map_err(|_| "a source is an address or a network, such as 192.0.2.0/24")
}

/// Most records of one token or one `x-fapi-interaction-id`.
const MOST_OF_ONE: usize = 100;

/// Shows the records under a reference: the refusal, and the record of the series that it was folded into. Takes a token's
/// `jti` and an `x-fapi-interaction-id` too.
#[utoipa::path(
    get, path = "/audit/{ref}", operation_id = "show_audit_records", params(("ref" = String, Path)),
    responses((status = 200, body = AuditList))
)]
pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(reference): Path<String>,
) -> Result<Answer<AuditList>, Refused> {
    let list = read(&context, move |directory| shown(directory, reference)).await?;
    if list.records.is_empty() {
        let note = "no record has this reference, jti or x-fapi-interaction-id";
        return Err(Denial::new(ReasonCode::ObjectNotFound).note(note).into());
    }
    Ok(Answer(list))
}

/// Reads the whole log, and compares it with the head that the database keeps.
#[utoipa::path(
    get, path = "/audit/verification", operation_id = "verify_audit_log",
    responses((status = 200, body = AuditVerification))
)]
pub(super) async fn verification(
    State(context): State<Arc<Context>>,
) -> Result<Answer<AuditVerification>, Refused> {
    let stored =
        context.store.audit_head(&context.audit_chain).await.map_err(|error| Refused::storage(&error))?;
    let stored = stored.map(|head| Head { sequence: head.sequence, hash: RecordHash(head.hash) });
    let report = read(&context, move |directory| countersign_audit::verify(directory, stored)).await?;
    Ok(Answer(verified(&report)))
}

async fn read<T: Send + 'static>(
    context: &Context,
    reading: impl FnOnce(&FilePath) -> io::Result<T> + Send + 'static,
) -> Result<T, Refused> {
    // What happened a moment ago is looked for first: it is made visible before the files are read.
    if let Err(error) = context.outbox.deliver().await {
        tracing::warn!(error, "the audit log is read without what was committed last");
    }
    if let Err(error) = context.recorder.flush().await {
        tracing::warn!(%error, "the audit log is read without its newest records");
    }
    let directory = context.audit_directory.clone();
    let unreadable = |why: String| Refused(Denial::new(ReasonCode::StorageUnavailable).note(why));
    match tokio::task::spawn_blocking(move || reading(&directory)).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(unreadable(format!("the audit log cannot be read: {error}"))),
        Err(error) => Err(unreadable(format!("reading the audit log was given up: {error}"))),
    }
}

fn answer(records: Vec<Record>, more: bool) -> AuditList {
    let view = |record: Record| AuditRecordView {
        sequence: record.sequence,
        previous: record.previous.to_string(),
        folded: record.folded,
        lost: record.lost,
        event: record.event,
    };
    let next = records.last().filter(|_| more).map(|record| record.sequence);
    AuditList { records: records.into_iter().map(view).collect(), more, next }
}

/// What was found in a log that was read whole.
pub fn verified(report: &Report) -> AuditVerification {
    let mut findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    if report.more_findings > 0 {
        findings.push(format!("and {} more", report.more_findings));
    }
    AuditVerification {
        intact: report.is_intact(),
        records: report.records,
        events: report.events,
        lost: report.lost,
        repairs: report.repairs[report.repairs.len().saturating_sub(MOST_REPAIRS)..].to_vec(),
        segments: u32::try_from(report.segments).unwrap_or(u32::MAX),
        last_sequence: report.head.sequence,
        findings,
    }
}
