//! A small world: a store in memory, a certificate authority, four clients, and the token endpoint.

mod authority;

pub(crate) use authority::{Authority, not_after};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_keys::{Custody, MasterKey};
use countersign_model::audit::Actor;
use countersign_model::client::{
    AuthMethod, CertificateMatcher, Client, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::{ClientId, Clock, CredentialId, Environment, ReasonCode, Reference, Rng, Timestamp};
use countersign_oauth::budget::TokenBudget;
use countersign_oauth::{
    Metadata, MutualTls, Outcome, ProtectedResource, Rotation, Settings, TokenEndpoint, TokenKeyRing,
};
use countersign_pki::PeerCertificate;
use countersign_policy::client_auth::{Pepper, ThrottleTable, secret};
use countersign_policy::route::Api;
use countersign_policy::{Denial, Peer};
use countersign_storage::memory::MemoryStore;
use countersign_storage::stores::Commit;
use countersign_storage::usage::Usage;
use countersign_storage::views::Views;
use countersign_storage::{Store, Transaction, Write};
use countersign_token::{Limits, VerifiedToken, verify};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const ISSUER: &str = "https://localhost:8443";
pub(crate) const AUDIENCE: &str = "https://localhost:8443/";
pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);
pub(crate) const SECRET: &str = "cs_of-test-shop";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Tells always the same.
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// Seeded: the same bytes in every run, never the same twice in one.
#[derive(Default)]
pub(crate) struct CountingRng(AtomicU64);

impl Rng for CountingRng {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next =
                self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) custody: Arc<Custody>,
    pub(crate) keys: Arc<TokenKeyRing>,
    pub(crate) authority: Authority,
    pub(crate) rng: Arc<CountingRng>,
    pub(crate) throttle: Arc<ThrottleTable>,
    pub(crate) usage: Arc<Usage>,
    pepper: [u8; 32],
}

impl World {
    /// With a token key that signs.
    pub(crate) async fn new() -> Self {
        let world = Self::without_key().await;
        world.rotate(Rotation::Now, NOW.plus_s(-3600)).await.unwrap();
        world
    }

    pub(crate) async fn without_key() -> Self {
        let rng = Arc::new(CountingRng::default());
        let store = Arc::new(MemoryStore::new(Arc::new(FixedClock)));
        let custody = Arc::new(Custody::new(MasterKey::generate(rng.as_ref()), rng.clone()));
        let keys = Arc::new(TokenKeyRing::load(store.as_ref(), custody.clone(), NOW).await.unwrap());
        let authority = Authority::new();
        let pepper = *custody.pepper().expose();
        let throttle = Arc::new(ThrottleTable::default());
        let usage = Arc::new(Usage::default());
        let world = Self { store, custody, keys, authority, rng, throttle, usage, pepper };
        world.register_all().await;
        world
    }

    async fn register_all(&self) {
        use {AuthMethod as M, Environment as E};
        self.write(Write::InsertIssuer(self.authority.issuer())).await;
        for (id, environment, method, scopes) in [
            ("acme-pay", E::Production, M::TlsClientAuth, "data:read pay:write"),
            ("other-bank", E::Production, M::TlsClientAuth, "data:read"),
            ("test-shop", E::Sandbox, M::ClientSecretBasic, "data:read pay:write"),
            ("post-shop", E::Sandbox, M::ClientSecretPost, "data:read cards:read"),
        ] {
            self.write(Write::InsertClient(client(id, environment, method, scopes))).await;
            self.write(Write::InsertCredential(self.certificate_credential(id))).await;
            if method.uses_secret() {
                self.write(Write::InsertCredential(self.secret_credential(id, SECRET))).await;
            }
        }
    }

    pub(crate) async fn write(&self, write: Write) {
        self.store.commit(Transaction::new().write(write)).await.unwrap();
    }

    fn certificate_credential(&self, id: &str) -> Credential {
        let matcher = CertificateMatcher::SanUri(Authority::client_uri(id));
        self.credential(id, "certificate", CredentialKind::Certificate(matcher))
    }

    pub(crate) fn secret_credential(&self, id: &str, text: &str) -> Credential {
        let hmac = secret::hmac(&self.pepper(), text);
        self.credential(id, "secret", CredentialKind::Secret { hmac })
    }

    fn credential(&self, id: &str, name: &str, kind: CredentialKind) -> Credential {
        Credential {
            id: CredentialId::generate(NOW.plus_days(-1), self.rng.as_ref()),
            client: id.parse().unwrap(),
            name: name.into(),
            kind,
            state: CredentialState::Active,
            epoch: 2,
            not_before: NOW.plus_days(-1),
            expires_at: None,
            created_at: NOW.plus_days(-1),
            last_used_at: None,
            uses: 0,
        }
    }

    fn pepper(&self) -> Pepper {
        Pepper::new(&countersign_model::Secret::new(self.pepper))
    }

    pub(crate) async fn rotate(
        &self,
        rotation: Rotation,
        now: Timestamp,
    ) -> Result<countersign_oauth::token_keys::Rotated, countersign_oauth::TokenKeyError> {
        let reference = Reference::generate(now, self.rng.as_ref());
        self.keys.rotate(self.store.as_ref(), rotation, Actor::Operator("alice".into()), reference, now).await
    }

    /// The endpoint with views of what is stored now.
    pub(crate) async fn endpoint(&self) -> TokenEndpoint {
        let store: &dyn Store = self.store.as_ref();
        TokenEndpoint {
            settings: ArcSwap::from_pointee(settings()),
            keys: self.keys.clone(),
            views: Arc::new(Views::load(store, NOW).await.unwrap()),
            pepper: self.pepper(),
            throttle: self.throttle.clone(),
            budget: TokenBudget::default(),
            usage: self.usage.clone(),
            rng: self.rng.clone(),
        }
    }

    /// Sends a request to a fresh endpoint.
    pub(crate) async fn send(&self, call: Call) -> Outcome {
        self.send_to(&self.endpoint().await, call).await
    }

    pub(crate) async fn send_to(&self, endpoint: &TokenEndpoint, call: Call) -> Outcome {
        let (parts, ()) = call.request.into_parts();
        endpoint.handle(&parts, call.body.as_bytes(), &call.peer, call.now).await
    }

    /// As a request whose body could not be read.
    pub(crate) async fn break_off(&self, call: Call, denial: Denial) -> Outcome {
        let (parts, ()) = call.request.into_parts();
        self.endpoint().await.refused(&parts, &call.peer, call.now, denial)
    }

    /// The reason of a refusal.
    pub(crate) async fn refused(&self, call: Call) -> ReasonCode {
        match self.send(call).await.result {
            Ok(_) => panic!("issued"),
            Err(denial) => denial.reason(),
        }
    }

    /// The token of a success, verified with the published keys.
    pub(crate) async fn token(&self, call: Call) -> VerifiedToken {
        let outcome = self.send(call).await;
        let response = outcome.result.unwrap_or_else(|denial| panic!("{denial}"));
        verify(response.access_token.expose(), self.keys.published().verification(), &Limits::default())
            .unwrap()
    }

    pub(crate) fn certificate(&self, client: &str) -> Arc<PeerCertificate> {
        self.authority.certificate_of(client)
    }

    /// `acme-pay` asks over its certificate, rightly.
    pub(crate) fn acme(&self) -> Call {
        Call::form("grant_type=client_credentials&client_id=acme-pay").over(self.certificate("acme-pay"))
    }

    /// `test-shop` asks with its secret in the header, rightly.
    pub(crate) fn shop(&self) -> Call {
        Call::form("grant_type=client_credentials").basic("test-shop", SECRET)
    }
}

pub(crate) fn client(id: &str, environment: Environment, auth_method: AuthMethod, scopes: &str) -> Client {
    Client {
        id: id.parse().unwrap(),
        environment,
        name: format!("{id} Ltd"),
        contacts: vec![],
        auth_method,
        scopes: scopes.parse().unwrap(),
        audiences: vec![],
        state: ClientState::Active,
        epoch: 1,
        created_at: NOW.plus_days(-1),
        updated_at: NOW.plus_days(-1),
    }
}

pub(crate) fn settings() -> Settings {
    let api = |name: &str, audience: &str, scopes: &[&str]| {
        let scopes = scopes.iter().map(|scope| (scope.parse().unwrap(), "…".to_owned())).collect();
        Arc::new(Api { name: name.into(), audience: audience.into(), scopes })
    };
    let apis =
        vec![api("bank", AUDIENCE, &["data:read", "pay:write"]), api("cards", "urn:cards", &["cards:read"])];
    let resource = |name: &str, scopes: &str, bound| ProtectedResource {
        name: name.into(),
        api: "bank".into(),
        scopes: scopes.parse().unwrap(),
        bound,
    };
    let resources = vec![resource("data", "data:read", true), resource("test-data", "data:read", false)];
    Settings::new(ISSUER.into(), apis, resources, 300, MutualTls::AtIssuer).unwrap()
}

pub(crate) fn metadata() -> Metadata {
    Metadata::new(&settings())
}

pub(crate) fn id(client: &str) -> ClientId {
    client.parse().unwrap()
}

/// A request under construction.
pub(crate) struct Call {
    request: Request<()>,
    body: String,
    peer: Peer,
    now: Timestamp,
}

impl Call {
    /// Whether the client uses the Authorization header.
    pub(crate) fn has_authorization(&self) -> bool {
        self.request.headers().contains_key(AUTHORIZATION)
    }

    pub(crate) fn form(body: &str) -> Self {
        let request = Request::post("/oauth2/token").header(CONTENT_TYPE, FORM).body(()).unwrap();
        let peer = Peer::new("192.0.2.7:4711".parse().unwrap(), None);
        Self { request, body: body.to_owned(), peer, now: NOW }
    }

    pub(crate) fn over(mut self, certificate: Arc<PeerCertificate>) -> Self {
        self.peer = Peer::new(self.peer.address(), Some(certificate));
        self
    }

    pub(crate) fn basic(mut self, id: &str, secret: &str) -> Self {
        let value = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        self.request.headers_mut().append(AUTHORIZATION, value.try_into().unwrap());
        self
    }

    pub(crate) fn and(mut self, more: &str) -> Self {
        self.body = format!("{}&{more}", self.body);
        self
    }

    pub(crate) fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        self.peer = Peer::new(address.parse().unwrap(), self.peer.certificate().cloned());
        self
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        *self.request.method_mut() = method.parse().unwrap();
        self
    }

    pub(crate) fn uri(mut self, uri: &str) -> Self {
        *self.request.uri_mut() = uri.parse().unwrap();
        self
    }

    pub(crate) fn content_type(mut self, value: Option<&str>) -> Self {
        self.request.headers_mut().remove(CONTENT_TYPE);
        if let Some(value) = value {
            self.request.headers_mut().insert(CONTENT_TYPE, value.try_into().unwrap());
        }
        self
    }
}

/// Header and claims of a token, unverified.
pub(crate) fn decoded(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}
