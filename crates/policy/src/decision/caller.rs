//! Who calls: stages 1 to 6 of the decision.

use super::credential::{Credential, RequestCredentials};
use super::{Permit, Policy};
use crate::client_auth::{self, Method, Presented};
use crate::denial::Denial;
use crate::peer::{ClientEntry, Peer, RegisteredCertificate, check_certificate};
use crate::route::{Matched, TokenPolicy};
use countersign_model::{CredentialId, ReasonCode, Scope, Scopes, Thumbprint, Timestamp};
use countersign_token::{Binding, Expectations, TokenError, VerifiedToken};
use std::sync::Arc;

/// The client that calls, proved by a token in the right hands or by the internal method. What it may do is not asked
/// yet: that is [`Caller::authorize`].
#[derive(Debug)]
pub struct Caller {
    pub(super) matched: Matched,
    pub(super) client: Arc<ClientEntry>,
    pub(super) proof: Proof,
    /// The certificate of the connection, whether or not the proof is bound to it.
    pub(super) certificate: Option<Thumbprint>,
}

/// How the client proved itself.
#[derive(Debug)]
pub(super) enum Proof {
    Token {
        token: Arc<VerifiedToken>,
        binding: Binding,
    },
    /// `scopes`: those of the route's API that the client is registered for, as a token of its would have.
    Internal {
        credential: CredentialId,
        scopes: Scopes,
    },
}

impl Policy<'_> {
    /// Finds out who calls.
    ///
    /// # Errors
    /// The first of stages 1 to 6 that fails.
    pub fn identify(
        &self,
        matched: Matched,
        peer: &Peer,
        request: &RequestCredentials<'_>,
        now: Timestamp,
    ) -> Result<Caller, Denial> {
        let route = matched.route();
        // Stage 1. Asked on every request: the handshake decided only what cannot change (design, decision 20).
        let certificate = match peer.certificate() {
            Some(certificate) => {
                Some(check_certificate(certificate, Some(route.environment()), self.registry, now)?)
            }
            None => None,
        };
        // Stages 2 to 4.
        match Credential::find(request, self.internal_headers, route.internal())? {
            Credential::Token(token) => self.identify_by_token(matched, peer, certificate, token, now),
            Credential::Internal(presented) => {
                self.identify_by_secret(matched, peer, certificate, &presented, now)
            }
        }
    }

    fn identify_by_token(
        &self,
        matched: Matched,
        peer: &Peer,
        certificate: Option<RegisteredCertificate>,
        token: &str,
        now: Timestamp,
    ) -> Result<Caller, Denial> {
        let route = matched.route();
        // Stage 5: size, form, algorithm, key, signature, type, claims (possibly from a cache) ...
        let token = self.tokens.verify(token)?;
        // Until it was shown to be in the right hands a token only names its client: a thief is not the actor (rule I4).
        let of_client = |denial: Denial| {
            denial.claimed_client(Some(token.client_id().clone())).credential(token.credential())
        };
        // ... issuer, audience, environment, times ...
        let expectations = Expectations {
            issuer: self.issuer,
            audience: &route.api().audience,
            environment: route.environment(),
            now,
            skew_s: self.skew_s,
        };
        token.check(&expectations).map_err(|error| of_client(error.into()))?;
        // ... and revocation.
        let client = match &certificate {
            Some(certificate) if certificate.client.client.id == *token.client_id() => {
                Some(Arc::clone(&certificate.client))
            }
            _ => self.registry.client(token.client_id()),
        };
        let client = not_revoked(&token, client).map_err(of_client)?;
        if client.client.environment != route.environment() {
            return Err(of_client(ReasonCode::TokenEnvironmentWrong.into()));
        }
        // Stage 6: the certificate is that of this connection (rule G4), the comparison is made each time (rule G13).
        let required = route.token() == TokenPolicy::Bound;
        let binding = token.confirm(peer.thumbprint(), required).map_err(|error| {
            of_client(match (&error, &certificate) {
                (TokenError::CertificateMismatch, Some(certificate)) => {
                    mismatch(&client, &certificate.client)
                }
                _ => error.into(),
            })
        })?;
        // An unbound token beside somebody else's certificate: two clients on one connection.
        if certificate.is_some_and(|certificate| certificate.client.client.id != client.client.id) {
            let denial = Denial::new(ReasonCode::ClientCertificateNotRegistered)
                .note("the certificate is registered to another client than the token's");
            return Err(of_client(denial.client(Some(client.client.id.clone()))));
        }
        let certificate = peer.thumbprint().copied();
        Ok(Caller { matched, client, proof: Proof::Token { token, binding }, certificate })
    }

    /// The internal method: the same code as at the token endpoint (rule C2), in the sandbox only (rule C11).
    fn identify_by_secret(
        &self,
        matched: Matched,
        peer: &Peer,
        certificate: Option<RegisteredCertificate>,
        presented: &Presented,
        now: Timestamp,
    ) -> Result<Caller, Denial> {
        let authenticated = client_auth::authenticate_beside(
            presented,
            certificate.as_ref(),
            Some(matched.route().environment()),
            peer,
            self.registry,
            self.pepper,
            self.throttle,
            now,
        )
        .map_err(|denial| denial.method(Method::Internal))?;
        let certificate = peer.thumbprint().copied();
        let client = Arc::clone(authenticated.client());
        let of_api = |scope: &&Scope| matched.route().api().scopes.contains_key(*scope);
        let scopes = client.client.scopes.iter().filter(of_api).cloned().collect();
        let proof = Proof::Internal { credential: authenticated.credential(), scopes };
        Ok(Caller { matched, client, proof, certificate })
    }
}

/// The token is bound to another certificate than the connection's, which is `presenter`'s. A client that has renewed its
/// certificate and kept its token proves by the new one who it is; anybody else has stolen the token.
fn mismatch(client: &ClientEntry, presenter: &ClientEntry) -> Denial {
    let (client, presenter) = (&client.client.id, &presenter.client.id);
    if client == presenter {
        let note = "the certificate of this connection is another one of the same client";
        return Denial::new(ReasonCode::TokenCertificateSuperseded).note(note).client(Some(client.clone()));
    }
    let note = format!("the certificate of this connection is registered to {presenter}");
    Denial::new(ReasonCode::TokenCertificateMismatch).note(note)
}

/// Whether the client and the credential of the token live, and with them the token.
fn not_revoked(token: &VerifiedToken, client: Option<Arc<ClientEntry>>) -> Result<Arc<ClientEntry>, Denial> {
    let revoked = |note| Denial::new(ReasonCode::TokenRevoked).note(note);
    let client = client.ok_or_else(|| revoked("its client does not exist"))?;
    match client.ended(token.credential(), Some(token.epoch())) {
        Some(why) => Err(revoked(why)),
        None => Ok(client),
    }
}

impl Caller {
    /// The client that calls.
    pub fn client(&self) -> &Arc<ClientEntry> {
        &self.client
    }

    /// The route that it calls.
    pub fn matched(&self) -> &Matched {
        &self.matched
    }

    /// Decides whether the client may: stages 7 and 8.
    ///
    /// # Errors
    /// `certificate_missing`, `token_revoked` or what hides a disabled client, `client_not_allowed`,
    /// `token_scope_insufficient`.
    pub fn authorize(self) -> Result<Permit, Denial> {
        Permit::decide(self)
    }
}
