//! The header fields of a request and of an answer on their way (rules G9 and G12). First line: the method; then a field on
//! each.
//!
//! Whatever came in: of what says who calls, carries a secret, or belongs to one connection, there is in the end what a
//! request without any field would have there, and nothing else.
#![no_main]

use std::sync::{Arc, LazyLock};

use countersign_gateway::fuzzing::{for_client, for_upstream};
use countersign_model::certificate::RevocationReason;
use countersign_model::client::{
    AuthMethod, Client, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::{ClientId, CredentialId, Environment, ReasonCode, Rng, Secret, Serial, Timestamp};
use countersign_pki::PeerCertificate;
use countersign_policy::client_auth::{Pepper, ThrottleTable, secret};
use countersign_policy::decision::{InternalHeaders, RequestCredentials, TokenVerifier};
use countersign_policy::route::{Api, ClientCertificate, RouteSettings, RouteTable, TokenPolicy};
use countersign_policy::{ClientEntry, Peer, Permit, Policy, Registry, Route};
use countersign_token::{TokenError, VerifiedToken};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);

/// Of one connection only (RFC 9110 section 7.6.1), or what the framing of the next message is made of; as variables.
const CONNECTION: [&str; 12] = [
    "CONNECTION",
    "CONTENT_LENGTH",
    "EXPECT",
    "HOST",
    "HTTP2_SETTINGS",
    "KEEP_ALIVE",
    "PROXY_AUTHENTICATE",
    "PROXY_CONNECTION",
    "TE",
    "TRAILER",
    "TRANSFER_ENCODING",
    "UPGRADE",
];

/// Written down apart from the table that is judged: what an upstream may believe of a caller, as variables. One that ends
/// in `_` is a beginning.
const FOREIGN: &str = "\
    COUNTERSIGN COUNTERSIGN_ CLIENT_CERT CLIENT_CERT_CHAIN AUTHORIZATION PROXY_ DPOP FORWARDED FORWARDED_ X_FORWARDED \
    X_FORWARDED_ X_ORIGINAL_URL X_ORIGINAL_URI X_ORIGINAL_METHOD X_ORIGINAL_HOST X_REWRITE_ X_HTTP_METHOD X_HTTP_METHOD_ X_METHOD_OVERRIDE REMOTE_ X_REMOTE_ SSL_ X_SSL_ TLS_ X_TLS_ X_CLIENT_CERT \
    X_CLIENT_CERT_ X_CLIENT_DN X_CLIENT_IP CLIENT_IP TRUE_CLIENT_IP X_REAL_ X_CLUSTER_CLIENT_IP CF_ X_AMZN_OIDC_ \
    X_AMZN_MTLS_ X_AUTH_REQUEST_ X_GOOG_AUTHENTICATED_USER_ X_GOOG_IAP_ X_MS_CLIENT_PRINCIPAL X_MS_CLIENT_PRINCIPAL_ \
    X_MS_TOKEN_ X_ARR_ X_AUTHENTICATED_ X_CONSUMER_ X_CREDENTIAL_ X_ENVOY_ X_USERINFO X_ACCESS_TOKEN X_ID_TOKEN X_USER \
    X_USERNAME X_WEBAUTH_ X_AUTHENTIK_ X_POMERIUM_ IV_ SM_ OIDC_ MELLON_ SHIB_ L5D_ WL_PROXY_ CLIENT_ID CLIENT_SECRET \
    SCRIPT_ PATH_INFO PATH_TRANSLATED REQUEST_METHOD REQUEST_URI QUERY_STRING SERVER_ GATEWAY_INTERFACE DOCUMENT_ROOT REDIRECT_ \
    X_SCRIPT_NAME X_ACCEL_ X_SENDFILE X_SENDFILE_ X_MIDDLEWARE_SUBREQUEST X_INVOKE_ X_MATCHED_PATH X_REPLACED_PATH \
    X_REQUEST_URI X_METHOD X_REQUEST_METHOD X_PROXY_ MS_ASPNETCORE_ SSLCLIENTCERT SSLCLIENTCERTSUBJECT X_SSLCLIENTCERT \
    X_PROJECT_ID X_TENANT_ID X_DOMAIN_ID IMPERSONATE_ X_HASURA_ ES_SECURITY_RUNAS_USER X_SSO_ X_EMAIL X_SUBJECT X_JWT XFCC \
    X_VERIFIED_ X_AUTHORIZED_ X_TRUE_CLIENT_IP X_CLIENTIP X_PROXIEDENTITIESCHAIN X_AUTH_COUCHDB_ KUBEFLOW_ EAI_USER_ID \
    NSC_CLIENT_CERT NS_CLIENT_IP CDN_SRC_IP X_SCOPE X_SCOPES";

/// What servers with CGI variables make of a name: everything but letters and digits is one `_`, and `HTTP_` is set before.
fn variable(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> =
        upper.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let first = words.iter().position(|word| *word != "HTTP").unwrap_or(words.len().saturating_sub(1));
    words[first.min(words.len())..].join("_")
}

fn is_foreign(variable: &str) -> bool {
    CONNECTION.contains(&variable)
        || FOREIGN.split_whitespace().any(|foreign| {
            variable == foreign
                || (foreign.ends_with('_') && variable.len() > foreign.len() && variable.starts_with(foreign))
        })
}

struct Sevens;

impl Rng for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// Knows one client, which calls by the internal method: the shortest way to a permit.
struct One(Arc<ClientEntry>);

impl Registry for One {
    fn client(&self, _: &ClientId) -> Option<Arc<ClientEntry>> {
        Some(self.0.clone())
    }
    fn client_of_certificate(&self, _: &PeerCertificate) -> Option<ClientId> {
        None
    }
    fn revocation(&self, _: &[u8; 32], _: &Serial) -> Option<RevocationReason> {
        None
    }
}

impl TokenVerifier for One {
    fn verify(&self, _: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        panic!("no token is sent")
    }
}

static NAMES: LazyLock<InternalHeaders> = LazyLock::new(InternalHeaders::default);
static PERMIT: LazyLock<Permit> = LazyLock::new(permit);

fn permit() -> Permit {
    let id: ClientId = "test-shop".parse().expect("an id");
    let pepper = Pepper::new(&Secret::new([7; 32]));
    let client_secret = secret::generate(&Sevens);
    let client = Client {
        id: id.clone(),
        environment: Environment::Sandbox,
        name: String::new(),
        contacts: Vec::new(),
        auth_method: AuthMethod::ClientSecretBasic,
        scopes: "data:read".parse().expect("scopes"),
        audiences: Vec::new(),
        state: ClientState::Active,
        epoch: 1,
        created_at: NOW,
        updated_at: NOW,
    };
    let credential = Credential {
        id: CredentialId::generate(NOW, &Sevens),
        client: id,
        name: String::new(),
        kind: CredentialKind::Secret { hmac: secret::hmac(&pepper, client_secret.expose()) },
        state: CredentialState::Active,
        epoch: 1,
        not_before: Timestamp::from_unix_s(0),
        expires_at: None,
        created_at: NOW,
        last_used_at: None,
        uses: 0,
    };
    let one = One(Arc::new(ClientEntry { client, credentials: vec![credential] }));
    let scope = "data:read".parse().expect("a scope");
    let route = Route::new(RouteSettings {
        name: "test".into(),
        environment: Environment::Sandbox,
        api: Arc::new(Api {
            name: "bank".into(),
            audience: "https://a/".into(),
            scopes: [(scope, String::new())].into(),
        }),
        host: None,
        path: "/test/".into(),
        methods: None,
        upstream: "u".into(),
        upstream_path: None,
        client_certificate: ClientCertificate::Optional,
        token: TokenPolicy::Bearer,
        scopes: "data:read".parse().expect("scopes"),
        clients: None,
        internal: true,
        rate_limit: None,
        remove_headers: Vec::new(),
        allow_headers: Vec::new(),
    });
    let routes = RouteTable::new(vec![route.expect("a route")]).expect("routes");
    let mut headers = HeaderMap::new();
    headers.insert("client_id", HeaderValue::from_static("test-shop"));
    headers.insert("client_secret", HeaderValue::from_str(client_secret.expose()).expect("a value"));
    let throttle = ThrottleTable::default();
    let policy = Policy {
        issuer: "https://a",
        skew_s: 5,
        internal_headers: &NAMES,
        registry: &one,
        tokens: &one,
        pepper: &pepper,
        throttle: &throttle,
    };
    let matched = routes.find("a", &Method::GET, "/test/x").expect("a route");
    let request = RequestCredentials { headers: &headers, query: None };
    let permit = policy.decide(matched, &peer(), &request, NOW);
    permit.unwrap_or_else(|denial| panic!("no permit: {}", ReasonCode::as_str(denial.reason())))
}

fn peer() -> Peer {
    Peer::new("192.0.2.1:1".parse().expect("an address"), None)
}

/// What `Connection` names, however it is written: up to the 32 options that a request may have.
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all("connection").iter();
    let options = values.flat_map(|value| value.as_bytes().split(|&octet| octet == b','));
    let options = options.map(<[u8]>::trim_ascii).filter(|option| !option.is_empty()).take(32);
    let options: Vec<String> = options.map(|option| variable(&String::from_utf8_lossy(option))).collect();
    headers.keys().filter(|name| options.contains(&variable(name.as_str()))).cloned().collect()
}

fn assert_same(name: &HeaderName, left: &HeaderMap, right: &HeaderMap) {
    let values = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(values(left), values(right), "{name}");
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&octet| octet == b'\n');
    let method = lines.next().and_then(|line| Method::from_bytes(line).ok()).unwrap_or(Method::GET);
    let inbound = countersign_fuzz::header_fields(lines);
    let named = named(&inbound);

    let (mut ours, mut outbound) = (HeaderMap::new(), inbound.clone());
    for headers in [&mut ours, &mut outbound] {
        for_upstream(headers, &method, &PERMIT, peer(), &NAMES);
    }
    let foreign = |name: &HeaderName| is_foreign(&variable(name.as_str()));
    for name in outbound.keys().filter(|name| foreign(name)).chain(ours.keys()).chain(&named) {
        assert_same(name, &outbound, &ours);
    }

    let (mut ours, mut outbound) = (HeaderMap::new(), inbound);
    for headers in [&mut ours, &mut outbound] {
        for_client(headers);
    }
    let foreign = |name: &HeaderName| {
        // The length is the answer's own.
        let variable = variable(name.as_str());
        (CONNECTION.contains(&&*variable) && name != "content-length") || variable.starts_with("COUNTERSIGN_")
    };
    for name in outbound.keys().filter(|name| foreign(name)).chain(ours.keys()).chain(&named) {
        assert_same(name, &outbound, &ours);
    }
});
