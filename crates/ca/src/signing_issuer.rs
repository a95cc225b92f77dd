//! One of our CAs, with what it signs by.

use crate::{Refusal, Settings};
use countersign_keys::{Custody, Signer};
use countersign_model::IssuerId;
use countersign_model::certificate::{Issuer, IssuerRole};
use countersign_pki::{IssuerIdentity, distribution_point_url};
use countersign_storage::{StorageError, Store};
use std::sync::Arc;

/// One of our CAs, with what it signs by.
pub(crate) struct SigningIssuer {
    pub(crate) id: IssuerId,
    pub(crate) role: IssuerRole,
    pub(crate) certificate: Vec<u8>,
    pub(crate) identity: IssuerIdentity,
    pub(crate) signer: Arc<dyn Signer>,
}

impl SigningIssuer {
    /// Opens one that is in storage.
    ///
    /// # Errors
    /// When its key is missing or does not open, its certificate cannot be read, or its certificate and `settings` differ
    /// about where our CRLs are.
    pub(crate) async fn open(
        issuer: &Issuer,
        settings: &Settings,
        store: &dyn Store,
        custody: &Custody,
    ) -> Result<Self, Refusal> {
        let key = store.key(&issuer.key).await?.ok_or(Refusal::NotFound("key of an issuer"))?;
        // Whatever it signed bears the same address as its own certificate. The root has none: no list speaks of it.
        let crl_url = distribution_point_url(&issuer.certificate);
        match crl_url.as_deref().and_then(Settings::documents_of) {
            Some(carried) if carried != settings.documents => Err(Refusal::DocumentsMoved {
                carried: carried.to_owned(),
                configured: settings.documents.clone(),
            }),
            _ => Self::new(issuer, custody.signer(&key)?),
        }
    }

    pub(crate) fn new(issuer: &Issuer, signer: Arc<dyn Signer>) -> Result<Self, Refusal> {
        let identity = IssuerIdentity::from_certificate(&issuer.certificate).map_err(unreadable)?;
        // Else it would sign what its own certificate does not verify.
        if signer.public_key() != identity.public_key().spki_der() {
            return Err(unreadable(format!("key {} is not that of `{}`", signer.key_id(), issuer.id)));
        }
        Ok(Self {
            id: issuer.id.clone(),
            role: issuer.role,
            certificate: issuer.certificate.clone(),
            identity,
            signer,
        })
    }
}

pub(crate) fn unreadable(error: impl std::fmt::Display) -> Refusal {
    Refusal::Storage(StorageError::Corrupt(format!("the certificate of an issuer: {error}")))
}
