//! From a presented credential to an authenticated client: the registered method only, in constant time, and with the
//! same work for a client that does not exist (rule C10).

use super::secret::{self, Pepper};
use super::throttle::{Throttle, ThrottleKey, Verdict};
use super::{Method, Presented};
use crate::denial::Denial;
use crate::peer::{ClientEntry, Peer, RegisteredCertificate, Registry, check_certificate};
use countersign_model::client::{AuthMethod, ClientState, Credential, CredentialKind};
use countersign_model::{CredentialId, Environment, ReasonCode, Timestamp};
use std::sync::Arc;

/// A client that proved itself. Made only here.
#[derive(Debug, Clone)]
pub struct AuthenticatedClient {
    client: Arc<ClientEntry>,
    credential: CredentialId,
    method: Method,
}

impl AuthenticatedClient {
    /// The client with its credentials.
    pub fn client(&self) -> &Arc<ClientEntry> {
        &self.client
    }

    /// The credential that proved it.
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// How it proved itself.
    pub fn method(&self) -> Method {
        self.method
    }
}

/// Authenticates a client at an OAuth endpoint, or for the internal method.
///
/// A certificate beside a secret is no second credential (RFC 8705 section 3 binds whatever the method), but it must be
/// registered to the client that authenticates (rule C2). Its own state comes first, and is no secret to its holder.
///
/// # Errors
/// `certificate_revoked`, `certificate_expired`, `throttled`; everything else reads `client_authentication_failed` in
/// public and has the exact reason for the operator.
pub fn authenticate(
    presented: &Presented,
    peer: &Peer,
    registry: &dyn Registry,
    pepper: &Pepper,
    throttle: &dyn Throttle,
    now: Timestamp,
) -> Result<AuthenticatedClient, Denial> {
    let certificate = match peer.certificate() {
        Some(certificate) => Some(
            check_certificate(certificate, None, registry, now)
                .map_err(|denial| hide(denial.claimed_client(presented.client_id().cloned())))?,
        ),
        None => None,
    };
    authenticate_beside(presented, certificate.as_ref(), None, peer, registry, pepper, throttle, now)
}

/// As [`authenticate`], for a caller that has looked at the certificate already.
#[expect(clippy::too_many_arguments, reason = "each is a port or a fact of the one request")]
pub(crate) fn authenticate_beside(
    presented: &Presented,
    certificate: Option<&RegisteredCertificate>,
    environment: Option<Environment>,
    peer: &Peer,
    registry: &dyn Registry,
    pepper: &Pepper,
    throttle: &dyn Throttle,
    now: Timestamp,
) -> Result<AuthenticatedClient, Denial> {
    let client = presented.client_id().and_then(|id| registry.client(id));
    let proved = if presented.method() == Method::Tls {
        prove_by_certificate(client.as_deref(), certificate)
    } else {
        let key = ThrottleKey::new(presented.client_id().cloned(), peer.address().ip());
        if let Verdict::Wait { retry_after_s } = throttle.verdict(&key, now) {
            let denial = Denial::new(ReasonCode::Throttled).retry_after_s(retry_after_s);
            return Err(denial.claimed_client(presented.client_id().cloned()));
        }
        let proved = prove_by_secret(presented, client.as_deref(), pepper, now);
        // A secret that was right once is no guess: who has it learns by not being throttled only what he knows, and a
        // partner that missed a rotation is not locked out for the moment when it has the new one.
        if proved.as_ref().is_err_and(|denial| denial.reason() != ReasonCode::ClientSecretExpired) {
            throttle.record_failure(&key, now);
        }
        proved
    };
    let beside =
        |client: &ClientEntry| certificate.is_none_or(|beside| beside.client.client.id == client.client.id);
    let outcome = match (client, proved) {
        (Some(client), Ok(credential)) => {
            let refused =
                |denial: Denial| Err(denial.credential(credential).client(Some(client.client.id.clone())));
            if !beside(&client) {
                refused(
                    Denial::new(ReasonCode::ClientCertificateNotRegistered)
                        .note("the certificate is registered to another client"),
                )
            } else if client.client.state == ClientState::Disabled {
                refused(ReasonCode::ClientDisabled.into())
            } else if environment.is_some_and(|it| it != client.client.environment) {
                // A secret of one environment is refused in the other (design section 2).
                refused(
                    Denial::new(ReasonCode::ClientMethodWrong)
                        .note("the client belongs to the other environment"),
                )
            } else {
                Ok(AuthenticatedClient { client, credential, method: presented.method() })
            }
        }
        (None, Ok(_)) => Err(ReasonCode::ClientUnknown.into()),
        (_, Err(denial)) => Err(denial),
    };
    outcome.map_err(|denial| {
        let denial = match (presented.method(), certificate) {
            (Method::Tls, None) => denial.told_of_connection(NO_CERTIFICATE, SEND_CERTIFICATE),
            _ => denial,
        };
        hide(denial.claimed_client(presented.client_id().cloned()))
    })
}

/// What a caller reads that sent a client_id and nothing that proves it, whether there is such a client or not.
const NO_CERTIFICATE: &str =
    "No client certificate arrived on this connection, and the request has no secret.";
const SEND_CERTIFICATE: &str = "If you authenticate by certificate, give your program certificate and key. Java and Go send no certificate, without a word, when its issuer is not one that the server names: use the certificate that this server's CA issued.";

/// Unknown client, wrong secret, disabled client and unregistered certificate read the same from outside
/// (experience.md section 3).
fn hide(denial: Denial) -> Denial {
    match denial.reason() {
        ReasonCode::ClientCertificateNotRegistered | ReasonCode::CertificateMissing => {
            denial.hidden_behind(ReasonCode::ClientAuthenticationFailed)
        }
        _ => denial,
    }
}

/// RFC 8705 section 2.1: the certificate that was presented must be registered to the client that is named.
fn prove_by_certificate(
    client: Option<&ClientEntry>,
    certificate: Option<&RegisteredCertificate>,
) -> Result<CredentialId, Denial> {
    let client = client.ok_or(ReasonCode::ClientUnknown)?;
    if client.client.auth_method != AuthMethod::TlsClientAuth {
        return Err(ReasonCode::ClientMethodWrong.into());
    }
    let certificate = certificate.ok_or(ReasonCode::CertificateMissing)?;
    if certificate.client.client.id != client.client.id {
        let denial = Denial::new(ReasonCode::ClientCertificateNotRegistered);
        return Err(denial.note("the certificate is registered to another client"));
    }
    Ok(certificate.credential)
}

fn prove_by_secret(
    presented: &Presented,
    client: Option<&ClientEntry>,
    pepper: &Pepper,
    now: Timestamp,
) -> Result<CredentialId, Denial> {
    // Operators' tokens had the key of clients' secrets once: what was stored of one is no client's secret, wherever it stands.
    let secret = presented.exposed_secret().filter(|secret| !secret::is_operator_token(secret));
    let offered = secret::hmac(pepper, secret.unwrap_or_default());
    let credentials = client.map(|client| client.credentials.as_slice()).unwrap_or_default();
    // All of them are compared, and one that is never right first: a client that does not exist costs the same as one
    // with a wrong secret, and the time does not tell which of several secrets it was.
    let mut found: Option<&Credential> = None;
    let _ = secret::same(&DUMMY, &offered);
    for credential in credentials {
        if let CredentialKind::Secret { hmac } = &credential.kind
            && secret::same(hmac, &offered)
            && secret.is_some()
        {
            found = Some(credential);
        }
    }
    let client = client.ok_or(ReasonCode::ClientUnknown)?;
    let registered = match presented.method() {
        Method::Basic => client.client.auth_method == AuthMethod::ClientSecretBasic,
        Method::Post => client.client.auth_method == AuthMethod::ClientSecretPost,
        Method::Internal => client.client.auth_method.uses_secret(),
        Method::Tls => false,
    };
    if !registered {
        return Err(ReasonCode::ClientMethodWrong.into());
    }
    let found = found.ok_or(ReasonCode::ClientSecretWrong)?;
    if found.accepted_at(now) {
        Ok(found.id)
    } else {
        Err(Denial::new(ReasonCode::ClientSecretExpired).credential(found.id))
    }
}

/// What a secret of a client that does not exist is compared with.
const DUMMY: [u8; 32] = [0x5a; 32];

#[cfg(test)]
#[path = "authenticate_tests.rs"]
mod tests;
