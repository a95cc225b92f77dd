//! What this node refuses although storage still says otherwise: a revocation that could not be stored (rule G20).

use super::{Revoked, Views};
use crate::Write;
use countersign_model::change::Changed;
use countersign_model::client::{ClientState, CredentialState};
use countersign_model::{ClientId, CredentialId, Timestamp};
use countersign_policy::ClientEntry;
use std::collections::HashSet;

/// Clients and credentials that are refused until a restart, whatever storage says. What was stored meanwhile says the
/// same: a credential never becomes active again, and a client does only by an order of an operator.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    clients: HashSet<ClientId>,
    credentials: HashSet<CredentialId>,
}

impl Views {
    /// Refuses from now on what `write` takes away, without storage. What changed, as the change feed would tell it; `None`
    /// when the write takes nothing away that is known here.
    pub(crate) fn withhold(&self, write: &Write) -> Option<Changed> {
        match write {
            Write::RevokeCertificate { issuer, serial, reason, .. } => {
                let key_hash = self.issuer_key_hash(issuer)?;
                // Held longer than any certificate lives; what storage says in the end replaces it.
                let forever = Timestamp::from_unix_ms(i64::MAX);
                let revoked = Revoked { reason: *reason, not_after: forever };
                self.revoked.entry((key_hash, *serial)).or_insert(revoked);
                Some(Changed::Certificate(issuer.clone(), *serial))
            }
            Write::SetClientState { client, state: ClientState::Disabled, .. } => {
                self.withheld().clients.insert(client.clone());
                self.put_again(client)
            }
            Write::RevokeCredential { credential } | Write::ExpireCredential { credential, .. } => {
                self.withheld().credentials.insert(*credential);
                let has_it = |entry: &ClientEntry| entry.credential(*credential).is_some();
                let owner = self.clients.iter().find(|entry| has_it(entry)).map(|entry| entry.key().clone());
                self.put_again(&owner?)
            }
            // Whoever holds token keys reads them again, and finds it gone.
            Write::DeleteKey { .. } => Some(Changed::TokenKeys),
            _ => None,
        }
    }

    /// Goes by what storage says of this client again: an operator enables it.
    pub(crate) fn withhold_no_longer(&self, client: &ClientId) {
        self.withheld().clients.remove(client);
    }

    fn put_again(&self, client: &ClientId) -> Option<Changed> {
        let entry = self.clients.get(client).map(|entry| entry.as_ref().clone())?;
        self.put_client(entry);
        Some(Changed::Client(client.clone()))
    }

    /// The entry as this node goes by it.
    pub(super) fn less_what_is_withheld(&self, mut entry: ClientEntry) -> ClientEntry {
        let withheld = self.withheld();
        if withheld.clients.contains(&entry.client.id) && entry.client.state != ClientState::Disabled {
            entry.client.state = ClientState::Disabled;
            entry.client.epoch += 1;
        }
        for credential in &mut entry.credentials {
            if withheld.credentials.contains(&credential.id) && credential.state != CredentialState::Revoked {
                credential.state = CredentialState::Revoked;
                credential.epoch += 1;
            }
        }
        entry
    }
}
