//! The token endpoint: client credentials in, an access token out (RFC 6749 section 4.4, RFC 8705 section 3, RFC 9068).
//!
//! [`TokenEndpoint::handle`] reads downwards, and has the shape of every use case here: parse, authenticate, authorize,
//! prepare, check, commit, record. Issuing a certificate (`ca`) has the same.

use crate::budget::TokenBudget;
use crate::grant::{Grant, grant};
use crate::request::TokenRequest;
use crate::{Settings, TokenKeyRing};
use arc_swap::ArcSwap;
use countersign_keys::Signer;
use countersign_model::audit::{Actor, AuditAction, AuditEvent, CertificateRef, Facts};
use countersign_model::{ReasonCode, Reference, Rng, Scopes, Secret, Timestamp};
use countersign_policy::client_auth::{self, AuthenticatedClient, Pepper, Presented, Throttle};
use countersign_policy::{Denial, Peer, Registry};
use countersign_storage::usage::Usage;
use countersign_storage::views::Views;
use countersign_token::{AccessTokenClaims, Algorithm, Limits, TokenEpoch, assemble};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::request::Parts;
use http::{HeaderValue, Response};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Everything that the endpoint works with.
pub struct TokenEndpoint {
    /// Replaced by a reload.
    pub settings: ArcSwap<Settings>,
    /// What signs.
    pub keys: Arc<TokenKeyRing>,
    /// Clients, certificates and revocations, in memory.
    pub views: Arc<Views>,
    /// What client secrets are stored under.
    pub pepper: Pepper,
    /// Failed attempts.
    pub throttle: Arc<dyn Throttle>,
    /// How many tokens each client has left.
    pub budget: TokenBudget,
    /// Last-used times of credentials.
    pub usage: Arc<Usage>,
    /// Makes token identifiers and references.
    pub rng: Arc<dyn Rng>,
}

/// What became of a request, and what is to be recorded of it: one event for every outcome (rule I4). Whoever serves the
/// request records the event, and renders a denial with `policy::denial`.
#[derive(Debug)]
pub struct Outcome {
    /// The token or the refusal.
    pub result: Result<TokenResponse, Denial>,
    /// For the audit log; its reference is the caller's.
    pub event: AuditEvent,
}

/// A successful answer (RFC 6749 section 5.1).
#[derive(Debug)]
pub struct TokenResponse {
    /// The token.
    pub access_token: Secret<String>,
    /// How long it lives.
    pub expires_in_s: u32,
    /// What it may be used for. Always written: the client sees what it got without comparing.
    pub scope: Scopes,
}

impl TokenEndpoint {
    /// Answers one request. `body` was read whole, up to [`crate::request::MAX_BODY_BYTES`] and a little more.
    pub async fn handle(&self, parts: &Parts, body: &[u8], peer: &Peer, now: Timestamp) -> Outcome {
        let mut trail = Trail::new(parts, peer, &self.views);
        let result = self.issue(parts, body, peer, now, &mut trail).await;
        let event = trail.into_event(&result, Reference::generate(now, self.rng.as_ref()), now);
        Outcome { result, event }
    }

    /// Refuses a request whose body could not be read.
    pub fn refused(&self, parts: &Parts, peer: &Peer, now: Timestamp, denial: Denial) -> Outcome {
        let result = Err(denial);
        let trail = Trail::new(parts, peer, &self.views);
        let event = trail.into_event(&result, Reference::generate(now, self.rng.as_ref()), now);
        Outcome { result, event }
    }

    async fn issue(
        &self,
        parts: &Parts,
        body: &[u8],
        peer: &Peer,
        now: Timestamp,
        trail: &mut Trail,
    ) -> Result<TokenResponse, Denial> {
        let settings = self.settings.load_full();
        let request = TokenRequest::parse(parts, body)?;
        let client = self.authenticate(parts, &request, peer, now, trail)?;
        let granted =
            grant(&client.client().client, request.scope.as_deref(), &request.resources, &settings)?;
        let signer =
            self.keys.signer(now).ok_or(Denial::new(ReasonCode::NotReady).note("there is no token key"))?;
        // Before the signature, which is what costs; after authentication, so that nobody spends another one's budget.
        if let Some(limit) = settings.rate_limit() {
            self.budget.take(limit, &client.client().client.id, now)?;
        }
        let prepared = self.prepare(&client, granted, peer, &settings, now);
        trail.prepared(&prepared);
        let checked = Checked::new(prepared, &client, peer, &settings)?;
        let response = checked.sign(signer.as_ref()).await?;
        // No row: what was issued is revoked by epoch (design, decision 4). Only the use of the credential is noted.
        self.usage.credential_used(client.credential(), now);
        Ok(response)
    }

    fn authenticate(
        &self,
        parts: &Parts,
        request: &TokenRequest,
        peer: &Peer,
        now: Timestamp,
        trail: &mut Trail,
    ) -> Result<AuthenticatedClient, Denial> {
        let presented = Presented::at_endpoint(&parts.headers, &request.client_form())?;
        trail.presented(&presented, request);
        let views: &dyn Registry = self.views.as_ref();
        let client =
            client_auth::authenticate(&presented, peer, views, &self.pepper, self.throttle.as_ref(), now)?;
        trail.authenticated(&client);
        Ok(client)
    }

    fn prepare(
        &self,
        client: &AuthenticatedClient,
        granted: Grant,
        peer: &Peer,
        settings: &Settings,
        now: Timestamp,
    ) -> AccessTokenClaims {
        let entry = client.client();
        let credential = entry.credential(client.credential());
        AccessTokenClaims {
            issuer: settings.issuer().to_owned(),
            audience: granted.api.audience.clone(),
            client_id: entry.client.id.clone(),
            // A ULID like a reference: sorts by time, and nobody can guess the next one.
            token_id: Reference::generate(now, self.rng.as_ref()).to_string(),
            scopes: granted.scopes,
            issued_at: now.whole_second(),
            expires_at: now.whole_second().plus_s(i64::from(settings.token_lifetime_s())),
            environment: entry.client.environment,
            credential: client.credential(),
            epoch: TokenEpoch {
                client: entry.client.epoch,
                credential: credential.map(|credential| credential.epoch).unwrap_or_default(),
            },
            // RFC 8705 section 3: bound whenever a certificate was presented, whatever the method (rule K7).
            confirmation: peer.thumbprint().copied(),
        }
    }
}

/// Claims that were held against the client's registration once more, as they will be signed. Only this can be signed, and
/// only once; so a mistake further up refuses instead of granting.
struct Checked(AccessTokenClaims);

impl Checked {
    fn new(
        claims: AccessTokenClaims,
        client: &AuthenticatedClient,
        peer: &Peer,
        settings: &Settings,
    ) -> Result<Self, Denial> {
        let registered = &client.client().client;
        let of_audience =
            |scope| settings.api_of_scope(scope).is_some_and(|api| api.audience == claims.audience);
        let sound = claims.client_id == registered.id
            && claims.environment == registered.environment
            && registered.scopes.covers(&claims.scopes)
            && !claims.scopes.is_empty()
            && claims.scopes.iter().all(of_audience)
            && client.client().credential(claims.credential).is_some()
            && claims.confirmation.as_ref() == peer.thumbprint()
            && claims.issued_at < claims.expires_at;
        if sound {
            Ok(Self(claims))
        } else {
            Err(Denial::new(ReasonCode::InternalError)
                .note("the prepared token contradicts the registration"))
        }
    }

    async fn sign(self, signer: &dyn Signer) -> Result<TokenResponse, Denial> {
        let failed = |note: String| Denial::new(ReasonCode::InternalError).note(note);
        let Algorithm::Es256 = Algorithm::from(signer.algorithm()) else {
            return Err(failed("the token key is not for ES256".to_owned()));
        };
        let signing_input = self.0.signing_input(signer.key_id());
        let signature =
            signer.sign(signing_input.as_bytes()).await.map_err(|error| failed(error.to_string()))?;
        let access_token = Secret::new(assemble(signing_input, &signature));
        // Rule G11: the gateway reads none that is longer. The scopes are all of it that can be long; the client is told here
        // what to change, and not by every API that it calls.
        let (length, limit) = (access_token.expose().len(), Limits::default().size_bytes);
        if length > limit {
            let note = format!(
                "with these scopes the token has {length} octets, more than the {limit} that are read"
            );
            return Err(Denial::new(ReasonCode::ScopeNotAllowed).note(note));
        }
        let lifetime_s = self.0.expires_at.unix_s() - self.0.issued_at.unix_s();
        Ok(TokenResponse {
            access_token,
            expires_in_s: u32::try_from(lifetime_s).unwrap_or(0),
            scope: self.0.scopes,
        })
    }
}

impl TokenResponse {
    /// The response of RFC 6749 section 5.1; not to be stored by anybody (rule K2).
    pub fn to_response(&self) -> Response<Vec<u8>> {
        #[derive(Serialize)]
        struct Body<'a> {
            access_token: &'a str,
            token_type: &'static str,
            expires_in: u32,
            scope: String,
        }
        let body = Body {
            access_token: self.access_token.expose(),
            token_type: "Bearer",
            expires_in: self.expires_in_s,
            scope: self.scope.to_string(),
        };
        // Strings and a number: serialisation has nothing to fail on.
        let mut response = Response::new(serde_json::to_vec(&body).unwrap_or_default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }
}

/// What is known of a request so far: it becomes the audit event and the metric, however the request ends.
struct Trail {
    facts: Facts,
    /// Nobody until somebody proved to be a client: before that, the facts tell who it says it is.
    actor: Actor,
    method: &'static str,
}

/// Longer text from a caller is cut in a record.
const MAX_RECORDED_CHARS: usize = 256;

impl Trail {
    fn new(parts: &Parts, peer: &Peer, views: &Views) -> Self {
        let certificate = peer.certificate().map(|certificate| CertificateRef {
            issuer: views.issuer_name(certificate.issuer_key_hash()),
            serial: Some(*certificate.serial()),
            thumbprint: Some(*certificate.thumbprint()),
        });
        let facts = Facts {
            certificate,
            source: Some(peer.address().ip().to_canonical()),
            method: Some(parts.method.as_str().chars().take(MAX_RECORDED_CHARS).collect()),
            path: Some(parts.uri.path().chars().take(MAX_RECORDED_CHARS).collect()),
            ..Facts::default()
        };
        Self { facts, actor: Actor::Anonymous, method: "none" }
    }

    fn presented(&mut self, presented: &Presented, request: &TokenRequest) {
        self.method = presented.method().as_str();
        self.facts.auth_method = Some(self.method.to_owned());
        self.facts.client = presented.client_id().cloned();
        self.facts.scope =
            request.scope.as_ref().map(|scope| scope.chars().take(MAX_RECORDED_CHARS).collect());
    }

    fn authenticated(&mut self, client: &AuthenticatedClient) {
        self.facts.client = Some(client.client().client.id.clone());
        self.actor = Actor::Client(client.client().client.id.clone());
        self.facts.environment = Some(client.client().client.environment);
        self.facts.credential = Some(client.credential());
    }

    fn prepared(&mut self, claims: &AccessTokenClaims) {
        self.facts.audience = Some(claims.audience.clone());
        self.facts.scope = Some(claims.scopes.to_string());
        self.facts.jti = Some(claims.token_id.clone());
    }

    fn into_event(
        mut self,
        result: &Result<TokenResponse, Denial>,
        reference: Reference,
        now: Timestamp,
    ) -> AuditEvent {
        let error = result.as_ref().err().map_or("none", |denial| denial.reason().as_str());
        let outcome = if result.is_ok() { "issued" } else { "refused" };
        metrics::counter!(
            "countersign_token_requests_total", "method" => self.method, "result" => outcome, "error" => error
        )
        .increment(1);

        let denial = match result {
            Ok(_) => {
                return AuditEvent::done(reference, now, AuditAction::TokenIssued, self.actor, self.facts);
            }
            Err(denial) => denial,
        };
        self.facts.jti = None; // Nothing bears it: the token was not signed.
        self.facts.client = self.facts.client.or_else(|| denial.known_client().cloned());
        self.facts.credential = self.facts.credential.or(denial.known_credential());
        self.facts.detail = denial.operator_note().map(str::to_owned);
        let actor = denial.proved_client().cloned().map_or(self.actor, Actor::Client);
        AuditEvent::refused(reference, now, AuditAction::TokenRefused, denial.reason(), actor, self.facts)
            .told(denial.public())
    }
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint").field("keys", &self.keys).finish_non_exhaustive()
    }
}
