//! Path validation (RFC 5280 section 6, rules T7, T9): rustls-webpki finds the path and checks its signatures, dates,
//! path lengths and name constraints; `rules.rs` adds what it leaves open.
//!
//! webpki alone accepts a leaf without EKU, a 1024-bit root, a CA without keyCertSign and more: of the shared x509-limbo
//! cases it agrees with 90 of 134. `tests/it/limbo.rs` runs all of them and lists where we differ, each with its reason.
//!
//! The product asks [`validate_client`] alone, and whether a certificate is revoked it asks its own views, not a list.
//! [`validate_path`], with CRLs and a bound on intermediates, is for tests: those cases, and what our CA and its lists are
//! judged by.

mod error;
pub(crate) mod rules;
mod webpki_error;

use crate::anchor::{TrustAnchors, TrustedIssuer};
use crate::key::sha256;
use crate::peer::PeerCertificate;
use crate::signature::ACCEPTED;
use countersign_model::Timestamp;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::cell::RefCell;
use std::time::Duration;
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationOptionsBuilder, VerifiedPath,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub use error::ChainError;

/// More is no certificate: the largest in the wild have a few hundred names.
const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// What the certificate has to be for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// To prove a client in TLS.
    Client,
    /// To prove the server of this name in TLS.
    Server(&'a ServerName<'a>),
}

/// How a path is validated.
#[derive(Debug, Clone, Copy)]
pub struct PathOptions<'a> {
    /// What for.
    pub purpose: Purpose<'a>,
    /// When.
    pub now: Timestamp,
    /// How many intermediates a path may have that are not self-issued. webpki builds no path of more than 6.
    pub max_intermediates: Option<usize>,
    /// CRLs, DER. When there is one, every certificate of the path must be spoken of by one that is current.
    pub crls: &'a [&'a [u8]],
}

/// A validated path, from the end-entity certificate to an anchor.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedChain<'a> {
    /// Where it ends.
    pub anchor: &'a TrustedIssuer,
    /// How many certificates are between the end entity and the anchor.
    pub intermediates: usize,
    /// SHA-256 over the SubjectPublicKeyInfo of the end entity's issuer.
    pub issuer_key_hash: [u8; 32],
}

/// Validates the certificate that a client proved in its handshake.
///
/// # Errors
/// See [`ChainError`].
pub fn validate_client(
    end_entity: &[u8],
    intermediates: &[&[u8]],
    anchors: &TrustAnchors,
    now: Timestamp,
) -> Result<PeerCertificate, ChainError> {
    let certificate = parse(end_entity)?;
    let options = PathOptions { purpose: Purpose::Client, now, max_intermediates: None, crls: &[] };
    let chain = validate(end_entity, &certificate, intermediates, anchors, &options)?;
    PeerCertificate::from_verified(end_entity, &certificate, chain.issuer_key_hash)
}

/// Validates a path for any purpose.
///
/// # Errors
/// See [`ChainError`].
pub fn validate_path<'a>(
    end_entity: &[u8],
    intermediates: &[&[u8]],
    anchors: &'a TrustAnchors,
    options: &PathOptions<'_>,
) -> Result<VerifiedChain<'a>, ChainError> {
    validate(end_entity, &parse(end_entity)?, intermediates, anchors, options)
}

fn validate<'a>(
    end_entity: &[u8],
    certificate: &X509Certificate<'_>,
    intermediates: &[&[u8]],
    anchors: &'a TrustAnchors,
    options: &PathOptions<'_>,
) -> Result<VerifiedChain<'a>, ChainError> {
    let end_entity = CertificateDer::from(end_entity);
    let intermediates: Vec<CertificateDer<'_>> =
        intermediates.iter().map(|der| CertificateDer::from(*der)).collect();
    let end_entity = EndEntityCert::try_from(&end_entity)?;
    let now = u64::try_from(options.now.unix_s()).map_err(|_| ChainError::NotYetValid)?;
    let usage = match options.purpose {
        Purpose::Client => KeyUsage::client_auth(),
        Purpose::Server(_) => KeyUsage::server_auth(),
    };

    let crls = options.crls.iter().map(|der| read_crl(der)).collect::<Result<Vec<_>, _>>()?;
    let crls: Vec<&CertRevocationList<'_>> = crls.iter().collect();
    let revocation = RevocationOptionsBuilder::new(&crls).ok();
    let revocation =
        revocation.map(|builder| builder.with_expiration_policy(ExpirationPolicy::Enforce).build());

    // webpki goes on with another path when the callback refuses one; what it refused last says more than webpki can.
    let refusal: RefCell<Option<ChainError>> = RefCell::new(None);
    let check_path = |path: &VerifiedPath<'_>| {
        check_path(path, certificate, anchors, options).map_err(|error| {
            *refusal.borrow_mut() = Some(error);
            webpki::Error::UnknownIssuer
        })
    };
    let path = end_entity.verify_for_usage(
        ACCEPTED,
        anchors.webpki(),
        &intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(now)),
        usage,
        revocation,
        Some(&check_path),
    );
    let path = path.map_err(|error| match (error, refusal.take()) {
        (webpki::Error::UnknownIssuer, Some(refusal)) => refusal,
        (error, _) => ChainError::from(error),
    })?;
    if let Purpose::Server(name) = options.purpose {
        end_entity.verify_is_valid_for_subject_name(name)?;
    }
    let anchor = anchors.issuer_of(path.anchor()).ok_or(ChainError::UnknownIssuer)?;
    let issuer = path.intermediate_certificates().next();
    Ok(VerifiedChain {
        anchor,
        intermediates: path.intermediate_certificates().count(),
        issuer_key_hash: issuer.map_or(anchor.key_hash, |issuer| sha256(&issuer.subject_public_key_info())),
    })
}

/// What webpki leaves open, for every certificate of a path that it found good.
fn check_path(
    path: &VerifiedPath<'_>,
    end_entity: &X509Certificate<'_>,
    anchors: &TrustAnchors,
    options: &PathOptions<'_>,
) -> Result<(), ChainError> {
    let anchor = anchors.issuer_of(path.anchor()).ok_or(ChainError::UnknownIssuer)?;
    anchor.facts.check_at(options.now)?;
    if !options.crls.is_empty() && !anchor.facts.signs_crls {
        return Err(ChainError::Unfit("the issuer may not sign CRLs")); // RFC 5280 section 6.3.3 (f)
    }
    let mut counted = 0;
    for intermediate in path.intermediate_certificates() {
        rules::check_intermediate(&parse(&intermediate.der())?)?;
        counted += usize::from(intermediate.subject() != intermediate.issuer());
    }
    if options.max_intermediates.is_some_and(|most| counted > most) {
        return Err(ChainError::PathTooLong);
    }
    rules::check_end_entity(end_entity, options.purpose)
}

/// webpki reads the CRL; that CRLNumber is there and not critical (RFC 5280 section 5.2.3) it leaves to us.
fn read_crl(der: &[u8]) -> Result<CertRevocationList<'_>, ChainError> {
    rules::check_crl(der)?;
    let list = BorrowedCertRevocationList::from_der(der).map_err(|_| ChainError::Malformed("CRL"))?;
    Ok(CertRevocationList::from(list))
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ChainError> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(ChainError::Malformed("a certificate of more than 64 KiB"));
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ChainError::Malformed("not an X.509 certificate")),
    }
}
