//! Trust anchors: certificates of issuers, pinned as a whole and told apart by their key (rule T7).

use crate::path::{ChainError, rules};
use countersign_model::IssuerId;
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// Why a certificate cannot be a trust anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be a trust anchor: {0}")]
pub struct AnchorError(#[from] ChainError);

/// An issuer whose certificates we accept: a root, or an issuing CA pinned by itself.
#[derive(Debug, Clone)]
pub struct TrustedIssuer {
    /// How we call it.
    pub id: IssuerId,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key_hash: [u8; 32],
    pub(crate) facts: rules::AnchorFacts,
    anchor: TrustAnchor<'static>,
}

impl TrustedIssuer {
    /// Takes a CA certificate as an anchor. What can be checked without a moment in time is checked here, once.
    ///
    /// # Errors
    /// When it is not a well-formed CA certificate of version 3 with a strong key.
    pub fn new(id: IssuerId, certificate: Vec<u8>) -> Result<Self, AnchorError> {
        let anchor = {
            let der = CertificateDer::from(certificate.as_slice());
            webpki::anchor_from_trusted_cert(&der)
                .map_err(|_| AnchorError(ChainError::Malformed("not an X.509 certificate of version 3")))?
                .to_owned()
        };
        let facts = rules::check_anchor(&certificate)?;
        Ok(Self { id, key_hash: facts.key_hash, certificate, facts, anchor })
    }

    /// Its subject, DER: for the list of accepted issuers in a CertificateRequest (rule T4).
    pub fn subject_der(&self) -> &[u8] {
        &self.facts.subject_der
    }
}

/// The issuers that a chain may end at.
#[derive(Debug, Clone, Default)]
pub struct TrustAnchors {
    issuers: Vec<TrustedIssuer>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl TrustAnchors {
    /// A set of issuers.
    pub fn new(issuers: Vec<TrustedIssuer>) -> Self {
        let anchors = issuers.iter().map(|issuer| issuer.anchor.clone()).collect();
        Self { issuers, anchors }
    }

    /// The issuers.
    pub fn issuers(&self) -> &[TrustedIssuer] {
        &self.issuers
    }

    pub(crate) fn webpki(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The issuer behind the anchor that webpki ended at: the same name and the same key.
    pub(crate) fn issuer_of(&self, anchor: &TrustAnchor<'_>) -> Option<&TrustedIssuer> {
        self.issuers.iter().find(|issuer| {
            issuer.anchor.subject == anchor.subject
                && issuer.anchor.subject_public_key_info == anchor.subject_public_key_info
        })
    }
}
