//! `/admin/v1/audit`: reading the audit log. The files are read on the pool for blocking work.

use super::input::{Query, malformed, parse_or_not_found};
use super::shapes::{AuditList, AuditQuery, AuditRecordView, AuditVerification};
use super::{cut, one_more_than};
use crate::Context;
use crate::answer::Refused;
use axum::Json as Answer;
use axum::extract::{Path, State};
use countersign_audit::{Filter, Head, Record, RecordHash, Report};
use countersign_model::{ReasonCode, Reference};
use countersign_policy::Denial;
use std::io;
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
    let filter = Filter { action, client: query.client };
    let asked = usize::try_from(one_more_than(limit)).unwrap_or(usize::MAX);
    let reading = move |directory: &FilePath| countersign_audit::list(directory, &filter, asked);
    let mut records = read(&context, reading).await?;
    let more = cut(&mut records, limit);
    Ok(Answer(answer(records, more)))
}

/// Shows the records under a reference: the refusal, and the record of the series that it was folded into.
#[utoipa::path(
    get, path = "/audit/{ref}", operation_id = "show_audit_records", params(("ref" = String, Path)),
    responses((status = 200, body = AuditList))
)]
pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(reference): Path<String>,
) -> Result<Answer<AuditList>, Refused> {
    let reference: Reference = parse_or_not_found(&reference)?;
    let records = read(&context, move |directory| countersign_audit::find(directory, reference)).await?;
    if records.is_empty() {
        return Err(Denial::new(ReasonCode::ObjectNotFound).note(format!("no record {reference}")).into());
    }
    Ok(Answer(answer(records, false)))
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
    AuditList { records: records.into_iter().map(view).collect(), more }
}

fn verified(report: &Report) -> AuditVerification {
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
