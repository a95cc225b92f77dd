//! What the client may do: stages 7 and 8 of the decision, and the proof that all stages were passed.

use super::caller::{Caller, Proof};
use crate::client_auth::Method;
use crate::denial::Denial;
use crate::peer::ClientEntry;
use crate::route::{ClientCertificate, Route};
use countersign_model::client::ClientState;
use countersign_model::{ClientId, CredentialId, Environment, ReasonCode, Scopes, Thumbprint};
use countersign_token::{Binding, VerifiedToken};
use std::sync::Arc;

/// The permission to forward one request. It can be made only here, from a [`Caller`], and forwarding takes it by value.
#[derive(Debug)]
pub struct Permit {
    caller: Caller,
}

/// How the caller's proof is bound: `Countersign-Binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingKind {
    /// A token that is bound to this connection's certificate.
    Certificate,
    /// A bearer token.
    None,
    /// client_id and client_secret with the call: sandbox only.
    Internal,
}

impl BindingKind {
    /// The name as written in headers, metrics and audit records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::None => "none",
            Self::Internal => "internal",
        }
    }
}

impl Permit {
    pub(super) fn decide(caller: Caller) -> Result<Self, Denial> {
        let refused = check(&caller).err();
        let permit = Self { caller };
        match refused {
            None => Ok(permit),
            Some(denial) => Err(permit.refused(denial)),
        }
    }

    /// Adds who was permitted to what is refused later: by a limit, or because of the upstream.
    pub fn refused(&self, denial: Denial) -> Denial {
        let denial = denial.client(Some(self.client_id().clone())).credential(self.credential());
        match self.binding() {
            BindingKind::Internal => denial.method(Method::Internal),
            BindingKind::Certificate | BindingKind::None => denial,
        }
    }

    /// The route that is permitted.
    pub fn route(&self) -> &Arc<Route> {
        self.caller.matched.route()
    }

    /// The client.
    pub fn client_id(&self) -> &ClientId {
        &self.caller.client.client.id
    }

    /// The client with its credentials.
    pub fn client(&self) -> &Arc<ClientEntry> {
        &self.caller.client
    }

    /// The credential that the client proved itself with: for this call, or for the token.
    pub fn credential(&self) -> CredentialId {
        credential(&self.caller.proof)
    }

    /// The environment of client and route, which is the same.
    pub fn environment(&self) -> Environment {
        self.route().environment()
    }

    /// The scopes of this API that the caller has, possibly more than the route needs.
    pub fn scopes(&self) -> &Scopes {
        scopes(&self.caller)
    }

    /// How the proof is bound.
    pub fn binding(&self) -> BindingKind {
        match self.caller.proof {
            Proof::Token { binding: Binding::Certificate(_), .. } => BindingKind::Certificate,
            Proof::Token { binding: Binding::None, .. } => BindingKind::None,
            Proof::Internal { .. } => BindingKind::Internal,
        }
    }

    /// The certificate of the connection, whether or not the proof is bound to it.
    pub fn certificate(&self) -> Option<&Thumbprint> {
        self.caller.certificate.as_ref()
    }

    /// The token, where there is one.
    pub fn token(&self) -> Option<&Arc<VerifiedToken>> {
        match &self.caller.proof {
            Proof::Token { token, .. } => Some(token),
            Proof::Internal { .. } => None,
        }
    }
}

fn check(caller: &Caller) -> Result<(), Denial> {
    let route = caller.matched.route();
    let client = &caller.client.client;
    // Stage 7. A bound token has shown its certificate already; what is left are unbound tokens and the internal method.
    if route.client_certificate() == ClientCertificate::Required && caller.certificate.is_none() {
        return Err(ReasonCode::CertificateMissing.into());
    }
    // Stage 8. A disabled client reads that its token is revoked, not that it was disabled.
    if client.state == ClientState::Disabled {
        return Err(Denial::new(ReasonCode::TokenRevoked).note("its client is disabled"));
    }
    if route.clients().is_some_and(|clients| !clients.contains(&client.id)) {
        return Err(ReasonCode::ClientNotAllowed.into());
    }
    let scopes = scopes(caller);
    // Rule K6: what the token endpoint would not grant, the internal method does not open.
    if matches!(caller.proof, Proof::Internal { .. })
        && (scopes.is_empty() || !client.may_address(&route.api().audience))
    {
        return Err(
            Denial::new(ReasonCode::ClientNotAllowed).note("the client is not registered for this API")
        );
    }
    if !scopes.covers(route.scopes()) {
        let missing = route.scopes().without(scopes);
        return Err(Denial::new(ReasonCode::TokenScopeInsufficient).scopes(route.scopes().clone(), missing));
    }
    Ok(())
}

fn credential(proof: &Proof) -> CredentialId {
    match proof {
        Proof::Token { token, .. } => token.credential(),
        Proof::Internal { credential, .. } => *credential,
    }
}

fn scopes(caller: &Caller) -> &Scopes {
    match &caller.proof {
        Proof::Token { token, .. } => token.scopes(),
        Proof::Internal { scopes, .. } => scopes,
    }
}
