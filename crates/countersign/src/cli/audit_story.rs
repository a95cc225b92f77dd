//! A record of the audit log as a story for people: what happened, who did it, why, and what to do. `--json` has the record.

use super::console::fields;
use crate::audit_words;
use countersign_api::admin::shapes::AuditRecordView;
use countersign_model::audit::{AuditAction, AuditEvent};

/// The story of one record.
pub(super) fn of(record: &AuditRecordView) -> String {
    let event = &record.event;
    let facts = &event.facts;
    let mut rows = vec![("what", what(record)), ("when", when(record)), ("who", who(event))];
    let mut row = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    row("from", from(record));
    row(
        "certificate",
        facts.certificate.as_ref().and_then(|certificate| {
            let serial = certificate.serial.map(|serial| format!("serial {serial}"));
            let thumbprint = certificate.thumbprint.map(|thumbprint| format!("thumbprint {thumbprint}"));
            let parts: Vec<_> = serial.into_iter().chain(thumbprint).collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        }),
    );
    row("environment", facts.environment.map(|environment| environment.to_string()));
    row("object", facts.object.clone());
    row("scope", facts.scope.clone());
    row("audience", facts.audience.clone());
    row("token", facts.jti.clone());
    row("interaction", facts.interaction_id.clone());
    if let Some(reason) = event.reason {
        let text = reason.reason();
        row("why", Some(format!("{reason}: {}", text.title)));
        row("detail", facts.detail.clone());
        row(
            "told",
            event
                .public()
                .filter(|public| *public != reason)
                .map(|public| format!("{public}: the caller was not told the exact reason")),
        );
        row("incident", text.incident.then(|| "yes: look at who did this".to_owned()));
        row("do", Some(text.operator.to_owned()));
        row("partner", Some(text.action.to_owned()));
    } else {
        row("detail", facts.detail.clone());
    }
    row("record", Some(format!("{} in the chain, reference {}", record.sequence, event.reference)));
    fields(&rows)
}

/// `GET /data/accounts on route data was refused`.
fn what(record: &AuditRecordView) -> String {
    let event = &record.event;
    let facts = &event.facts;
    if let Some(lost) = &record.lost {
        return format!("{} events happened that have no record", lost.count);
    }
    let request = match (&facts.method, &facts.path) {
        (Some(method), Some(path)) => Some(format!("{method} {path}")),
        _ => None,
    };
    let route = facts.route.as_ref().map(|route| format!(" on route {route}")).unwrap_or_default();
    let times =
        record.folded.as_ref().map(|folded| format!(", {} more times", folded.count)).unwrap_or_default();
    let sentence = match (event.action, request) {
        (AuditAction::RequestRefused, Some(request)) => format!("{request}{route} was refused"),
        (AuditAction::AnswerBrokenOff, Some(request)) => {
            format!("the answer to {request}{route} ended early")
        }
        (action, _) => audit_words::action(action).replace('_', " "),
    };
    format!("{sentence}{times}")
}

fn when(record: &AuditRecordView) -> String {
    match &record.folded {
        Some(folded) => format!("{} to {}", folded.first, folded.last),
        None => record.event.at.to_string(),
    }
}

/// The actor, and the client where that is somebody else or only claimed.
fn who(event: &AuditEvent) -> String {
    let actor = audit_words::actor(&event.actor);
    if let Some(claimed) = event.claimed_client() {
        return format!("{actor}, who claims to be client {claimed}");
    }
    match &event.facts.client {
        Some(client) if !actor.ends_with(&format!(" {client}")) => {
            format!("{actor}, concerning client {client}")
        }
        _ => actor,
    }
}

fn from(record: &AuditRecordView) -> Option<String> {
    let facts = &record.event.facts;
    let network = record.folded.as_ref().and_then(|folded| folded.network.clone());
    let source = facts.source.map(|source| source.to_string()).or(network)?;
    let listener =
        facts.listener.as_ref().map(|listener| format!(", listener {listener}")).unwrap_or_default();
    let name = facts.sni.as_ref().map(|name| format!(", asked for {name}")).unwrap_or_default();
    Some(format!("{source}{listener}{name}"))
}
