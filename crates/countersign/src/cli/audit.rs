//! `countersign audit`: what was done and refused.

use super::admin_client::{AdminClient, AdminTarget, segment};
use super::console::{Console, fields, table};
use super::human::counted;
use crate::audit_words;
use crate::failure::{Exit, Failure};
use crate::words::printable;
use clap::Subcommand;
use countersign_api::admin::shapes::{AuditList, AuditQuery, AuditRecordView, AuditVerification};
use countersign_model::{ClientId, Reference};
use serde_json::Value;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the newest records
    List {
        /// Only this action, as request_refused, token_issued, certificate_revoked
        #[arg(long, value_parser = action_name)]
        action: Option<String>,
        /// Only this client
        #[arg(long)]
        client: Option<ClientId>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = AuditQuery::DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=i64::from(AuditQuery::MAX_LIMIT)))]
        limit: u32,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Show what is behind a reference (the Countersign-Ref of an answer)
    Show {
        /// The reference
        reference: Reference,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Read the whole log, and find any change, gap or cut tail
    Verify {
        #[command(flatten)]
        target: AdminTarget,
    },
}

impl Command {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        match self {
            Self::List { action, client, limit, target } => {
                let mut path = format!("/audit?limit={limit}");
                path.extend(action.map(|action| format!("&action={action}")));
                path.extend(client.map(|client| format!("&client={client}")));
                let list: AuditList = AdminClient::new(&target)?.get(&path)?;
                console.answer(&list, || list_text(&list))
            }
            Self::Show { reference, target } => {
                let path = format!("/audit/{}", segment(&reference.to_string())?);
                let list: AuditList = AdminClient::new(&target)?.get(&path)?;
                let records = || list.records.iter().map(record_text).collect::<Vec<_>>().join("\n");
                console.answer(&list, records)
            }
            Self::Verify { target } => {
                let report: AuditVerification =
                    AdminClient::new(&target)?.get_however_long("/audit/verification")?;
                console.answer(&report, || report_text(&report))?;
                if report.intact {
                    return Ok(());
                }
                let failure = Failure::new(Exit::Refused, "the audit log is not intact");
                Err(failure.action("keep the files as they are, and find out who could write to them"))
            }
        }
    }
}

/// A word of snake_case: nothing else can be an action.
fn action_name(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|c| c.is_ascii_lowercase() || c == b'_') {
        Ok(text.to_owned())
    } else {
        Err("an action is written as request_refused".to_owned())
    }
}

fn list_text(list: &AuditList) -> String {
    let rows: Vec<[String; 6]> = list
        .records
        .iter()
        .map(|record| {
            let event = &record.event;
            let times = record.folded.as_ref().map(|folded| format!(" ×{}", folded.count));
            let lost = record.lost.as_ref().map(|lost| format!("{} lost", lost.count));
            [
                event.at.to_string(),
                audit_words::action(event.action),
                event.reason.map(|reason| reason.to_string()).or(lost).unwrap_or_default()
                    + &times.unwrap_or_default(),
                audit_words::actor(&event.actor),
                event.facts.client.as_ref().map(ClientId::to_string).unwrap_or_default(),
                event.reference.to_string(),
            ]
        })
        .collect();
    let mut out = table(["TIME", "ACTION", "REASON", "ACTOR", "CLIENT", "REF"], &rows);
    if list.more {
        out.push_str(&format!(
            "there are more: these are the newest {}; narrow it with --action or --client, or ask for more with --limit\n",
            list.records.len()
        ));
    }
    out
}

/// Every member of the record, in the order of the record, the nested ones with their path.
fn record_text(record: &AuditRecordView) -> String {
    let mut rows = Vec::new();
    flatten("", &serde_json::to_value(record).unwrap_or_default(), &mut rows);
    let rows: Vec<(&str, String)> = rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    fields(&rows)
}

fn flatten(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, rows);
            }
        }
        Value::Null => {}
        Value::String(text) => rows.push((name.to_owned(), text.clone())),
        other => rows.push((name.to_owned(), other.to_string())),
    }
}

fn report_text(report: &AuditVerification) -> String {
    let mut out = format!(
        "{}: {} in {}, the last is {}\n",
        if report.intact { "intact" } else { "NOT INTACT" },
        counted(report.records, "record"),
        counted(u64::from(report.segments), "file"),
        report.last_sequence
    );
    if report.lost > 0 {
        out.push_str(&format!("  {} happened and could not be recorded\n", counted(report.lost, "event")));
    }
    if let Some(newest) = report.repairs.last() {
        out.push_str(&format!("  losses and repairs are recorded, the newest is {newest}\n"));
        out.push_str("  do:  countersign audit list --action log_repaired\n");
    }
    for finding in &report.findings {
        out.push_str(&format!("  {}\n", printable(finding)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intact_log_says_what_is_not_in_it() {
        let report = AuditVerification {
            intact: true,
            records: 120,
            events: 5000,
            lost: 0,
            repairs: Vec::new(),
            segments: 1,
            last_sequence: 120,
            findings: Vec::new(),
        };
        assert_eq!(report_text(&report), "intact: 120 records in 1 file, the last is 120\n");
        let lossy = AuditVerification { lost: 7, repairs: vec![3, 118], ..report };
        assert_eq!(
            report_text(&lossy),
            "intact: 120 records in 1 file, the last is 120\n  \
             7 events happened and could not be recorded\n  \
             losses and repairs are recorded, the newest is 118\n  \
             do:  countersign audit list --action log_repaired\n"
        );
    }
}
