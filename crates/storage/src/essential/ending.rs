//! Which writes take rights away.

use crate::{Transaction, Write};
use countersign_model::client::ClientState;

/// What of a transaction takes rights away, with the events that tell of it. A new secret is left out: nobody has been
/// handed it, and the operator asks again.
pub(super) fn endings(transaction: &Transaction) -> Transaction {
    let at = transaction.events.first().map(|event| event.at);
    let mut events = transaction.events.clone();
    let mut writes = Vec::new();
    for write in &transaction.writes {
        match write {
            Write::RevokeCertificate { .. } | Write::RevokeCredential { .. } => writes.push(write.clone()),
            Write::SetClientState { state: ClientState::Disabled, .. } => writes.push(write.clone()),
            Write::ExpireCredential { expires_at, .. } if at.is_some_and(|at| *expires_at <= at) => {
                writes.push(write.clone());
            }
            Write::ReplaceSecrets { known, others_end_at: None, .. } => {
                writes.extend(known.iter().map(|&credential| Write::RevokeCredential { credential }));
                for event in &mut events {
                    event.facts.credential = None;
                    event.facts.detail =
                        Some("the secrets have ended; the new one was not stored".to_owned());
                }
            }
            _ => {}
        }
    }
    Transaction { writes, events }
}

/// Whether two transactions take the same away.
pub(super) fn same(one: &Transaction, other: &Transaction) -> bool {
    one.writes.len() == other.writes.len()
        && one.writes.iter().zip(&other.writes).all(|(one, other)| match (one, other) {
            (
                Write::RevokeCertificate { issuer, serial, .. },
                Write::RevokeCertificate { issuer: its_issuer, serial: its_serial, .. },
            ) => (issuer, serial) == (its_issuer, its_serial),
            (Write::SetClientState { client, .. }, Write::SetClientState { client: its_client, .. }) => {
                client == its_client
            }
            (
                Write::RevokeCredential { credential } | Write::ExpireCredential { credential, .. },
                Write::RevokeCredential { credential: its } | Write::ExpireCredential { credential: its, .. },
            ) => credential == its,
            _ => false,
        })
}
