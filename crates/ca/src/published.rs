//! The lists as they are served, and what is known of the ones that were signed ([`crate::crl`] makes them).

use crate::signing_issuer::SigningIssuer;
use countersign_model::certificate::CrlRecord;
use countersign_model::{IssuerId, Serial};
use countersign_storage::stores::RevokedCertificate;
use countersign_storage::views::CRL_SHARDS;
use countersign_storage::{StorageError, Store};
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// An issuer's shard.
type ListId = (IssuerId, u16);

/// The lists as they are served, and what is known of the ones that were signed.
#[derive(Default)]
pub(crate) struct Crls {
    published: DashMap<ListId, Arc<CrlRecord>>,
    known: DashMap<ListId, Arc<Mutex<Known>>>,
    /// The position of the change feed at which each list was last found to be complete, entry by entry.
    pub(crate) complete_at: DashMap<ListId, u64>,
}

/// What this process knows of a list beside its bytes. Held while a list is checked and signed, so that numbers increase
/// strictly (rule R1). A caller that waited finds its revocation on the list that was signed in that time. Any number of
/// callers costs the work and memory of one.
#[derive(Default)]
pub(crate) struct Known {
    /// The position of the change feed that the list speaks of that was signed here last.
    pub(crate) signed_at: Option<u64>,
    /// What is on the list that is served, by serial, if that is known.
    pub(crate) listed: Option<Listed>,
}

/// The entries of a list, and up to where in the change feed everything is among them.
pub(crate) struct Listed {
    /// The CRLNumber of the list.
    pub(crate) number: u64,
    /// Everything that was committed up to here is on the list.
    pub(crate) through: u64,
    /// By serial.
    pub(crate) entries: Vec<RevokedCertificate>,
}

impl Listed {
    /// Whether a certificate is on the list.
    pub(crate) fn has(&self, serial: &Serial) -> bool {
        self.entries.binary_search_by_key(serial, |entry| entry.serial).is_ok()
    }
}

impl Crls {
    /// Every list that was published before.
    pub(crate) async fn load(store: &dyn Store, issuers: &[SigningIssuer]) -> Result<Self, StorageError> {
        let crls = Self::default();
        for issuer in issuers {
            for shard in 0..CRL_SHARDS {
                crls.reload(store, &issuer.id, shard).await?;
            }
        }
        Ok(crls)
    }

    pub(crate) async fn reload(
        &self,
        store: &dyn Store,
        issuer: &IssuerId,
        shard: u16,
    ) -> Result<(), StorageError> {
        if let Some(crl) = store.crl(issuer, shard).await? {
            self.keep(crl);
        }
        Ok(())
    }

    pub(crate) fn served(&self, issuer: &IssuerId, shard: u16) -> Option<Arc<CrlRecord>> {
        self.published.get(&(issuer.clone(), shard)).map(|crl| crl.value().clone())
    }

    /// What is known of a list, for who holds the lock.
    pub(crate) fn known(&self, issuer: &IssuerId, shard: u16) -> Arc<Mutex<Known>> {
        self.known.entry((issuer.clone(), shard)).or_default().clone()
    }

    /// Serves `crl`, unless a later one is served already.
    pub(crate) fn keep(&self, crl: CrlRecord) -> Arc<CrlRecord> {
        let crl = Arc::new(crl);
        let mut served = self.published.entry((crl.issuer.clone(), crl.shard)).or_insert_with(|| crl.clone());
        if crl.number > served.number {
            *served = crl.clone();
        }
        served.clone()
    }
}
