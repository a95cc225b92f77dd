//! What each write does, and when it is refused.

use super::{Registration, State};
use crate::{StorageError, Write};
use countersign_model::certificate::{CertificateRecord, CertificateState, CrlRecord, RevocationReason};
use countersign_model::change::{Change, Changed};
use countersign_model::client::{
    CertificateMatcher, Client, ClientChanges, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::operator::Operator;
use countersign_model::{ClientId, CredentialId, IssuerId, KeyId, Serial, Thumbprint, Timestamp};

impl State {
    /// Applies one write; the caller takes back what a failed one left.
    pub(super) fn apply(&mut self, write: Write, now: Timestamp) -> Result<(), StorageError> {
        let changed = match write {
            Write::InsertClient(client) => Some(self.insert_client(client)?),
            Write::SetClientState { client, state, at } => self.set_client_state(&client, state, at)?,
            Write::EditClient { client, changes, at } => self.edit_client(&client, changes, at)?,
            Write::InsertCredential(credential) => Some(self.insert_credential(credential)?),
            Write::InsertMatcherIfAbsent(credential) => self.insert_matcher_if_absent(credential)?,
            Write::ExpireCredential { credential, expires_at } => {
                self.expire_credential(&credential, expires_at)?
            }
            Write::RevokeCredential { credential } => self.revoke_credential(&credential)?,
            Write::ReplaceSecrets { new, known, others_end_at } => {
                Some(self.replace_secrets(new, &known, others_end_at)?)
            }
            Write::InsertPendingCertificate(record) => {
                self.insert_pending(record)?;
                None
            }
            Write::MarkIssued { issuer, serial, der, thumbprint } => {
                self.mark_issued(issuer, serial, der, thumbprint)?;
                None
            }
            Write::MarkAbandoned { issuer, serial, at } => Some(self.mark_abandoned(issuer, serial, at)?),
            Write::RevokeCertificate { issuer, serial, at, reason } => {
                Some(self.revoke_certificate(issuer, serial, at, reason)?)
            }
            Write::KeyIsFree { key_hash, client } => {
                self.key_is_free(&key_hash, &client)?;
                None
            }
            Write::NoCertificateLeft { client, valid_at } => {
                self.no_certificate_left(&client, valid_at)?;
                None
            }
            Write::InsertIssuer(issuer) => {
                absent(self.issuers.contains_key(&issuer.id), "issuer")?;
                self.issuers.put(issuer.id.clone(), issuer);
                Some(Changed::Issuers)
            }
            Write::InsertKey(key) => {
                absent(self.keys.contains_key(&key.id), "key")?;
                let changed = token_keys(&key);
                self.keys.put(key.id.clone(), key);
                changed
            }
            Write::RetireKey { key, at } => self.retire_key(&key, at)?,
            Write::DeleteKey { key } => {
                let changed = self.keys.get(&key).and_then(token_keys);
                self.keys.delete(&key);
                changed
            }
            Write::PutCrl(crl) => Some(self.put_crl(crl)?),
            Write::RaiseCrlNumber { issuer, shard, number } => self.raise_crl_number(issuer, shard, number),
            Write::NumberEventsAfter(number) => {
                self.counters.event = self.counters.event.max(number);
                None
            }
            Write::InsertOperator(operator) => {
                absent(self.operators.contains_key(&operator.name), "operator")?;
                self.operators.put(operator.name.clone(), operator);
                Some(Changed::Operators)
            }
            Write::ReplaceOperatorToken { name, token_hmac } => {
                let operator = self.operators.get(&name).ok_or(StorageError::Missing("operator"))?;
                let operator = Operator { token_hmac, enabled: true, ..operator.clone() };
                self.operators.put(name, operator);
                Some(Changed::Operators)
            }
            Write::RestateOperatorToken { name, from, to } => {
                let same = self.operators.get(&name).filter(|operator| operator.token_hmac == from).cloned();
                same.map(|operator| {
                    self.operators.put(name, Operator { token_hmac: to, ..operator });
                    Changed::Operators
                })
            }
            Write::CredentialUsed { credential, at, uses } => {
                self.credential_used(&credential, at, uses);
                None
            }
            Write::CertificateUsed { issuer, serial, at, calls } => {
                self.certificate_used(issuer, serial, at, calls);
                None
            }
            Write::SettleOutbox { through } => {
                self.outbox.delete_through(&through);
                None
            }
            Write::SaveAuditHead(head) => {
                let later = |saved: &crate::transaction::AuditHead| saved.sequence > head.sequence;
                if !self.audit_heads.get(&head.chain).is_some_and(later) {
                    self.audit_heads.put(head.chain.clone(), head);
                }
                None
            }
            Write::ForgetChanges { through } => {
                self.changes.delete_through(&through);
                None
            }
        };
        if let Some(subject) = changed {
            self.counters.change += 1;
            let sequence = self.counters.change;
            self.changes.put(sequence, Change { sequence, at: now, subject });
        }
        Ok(())
    }

    fn insert_client(&mut self, client: Client) -> Result<Changed, StorageError> {
        absent(self.clients.contains_key(&client.id), "client")?;
        let changed = Changed::Client(client.id.clone());
        self.clients.put(client.id.clone(), (client, Vec::new()));
        Ok(changed)
    }

    fn set_client_state(
        &mut self,
        id: &ClientId,
        state: ClientState,
        at: Timestamp,
    ) -> Result<Option<Changed>, StorageError> {
        let (mut client, credentials) =
            self.clients.get(id).cloned().ok_or(StorageError::Missing("client"))?;
        if client.state == state {
            return Ok(None);
        }
        client.state = state;
        client.epoch += 1;
        client.updated_at = at;
        self.clients.put(id.clone(), (client, credentials));
        Ok(Some(Changed::Client(id.clone())))
    }

    fn edit_client(
        &mut self,
        id: &ClientId,
        changes: ClientChanges,
        at: Timestamp,
    ) -> Result<Option<Changed>, StorageError> {
        let (mut client, credentials) =
            self.clients.get(id).cloned().ok_or(StorageError::Missing("client"))?;
        if !changes.apply(&mut client, at) {
            return Ok(None);
        }
        self.clients.put(id.clone(), (client, credentials));
        Ok(Some(Changed::Client(id.clone())))
    }

    fn insert_credential(&mut self, credential: Credential) -> Result<Changed, StorageError> {
        absent(self.credential_owners.contains_key(&credential.id), "credential")?;
        let matcher = active_matcher(&credential);
        absent(matcher.is_some_and(|matcher| self.matchers.contains_key(matcher)), "certificate matcher")?;
        let owner = credential.client.clone();
        let (client, mut credentials) =
            self.clients.get(&owner).cloned().ok_or(StorageError::Missing("client"))?;
        if let Some(matcher) = matcher {
            self.matchers.put(matcher.to_owned(), credential.id);
        }
        self.credential_owners.put(credential.id, owner.clone());
        credentials.push(credential);
        credentials.sort_by_key(|credential| (credential.created_at, credential.id));
        self.clients.put(owner.clone(), (client, credentials));
        Ok(Changed::Client(owner))
    }

    fn insert_matcher_if_absent(&mut self, credential: Credential) -> Result<Option<Changed>, StorageError> {
        let matcher = active_matcher(&credential).ok_or(StorageError::Conflict("certificate matcher"))?;
        let holder = self.matchers.get(matcher).and_then(|id| self.credential_owners.get(id));
        match holder {
            None => self.insert_credential(credential).map(Some),
            Some(holder) if *holder == credential.client => Ok(None),
            Some(_) => Err(StorageError::Conflict("certificate matcher")),
        }
    }

    fn expire_credential(
        &mut self,
        id: &CredentialId,
        expires_at: Timestamp,
    ) -> Result<Option<Changed>, StorageError> {
        self.edit_credential(id, |credential| {
            let later = credential.expires_at.is_none_or(|present| present > expires_at);
            if later {
                credential.expires_at = Some(expires_at);
            }
            later
        })
    }

    fn revoke_credential(&mut self, id: &CredentialId) -> Result<Option<Changed>, StorageError> {
        let mut matcher = None;
        let changed = self.edit_credential(id, |credential| {
            matcher = active_matcher(credential).map(str::to_owned);
            let active = credential.state == CredentialState::Active;
            if active {
                credential.state = CredentialState::Revoked;
                credential.epoch += 1;
            }
            active
        })?;
        if let Some(matcher) = matcher {
            self.matchers.delete(&matcher);
        }
        Ok(changed)
    }

    fn replace_secrets(
        &mut self,
        new: Credential,
        known: &[CredentialId],
        others_end_at: Option<Timestamp>,
    ) -> Result<Changed, StorageError> {
        let (client, credentials) = self.clients.get(&new.client).ok_or(StorageError::Missing("client"))?;
        let others: Vec<CredentialId> = credentials
            .iter()
            .filter(|credential| matches!(credential.kind, CredentialKind::Secret { .. }))
            .filter(|credential| credential.state == CredentialState::Active)
            .map(|credential| credential.id)
            .collect();
        let as_known = others.len() == known.len() && others.iter().all(|id| known.contains(id));
        absent(client.state != ClientState::Active || !as_known, "secret")?;
        let changed = self.insert_credential(new)?;
        for id in &others {
            match others_end_at {
                Some(end) => self.expire_credential(id, end)?,
                None => self.revoke_credential(id)?,
            };
        }
        Ok(changed)
    }

    fn credential_used(&mut self, id: &CredentialId, at: Timestamp, uses: u64) {
        // That it is gone is nothing to tell anybody.
        let _ = self.edit_credential(id, |credential| {
            credential.last_used_at = credential.last_used_at.max(Some(at));
            credential.uses += uses;
            true
        });
    }

    /// Edits a credential in place; `edit` answers whether it did. The change, if so.
    fn edit_credential(
        &mut self,
        id: &CredentialId,
        edit: impl FnOnce(&mut Credential) -> bool,
    ) -> Result<Option<Changed>, StorageError> {
        let missing = StorageError::Missing("credential");
        let owner = self.credential_owners.get(id).cloned().ok_or(missing.clone())?;
        let (client, mut credentials) = self.clients.get(&owner).cloned().ok_or(missing.clone())?;
        let credential = credentials.iter_mut().find(|credential| credential.id == *id).ok_or(missing)?;
        if !edit(credential) {
            return Ok(None);
        }
        self.clients.put(owner.clone(), (client, credentials));
        Ok(Some(Changed::Client(owner)))
    }

    fn key_is_free(&self, key_hash: &[u8; 32], client: &ClientId) -> Result<(), StorageError> {
        let of_another =
            |row: &&CertificateRecord| row.key_hash == *key_hash && row.client.as_ref() != Some(client);
        match self.certificates.values().find(of_another) {
            Some(row) => Err(StorageError::KeyTaken(row.environment)),
            None => Ok(()),
        }
    }

    fn insert_pending(&mut self, record: CertificateRecord) -> Result<(), StorageError> {
        let key = (record.issuer.clone(), record.serial);
        let not_pending = record.state != CertificateState::Pending;
        absent(not_pending || self.certificates.contains_key(&key), "certificate")?;
        if record.client.as_ref().is_some_and(|client| !self.clients.contains_key(client)) {
            return Err(StorageError::Missing("client"));
        }
        self.certificates.put(key, record);
        Ok(())
    }

    fn mark_issued(
        &mut self,
        issuer: IssuerId,
        serial: Serial,
        der: Vec<u8>,
        thumbprint: Thumbprint,
    ) -> Result<(), StorageError> {
        let key = (issuer, serial);
        let mut record = self.pending(&key)?;
        absent(self.thumbprints.contains_key(&thumbprint), "certificate")?;
        let is_active = |(client, _): &Registration| client.state == ClientState::Active;
        let may = record.client.as_ref().is_none_or(|id| self.clients.get(id).is_some_and(is_active));
        absent(!may, "certificate")?;
        record.state = CertificateState::Issued;
        record.der = Some(der);
        record.thumbprint = Some(thumbprint);
        self.thumbprints.put(thumbprint, key.clone());
        self.certificates.put(key, record);
        Ok(())
    }

    fn mark_abandoned(
        &mut self,
        issuer: IssuerId,
        serial: Serial,
        at: Timestamp,
    ) -> Result<Changed, StorageError> {
        let key = (issuer, serial);
        let mut record = self.pending(&key)?;
        record.state = CertificateState::Abandoned { at };
        self.certificates.put(key.clone(), record);
        Ok(Changed::Certificate(key.0, key.1))
    }

    fn pending(&self, key: &(IssuerId, Serial)) -> Result<CertificateRecord, StorageError> {
        let record = self.certificates.get(key).ok_or(StorageError::Missing("certificate"))?;
        absent(record.state != CertificateState::Pending, "certificate")?;
        Ok(record.clone())
    }

    fn revoke_certificate(
        &mut self,
        issuer: IssuerId,
        serial: Serial,
        at: Timestamp,
        reason: RevocationReason,
    ) -> Result<Changed, StorageError> {
        let key = (issuer, serial);
        let mut record = self.certificates.get(&key).cloned().ok_or(StorageError::Missing("certificate"))?;
        // Rule R5: the first time and reason stay.
        let ended =
            matches!(record.state, CertificateState::Revoked { .. } | CertificateState::Abandoned { .. });
        absent(ended, "certificate")?;
        record.state = CertificateState::Revoked { at, reason };
        self.certificates.put(key.clone(), record);
        Ok(Changed::Certificate(key.0, key.1))
    }

    fn no_certificate_left(&self, client: &ClientId, valid_at: Timestamp) -> Result<(), StorageError> {
        let left = self.certificates.values().any(|record| {
            record.client.as_ref() == Some(client)
                && matches!(record.state, CertificateState::Pending | CertificateState::Issued)
                && record.not_after >= valid_at
        });
        absent(left, "certificate")
    }

    fn certificate_used(&mut self, issuer: IssuerId, serial: Serial, at: Timestamp, calls: u64) {
        let key = (issuer, serial);
        if let Some(mut record) = self.certificates.get(&key).cloned() {
            record.last_seen_at = record.last_seen_at.max(Some(at));
            record.calls += calls;
            self.certificates.put(key, record);
        }
    }

    fn retire_key(&mut self, id: &KeyId, at: Timestamp) -> Result<Option<Changed>, StorageError> {
        let mut key = self.keys.get(id).cloned().ok_or(StorageError::Missing("key"))?;
        if key.retired_at.is_some_and(|retired_at| retired_at <= at) {
            return Ok(None);
        }
        key.retired_at = Some(at);
        let changed = token_keys(&key);
        self.keys.put(id.clone(), key);
        Ok(changed)
    }

    fn raise_crl_number(&mut self, issuer: IssuerId, shard: u16, number: u64) -> Option<Changed> {
        let key = (issuer, shard);
        let crl = self.crls.get(&key).filter(|crl| crl.number < number)?.clone();
        self.crls.put(key.clone(), CrlRecord { number, this_update: Timestamp::default(), ..crl });
        Some(Changed::Crl(key.0, key.1))
    }

    fn put_crl(&mut self, crl: CrlRecord) -> Result<Changed, StorageError> {
        let key = (crl.issuer.clone(), crl.shard);
        // Rule R1: CRLNumber strictly increases.
        absent(self.crls.get(&key).is_some_and(|present| present.number >= crl.number), "CRL")?;
        self.crls.put(key.clone(), crl);
        Ok(Changed::Crl(key.0, key.1))
    }
}

fn absent(present: bool, what: &'static str) -> Result<(), StorageError> {
    if present { Err(StorageError::Conflict(what)) } else { Ok(()) }
}

/// The text by which an active certificate credential is found.
fn active_matcher(credential: &Credential) -> Option<&str> {
    match &credential.kind {
        CredentialKind::Certificate(CertificateMatcher::SanUri(uri))
            if credential.state == CredentialState::Active =>
        {
            Some(uri)
        }
        _ => None,
    }
}

/// The feed tells of token keys only: nobody caches the others.
fn token_keys(key: &KeyRecord) -> Option<Changed> {
    (key.purpose == KeyPurpose::Token).then_some(Changed::TokenKeys)
}
