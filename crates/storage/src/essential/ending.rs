//! Which writes take rights away.

use crate::{Transaction, Write};
use countersign_model::ClientId;
use countersign_model::audit::{AuditAction, AuditEvent};
use countersign_model::client::ClientState;

/// What of a transaction takes rights away, with the events that tell of it: each revoked certificate by itself, because it
/// fails when somebody else has revoked it; all else together, because it does not. A new secret or key is left out:
/// nobody has been handed it, and the operator asks again.
pub(super) fn endings(transaction: &Transaction) -> Vec<Transaction> {
    let at = transaction.events.first().map(|event| event.at);
    let rotates_key = transaction.events.iter().any(|event| event.action == AuditAction::TokenKeyRotated);
    let (mut endings, mut others) = (Vec::new(), Transaction::new());
    let mut left_out = None;
    for write in &transaction.writes {
        match write {
            Write::RevokeCertificate { .. } => endings.push(Transaction::new().write(write.clone())),
            Write::RevokeCredential { .. } | Write::SetClientState { state: ClientState::Disabled, .. } => {
                others.writes.push(write.clone());
            }
            Write::ExpireCredential { expires_at, .. } if at.is_some_and(|at| *expires_at <= at) => {
                others.writes.push(write.clone());
            }
            Write::ReplaceSecrets { known, others_end_at: None, .. } => {
                let revoke = |&credential| Write::RevokeCredential { credential };
                others.writes.extend(known.iter().map(revoke));
                left_out = Some("the secrets have ended; the new one was not stored");
            }
            // In an emergency: what is forgotten because it is over is deleted without an event.
            Write::DeleteKey { .. } if rotates_key => {
                others.writes.push(write.clone());
                left_out = Some("the keys have ended with their tokens; the new one was not stored");
            }
            _ => {}
        }
    }
    if !others.writes.is_empty() {
        endings.push(others);
    }
    for event in &transaction.events {
        let of_event = endings.iter().position(|ending| tells_of(event, ending));
        let Some(ending) = endings.get_mut(of_event.unwrap_or(0)) else { break };
        ending.events.push(event.clone());
    }
    if let Some(detail) = left_out {
        for event in endings.iter_mut().flat_map(|ending| &mut ending.events) {
            event.facts.credential = None;
            event.facts.detail = Some(detail.to_owned());
        }
    }
    endings
}

/// Whom a transaction enables.
pub(super) fn enabled(transaction: &Transaction) -> Option<&ClientId> {
    transaction.writes.iter().find_map(|write| match write {
        Write::SetClientState { client, state: ClientState::Active, .. } => Some(client),
        _ => None,
    })
}

/// Whether the reserve is there for it too although this process cannot enforce it: the token of an operator that is in
/// other hands is replaced while the server is stopped.
pub(super) fn may_use_the_reserve(transaction: &Transaction) -> bool {
    transaction.writes.iter().any(|write| matches!(write, Write::ReplaceOperatorToken { .. }))
}

fn tells_of(event: &AuditEvent, ending: &Transaction) -> bool {
    let certificate = event.facts.certificate.as_ref();
    match ending.writes.first() {
        Some(Write::RevokeCertificate { issuer, serial, .. }) => certificate
            .is_some_and(|it| (it.issuer.as_ref(), it.serial.as_ref()) == (Some(issuer), Some(serial))),
        _ => certificate.is_none(),
    }
}

/// Whether `write` takes nothing away that is not taken away by one of `writes`.
pub(super) fn covers(writes: &[Write], write: &Write) -> bool {
    writes.iter().any(|one| match (one, write) {
        (
            Write::RevokeCertificate { issuer, serial, .. },
            Write::RevokeCertificate { issuer: its_issuer, serial: its_serial, .. },
        ) => (issuer, serial) == (its_issuer, its_serial),
        (Write::SetClientState { client, .. }, Write::SetClientState { client: its_client, .. }) => {
            client == its_client
        }
        (
            Write::RevokeCredential { credential },
            Write::RevokeCredential { credential: its } | Write::ExpireCredential { credential: its, .. },
        )
        | (Write::ExpireCredential { credential, .. }, Write::ExpireCredential { credential: its, .. }) => {
            credential == its
        }
        (Write::DeleteKey { key }, Write::DeleteKey { key: its }) => key == its,
        _ => false,
    })
}
