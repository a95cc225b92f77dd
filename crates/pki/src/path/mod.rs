//! Path validation (RFC 5280 section 6, rules T7, T9): rustls-webpki finds the path and checks its signatures, dates,
//! path lengths and name constraints; `rules.rs` adds what it leaves open.
//!
//! webpki alone accepts a leaf without EKU, a 1024-bit root, a CA without keyCertSign and more: of the shared x509-limbo
//! cases it agrees with 90 of 134. `tests/it/limbo.rs` runs all of them and lists where we differ, each with its reason.
//!
//! The product asks [`validate_client`] alone ([`read_outdated_client`] reads for the record what it refused), and whether a certificate is revoked it asks its own views, not a list.
//! [`validate_path`], with CRLs and a bound on intermediates, is for tests: those cases, and what our CA and its lists are
//! judged by.
//!
//! What a validation costs is bounded whatever the peer sends (rule T13): a client's certificate is validated alone, a
//! path of several certificates is chosen by names before webpki sees it (`candidates.rs`), signatures are counted
//! (`work.rs`), and a certificate is read in full only after its signature was found good.

mod candidates;
mod error;
pub(crate) mod rules;
mod webpki_error;
mod work;
#[cfg(test)]
mod work_tests;

use crate::anchor::{TrustAnchors, TrustedIssuer};
use crate::key::sha256;
use crate::peer::{OutdatedCertificate, PeerCertificate};
use countersign_model::Timestamp;
use rustls_pki_types::SignatureVerificationAlgorithm;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::cell::{OnceCell, RefCell};
use std::time::Duration;
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationOptionsBuilder, VerifiedPath,
};
use work::Work;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub use error::ChainError;

/// Largest certificate. One with an RSA key of 8192 bits and a hundred names of 100 octets has 13 KiB.
pub(crate) const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

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
/// The anchors are the CAs that issue to clients, so no other certificate can be part of the path: what a client sends
/// beside its own, its issuer's certificate as many do, is not asked for here.
///
/// # Errors
/// See [`ChainError`].
pub fn validate_client(
    end_entity: &[u8],
    anchors: &TrustAnchors,
    now: Timestamp,
) -> Result<PeerCertificate, ChainError> {
    client(end_entity, anchors, now, Dates::Checked)
}

/// Reads the certificate of a client that [`validate_client`] refused for its own dates or for its issuer's: a signature of
/// that issuer, and everything else about the certificate is good. It costs one signature for each anchor of the issuer's
/// name (rule T13).
///
/// # Errors
/// See [`ChainError`]. Nothing is to be believed of such a certificate.
pub fn read_outdated_client(
    end_entity: &[u8],
    anchors: &TrustAnchors,
    now: Timestamp,
) -> Result<OutdatedCertificate, ChainError> {
    client(end_entity, anchors, now, Dates::Ignored).map(OutdatedCertificate::new)
}

fn client(
    end_entity: &[u8],
    anchors: &TrustAnchors,
    now: Timestamp,
    dates: Dates,
) -> Result<PeerCertificate, ChainError> {
    let options = PathOptions { purpose: Purpose::Client, now, max_intermediates: Some(0), crls: &[] };
    let work = Work::new(anchors.issuers().len());
    let (chain, certificate) = validate(end_entity, &[], anchors, &options, dates, &work)?;
    PeerCertificate::from_verified(end_entity, &certificate, chain.issuer_key_hash)
}

/// Whether a path is refused for the dates of its end entity and its anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dates {
    Checked,
    Ignored,
}

/// Validates a path for any purpose.
///
/// Of `intermediates` at most four distinct ones are considered, those on the name path from the end entity.
///
/// # Errors
/// See [`ChainError`].
pub fn validate_path<'a>(
    end_entity: &[u8],
    intermediates: &[&[u8]],
    anchors: &'a TrustAnchors,
    options: &PathOptions<'_>,
) -> Result<VerifiedChain<'a>, ChainError> {
    let work = Work::new(anchors.issuers().len());
    validate(end_entity, intermediates, anchors, options, Dates::Checked, &work).map(|(chain, _)| chain)
}

/// The validated path, and the end entity as it was read.
fn validate<'a, 'e>(
    end_entity_der: &'e [u8],
    intermediates: &[&[u8]],
    anchors: &'a TrustAnchors,
    options: &PathOptions<'_>,
    dates: Dates,
    work: &Work,
) -> Result<(VerifiedChain<'a>, X509Certificate<'e>), ChainError> {
    check_size(end_entity_der)?;
    let intermediates = candidates::on_name_path(end_entity_der, intermediates);
    [end_entity_der].iter().chain(&intermediates).for_each(|der| work.reads(der)); // by webpki
    let intermediates: Vec<CertificateDer<'_>> =
        intermediates.into_iter().map(CertificateDer::from).collect();
    let end_entity = CertificateDer::from(end_entity_der);
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
    let certificate = OnceCell::new();
    let check_path = |path: &VerifiedPath<'_>| {
        let read = || match certificate.get() {
            Some(certificate) => Ok(certificate),
            None => {
                work.reads(end_entity_der);
                let parsed = parse(end_entity_der)?;
                Ok(certificate.get_or_init(|| parsed))
            }
        };
        check_path(path, read, anchors, options, dates, work).map_err(|error| {
            *refusal.borrow_mut() = Some(error);
            webpki::Error::UnknownIssuer
        })
    };
    let algorithms = work.algorithms();
    let algorithms = algorithms.each_ref().map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm);
    let path_at = |now| {
        end_entity.verify_for_usage(
            &algorithms,
            anchors.webpki(),
            &intermediates,
            now,
            usage,
            revocation,
            Some(&check_path),
        )
    };
    let path = match path_at(UnixTime::since_unix_epoch(Duration::from_secs(now))) {
        // webpki looks at the end entity's dates before any signature, and tells when they would have been good.
        Err(
            webpki::Error::CertExpired { not_after: when, .. }
            | webpki::Error::CertNotValidYet { not_before: when, .. },
        ) if dates == Dates::Ignored => path_at(when),
        path => path,
    };
    let path = path.map_err(|error| match (error, refusal.take()) {
        (webpki::Error::UnknownIssuer, Some(refusal)) => refusal,
        (error, _) => ChainError::from(error),
    })?;
    if let Purpose::Server(name) = options.purpose {
        end_entity.verify_is_valid_for_subject_name(name)?;
    }
    let anchor = anchors.issuer_of(path.anchor()).ok_or(ChainError::UnknownIssuer)?;
    let issuer = path.intermediate_certificates().next();
    let chain = VerifiedChain {
        anchor,
        intermediates: path.intermediate_certificates().count(),
        issuer_key_hash: issuer.map_or(anchor.key_hash, |issuer| sha256(&issuer.subject_public_key_info())),
    };
    let certificate = certificate.into_inner().ok_or(ChainError::UnknownIssuer)?;
    Ok((chain, certificate))
}

/// What webpki leaves open, for every certificate of a path that it found good: only now is one worth reading in full.
fn check_path<'e>(
    path: &VerifiedPath<'_>,
    end_entity: impl FnOnce() -> Result<&'e X509Certificate<'e>, ChainError>,
    anchors: &TrustAnchors,
    options: &PathOptions<'_>,
    dates: Dates,
    work: &Work,
) -> Result<(), ChainError> {
    let anchor = anchors.issuer_of(path.anchor()).ok_or(ChainError::UnknownIssuer)?;
    if dates == Dates::Checked {
        anchor.facts.check_at(options.now)?;
    }
    if !options.crls.is_empty() && !anchor.facts.signs_crls {
        return Err(ChainError::Unfit("the issuer may not sign CRLs")); // RFC 5280 section 6.3.3 (f)
    }
    let mut counted = 0;
    for intermediate in path.intermediate_certificates() {
        work.reads(&intermediate.der());
        rules::check_intermediate(&parse(&intermediate.der())?)?;
        counted += usize::from(intermediate.subject() != intermediate.issuer());
    }
    if options.max_intermediates.is_some_and(|most| counted > most) {
        return Err(ChainError::PathTooLong);
    }
    rules::check_end_entity(end_entity()?, options.purpose)
}

/// webpki reads the CRL; that CRLNumber is there and not critical (RFC 5280 section 5.2.3) it leaves to us.
fn read_crl(der: &[u8]) -> Result<CertRevocationList<'_>, ChainError> {
    rules::check_crl(der)?;
    let list = BorrowedCertRevocationList::from_der(der).map_err(|_| ChainError::Malformed("CRL"))?;
    Ok(CertRevocationList::from(list))
}

fn check_size(der: &[u8]) -> Result<(), ChainError> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(ChainError::Malformed("a certificate of more than 16 KiB"));
    }
    Ok(())
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ChainError> {
    check_size(der)?;
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ChainError::Malformed("not an X.509 certificate")),
    }
}
