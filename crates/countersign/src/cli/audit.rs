//! `countersign audit`: what was done and refused.

use super::admin_client::{AdminClient, AdminTarget, segment};
use super::audit_story;
use super::console::{Console, table};
use super::duration::{duration, seconds};
use super::human::counted;
use crate::audit_words;
use crate::failure::{Exit, Failure};
use crate::system::SystemClock;
use crate::words::{in_words, printable};
use clap::Subcommand;
use countersign_api::admin::audit;
use countersign_api::admin::shapes::{AuditList, AuditQuery, AuditVerification};
use countersign_audit::Filter;
use countersign_model::audit::{AuditAction, AuditEvent};
use countersign_model::{ClientId, Clock, Timestamp};
use ipnet::IpNet;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

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
        /// Only callers with this address, or in this network, as 192.0.2.0/24
        #[arg(long, value_parser = network)]
        source: Option<IpNet>,
        /// Only since this moment, as 2026-11-27T08:00:00Z, or for this long, as 90s, 30m, 8h, 7d
        #[arg(long, value_name = "WHEN", value_parser = moment)]
        since: Option<Timestamp>,
        /// Only before this moment, written like --since
        #[arg(long, value_name = "WHEN", value_parser = moment)]
        until: Option<Timestamp>,
        /// Only records before this one: where the listing before ended
        #[arg(long, value_name = "SEQUENCE")]
        before: Option<u64>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = AuditQuery::DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=i64::from(AuditQuery::MAX_LIMIT)))]
        limit: u32,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Show what is behind a reference (the Countersign-Ref of an answer)
    Show {
        /// The reference, the jti of a token, or an x-fapi-interaction-id
        reference: String,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Read the whole log, and find any change, gap or cut tail
    Verify {
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        target: AdminTarget,
    },
}

/// Where the log is read from.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// Read the files in this directory instead of asking a server: of one that is stopped, or of a copy. Only a server
    /// knows where the log ends, so `verify` does not find a tail that was cut off
    #[arg(long = "files", value_name = "DIR", conflicts_with_all = ["admin", "credential_file", "ca_file"])]
    directory: Option<PathBuf>,
}

impl Files {
    /// What `of_files` reads, or what `of_server` answers.
    fn read<T>(
        &self,
        target: &AdminTarget,
        of_files: impl FnOnce(&Path) -> io::Result<T>,
        of_server: impl FnOnce(&AdminClient) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(directory) = &self.directory else { return of_server(&AdminClient::new(target)?) };
        // A log of a directory that does not exist would be an empty one.
        std::fs::read_dir(directory).and_then(|_| of_files(directory)).map_err(|error| {
            Failure::new(Exit::Refused, format!("the audit log in {} cannot be read", directory.display()))
                .why(in_words(&error))
                .action("give the directory of the log's files, by default `audit` in the data directory")
        })
    }
}

impl Command {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        match self {
            Self::List { action, client, source, since, until, before, limit, files, target } => {
                let mut path = format!("/audit?limit={limit}");
                path.extend(action.as_ref().map(|action| format!("&action={action}")));
                path.extend(client.as_ref().map(|client| format!("&client={client}")));
                path.extend(source.map(|source| format!("&source={source}")));
                path.extend(since.map(|since| format!("&since={since}")));
                path.extend(until.map(|until| format!("&until={until}")));
                path.extend(before.map(|before| format!("&before={before}")));
                let action = action.map(known_action).transpose()?;
                let filter =
                    Filter { action, client, source, since, until, before, token_or_interaction: None };
                let list: AuditList = files.read(
                    &target,
                    |directory| audit::listed(directory, &filter, limit),
                    |server| server.get(&path),
                )?;
                console.answer(&list, || list_text(&list))
            }
            Self::Show { reference, files, target } => {
                let wanted = reference.clone();
                let list: AuditList = files.read(
                    &target,
                    |directory| audit::shown(directory, wanted),
                    |server| server.get_however_long(&format!("/audit/{}", segment(&reference)?)),
                )?;
                if list.records.is_empty() {
                    let what = "no record has this reference, jti or x-fapi-interaction-id";
                    return Err(Failure::new(Exit::NotFound, what)
                        .action("compare it letter by letter; `countersign audit list` shows the newest"));
                }
                let stories = || list.records.iter().map(audit_story::of).collect::<Vec<_>>().join("\n");
                console.answer(&list, stories)
            }
            Self::Verify { files, target } => {
                let report: AuditVerification = files.read(
                    &target,
                    |directory| {
                        countersign_audit::verify(directory, None).map(|report| audit::verified(&report))
                    },
                    |server| server.get_however_long("/audit/verification"),
                )?;
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

fn network(text: &str) -> Result<IpNet, String> {
    audit::network(text).map_err(str::to_owned)
}

/// A moment of RFC 3339, or so long ago.
fn moment(text: &str) -> Result<Timestamp, String> {
    let ago = |text| duration(text).ok().map(|ago| SystemClock.now().plus_s(-seconds(ago)));
    Timestamp::parse_rfc3339(text)
        .or_else(|| ago(text))
        .ok_or_else(|| "a moment is written as 2026-11-27T08:00:00Z, or as 8h for eight hours ago".to_owned())
}

/// The action, for reading files; a server knows the actions of its own version.
fn known_action(name: String) -> Result<AuditAction, Failure> {
    serde_json::from_value(Value::String(name.clone())).map_err(|_| {
        Failure::new(Exit::Usage, format!("there is no action `{name}`"))
            .action("the column ACTION of `countersign audit list` has the actions")
    })
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
                client_text(event),
                event.reference.to_string(),
            ]
        })
        .collect();
    let mut out = table(["TIME", "ACTION", "REASON", "ACTOR", "CLIENT", "REF"], &rows);
    if list.more {
        let next = list.next.map(|next| format!("; the next ones: --before {next}")).unwrap_or_default();
        out.push_str(&format!("there are more: these are the newest {}{next}\n", list.records.len()));
    }
    out
}

/// The client concerned. Anybody may claim to be a client.
fn client_text(event: &AuditEvent) -> String {
    match (&event.facts.client, event.claimed_client()) {
        (_, Some(claimed)) => format!("{claimed} (claimed)"),
        (Some(client), None) => client.to_string(),
        (None, None) => String::new(),
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
    use countersign_model::audit::{Actor, AuditAction};

    #[test]
    fn a_client_that_nobody_proved_to_be_is_marked() {
        let event = |actor, client| {
            let at = countersign_model::Timestamp::from_unix_s(1_795_334_400);
            let reference = "01JZ8Q0M3T4V6X8Z0A2C4E6G8J".parse().unwrap();
            let facts = countersign_model::audit::Facts { client, ..Default::default() };
            AuditEvent::done(reference, at, AuditAction::HandshakeRefused, actor, facts)
        };
        let acme: ClientId = "acme-pay".parse().unwrap();
        let text = |actor, client| client_text(&event(actor, client));
        assert_eq!(text(Actor::Anonymous, Some(acme.clone())), "acme-pay (claimed)");
        assert_eq!(text(Actor::Client(acme.clone()), Some(acme.clone())), "acme-pay");
        assert_eq!(text(Actor::Operator("ann".to_owned()), Some(acme)), "acme-pay");
        assert_eq!(text(Actor::Anonymous, None), "");
    }

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
