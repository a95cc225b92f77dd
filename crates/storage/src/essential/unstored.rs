//! What is in force and not stored, by object: so that an operator can repeat what a restart forgets.

use crate::Write;
use crate::transaction::Transaction;
use countersign_model::certificate::RevocationReason;
use countersign_model::{ClientId, CredentialId, IssuerId, Reference, Serial, Timestamp};
use std::collections::{HashMap, HashSet};

/// One object that this node refuses although storage does not say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstored {
    /// What was done to which object: `certificate 3f9a… is revoked`.
    pub what: String,
    /// Whose it is.
    pub client: Option<ClientId>,
    /// Finds the call in the logs.
    pub reference: Option<Reference>,
}

/// The same changes, to look up how this node treats an object.
#[derive(Debug, Clone, Default)]
pub struct Enforced {
    /// Disabled clients.
    pub clients: HashSet<ClientId>,
    /// Credentials that have ended.
    pub credentials: HashSet<CredentialId>,
    /// Revoked certificates: when, and why.
    pub certificates: HashMap<(IssuerId, Serial), (Timestamp, RevocationReason)>,
}

impl Unstored {
    /// One for each write of a transaction that waits.
    pub(super) fn of(transaction: &Transaction) -> impl Iterator<Item = Self> + '_ {
        let named = transaction.events.iter().find(|event| event.facts.client.is_some());
        let client = named.and_then(|event| event.facts.client.clone());
        let reference = transaction.events.first().map(|event| event.reference);
        transaction.writes.iter().map(move |write| {
            let what = match write {
                Write::RevokeCertificate { serial, .. } => format!("certificate {serial} is revoked"),
                Write::SetClientState { client, .. } => format!("client {client} is disabled"),
                Write::RevokeCredential { credential } | Write::ExpireCredential { credential, .. } => {
                    format!("credential {credential} has ended")
                }
                Write::DeleteKey { key } => format!("token key {} is withdrawn", key.0),
                _ => "a right has ended".to_owned(),
            };
            let of_write = |event: &&countersign_model::audit::AuditEvent| match write {
                Write::RevokeCertificate { serial, .. } => {
                    event.facts.certificate.as_ref().is_some_and(|it| it.serial.as_ref() == Some(serial))
                }
                _ => false,
            };
            let own = transaction.events.iter().find(of_write);
            let own_client = own.and_then(|event| event.facts.client.clone());
            Self {
                what,
                client: own_client.or_else(|| client.clone()),
                reference: own.map(|event| event.reference).or(reference),
            }
        })
    }
}

impl Enforced {
    pub(super) fn add(&mut self, transaction: &Transaction) {
        for write in &transaction.writes {
            match write {
                Write::RevokeCertificate { issuer, serial, at, reason } => {
                    self.certificates.insert((issuer.clone(), *serial), (*at, *reason));
                }
                Write::SetClientState { client, .. } => {
                    self.clients.insert(client.clone());
                }
                Write::RevokeCredential { credential } | Write::ExpireCredential { credential, .. } => {
                    self.credentials.insert(*credential);
                }
                _ => {}
            }
        }
    }
}
