//! The thumbprint of a certificate.

use crate::key::sha256;
use countersign_model::Thumbprint;

/// SHA-256 over the DER of a certificate: `x5t#S256` (RFC 8705 section 3.1).
pub fn thumbprint(certificate: &[u8]) -> Thumbprint {
    Thumbprint(sha256(certificate))
}
