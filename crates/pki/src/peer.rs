//! The certificate that a peer proved in its handshake.

use crate::path::ChainError;
use crate::thumbprint;
use countersign_model::{Serial, Thumbprint, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

/// A verified end-entity certificate: only [`crate::validate_client`] makes one.
///
/// Verified is what cannot change: path, purpose, key, and the dates at that moment. Revocation, expiry and registration
/// are asked again on every request (design, decision 20), by issuer key and serial (rule G14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    der: Vec<u8>,
    thumbprint: Thumbprint,
    serial: Serial,
    issuer_key_hash: [u8; 32],
    subject: String,
    san_uris: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl PeerCertificate {
    pub(crate) fn from_verified(
        der: &[u8],
        certificate: &X509Certificate<'_>,
        issuer_key_hash: [u8; 32],
    ) -> Result<Self, ChainError> {
        let san_uris =
            certificate.iter_extensions().filter_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(san) => Some(&san.general_names),
                _ => None,
            });
        let san_uris = san_uris.flatten().filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        Ok(Self {
            der: der.to_vec(),
            thumbprint: thumbprint(der),
            serial: Serial::from_octets(certificate.raw_serial())
                .ok_or(ChainError::Malformed("serial number"))?,
            issuer_key_hash,
            subject: certificate.subject().to_string(),
            san_uris: san_uris.collect(),
            not_before: Timestamp::from_unix_s(certificate.validity().not_before.timestamp()),
            not_after: Timestamp::from_unix_s(certificate.validity().not_after.timestamp()),
        })
    }

    /// A certificate that nobody verified, for tests of code that is handed a verified one.
    #[cfg(any(test, feature = "testing"))]
    pub fn danger_unverified(parts: UnverifiedParts) -> Self {
        Self {
            thumbprint: thumbprint(&parts.der),
            der: parts.der,
            serial: parts.serial,
            issuer_key_hash: parts.issuer_key_hash,
            subject: parts.subject,
            san_uris: parts.san_uris,
            not_before: parts.not_before,
            not_after: parts.not_after,
        }
    }

    /// A certificate that was read and not verified, for tests and fuzzing.
    ///
    /// # Errors
    /// When it is unreadable.
    #[cfg(any(test, feature = "testing"))]
    pub fn danger_unverified_der(der: &[u8], issuer_key_hash: [u8; 32]) -> Result<Self, ChainError> {
        Self::from_verified(der, &crate::path::parse(der)?, issuer_key_hash)
    }

    /// The certificate, DER: for `Client-Cert` (RFC 9440).
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 over the DER: what `cnf.x5t#S256` is compared with (RFC 8705 section 3.1).
    pub fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// Its serial number.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// SHA-256 over the SubjectPublicKeyInfo of the CA that signed it.
    pub fn issuer_key_hash(&self) -> &[u8; 32] {
        &self.issuer_key_hash
    }

    /// Its subject as text, for people. The CA's customer chose it: escape it wherever it is shown.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its URI names, octet for octet (rule C4).
    pub fn san_uris(&self) -> &[String] {
        &self.san_uris
    }

    /// First second of its validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last second of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether `now` is within its validity, both ends included: connections outlive certificates (rule T9).
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now.whole_second() && now.whole_second() <= self.not_after
    }
}

/// A certificate that was refused for its dates alone: only [`crate::read_outdated_client`] makes one. It tells whom it was
/// issued to, for the record, and proves nobody. The peer has not shown that it holds the key either.
#[derive(Debug)]
pub struct OutdatedCertificate(PeerCertificate);

impl OutdatedCertificate {
    pub(crate) fn new(certificate: PeerCertificate) -> Self {
        Self(certificate)
    }

    /// What is written in it.
    pub fn content(&self) -> &PeerCertificate {
        &self.0
    }
}

/// What [`PeerCertificate::danger_unverified`] makes a certificate of; the thumbprint follows from `der`.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named as the accessors of PeerCertificate")]
pub struct UnverifiedParts {
    pub der: Vec<u8>,
    pub serial: Serial,
    pub issuer_key_hash: [u8; 32],
    pub subject: String,
    pub san_uris: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}
