//! One of our CAs, with what it signs by.

use crate::Refusal;
use countersign_keys::Signer;
use countersign_model::IssuerId;
use countersign_model::certificate::{Issuer, IssuerRole};
use countersign_pki::IssuerIdentity;
use countersign_storage::StorageError;
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
    pub(crate) fn new(issuer: &Issuer, signer: Arc<dyn Signer>) -> Result<Self, Refusal> {
        let identity = IssuerIdentity::from_certificate(&issuer.certificate).map_err(unreadable)?;
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
