//! What was done, and who did it, as tables and the log say it.

use countersign_model::audit::{Actor, AuditAction};

/// The action as records and queries write it: `client_added`.
pub(crate) fn action(action: AuditAction) -> String {
    match serde_json::to_value(action) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

/// `operator ann`.
pub(crate) fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Anonymous => "anonymous".to_owned(),
        Actor::Client(client) => format!("client {client}"),
        Actor::Operator(name) => format!("operator {name}"),
        Actor::System => "system".to_owned(),
    }
}
