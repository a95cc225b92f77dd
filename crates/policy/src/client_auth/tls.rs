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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, World};

    #[test]
    fn rule_c4_a_uri_is_compared_octet_by_octet() {
        let world = World::new();
        let matched = |uri: &str| {
            world.change("acme-pay", |entry| {
                entry.credentials[0].kind =
                    CredentialKind::Certificate(CertificateMatcher::SanUri(uri.to_owned()));
            });
            let entry = world.known.lock().unwrap().clients[&"acme-pay".parse().unwrap()].clone();
            matching_credential(&entry, &world.acme, NOW).is_some()
        };
        assert!(matched("https://localhost:8443/clients/acme-pay"));
        for other in [
            "https://LOCALHOST:8443/clients/acme-pay",
            "HTTPS://localhost:8443/clients/acme-pay",
            "https://localhost:8443/clients/acme-pay/",
            "https://localhost:8443/clients/%61cme-pay",
            "https://localhost:8443/clients/acme",
            "",
        ] {
            assert!(!matched(other), "{other}");
        }
    }
}
