//! A small world for the tests of this crate: clients, certificates, routes, really signed tokens, and a fixed present.

use crate::client_auth::{Pepper, ThrottleTable, secret};
use crate::decision::{InternalHeaders, Permit, Policy, RequestCredentials, TokenVerifier};
use crate::denial::Denial;
use crate::peer::{ClientEntry, Peer, Registry};
use crate::route::{Api, ClientCertificate, Route, RouteSettings, RouteTable, TokenPolicy};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_model::certificate::RevocationReason;
use countersign_model::client::{
    AuthMethod, CertificateMatcher, Client, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::{
    ClientId, CredentialId, Environment, KeyId, Rng, Secret, Serial, Thumbprint, Timestamp,
};
use countersign_pki::PeerCertificate;
use countersign_pki::peer::UnverifiedParts;
use countersign_token::{
    AccessTokenClaims, Jwk, JwkSet, Limits, TokenEpoch, TokenError, VerificationKeys, VerifiedToken, assemble,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);
pub(crate) const ISSUER: &str = "https://localhost:8443";
pub(crate) const AUDIENCE: &str = "https://localhost:8443/";
const CA: [u8; 32] = [7; 32];

/// Random enough for a test, and the same each time (splitmix64).
pub(crate) struct SeededRng(AtomicU64);

impl SeededRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Rng for SeededRng {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_be_bytes()[..chunk.len()]);
        }
    }
}

/// A valid route `/NAME/`: certificate required and token bound.
pub(crate) fn settings(name: &str, environment: Environment) -> RouteSettings {
    let scope = |name: &str| (name.parse().unwrap(), "What it means".to_owned());
    let scopes = [scope("data:read"), scope("pay:write")].into();
    RouteSettings {
        name: name.into(),
        environment,
        api: Arc::new(Api { name: "bank".into(), audience: AUDIENCE.into(), scopes }),
        host: None,
        path: format!("/{name}/"),
        methods: None,
        upstream: "core".into(),
        upstream_path: None,
        client_certificate: ClientCertificate::Required,
        token: TokenPolicy::Bound,
        scopes: "data:read".parse().unwrap(),
        clients: None,
        internal: false,
        rate_limit: None,
        remove_headers: Vec::new(),
        allow_headers: Vec::new(),
    }
}

/// What the registry knows; tests change it in place.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) clients: HashMap<ClientId, ClientEntry>,
    pub(crate) revoked: HashMap<Serial, RevocationReason>,
}

impl Registry for Mutex<Known> {
    fn client(&self, id: &ClientId) -> Option<Arc<ClientEntry>> {
        self.lock().unwrap().clients.get(id).cloned().map(Arc::new)
    }

    fn client_of_certificate(&self, certificate: &PeerCertificate) -> Option<ClientId> {
        let known = self.lock().unwrap();
        let named = |entry: &&ClientEntry| {
            entry.credentials.iter().any(|credential| match &credential.kind {
                CredentialKind::Certificate(CertificateMatcher::SanUri(uri)) => {
                    certificate.san_uris().contains(uri)
                }
                CredentialKind::Secret { .. } => false,
            })
        };
        known.clients.values().find(named).map(|entry| entry.client.id.clone())
    }

    fn revocation(&self, issuer_key_hash: &[u8; 32], serial: &Serial) -> Option<RevocationReason> {
        assert_eq!(issuer_key_hash, &CA);
        self.lock().unwrap().revoked.get(serial).copied()
    }
}

/// Verifies signatures, and keeps what it found, as the gateway's cache does.
pub(crate) struct CachingVerifier {
    keys: VerificationKeys,
    cache: Mutex<HashMap<String, Arc<VerifiedToken>>>,
    pub(crate) signatures: AtomicU64,
}

impl TokenVerifier for CachingVerifier {
    fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        let mut cache = self.cache.lock().unwrap();
        if let Some(known) = cache.get(token) {
            return Ok(Arc::clone(known));
        }
        self.signatures.fetch_add(1, Ordering::Relaxed);
        let verified = Arc::new(countersign_token::verify(token, &self.keys, &Limits::default())?);
        cache.insert(token.to_owned(), Arc::clone(&verified));
        Ok(verified)
    }
}

/// Everything that a decision asks, and who can ask for one.
pub(crate) struct World {
    pub(crate) known: Mutex<Known>,
    pub(crate) tokens: CachingVerifier,
    pub(crate) pepper: Pepper,
    pub(crate) throttle: ThrottleTable,
    pub(crate) internal_headers: InternalHeaders,
    pub(crate) routes: RouteTable,
    pub(crate) acme: Arc<PeerCertificate>,
    pub(crate) other: Arc<PeerCertificate>,
    pub(crate) sandbox: Arc<PeerCertificate>,
    pub(crate) stranger: Arc<PeerCertificate>,
    /// Of `test-shop`.
    pub(crate) secret: String,
    /// Of `prod-shop`.
    pub(crate) production_secret: String,
    signing_key: EcdsaKeyPair,
    key_id: KeyId,
}

impl World {
    pub(crate) fn new() -> Self {
        let rng = SeededRng::new(42);
        let pepper = Pepper::new(&Secret::new([9; 32]));
        let (shop, production) = (secret::generate(&rng), secret::generate(&rng));
        let signing_key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let spki = spki_of_p256(signing_key.public_key().as_ref());
        let jwk = Jwk::from_spki(&spki).unwrap();
        let key_id = jwk.thumbprint();
        let keys = VerificationKeys::from_jwks(&JwkSet::new(vec![jwk])).unwrap();
        let (sandbox, live) = (Environment::Sandbox, Environment::Production);
        let secret_of =
            |secret: &Secret<String>| CredentialKind::Secret { hmac: secret::hmac(&pepper, secret.expose()) };
        let clients = [
            client("acme-pay", live, AuthMethod::TlsClientAuth, uri("acme-pay"), 1),
            client("other-bank", live, AuthMethod::TlsClientAuth, uri("other-bank"), 2),
            client("test-shop", sandbox, AuthMethod::ClientSecretBasic, secret_of(&shop), 3),
            client("test-tls", sandbox, AuthMethod::TlsClientAuth, uri("test-tls"), 4),
            client("prod-shop", live, AuthMethod::ClientSecretPost, secret_of(&production), 5),
        ];
        let clients = clients.into_iter().map(|entry| (entry.client.id.clone(), entry)).collect();
        let known = Mutex::new(Known { clients, ..Known::default() });
        Self {
            known,
            tokens: CachingVerifier { keys, cache: Mutex::default(), signatures: AtomicU64::new(0) },
            throttle: ThrottleTable::default(),
            internal_headers: InternalHeaders::default(),
            routes: routes(),
            acme: certificate("acme-pay", 1),
            other: certificate("other-bank", 2),
            sandbox: certificate("test-tls", 3),
            stranger: certificate("nobody", 4),
            secret: shop.expose().clone(),
            production_secret: production.expose().clone(),
            pepper,
            signing_key,
            key_id,
        }
    }

    pub(crate) fn policy(&self) -> Policy<'_> {
        Policy {
            issuer: ISSUER,
            skew_s: 5,
            internal_headers: &self.internal_headers,
            registry: &self.known,
            tokens: &self.tokens,
            pepper: &self.pepper,
            throttle: &self.throttle,
        }
    }

    pub(crate) fn peer(&self, certificate: Option<&Arc<PeerCertificate>>) -> Peer {
        Peer::new("192.0.2.7:4711".parse().unwrap(), certificate.map(Arc::clone))
    }

    /// Decides about a GET of `/ROUTE/x`.
    pub(crate) fn decide(
        &self,
        route: &str,
        peer: &Peer,
        headers: &[(&str, &str)],
    ) -> Result<Permit, Denial> {
        self.decide_at(NOW, route, None, peer, headers)
    }

    pub(crate) fn decide_at(
        &self,
        now: Timestamp,
        route: &str,
        query: Option<&str>,
        peer: &Peer,
        headers: &[(&str, &str)],
    ) -> Result<Permit, Denial> {
        let headers = header_map(headers);
        let matched = self.routes.find("localhost", &Method::GET, &format!("/{route}/x"))?;
        self.policy().decide(matched, peer, &RequestCredentials { headers: &headers, query }, now)
    }

    pub(crate) fn change(&self, client: &str, change: impl FnOnce(&mut ClientEntry)) {
        change(self.known.lock().unwrap().clients.get_mut(&client.parse().unwrap()).unwrap());
    }

    pub(crate) fn bearer(&self, token: &str) -> String {
        format!("Bearer {token}")
    }

    /// The claims of a token of `client`, bound to `bound_to`.
    pub(crate) fn claims(&self, client: &str, bound_to: Option<Thumbprint>) -> AccessTokenClaims {
        let known = self.known.lock().unwrap();
        let entry = &known.clients[&client.parse().unwrap()];
        AccessTokenClaims {
            issuer: ISSUER.into(),
            audience: AUDIENCE.into(),
            client_id: entry.client.id.clone(),
            token_id: format!("jti-{client}"),
            scopes: "data:read".parse().unwrap(),
            issued_at: NOW.plus_s(-10),
            expires_at: NOW.plus_s(290),
            environment: entry.client.environment,
            credential: entry.credentials[0].id,
            epoch: TokenEpoch { client: entry.client.epoch, credential: entry.credentials[0].epoch },
            confirmation: bound_to,
        }
    }

    pub(crate) fn sign(&self, claims: &AccessTokenClaims) -> String {
        self.sign_input(claims.signing_input(&self.key_id))
    }

    pub(crate) fn sign_input(&self, input: String) -> String {
        let signature = self.signing_key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        assemble(input, signature.as_ref())
    }

    pub(crate) fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The first credential of `client`.
    pub(crate) fn credential_of(&self, client: &str) -> Credential {
        self.known.lock().unwrap().clients[&client.parse().unwrap()].credentials[0].clone()
    }

    /// A good token of `acme-pay`, bound to its certificate.
    pub(crate) fn token_of_acme(&self) -> String {
        self.sign(&self.claims("acme-pay", Some(*self.acme.thumbprint())))
    }

    /// A good token of `client` that is bound to nothing.
    pub(crate) fn unbound_token(&self, client: &str) -> String {
        self.sign(&self.claims(client, None))
    }
}

pub(crate) fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    headers
        .iter()
        .map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect()
}

fn routes() -> RouteTable {
    use {ClientCertificate as C, Environment as E, TokenPolicy as T};
    let route = |name: &str, environment, client_certificate, token, change: fn(&mut RouteSettings)| {
        let mut settings = settings(name, environment);
        (settings.client_certificate, settings.token) = (client_certificate, token);
        change(&mut settings);
        Route::new(settings).unwrap()
    };
    RouteTable::new(vec![
        route("data", E::Production, C::Required, T::Bound, |_| {}),
        route("pay", E::Production, C::Required, T::Bound, |settings| {
            settings.scopes = "pay:write".parse().unwrap()
        }),
        route("soft", E::Production, C::Optional, T::Bound, |_| {}),
        route("open", E::Production, C::Optional, T::Bearer, |_| {}),
        route("plain", E::Production, C::Off, T::Bearer, |_| {}),
        route("bank-only", E::Production, C::Optional, T::Bearer, |settings| {
            settings.clients = Some(vec!["other-bank".parse().unwrap()]);
        }),
        route("test-data", E::Sandbox, C::Optional, T::Bearer, |settings| settings.internal = true),
        route("test-strict", E::Sandbox, C::Required, T::Bound, |settings| settings.internal = true),
        route("test-closed", E::Sandbox, C::Optional, T::Bearer, |_| {}),
    ])
    .unwrap()
}

fn uri_of(client: &str) -> String {
    format!("{ISSUER}/clients/{client}")
}

fn uri(client: &str) -> CredentialKind {
    CredentialKind::Certificate(CertificateMatcher::SanUri(uri_of(client)))
}

fn client(
    name: &str,
    environment: Environment,
    auth_method: AuthMethod,
    kind: CredentialKind,
    n: u64,
) -> ClientEntry {
    let id: ClientId = name.parse().unwrap();
    let made_at = NOW.plus_days(-10);
    let credential = Credential {
        id: CredentialId::generate(made_at, &SeededRng::new(n)),
        client: id.clone(),
        name: "first".into(),
        kind,
        state: CredentialState::Active,
        epoch: 3,
        not_before: made_at,
        expires_at: None,
        created_at: made_at,
        last_used_at: None,
        uses: 0,
    };
    let client = Client {
        id,
        environment,
        name: name.to_uppercase(),
        contacts: vec![],
        auth_method,
        scopes: "data:read".parse().unwrap(),
        audiences: vec![],
        state: ClientState::Active,
        epoch: 5,
        created_at: made_at,
        updated_at: made_at,
    };
    ClientEntry { client, credentials: vec![credential] }
}

fn certificate(client: &str, serial: u8) -> Arc<PeerCertificate> {
    Arc::new(PeerCertificate::danger_unverified(UnverifiedParts {
        der: format!("certificate {serial} of {client}").into_bytes(),
        serial: Serial::from_octets(&[serial]).unwrap(),
        issuer_key_hash: CA,
        subject: format!("CN={client}"),
        san_uris: vec![uri_of(client)],
        not_before: NOW.plus_days(-1),
        not_after: NOW.plus_days(29),
    }))
}

/// RFC 5480 section 2: the fixed beginning of a P-256 SubjectPublicKeyInfo, and the point.
fn spki_of_p256(point: &[u8]) -> Vec<u8> {
    let head = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    [&head, point].concat()
}
