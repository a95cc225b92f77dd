//! `tls_client_auth` (RFC 8705 section 2.1): which credential of a client a certificate stands for.

use crate::peer::ClientEntry;
use countersign_model::Timestamp;
use countersign_model::client::{CertificateMatcher, Credential, CredentialKind};
use countersign_pki::PeerCertificate;

/// The accepted credential of the client that the certificate matches.
pub fn matching_credential<'c>(
    client: &'c ClientEntry,
    certificate: &PeerCertificate,
    now: Timestamp,
) -> Option<&'c Credential> {
    client.credentials.iter().find(|credential| match &credential.kind {
        CredentialKind::Certificate(matcher) => credential.accepted_at(now) && matches(matcher, certificate),
        CredentialKind::Secret { .. } => false,
    })
}

/// Rule C4: exactly one kind of name for a client; a URI is compared octet by octet, without any normalisation that
/// could make two clients one.
fn matches(matcher: &CertificateMatcher, certificate: &PeerCertificate) -> bool {
    match matcher {
        CertificateMatcher::SanUri(uri) => certificate.san_uris().iter().any(|name| name == uri),
    }
}
