//! A gateway with its partners, routes and upstreams.

use crate::client::{Dial, Raw};
use crate::pki::{Authority, Flaw, Identity, OneCertificate};
use crate::upstream::{self, Counts};
use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_audit::{AuditLog, Head, HeadStore, HeadStoreError, LogSettings, Recorder, RecorderSettings};
use countersign_gateway::body::RequestBodyError;
use countersign_gateway::essential_tasks::EssentialTasks;
use countersign_gateway::local::LocalBody;
use countersign_gateway::resolve::{Resolve, SystemResolver};
use countersign_gateway::{
    ClientCertificateRequest, Cut, Descriptors, Gateway, Limits, ListenerSettings, LocalFuture, LocalPaths,
    LocalRequest, LocalService, Networks, Running, Settings, Snapshot, StartError, Upstream,
};
use countersign_model::certificate::RevocationReason;
use countersign_model::client::{
    AuthMethod, CertificateMatcher, Client, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::{
    ClientId, Clock, CredentialId, Environment, KeyId, Rng, Secret, Serial, Thumbprint, Timestamp,
};
use countersign_pki::{PeerCertificate, validate_client};
use countersign_policy::client_auth::{Pepper, ThrottleTable, secret};
use countersign_policy::decision::InternalHeaders;
use countersign_policy::rate_limit::Limit;
use countersign_policy::route::{Api, ClientCertificate, RouteSettings, TokenPolicy, TrustConfigurations};
use countersign_policy::{ClientEntry, Registry, Route, RouteTable};
use countersign_storage::usage::Usage;
use countersign_token::{AccessTokenClaims, Jwk, JwkSet, TokenEpoch, VerificationKeys, assemble};
use http_body_util::{BodyExt, Full};
use rustls::RootCertStore;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000); // 2027-01-15
pub(crate) const ISSUER: &str = "https://localhost:8443";

/// Until a connection that is cut has ended: less than a second is the promise (rule G14); another one is for a busy machine.
pub(crate) const CUT: Duration = Duration::from_secs(2);

/// Long enough for anything that happens by itself within a second.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What a test may change before the gateway starts.
pub(crate) struct Options {
    pub(crate) limits: Limits,
    pub(crate) balancers: Networks,
    pub(crate) client_certificate: ClientCertificateRequest,
    pub(crate) trust: TrustConfigurations,
    pub(crate) response_timeout: Duration,
    pub(crate) workers: usize,
    pub(crate) descriptors: Descriptors,
    pub(crate) resolver: Arc<dyn Resolve>,
    /// Upstreams beside the usual ones; each has a route of its name.
    pub(crate) upstreams: Vec<Upstream>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            balancers: Networks::default(),
            client_certificate: ClientCertificateRequest::Optional,
            trust: TrustConfigurations::default(),
            response_timeout: Duration::from_secs(30),
            workers: 2,
            descriptors: Descriptors::UNLIMITED,
            resolver: Arc::new(SystemResolver),
            upstreams: Vec::new(),
        }
    }
}

pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) registry: Arc<Known>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) upstream: Arc<Counts>,
    pub(crate) usage: Arc<Usage>,
    pub(crate) recorder: Recorder,
    pub(crate) clients_ca: Authority,
    pub(crate) acme: Identity,
    pub(crate) other: Identity,
    pub(crate) secret: String,
    pub(crate) anchors: Arc<ArcSwap<countersign_pki::TrustAnchors>>,
    pub(crate) token_keys: Arc<ArcSwap<VerificationKeys>>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    settings: Settings,
    servers_ca: Authority,
    signer: TokenSigner,
    audit: tempfile::TempDir,
}

/// What the registry knows; tests change it in place.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) clients: Mutex<HashMap<ClientId, ClientEntry>>,
    pub(crate) revoked: Mutex<HashMap<([u8; 32], Serial), RevocationReason>>,
    /// How long ago it heard of changes.
    pub(crate) age_s: AtomicI64,
}

impl Registry for Known {
    fn client(&self, id: &ClientId) -> Option<Arc<ClientEntry>> {
        self.clients.lock().unwrap().get(id).cloned().map(Arc::new)
    }

    fn client_of_certificate(&self, certificate: &PeerCertificate) -> Option<ClientId> {
        let clients = self.clients.lock().unwrap();
        let named = |entry: &&ClientEntry| {
            entry.credentials.iter().any(|credential| match &credential.kind {
                CredentialKind::Certificate(CertificateMatcher::SanUri(uri)) => {
                    certificate.san_uris().contains(uri)
                }
                CredentialKind::Secret { .. } => false,
            })
        };
        clients.values().find(named).map(|entry| entry.client.id.clone())
    }

    fn revocation(&self, issuer_key_hash: &[u8; 32], serial: &Serial) -> Option<RevocationReason> {
        self.revoked.lock().unwrap().get(&(*issuer_key_hash, *serial)).copied()
    }

    fn age(&self, _now: Timestamp, _instant: Instant) -> Duration {
        Duration::from_secs(self.age_s.load(Ordering::SeqCst).unsigned_abs())
    }
}

#[derive(Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance_s(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        NOW.plus_s(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).unwrap();
    }
}

struct NoHeads;

#[async_trait::async_trait]
impl HeadStore for NoHeads {
    async fn save_head(&self, _head: Head) -> Result<(), HeadStoreError> {
        Ok(())
    }
}

/// Answers with the path and the body's length, or what was wrong with the body.
struct Local;

impl LocalService for Local {
    fn call(&self, request: LocalRequest) -> LocalFuture {
        Box::pin(async move {
            let path = request.request.uri().path().to_owned();
            let read = request.request.into_body().collect().await;
            if path == "/oauth2/refusing"
                && let Err(RequestBodyError::Refused(reason)) = &read
            {
                let body: LocalBody = Full::new(format!("refused: {reason}").into())
                    .map_err(|never| match never {})
                    .boxed_unsync();
                return http::Response::builder()
                    .status(413)
                    .header("countersign-ref", "R")
                    .body(body)
                    .unwrap();
            }
            let text = match read {
                Ok(body) => format!("local {path} {}", body.to_bytes().len()),
                Err(error) => format!("local {path} {error}"),
            };
            let body: LocalBody = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
            http::Response::new(body)
        })
    }
}

/// Signs tokens as the authorization server would.
pub(crate) struct TokenSigner {
    key: EcdsaKeyPair,
    id: KeyId,
    jwk: Jwk,
}

impl TokenSigner {
    pub(crate) fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let spki =
            aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(key.public_key())
                .unwrap();
        let jwk = Jwk::from_spki(spki.as_ref()).unwrap();
        Self { key, id: KeyId(jwk.key_id().unwrap().to_owned()), jwk }
    }

    pub(crate) fn keys(&self) -> VerificationKeys {
        VerificationKeys::from_jwks(&JwkSet::new(vec![self.jwk.clone()])).unwrap()
    }

    fn sign(&self, claims: &AccessTokenClaims) -> String {
        let input = claims.signing_input(&self.id);
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        assemble(input, signature.as_ref())
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        crate::observed::metrics(); // before any handle is taken
        let (clients_ca, servers_ca) = (Authority::new("clients"), Authority::new("servers"));
        let signer = TokenSigner::new();
        let clock = Arc::new(TestClock::default());
        let pepper = Pepper::new(&Secret::new([7; 32]));
        let registry = Arc::new(Known::default());
        let client_secret = secret::generate(&SystemRng).expose().clone();
        {
            let mut clients = registry.clients.lock().unwrap();
            for id in ["acme-pay", "other-bank"] {
                let kind = CredentialKind::Certificate(CertificateMatcher::SanUri(uri(id)));
                clients.insert(id.parse().unwrap(), entry(id, Environment::Production, kind));
            }
            let kind = CredentialKind::Secret { hmac: secret::hmac(&pepper, &client_secret) };
            clients.insert("test-shop".parse().unwrap(), entry("test-shop", Environment::Sandbox, kind));
        }
        let (address, upstream) = upstream::echo().await;
        let mut upstreams = HashMap::default();
        let closed = {
            let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            socket.local_addr().unwrap()
        };
        for (name, address) in [
            ("core", address),
            ("down", closed),
            ("silent", upstream::canned(b"").await),
            ("garbage", upstream::canned(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await),
            ("short", upstream::canned(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await),
            (
                "twofold",
                upstream::canned(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")
                    .await,
            ),
            (
                "ambiguous",
                upstream::canned(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                )
                .await,
            ),
            ("coded", upstream::canned(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nab").await),
            (
                "upgrader",
                upstream::canned(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
                    .await,
            ),
            ("listed", upstream::canned(b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab").await),
            (
                "twice",
                upstream::canned(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab")
                    .await,
            ),
            ("lengthy", upstream::canned(b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n").await),
            ("closing", upstream::canned(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await),
            (
                "early",
                upstream::canned(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await,
            ),
        ] {
            let mut upstream = Upstream::new(name, &format!("http://{address}")).unwrap();
            upstream.response_timeout = options.response_timeout;
            upstreams.insert(name.to_owned(), Arc::new(upstream));
        }
        for upstream in options.upstreams {
            upstreams.insert(upstream.name.clone(), Arc::new(upstream));
        }
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot {
            routes: routes(upstreams.keys()),
            upstreams,
            limits: options.limits,
            balancers: options.balancers,
            internal_headers: InternalHeaders::default(),
        }));
        let anchors = Arc::new(ArcSwap::from_pointee(clients_ca.anchors()));
        let token_keys = Arc::new(ArcSwap::from_pointee(signer.keys()));
        let audit = tempfile::tempdir().unwrap();
        let log = AuditLog::open(audit.path(), LogSettings::default(), None, NOW, &SystemRng).unwrap();
        let recorder = Recorder::start(
            log,
            RecorderSettings::default(),
            Arc::new(NoHeads),
            clock.clone(),
            Arc::new(SystemRng),
            &tokio::runtime::Handle::current(),
        )
        .unwrap();
        let usage = Arc::new(Usage::default());
        let settings = Settings {
            listeners: vec![
                ListenerSettings {
                    name: "public".into(),
                    address: "127.0.0.1:0".parse().unwrap(),
                    certificate: Some(Arc::new(OneCertificate::new(&servers_ca.server()))),
                    client_certificate: options.client_certificate,
                    operators: false,
                    routes: true,
                    local: LocalPaths::Prefixes(vec!["/oauth2/", "/problems/"]),
                    trust: Arc::new(ArcSwap::from_pointee(options.trust)),
                },
                ListenerSettings {
                    name: "documents".into(),
                    address: "127.0.0.1:0".parse().unwrap(),
                    certificate: None,
                    client_certificate: ClientCertificateRequest::Off,
                    operators: false,
                    routes: false,
                    local: LocalPaths::Prefixes(vec!["/pki/"]),
                    trust: Arc::default(),
                },
                ListenerSettings {
                    name: "operators".into(),
                    address: "127.0.0.1:0".parse().unwrap(),
                    certificate: None,
                    client_certificate: ClientCertificateRequest::Off,
                    operators: true,
                    routes: false,
                    local: LocalPaths::All,
                    trust: Arc::default(),
                },
            ],
            workers: options.workers,
            descriptors: options.descriptors,
            issuer: ISSUER.into(),
            snapshot: snapshot.clone(),
            anchors: anchors.clone(),
            token_keys: token_keys.clone(),
            registry: registry.clone(),
            pepper: Arc::new(pepper),
            throttle: Arc::new(ThrottleTable::default()),
            usage: usage.clone(),
            recorder: recorder.clone(),
            clock: clock.clone(),
            rng: Arc::new(SystemRng),
            essential_tasks: EssentialTasks::default(),
            resolver: options.resolver,
            local: Arc::new(Local),
        };
        let running = Gateway::start(settings.clone()).unwrap();
        let (acme, other) = (
            clients_ca.client(&uri("acme-pay"), Flaw::None),
            clients_ca.client(&uri("other-bank"), Flaw::None),
        );
        Self {
            running,
            registry,
            clock,
            upstream,
            usage,
            recorder,
            clients_ca,
            acme,
            other,
            secret: client_secret,
            anchors,
            token_keys,
            snapshot,
            settings,
            servers_ca,
            signer,
            audit,
        }
    }

    /// Starts a second gateway on an address.
    pub(crate) fn start_another(&self, address: SocketAddr) -> Result<Running, StartError> {
        let mut settings = self.settings.clone();
        settings.listeners.truncate(1);
        settings.listeners[0].address = address;
        Gateway::start(settings)
    }

    pub(crate) fn dial(&self, identity: Option<&Identity>) -> Dial {
        let mut roots = RootCertStore::empty();
        roots.add(self.servers_ca.certificate.clone()).unwrap();
        Dial {
            address: self.running.local_addr("public").unwrap(),
            roots,
            identity: identity.cloned(),
            sni: "localhost",
            alpn: vec!["http/1.1"],
            tls12: false,
            resumption: false,
        }
    }

    pub(crate) async fn connect(&self, identity: Option<&Identity>) -> Raw {
        self.dial(identity).raw().await
    }

    /// A connection of acme-pay, and a token bound to its certificate.
    pub(crate) async fn acme(&self) -> (Raw, String) {
        (self.connect(Some(&self.acme)).await, self.token("acme-pay", Some(&self.acme)))
    }

    pub(crate) fn claims(&self, client: &str, bound_to: Option<&Identity>) -> AccessTokenClaims {
        let id: ClientId = client.parse().unwrap();
        let entry = self.registry.client(&id).unwrap();
        AccessTokenClaims {
            issuer: ISSUER.into(),
            audience: format!("{ISSUER}/"),
            client_id: id,
            token_id: format!("{:?}", CredentialId::generate(NOW, &SystemRng)),
            scopes: "data:read".parse().unwrap(),
            issued_at: NOW,
            expires_at: NOW.plus_s(300),
            environment: entry.client.environment,
            credential: entry.credentials[0].id,
            epoch: TokenEpoch { client: entry.client.epoch, credential: entry.credentials[0].epoch },
            confirmation: bound_to.map(thumbprint),
        }
    }

    pub(crate) fn sign(&self, claims: &AccessTokenClaims) -> String {
        self.signer.sign(claims)
    }

    pub(crate) fn token(&self, client: &str, bound_to: Option<&Identity>) -> String {
        self.sign(&self.claims(client, bound_to))
    }

    /// Revokes a certificate; what is returned cuts its connections.
    pub(crate) fn revoke(&self, identity: &Identity) -> Cut {
        let certificate = validate_client(&identity.chain[0], &self.anchors.load(), NOW).unwrap();
        let (issuer_key_hash, serial) = (*certificate.issuer_key_hash(), *certificate.serial());
        let mut revoked = self.registry.revoked.lock().unwrap();
        revoked.insert((issuer_key_hash, serial), RevocationReason::KeyCompromise);
        Cut::Certificate { issuer_key_hash, serial }
    }

    /// The audit log once it has `text`, or after a thousand looks: an alert is out before its record is written.
    pub(crate) async fn audit_log_with(&self, text: &str) -> String {
        for _ in 0..1000 {
            let log = self.audit_log().await;
            if log.contains(text) {
                return log;
            }
        }
        self.audit_log().await
    }

    /// What the audit log holds by now.
    /// Waits for the record that has all these words: what happens below a request is recorded after its peer has seen it.
    pub(crate) async fn recorded(&self, words: &[&str]) {
        let says = async {
            loop {
                let log = self.audit_log().await;
                if log.lines().any(|line| words.iter().all(|word| line.contains(word))) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(SOON, says).await.is_err() {
            panic!("{words:?} is not recorded in\n{}", self.audit_log().await);
        }
    }

    pub(crate) async fn audit_log(&self) -> String {
        self.recorder.flush().await.unwrap();
        let mut text = String::new();
        for entry in std::fs::read_dir(self.audit.path()).unwrap() {
            text += &std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        }
        text
    }
}

/// A request line with token and Host.
pub(crate) fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

pub(crate) fn uri(client: &str) -> String {
    format!("{ISSUER}/clients/{client}")
}

pub(crate) fn thumbprint(identity: &Identity) -> Thumbprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &identity.chain[0]);
    Thumbprint(digest.as_ref().try_into().unwrap())
}

fn entry(id: &str, environment: Environment, kind: CredentialKind) -> ClientEntry {
    let client: ClientId = id.parse().unwrap();
    let auth_method = match kind {
        CredentialKind::Secret { .. } => AuthMethod::ClientSecretBasic,
        CredentialKind::Certificate(_) => AuthMethod::TlsClientAuth,
    };
    ClientEntry {
        client: Client {
            id: client.clone(),
            environment,
            name: id.into(),
            contacts: Vec::new(),
            auth_method,
            scopes: "data:read".parse().unwrap(),
            audiences: Vec::new(),
            state: ClientState::Active,
            epoch: 1,
            created_at: NOW,
            updated_at: NOW,
        },
        credentials: vec![Credential {
            id: CredentialId::generate(NOW, &SystemRng),
            client,
            name: "first".into(),
            kind,
            state: CredentialState::Active,
            epoch: 1,
            not_before: Timestamp::from_unix_s(0),
            expires_at: None,
            created_at: NOW,
            last_used_at: None,
            uses: 0,
        }],
    }
}

/// One route for each upstream, named after it (`core` is `data`), and some with other policies.
fn routes<'a>(upstreams: impl Iterator<Item = &'a String>) -> RouteTable {
    let mut routes: Vec<RouteSettings> = upstreams
        .map(|upstream| {
            route(if upstream == "core" { "data" } else { upstream }, upstream, Environment::Production)
        })
        .collect();
    let mut open = route("open", "core", Environment::Production);
    (open.client_certificate, open.token) = (ClientCertificate::Off, TokenPolicy::Bearer);
    let mut test = route("test", "core", Environment::Sandbox);
    (test.client_certificate, test.token, test.internal) =
        (ClientCertificate::Optional, TokenPolicy::Bearer, true);
    let mut pay = route("pay", "core", Environment::Production);
    pay.scopes = "pay:write".parse().unwrap();
    let mut limited = route("limited", "core", Environment::Production);
    let two = NonZeroU32::new(2).unwrap();
    limited.rate_limit = Some(Limit::new(NonZeroU32::MIN, Duration::from_secs(3600), two).unwrap());
    let mut reading = route("reading", "core", Environment::Production);
    reading.methods = Some(vec!["GET".into()]);
    let mut allowing = route("allowing", "core", Environment::Production);
    allowing.allow_headers = vec!["x-user-*".into(), "x-ssl-client-verify".into()];
    allowing.remove_headers = vec!["x-acme-*".into()];
    routes.extend([open, test, pay, limited, reading, allowing]);
    RouteTable::new(routes.into_iter().map(|route| Route::new(route).unwrap()).collect()).unwrap()
}

fn route(name: &str, upstream: &str, environment: Environment) -> RouteSettings {
    let scope = |name: &str| (name.parse().unwrap(), String::new());
    RouteSettings {
        name: name.into(),
        environment,
        api: Arc::new(Api {
            name: "bank".into(),
            audience: format!("{ISSUER}/"),
            scopes: [scope("data:read"), scope("pay:write")].into(),
        }),
        host: None,
        path: format!("/{name}/"),
        methods: None,
        upstream: upstream.into(),
        upstream_path: Some("/".into()),
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
