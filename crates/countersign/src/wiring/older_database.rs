//! A database that is older than its audit log: somebody put a backup back. Started as it is, it would bring revoked
//! certificates back to life and publish a CRL number twice (rule R7). So such a start is refused until it is replayed from the
//! log, which applies only what takes rights away: the log knows no keys, and a right that is given by mistake is worse than one
//! that an operator gives again.

use countersign_audit::committed_after;
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::certificate::{CertificateRecord, CertificateState, Profile, RevocationReason};
use countersign_model::client::{ClientChanges, ClientState, CredentialKind, CredentialState};
use countersign_model::key::KeyPurpose;
use countersign_model::{IssuerId, Reference, Rng, Serial, Timestamp, rng};
use countersign_pki::{profile, serial};
use countersign_storage::views::CRL_SHARDS;
use countersign_storage::{StorageError, Store, Transaction, Write};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The events that an audit log has and its database lacks.
#[derive(Debug)]
pub struct Behind {
    /// Where the log is.
    pub directory: PathBuf,
    /// The events, oldest first.
    pub lacking: Vec<AuditEvent>,
    /// Whether the database has no history of its own: it is new, and nothing can be replayed on it.
    pub is_new: bool,
}

impl Behind {
    /// What the database lacks; `None` when it has committed everything that the log tells of.
    pub(super) async fn of(
        store: &dyn Store,
        chain: &str,
        directory: &Path,
    ) -> Result<Option<Self>, BehindError> {
        let last = store.last_event().await?;
        // The saved head only says from where the log is read: it lags behind after every crash.
        let head = store.audit_head(chain).await?.map_or(0, |head| head.sequence);
        let directory = directory.to_owned();
        let read = {
            let directory = directory.clone();
            tokio::task::spawn_blocking(move || committed_after(&directory, head, last)).await
        };
        let lacking = read.map_err(|error| BehindError::Log(error.into()))?.map_err(BehindError::Log)?;
        Ok((!lacking.is_empty()).then_some(Self { directory, lacking, is_new: last == 0 }))
    }
}

/// Why it is not known what a database lacks.
#[derive(Debug, thiserror::Error)]
pub enum BehindError {
    /// The database cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log cannot be read.
    #[error("the audit log cannot be read: {0}")]
    Log(std::io::Error),
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let directory = self.directory.display();
        match self.is_new {
            true => {
                write!(f, "the database is new, and the audit log in {directory} is of an older one, with")?
            }
            false => write!(f, "the database is older than the audit log in {directory}: it lacks")?,
        }
        let mut lacking: Vec<&AuditEvent> = self.lacking.iter().collect();
        lacking.sort_by_key(|event| weight(event.action));
        for (number, event) in lacking.into_iter().take(SHOWN).enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma} {}", told(event))?;
        }
        match self.lacking.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// What must not be undone is named first.
fn weight(action: AuditAction) -> u8 {
    match action {
        AuditAction::CertificateRevoked | AuditAction::ClientDisabled => 0,
        AuditAction::ClientSecretRotated
        | AuditAction::ClientEdited
        | AuditAction::TokenKeyRotated
        | AuditAction::OperatorTokenReset => 1,
        AuditAction::CrlPublished => 3,
        _ => 2,
    }
}

/// `certificate_revoked 3f9a…c21e of acme-pay at 2026-11-27T08:00:00Z`.
fn told(event: &AuditEvent) -> String {
    let facts = &event.facts;
    let serial = facts.certificate.as_ref().and_then(|certificate| certificate.serial);
    let what = serial.map(|serial| serial.short()).or_else(|| facts.object.clone());
    let mut text = crate::audit_words::action(event.action);
    if let Some(what) = what {
        text += &format!(" {what}");
    }
    if let Some(client) = &facts.client {
        text += &format!(" of {client}");
    }
    text + &format!(" at {}", event.at)
}

/// What a replay did.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// How many certificates, clients, secrets, keys and tokens it ended, and CRL numbers it raised.
    pub(super) applied: usize,
    /// Events that give rights, or that the log knows too little of: an operator looks at them.
    pub(super) left: Vec<String>,
}

/// Applies what takes rights away in one transaction, numbers events and lists behind those of the log, and records it.
///
/// # Errors
/// When the database cannot be read or written: nothing was applied then.
pub(super) async fn replay(
    store: &dyn Store,
    behind: &Behind,
    now: Timestamp,
    rng: &dyn Rng,
) -> Result<Replayed, StorageError> {
    let mut replay = Replay { store, now, rng, writes: Vec::new(), left: Vec::new() };
    replay.certificates(&behind.lacking).await?;
    replay.clients(&behind.lacking).await?;
    replay.keys_and_operators(&behind.lacking).await?;
    replay.lists(&behind.lacking);
    let Replay { mut writes, left, .. } = replay;
    let applied = writes.len();
    let last = behind.lacking.iter().filter_map(|event| event.committed).max().unwrap_or(0);
    writes.push(Write::NumberEventsAfter(last));
    let detail = format!(
        "{} events that the database lacked; {applied} changes were applied, {} events were not",
        behind.lacking.len(),
        left.len()
    );
    let facts = Facts { detail: Some(detail), ..Facts::default() };
    let reference = Reference::generate(now, rng);
    let event = AuditEvent::done(reference, now, AuditAction::LogReplayed, Actor::System, facts);
    store.commit(Transaction { writes, events: vec![event] }).await?;
    Ok(Replayed { applied, left })
}

struct Replay<'a> {
    store: &'a dyn Store,
    now: Timestamp,
    rng: &'a dyn Rng,
    writes: Vec<Write>,
    left: Vec<String>,
}

/// What the log says of a certificate.
#[derive(Default)]
struct Certificate<'a> {
    issued: Option<&'a AuditEvent>,
    ended: Option<(Timestamp, RevocationReason)>,
}

impl Replay<'_> {
    /// Revokes what the log shows as revoked. What was issued and is not in the ledger goes onto the CRL: nobody could find or
    /// revoke it later.
    async fn certificates(&mut self, events: &[AuditEvent]) -> Result<(), StorageError> {
        let mut told: BTreeMap<(IssuerId, Serial), Certificate<'_>> = BTreeMap::new();
        for event in events {
            let Some(certificate) = &event.facts.certificate else { continue };
            let (Some(issuer), Some(serial)) = (certificate.issuer.clone(), certificate.serial) else {
                continue;
            };
            let told = told.entry((issuer, serial)).or_default();
            match event.action {
                AuditAction::CertificateIssued => told.issued = Some(event),
                AuditAction::CertificateRevoked => {
                    let reason = event.facts.detail.as_deref().and_then(|text| text.parse().ok());
                    let reason = reason.unwrap_or(RevocationReason::Unspecified);
                    told.ended = told.ended.or(Some((event.at, reason))); // Rule R5: the first one stays.
                }
                AuditAction::CertificateAbandoned => {
                    let reason = RevocationReason::CessationOfOperation;
                    told.ended = told.ended.or(Some((event.at, reason)));
                }
                _ => {}
            }
        }
        for ((issuer, serial), Certificate { issued, ended }) in told {
            let row = self.store.certificate(&issuer, &serial).await?;
            let is_known = row.is_some();
            if row.is_some_and(|row| {
                matches!(row.state, CertificateState::Revoked { .. } | CertificateState::Abandoned { .. })
            }) {
                continue;
            }
            // The ledger knows it, and nothing took it away. A row that is pending still is given up at the start.
            if is_known && ended.is_none() {
                continue;
            }
            if !is_known {
                let event = issued.unwrap_or(&events[0]);
                let row = self.row(issuer.clone(), serial, event).await?;
                self.writes.push(Write::InsertPendingCertificate(row));
            }
            let (at, reason) = ended.unwrap_or((self.now, RevocationReason::CessationOfOperation));
            self.writes.push(Write::RevokeCertificate { issuer, serial, at, reason });
        }
        Ok(())
    }

    /// A row for a certificate of which only the log knows: for its CRL, until it has expired for certain.
    async fn row(
        &self,
        issuer: IssuerId,
        serial: Serial,
        issued: &AuditEvent,
    ) -> Result<CertificateRecord, StorageError> {
        let profile: Profile =
            issued.facts.object.as_deref().and_then(|name| name.parse().ok()).unwrap_or(Profile::Client);
        let client = match &issued.facts.client {
            Some(client) => self.store.client(client).await?.map(|(client, _)| client.id),
            None => None,
        };
        let not_after =
            profile::validity(profile, issued.at, None).map_or(issued.at, |validity| validity.not_after);
        Ok(CertificateRecord {
            crl_shard: serial::shard_of(&serial, CRL_SHARDS),
            issuer,
            serial,
            state: CertificateState::Pending,
            profile,
            environment: issued.facts.environment,
            client,
            subject: "known from the audit log only".to_owned(),
            names: Vec::new(),
            // Whose key it is cannot be told any more: the certificate is revoked, and no key is kept from anybody for it.
            key_hash: [0; 32],
            not_before: issued.at,
            not_after,
            renews: None,
            thumbprint: None,
            der: None,
            created_at: issued.at,
            last_seen_at: None,
            calls: 0,
        })
    }

    /// Disables what was disabled, takes the scopes away that an edit took, and ends all secrets of a client whose secret was
    /// replaced: the new one is not in the database, and the log does not say which of the others was leaked.
    async fn clients(&mut self, events: &[AuditEvent]) -> Result<(), StorageError> {
        for event in events {
            let Some(id) = &event.facts.client else { continue };
            let known = self.store.client(id).await?;
            match (event.action, known) {
                (AuditAction::ClientDisabled, Some((client, _))) => {
                    let (client, state) = (client.id, ClientState::Disabled);
                    self.writes.push(Write::SetClientState { client, state, at: self.now });
                }
                (AuditAction::ClientSecretRotated, Some((_, credentials))) => {
                    let live = credentials.into_iter().filter(|credential| {
                        matches!(credential.kind, CredentialKind::Secret { .. })
                            && credential.state == CredentialState::Active
                    });
                    self.writes.extend(live.map(|live| Write::RevokeCredential { credential: live.id }));
                    self.left.push(format!("{}: make a new secret with rotate-secret", told(event)));
                }
                (AuditAction::ClientEdited, Some((client, _))) => {
                    let scopes = event.facts.scope.as_deref().and_then(|text| text.parse().ok());
                    if let Some(scopes) = scopes {
                        let scopes = client.scopes.without(&client.scopes.without(&scopes));
                        let changes = ClientChanges { scopes: Some(scopes), ..ClientChanges::default() };
                        self.writes.push(Write::EditClient { client: client.id, changes, at: self.now });
                    }
                    self.left.push(told(event));
                }
                (AuditAction::ClientAdded | AuditAction::ClientEnabled, _) => self.left.push(told(event)),
                _ => {}
            }
        }
        Ok(())
    }

    /// A token key that was replaced in an emergency signs no more, and an operator's token that was replaced opens nothing.
    async fn keys_and_operators(&mut self, events: &[AuditEvent]) -> Result<(), StorageError> {
        if events.iter().any(|event| event.action == AuditAction::TokenKeyRotated) {
            let keys = self.store.keys(KeyPurpose::Token).await?;
            // The start makes a new one.
            self.writes.extend(keys.into_iter().map(|key| Write::DeleteKey { key: key.id }));
        }
        let operators = self.store.operators().await?;
        for event in events {
            let name = event.facts.object.as_deref().unwrap_or_default();
            match event.action {
                AuditAction::OperatorTokenReset if operators.iter().any(|operator| operator.name == name) => {
                    let token_hmac = rng::random::<32>(self.rng);
                    self.writes.push(Write::ReplaceOperatorToken { name: name.to_owned(), token_hmac });
                    self.left.push(format!("{}: make a new one with operator reset-token", told(event)));
                }
                AuditAction::OperatorAdded | AuditAction::OperatorTokenReset => self.left.push(told(event)),
                _ => {}
            }
        }
        Ok(())
    }

    fn lists(&mut self, events: &[AuditEvent]) {
        let mut last: BTreeMap<(IssuerId, u16), u64> = BTreeMap::new();
        for event in events.iter().filter(|event| event.action == AuditAction::CrlPublished) {
            let list = event.facts.object.as_deref().and_then(|object| object.split_once('/'));
            let number =
                event.facts.detail.as_deref().and_then(|text| text.strip_prefix("number ")?.parse().ok());
            let Some(((issuer, shard), number)) = list.zip(number) else { continue };
            let (Ok(issuer), Ok(shard)) = (issuer.parse(), shard.parse()) else { continue };
            let known = last.entry((issuer, shard)).or_insert(number);
            *known = number.max(*known);
        }
        let raise = |((issuer, shard), number)| Write::RaiseCrlNumber { issuer, shard, number };
        self.writes.extend(last.into_iter().map(raise));
    }
}
