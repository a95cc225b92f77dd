//! Publishes CRLs: one full list for each issuer and shard, anew at once on revocation, and daily at least (rule R2).

use crate::published::{Known, Listed};
use crate::signing_issuer::SigningIssuer;
use crate::{CertificateAuthority, Refusal};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::certificate::{CrlRecord, IssuerRole};
use countersign_model::change::Changed;
use countersign_model::{IssuerId, Reference, Timestamp};
use countersign_pki::{CrlEntry, CrlPolicy, CrlTemplate, RevocationList};
use countersign_storage::stores::RevokedCertificate;
use countersign_storage::views::CRL_SHARDS;
use countersign_storage::{StorageError, Transaction, Write};
use std::collections::HashSet;
use std::sync::Arc;

/// After how many days the next list is out (rule R2: daily at least; the root's too, which costs a signature and spares
/// an exception).
const RENEW_DAYS: i64 = 1;

/// How many changes are read at once.
const CHANGES_AT_ONCE: u32 = 500;

/// Behind more changes than this the whole ledger is read instead.
const MOST_CHANGES: u64 = 2000;

impl CertificateAuthority {
    /// The list of an issuer's shard, as last published.
    pub fn crl(&self, issuer: &IssuerId, shard: u16) -> Option<Arc<CrlRecord>> {
        self.crls.served(issuer, shard)
    }

    /// Whether every list is there and its nextUpdate to come: what relying parties find is not out of date.
    pub fn crls_are_current(&self) -> bool {
        let now = self.clock.now();
        let mut signing = self.issuers.iter().filter(|issuer| issuer.identity.not_after() > now);
        signing.all(|issuer| {
            (0..CRL_SHARDS).all(|shard| self.crl(&issuer.id, shard).is_some_and(|crl| crl.next_update > now))
        })
    }

    /// Reads a list that was published, here or on another node, so that it is served.
    ///
    /// # Errors
    /// Any storage error.
    pub async fn reload_crl(&self, issuer: &IssuerId, shard: u16) -> Result<(), StorageError> {
        self.crls.reload(self.store.as_ref(), issuer, shard).await
    }

    /// Signs and publishes every list that is missing, due by its age or without something that belongs on it; returns
    /// how many. One that fails keeps none of the others from being published.
    ///
    /// The last of these makes good what a crash or a failure between a revocation and its list left open (rule R2).
    ///
    /// # Errors
    /// The first failure.
    pub async fn publish_due_crls(&self) -> Result<usize, Refusal> {
        let now = self.clock.now();
        let (mut published, mut failure) = (0, None);
        // With an issuer everything that it signed has expired: there is nothing left to say of it.
        for issuer in self.issuers.iter().filter(|issuer| issuer.identity.not_after() > now) {
            for shard in 0..CRL_SHARDS {
                match self.publish_if_due(issuer, shard, now).await {
                    Ok(due) => published += usize::from(due),
                    Err(refusal) => failure = failure.or(Some(refusal)),
                }
            }
        }
        failure.map_or(Ok(published), Err)
    }

    async fn publish_if_due(
        &self,
        issuer: &SigningIssuer,
        shard: u16,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let due = match self.crl(&issuer.id, shard) {
            None => true,
            Some(crl) if crl.this_update.plus_days(RENEW_DAYS) <= now => true,
            Some(crl) => !self.is_complete(&crl).await?,
        };
        if due {
            self.publish_crl(&issuer.id, shard).await?;
        }
        Ok(due)
    }

    /// The list of a shard, with everything on it that was committed before this call: the one that is served if that is
    /// so, else a new one. Revoking twice signs nothing twice, and callers that wait at the same time share one look and one
    /// list.
    ///
    /// # Errors
    /// As [`CertificateAuthority::publish_crl`].
    pub async fn complete_crl(&self, issuer: &IssuerId, shard: u16) -> Result<Arc<CrlRecord>, Refusal> {
        let issuer = self.issuer(issuer)?;
        let asked_at = self.store.last_change().await?;
        let known = self.crls.known(&issuer.id, shard);
        let mut known = known.lock().await;
        let Some(served) = self.crl(&issuer.id, shard) else {
            return self.sign_and_publish(issuer, shard, &mut known, None).await;
        };
        // A clock that was set back: it left out what had expired by then, and is valid again today.
        let of_today = served.this_update <= self.clock.now();
        let listed = known.listed.take().filter(|listed| listed.number == served.number && of_today);
        let Some(mut listed) = listed else {
            return match of_today && self.is_complete(&served).await? {
                true => Ok(served),
                false => self.sign_and_publish(issuer, shard, &mut known, None).await,
            };
        };
        if listed.through >= asked_at {
            known.listed = Some(listed);
            return Ok(served);
        }
        let position = self.store.last_change().await?;
        match self.ended_since(issuer, shard, &listed, position).await? {
            Some(ended) if ended.is_empty() => {
                listed.through = position;
                known.listed = Some(listed);
                Ok(served)
            }
            Some(ended) => {
                let mut entries = listed.entries;
                entries.extend(ended);
                entries.sort_unstable_by_key(|entry| entry.serial);
                entries.dedup_by_key(|entry| entry.serial);
                let entries = Some((position, entries));
                match self.sign_and_publish(issuer, shard, &mut known, entries).await {
                    // Another process has published meanwhile: what is known here is of the list before its.
                    Err(Refusal::Storage(StorageError::Conflict(_))) => {
                        self.sign_and_publish(issuer, shard, &mut known, None).await
                    }
                    signed => signed,
                }
            }
            None => self.sign_and_publish(issuer, shard, &mut known, None).await,
        }
    }

    /// What has ended since a list was signed and is not on it, up to `position`; `None` if that is to be read from the
    /// ledger: the feed does not reach back so far, or it is so much that one look at all is cheaper.
    async fn ended_since(
        &self,
        issuer: &SigningIssuer,
        shard: u16,
        listed: &Listed,
        position: u64,
    ) -> Result<Option<Vec<RevokedCertificate>>, Refusal> {
        let (mut read, mut ended) = (listed.through, Vec::new());
        if position.saturating_sub(read) > MOST_CHANGES {
            return Ok(None);
        }
        while read < position {
            let changes = self.store.changes_after(read, CHANGES_AT_ONCE).await?;
            // Numbers have no gaps: where one is missing, changes were forgotten.
            let Some(last) = changes.last().filter(|_| changes[0].sequence == read + 1) else {
                return Ok(None);
            };
            read = last.sequence;
            for change in changes {
                let Changed::Certificate(of, serial) = change.subject else { continue };
                if of != issuer.id || listed.has(&serial) {
                    continue;
                }
                let row = self.store.certificate(&of, &serial).await?;
                let row = row.filter(|row| row.crl_shard == shard);
                ended.extend(row.as_ref().and_then(RevokedCertificate::of));
            }
        }
        Ok(Some(ended))
    }

    /// Whether everything that belongs on a list is on it, compared entry by entry: no position has a say. Only the
    /// answer "since then nothing was committed at all" is remembered.
    async fn is_complete(&self, crl: &CrlRecord) -> Result<bool, Refusal> {
        // A clock that was set back: it left out what had expired by then, and is valid again today.
        if crl.this_update > self.clock.now() {
            return Ok(false);
        }
        let key = (crl.issuer.clone(), crl.shard);
        let position = self.store.last_change().await?;
        if self.crls.complete_at.get(&key).is_some_and(|complete_at| *complete_at >= position) {
            return Ok(true);
        }
        let ended = self.store.revoked_certificates(&crl.issuer, crl.shard, crl.this_update).await?;
        if !ended.is_empty() {
            // One that cannot be read is as good as none.
            let Ok(list) = RevocationList::parse(&crl.der) else { return Ok(false) };
            let listed: HashSet<_> = list.entries.iter().map(|entry| entry.serial).collect();
            if !ended.iter().all(|ended| listed.contains(&ended.serial)) {
                return Ok(false);
            }
        }
        self.crls.complete_at.insert(key, position);
        Ok(true)
    }

    /// Publishes a list on which everything is that was committed before this call: signs one, unless another caller
    /// did so while this one waited.
    ///
    /// # Errors
    /// `NotFound` for an unknown issuer; any error of the signer or of storage.
    pub async fn publish_crl(&self, issuer: &IssuerId, shard: u16) -> Result<Arc<CrlRecord>, Refusal> {
        let issuer = self.issuer(issuer)?;
        let asked_at = self.store.last_change().await?;
        let known = self.crls.known(&issuer.id, shard);
        let mut known = known.lock().await;
        if known.signed_at.is_some_and(|position| position >= asked_at)
            && let Some(published) = self.crl(&issuer.id, shard)
        {
            return Ok(published);
        }
        self.sign_and_publish(issuer, shard, &mut known, None).await
    }

    /// Signs and publishes a list for who holds `known`: of `entries`, which are complete up to their position of the change
    /// feed, or of what the ledger says.
    async fn sign_and_publish(
        &self,
        issuer: &SigningIssuer,
        shard: u16,
        known: &mut Known,
        entries: Option<(u64, Vec<RevokedCertificate>)>,
    ) -> Result<Arc<CrlRecord>, Refusal> {
        // Whatever fails below, nothing is known of the list that is served then.
        known.listed = None;
        // Read before the entries: what is committed after it may be on the list, what was before it is.
        let position = match &entries {
            Some((position, _)) => *position,
            None => self.store.last_change().await?,
        };
        // Who knows the entries knows the list that has them: it is served, and needs not be read from the database.
        let before = match &entries {
            Some(_) => self.crl(&issuer.id, shard),
            None => self.store.crl(&issuer.id, shard).await?.map(Arc::new),
        };
        let this_update = self.clock.now().whole_second();
        // Rule R1: an entry stays until it was on one CRL after its certificate's expiry. A list of a day to come says
        // nothing: with a clock that was set back, what it left out as expired is valid again.
        let expires_from =
            before.as_ref().map_or(Timestamp::default(), |crl| crl.this_update.min(this_update));
        let entries = match entries {
            Some((_, mut entries)) => {
                entries.retain(|entry| entry.not_after >= expires_from);
                entries
            }
            None => self.store.revoked_certificates(&issuer.id, shard, expires_from).await?,
        };
        let crl = self.sign_crl(issuer, shard, before.as_deref(), this_update, &entries).await?;
        self.store
            .commit(Transaction::new().write(Write::PutCrl(crl.clone())).record(self.published(&crl)))
            .await?;
        tracing::info!(issuer = %issuer.id, shard, number = crl.number, "CRL published");
        known.signed_at = Some(position);
        known.listed = Some(Listed { number: crl.number, through: position, entries });
        Ok(self.crls.keep(crl))
    }

    /// Tells the log which number is out in the world: the database alone cannot know it when an older one is put back.
    fn published(&self, crl: &CrlRecord) -> AuditEvent {
        let now = self.clock.now();
        let facts = Facts {
            object: Some(format!("{}/{}", crl.issuer, crl.shard)),
            detail: Some(format!("number {}", crl.number)),
            ..Facts::default()
        };
        let reference = Reference::generate(now, self.rng.as_ref());
        AuditEvent::done(reference, now, AuditAction::CrlPublished, Actor::System, facts)
    }

    async fn sign_crl(
        &self,
        issuer: &SigningIssuer,
        shard: u16,
        before: Option<&CrlRecord>,
        this_update: Timestamp,
        entries: &[RevokedCertificate],
    ) -> Result<CrlRecord, Refusal> {
        let next_update = this_update.plus_days(valid_days(issuer)).min(issuer.identity.not_after());
        let number = before.map_or(1, |crl| crl.number + 1);
        // Rule R1: the root's list is whole.
        let url = (issuer.role != IssuerRole::Root).then(|| self.settings.crl_url(&issuer.id, shard));
        let template = CrlTemplate {
            issuer: issuer.identity.clone(),
            number,
            this_update,
            next_update,
            distribution_point_url: url.clone(),
            entries: entries
                .iter()
                .map(|entry| CrlEntry {
                    serial: entry.serial,
                    // A clock that was set back must not make a list of revocations to come, which no list may be.
                    revoked_at: entry.at.min(this_update),
                    reason: entry.reason,
                })
                .collect(),
        };
        let linted = template.to_be_signed()?.lint(&CrlPolicy {
            issuer: &issuer.identity,
            previous_number: before.map(|crl| crl.number),
            distribution_point_url: url.as_deref(),
            max_days: if issuer.role == IssuerRole::Root {
                CrlPolicy::ROOT_MAX_DAYS
            } else {
                CrlPolicy::ISSUING_CA_MAX_DAYS
            },
            now: self.clock.now(),
        })?;
        let signature = issuer.signer.sign(linted.message()).await?;
        let der = linted.assemble(&signature)?;
        Ok(CrlRecord { issuer: issuer.id.clone(), shard, number, this_update, next_update, der })
    }
}

/// How many days a list is valid (rule R2: at most 10, the root's at most 12 months).
fn valid_days(issuer: &SigningIssuer) -> i64 {
    if issuer.role == IssuerRole::Root { 360 } else { 7 }
}
