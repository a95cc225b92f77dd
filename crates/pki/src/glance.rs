//! What is read of a certificate without asking whether to trust it.

use crate::key::sha256;
use countersign_model::{Thumbprint, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// SHA-256 over the DER of a certificate: `x5t#S256` (RFC 8705 section 3.1).
pub fn thumbprint(certificate: &[u8]) -> Thumbprint {
    Thumbprint(sha256(certificate))
}

/// The last moment of a certificate's validity; `None` when it is none.
pub fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(Timestamp::from_unix_s(certificate.validity().not_after.timestamp()))
}
