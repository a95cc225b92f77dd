//! The state of a presented certificate, asked on every request (design, decision 20): the handshake decided what
//! cannot change, and a connection may stay open for longer than a certificate is good.

use crate::client_auth::tls;
use crate::denial::Denial;
use crate::peer::{ClientEntry, Registry};
use countersign_model::{CredentialId, Environment, ReasonCode, Timestamp};
use countersign_pki::PeerCertificate;
use std::sync::Arc;

/// A certificate that is not revoked, not expired, and registered to this client.
#[derive(Debug, Clone)]
pub struct RegisteredCertificate {
    /// Whose it is. The client may be disabled: that is asked later, in its place.
    pub client: Arc<ClientEntry>,
    /// The credential that it matches.
    pub credential: CredentialId,
}

/// Checks revocation, registration and validity of a certificate, in this order. `environment` is that of the route;
/// the token endpoint serves both and passes `None`.
///
/// # Errors
/// `certificate_revoked`, `client_certificate_not_registered`, `certificate_not_yet_valid`, `certificate_expired`.
pub fn check_certificate(
    certificate: &PeerCertificate,
    environment: Option<Environment>,
    registry: &dyn Registry,
    now: Timestamp,
) -> Result<RegisteredCertificate, Denial> {
    if let Some(reason) = registry.revocation(certificate.issuer_key_hash(), certificate.serial()) {
        let client = registry.client_of_certificate(certificate);
        return Err(Denial::new(ReasonCode::CertificateRevoked).note(reason.as_str()).client(client));
    }
    let unregistered = |note| Denial::new(ReasonCode::ClientCertificateNotRegistered).note(note);
    let Some(client_id) = registry.client_of_certificate(certificate) else {
        return Err(unregistered("no client has a name of this certificate"));
    };
    let Some(client) = registry.client(&client_id) else {
        return Err(unregistered("its client does not exist").client(Some(client_id)));
    };
    let Some(credential) = tls::matching_credential(&client, certificate, now) else {
        return Err(unregistered("the credential is revoked or outside its validity").client(Some(client_id)));
    };
    // A certificate of one environment is refused in the other (design section 2).
    if environment.is_some_and(|environment| environment != client.client.environment) {
        return Err(unregistered("its client belongs to the other environment").client(Some(client_id)));
    }
    let credential = credential.id;
    // Rule T9: the handshake saw a valid certificate, but connections outlive certificates.
    if !certificate.is_valid_at(now) {
        let early = now < certificate.not_before();
        let reason = if early { ReasonCode::CertificateNotYetValid } else { ReasonCode::CertificateExpired };
        return Err(Denial::new(reason).client(Some(client_id)));
    }
    Ok(RegisteredCertificate { client, credential })
}
