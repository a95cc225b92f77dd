//! The lists as they are served, and what is known of the ones that were signed ([`crate::crl`] makes them).

use crate::signing_issuer::SigningIssuer;
use countersign_model::IssuerId;
use countersign_model::certificate::CrlRecord;
use countersign_storage::views::CRL_SHARDS;
use countersign_storage::{StorageError, Store};
use dashmap::DashMap;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The lists as they are served, and what is known of the ones that were signed.
#[derive(Default)]
pub(crate) struct Crls {
    published: DashMap<(IssuerId, u16), Arc<CrlRecord>>,
    /// The position of the change feed that each list speaks of. Held while a list is signed: numbers increase
    /// strictly (rule R1), and whoever waited finds its revocation on the list that was signed meanwhile.
    pub(crate) covered: Mutex<HashMap<(IssuerId, u16), u64>>,
    /// The position of the change feed at which each list was last found to be complete.
    pub(crate) complete_at: DashMap<(IssuerId, u16), u64>,
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
