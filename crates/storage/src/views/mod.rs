//! What the data path reads instead of the database: clients, revocations and issuers in memory.
//!
//! Built from storage at start and kept current by [`follow`], one entry at a time: a revocation among a million
//! certificates copies nothing but itself. Reading takes no lock that another core holds for long.

mod follow;
mod freshness;
mod registry;
mod withheld;

pub use follow::follow;

use crate::{StorageError, Store};
use arc_swap::ArcSwap;
use countersign_model::certificate::{CertificateState, RevocationReason};
use countersign_model::change::{Change, Changed};
use countersign_model::client::{CertificateMatcher, CredentialKind, CredentialState};
use countersign_model::{ClientId, IssuerId, Serial, Timestamp};
use countersign_pki::TrustedIssuer;
use countersign_policy::ClientEntry;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use freshness::Freshness;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use withheld::Withheld;

/// How many CRL shards an issuer has. One to begin with; the address with its shard is in every leaf from day one.
pub const CRL_SHARDS: u16 = 1;

/// SHA-256 of an issuer's SubjectPublicKeyInfo: what revocation is keyed by, together with the serial (rule G14).
pub type IssuerKeyHash = [u8; 32];

/// How many rows are read at once while the views are built.
const PAGE: u32 = 1000;

/// The views. One for a process, shared by all workers.
#[derive(Debug)]
pub struct Views {
    clients: DashMap<ClientId, Arc<ClientEntry>, RandomState>,
    by_san_uri: DashMap<String, ClientId, RandomState>,
    revoked: DashMap<(IssuerKeyHash, Serial), Revoked, RandomState>,
    issuers: ArcSwap<Issuers>,
    withheld: Mutex<Withheld>,
    freshness: Freshness,
    applied: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Revoked {
    reason: RevocationReason,
    not_after: Timestamp,
}

#[derive(Debug, Default)]
struct Issuers {
    key_hash: HashMap<IssuerId, IssuerKeyHash>,
    name: HashMap<IssuerKeyHash, IssuerId>,
}

impl Views {
    /// Reads everything that the data path needs.
    ///
    /// # Errors
    /// Any storage error.
    pub async fn load(store: &dyn Store, now: Timestamp) -> Result<Self, StorageError> {
        // The position is read first: a change committed while we read is applied again, which does no harm.
        let position = store.last_change().await?;
        let views = Self {
            clients: DashMap::default(),
            by_san_uri: DashMap::default(),
            revoked: DashMap::default(),
            issuers: ArcSwap::default(),
            withheld: Mutex::default(),
            freshness: Freshness::new(now, Instant::now().into_std()),
            applied: watch::Sender::new(position),
        };
        views.load_issuers(store, now).await?;
        let mut after: Option<ClientId> = None;
        loop {
            let page = store.clients_after(after.as_ref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.id.clone());
            for (client, credentials) in page {
                views.put_client(ClientEntry { client, credentials });
            }
        }
        Ok(views)
    }

    /// The issuer of ours that has this key.
    pub fn issuer_name(&self, key_hash: &IssuerKeyHash) -> Option<IssuerId> {
        self.issuers.load().name.get(key_hash).cloned()
    }

    /// The key of an issuer of ours.
    pub fn issuer_key_hash(&self, issuer: &IssuerId) -> Option<IssuerKeyHash> {
        self.issuers.load().key_hash.get(issuer).copied()
    }

    /// Waits until everything up to `sequence` is applied here, so that an acknowledged revocation is enforced by the
    /// very next request (rule G14). Returns false when that took longer than `patience`.
    pub async fn applied(&self, sequence: u64, patience: Duration) -> bool {
        let mut position = self.applied.subscribe();
        tokio::time::timeout(patience, position.wait_for(|&position| position >= sequence))
            .await
            .is_ok_and(|waited| waited.is_ok())
    }

    /// Reads the revocations again if they were read by a clock that was ahead: what had expired by then, and is valid
    /// again, was left out. Until it succeeds the views are not fresh (rule G16), whatever the feed delivers.
    ///
    /// # Errors
    /// Any storage error.
    pub async fn complete(&self, store: &dyn Store, now: Timestamp) -> Result<(), StorageError> {
        if !self.freshness.is_complete(now) {
            let instant = Instant::now().into_std();
            self.load_issuers(store, now).await?;
            self.freshness.read(now, instant);
            tracing::warn!("the clock was set back by days: the revocations were read again");
        }
        Ok(())
    }

    /// Forgets revocations of certificates that have expired by themselves. Not at once: validity ends with a whole second
    /// and each caller judges it by its own clock, so that at no moment a revoked certificate is neither revoked nor expired. And not by
    /// the wall clock alone: one that runs ahead forgets nothing.
    pub fn forget_expired(&self, now: Timestamp) {
        let held_from = self.freshness.held_from(now, Instant::now().into_std());
        self.revoked.retain(|_, revoked| revoked.not_after >= held_from);
    }

    /// How many clients and revocations are held.
    pub fn sizes(&self) -> (usize, usize) {
        (self.clients.len(), self.revoked.len())
    }

    async fn apply(&self, change: &Change, store: &dyn Store, now: Timestamp) -> Result<(), StorageError> {
        match &change.subject {
            Changed::Client(id) => match store.client(id).await? {
                Some((client, credentials)) => self.put_client(ClientEntry { client, credentials }),
                None => self.remove_client(id),
            },
            Changed::Certificate(issuer, serial) => self.load_certificate(store, issuer, serial).await?,
            Changed::Issuers => self.load_issuers(store, now).await?,
            // Others follow these: the token key ring, the published CRLs, the admin API.
            Changed::TokenKeys | Changed::Operators | Changed::Crl(..) => {}
        }
        Ok(())
    }

    fn withheld(&self) -> MutexGuard<'_, Withheld> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_client(&self, entry: ClientEntry) {
        let entry = self.less_what_is_withheld(entry);
        let id = entry.client.id.clone();
        let uris: Vec<(String, bool)> =
            matchers(&entry).map(|(uri, is_active)| (uri.to_owned(), is_active)).collect();
        let before = self.clients.insert(id.clone(), Arc::new(entry));
        for (uri, is_active) in &uris {
            if *is_active {
                self.by_san_uri.insert(uri.clone(), id.clone());
            } else {
                // Another client may have it by now.
                self.by_san_uri.entry(uri.clone()).or_insert_with(|| id.clone());
            }
        }
        for (gone, _) in before.iter().flat_map(|before| matchers(before)) {
            if !uris.iter().any(|(uri, _)| uri == gone) {
                self.by_san_uri.remove_if(gone, |_, owner| *owner == id);
            }
        }
    }

    fn remove_client(&self, id: &ClientId) {
        if let Some((_, entry)) = self.clients.remove(id) {
            for (uri, _) in matchers(&entry) {
                self.by_san_uri.remove_if(uri, |_, owner| owner == id);
            }
        }
    }

    async fn load_issuers(&self, store: &dyn Store, now: Timestamp) -> Result<(), StorageError> {
        let kept_from = Freshness::kept_from(now);
        let mut issuers = Issuers::default();
        for issuer in store.issuers().await? {
            let key_hash = TrustedIssuer::new(issuer.id.clone(), issuer.certificate)
                .map_err(|error| {
                    StorageError::Corrupt(format!("certificate of issuer {}: {error}", issuer.id))
                })?
                .key_hash;
            issuers.key_hash.insert(issuer.id.clone(), key_hash);
            issuers.name.insert(key_hash, issuer.id.clone());
            for shard in 0..CRL_SHARDS {
                for revoked in store.revoked_certificates(&issuer.id, shard, kept_from).await? {
                    let entry = Revoked { reason: revoked.reason, not_after: revoked.not_after };
                    self.revoked.insert((key_hash, revoked.serial), entry);
                }
            }
        }
        self.issuers.store(Arc::new(issuers));
        Ok(())
    }

    async fn load_certificate(
        &self,
        store: &dyn Store,
        issuer: &IssuerId,
        serial: &Serial,
    ) -> Result<(), StorageError> {
        let Some(key_hash) = self.issuer_key_hash(issuer) else {
            return Err(StorageError::Corrupt(format!("a certificate of the unknown issuer {issuer}")));
        };
        let Some(record) = store.certificate(issuer, serial).await? else { return Ok(()) };
        let reason = match record.state {
            CertificateState::Revoked { reason, .. } => reason,
            CertificateState::Abandoned { .. } => RevocationReason::CessationOfOperation,
            CertificateState::Pending | CertificateState::Issued => return Ok(()),
        };
        self.revoked.insert((key_hash, *serial), Revoked { reason, not_after: record.not_after });
        Ok(())
    }
}

/// The names by which certificates stand for a client, those of revoked credentials too: whether a credential is
/// accepted now is the decision's question. With each whether it is active: that, one client's alone (rule C4).
fn matchers(entry: &ClientEntry) -> impl Iterator<Item = (&str, bool)> {
    entry.credentials.iter().filter_map(|credential| match &credential.kind {
        CredentialKind::Certificate(CertificateMatcher::SanUri(uri)) => {
            Some((uri.as_str(), credential.state == CredentialState::Active))
        }
        CredentialKind::Secret { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::fixtures::{FixedClock, NOW, client, matcher};
    use crate::memory::MemoryStore;
    use countersign_model::client::Credential;
    use countersign_policy::Registry;

    #[tokio::test]
    async fn rule_c4_a_revoked_matcher_takes_no_certificate_from_its_present_client() {
        let views = Views::load(&MemoryStore::new(Arc::new(FixedClock)), NOW).await.unwrap();
        let entry = |name, state| {
            let credentials = vec![Credential { state, ..matcher(name, 1, "uri") }];
            ClientEntry { client: client(name), credentials }
        };
        let owner = || views.by_san_uri.get("uri").map(|owner| owner.as_str().to_owned());
        views.put_client(entry("acme-pay", CredentialState::Active));
        views.put_client(entry("acme-pay", CredentialState::Revoked));
        assert_eq!(owner().as_deref(), Some("acme-pay"), "refused as revoked, not as unknown");
        views.put_client(entry("other", CredentialState::Active));
        views.put_client(entry("acme-pay", CredentialState::Revoked));
        assert_eq!(owner().as_deref(), Some("other"));
    }

    async fn views_with_a_revocation_until(end: Timestamp, now: Timestamp) -> (Views, IssuerKeyHash, Serial) {
        let views = Views::load(&MemoryStore::new(Arc::new(FixedClock)), now).await.unwrap();
        let (key_hash, serial) = ([1; 32], "01".parse::<Serial>().unwrap());
        let revoked = Revoked { reason: RevocationReason::KeyCompromise, not_after: end };
        views.revoked.insert((key_hash, serial), revoked);
        (views, key_hash, serial)
    }

    #[tokio::test(start_paused = true)]
    async fn rule_g14_a_revocation_outlives_its_certificate() {
        let end = Timestamp::from_unix_s(1_800_000_000);
        let (views, key_hash, serial) = views_with_a_revocation_until(end, end).await;
        // Within its last second the certificate is valid, and the time is past `not_after`.
        let mut passed_ms = 0;
        for (later_ms, held) in [(999, true), (60_000, true), (86_400_001, false)] {
            tokio::time::advance(Duration::from_millis(later_ms - passed_ms)).await;
            passed_ms = later_ms;
            let later_ms = i64::try_from(later_ms).unwrap();
            views.forget_expired(Timestamp::from_unix_ms(end.unix_ms() + later_ms));
            assert_eq!(views.revocation(&key_hash, &serial).is_some(), held, "{later_ms}");
        }
    }

    /// The class of faults that a reload a minute later made good.
    #[tokio::test(start_paused = true)]
    async fn rule_g14_no_step_of_the_clock_makes_a_revocation_forgotten() {
        let now = Timestamp::from_unix_s(1_800_000_000);
        let (views, key_hash, serial) = views_with_a_revocation_until(now.plus_s(600), now).await;
        for step_s in [2 * 86_400, -2 * 86_400, 3650 * 86_400, 60, -60, 0] {
            views.forget_expired(now.plus_s(step_s));
            assert!(views.revocation(&key_hash, &serial).is_some(), "{step_s}");
        }
        // When the time has really passed, it goes.
        tokio::time::advance(Duration::from_secs(600 + 86_401)).await;
        views.forget_expired(now.plus_s(600 + 86_401));
        assert!(views.revocation(&key_hash, &serial).is_none());
    }
}
