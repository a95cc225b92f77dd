//! The authority itself: the issuers with their signers, and what the use cases share.

use crate::published::Crls;
use crate::signing_issuer::{SigningIssuer, unreadable};
use crate::{Refusal, Settings};
use countersign_keys::Custody;
use countersign_model::certificate::{CertificateRecord, IssuerRole};
use countersign_model::{Clock, IssuerId, Rng, Timestamp};
use countersign_pki::TrustedIssuer;
use countersign_storage::Store;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Signs certificates and CRLs. One for a process.
pub struct CertificateAuthority {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) custody: Arc<Custody>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) issuers: Vec<SigningIssuer>,
    pub(crate) crls: Crls,
    /// Rows that were pending when this authority was opened: of a program that stopped in the middle.
    pub(crate) orphans: Mutex<Vec<CertificateRecord>>,
    /// Rows of this program whose certificate was not signed or not stored. They say nothing against its readiness.
    pub(crate) unfinished: Mutex<Vec<CertificateRecord>>,
}

/// One of our CAs whose end is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndingIssuer {
    /// Which.
    pub id: IssuerId,
    /// What it signs.
    pub role: IssuerRole,
    /// The last moment at which its certificate is valid.
    pub not_after: Timestamp,
}

impl CertificateAuthority {
    /// Opens the keys of the issuers that are in storage ([`CertificateAuthority::initialize`] makes them).
    ///
    /// # Errors
    /// When a key is missing or does not open, or a certificate cannot be read; [`Refusal::DocumentsMoved`] when the
    /// certificates carry another address of the CRLs than `settings`.
    pub async fn open(
        settings: Settings,
        store: Arc<dyn Store>,
        custody: Arc<Custody>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, Refusal> {
        let mut issuers = Vec::new();
        for issuer in store.issuers().await? {
            issuers.push(SigningIssuer::open(&issuer, &settings, store.as_ref(), &custody).await?);
        }
        // Read before the first issuance: what is pending later is at work.
        let orphans = Mutex::new(store.pending_certificates().await?);
        let crls = Crls::load(store.as_ref(), &issuers).await?;
        let unfinished = Mutex::default();
        Ok(Self { settings, store, custody, clock, rng, issuers, crls, orphans, unfinished })
    }

    /// The certificate of one of our CAs, DER.
    pub fn issuer_certificate(&self, issuer: &IssuerId) -> Option<&[u8]> {
        self.issuers
            .iter()
            .find(|candidate| candidate.id == *issuer)
            .map(|issuer| issuer.certificate.as_slice())
    }

    /// Our CAs that sign for `role`, as pinned trust anchors (rule T7).
    ///
    /// # Errors
    /// When a certificate cannot be read.
    pub fn trusted(&self, role: IssuerRole) -> Result<Vec<TrustedIssuer>, Refusal> {
        self.issuers
            .iter()
            .filter(|issuer| issuer.role == role)
            .map(|issuer| {
                TrustedIssuer::new(issuer.id.clone(), issuer.certificate.clone()).map_err(unreadable)
            })
            .collect()
    }

    /// Our CAs of which a third of their life or less is left at `now`, the one that ends first in front. What they issue
    /// does not outlive them, so it becomes shorter and shorter.
    pub fn ending(&self, now: Timestamp) -> Vec<EndingIssuer> {
        let mut ending: Vec<_> = self
            .issuers
            .iter()
            .filter_map(|issuer| {
                let life = countersign_pki::chain_validity(&[&issuer.certificate])?;
                let third = life.not_after.since(life.not_before) / 3;
                let is_ending = life.not_after.since(now) <= third;
                is_ending.then(|| EndingIssuer {
                    id: issuer.id.clone(),
                    role: issuer.role,
                    not_after: life.not_after,
                })
            })
            .collect();
        ending.sort_by_key(|issuer| issuer.not_after);
        ending
    }

    pub(crate) fn issuer_for(&self, role: IssuerRole) -> Result<&SigningIssuer, Refusal> {
        self.issuers.iter().find(|issuer| issuer.role == role).ok_or(Refusal::NotFound("issuer"))
    }

    pub(crate) fn issuer(&self, id: &IssuerId) -> Result<&SigningIssuer, Refusal> {
        self.issuers.iter().find(|issuer| issuer.id == *id).ok_or(Refusal::NotFound("issuer"))
    }
}
