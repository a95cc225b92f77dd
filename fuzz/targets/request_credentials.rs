//! The headers and the query of a request, through the whole decision. First line: the query; then a header on each.
//!
//! Nothing is registered and no token is signed by anybody we know: whatever is sent, there is no permit.
#![no_main]

use std::sync::{Arc, LazyLock};

use countersign_model::certificate::RevocationReason;
use countersign_model::{ClientId, Environment, Scopes, Secret, Serial, Timestamp};
use countersign_pki::PeerCertificate;
use countersign_policy::client_auth::{Pepper, ThrottleTable};
use countersign_policy::decision::{InternalHeaders, RequestCredentials, TokenVerifier};
use countersign_policy::route::{Api, ClientCertificate, RouteSettings, RouteTable, TokenPolicy};
use countersign_policy::{ClientEntry, Peer, Policy, Registry, Route};
use countersign_token::{Limits, TokenError, VerificationKeys, VerifiedToken, verify};
use http::Method;

struct Nothing;

impl Registry for Nothing {
    fn client(&self, _: &ClientId) -> Option<Arc<ClientEntry>> {
        None
    }
    fn client_of_certificate(&self, _: &PeerCertificate) -> Option<ClientId> {
        None
    }
    fn revocation(&self, _: &[u8; 32], _: &Serial) -> Option<RevocationReason> {
        None
    }
}

impl TokenVerifier for Nothing {
    fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        verify(token, &VerificationKeys::default(), &Limits::default()).map(Arc::new)
    }
}

/// One route in production, and one in the sandbox with the internal method.
static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| {
    let api = Arc::new(Api { name: "bank".into(), audience: "https://a/".into(), scopes: [].into() });
    let route = |name: &str, environment, token, client_certificate, internal| {
        Route::new(RouteSettings {
            name: name.into(),
            environment,
            api: api.clone(),
            host: None,
            path: format!("/{name}/"),
            methods: None,
            upstream: "u".into(),
            upstream_path: None,
            client_certificate,
            token,
            scopes: Scopes::default(),
            clients: None,
            internal,
            rate_limit: None,
            remove_headers: Vec::new(),
            allow_headers: Vec::new(),
        })
        .expect("a route")
    };
    let routes = vec![
        route("data", Environment::Production, TokenPolicy::Bound, ClientCertificate::Required, false),
        route("test", Environment::Sandbox, TokenPolicy::Bearer, ClientCertificate::Optional, true),
    ];
    RouteTable::new(routes).expect("routes")
});

static THROTTLE: LazyLock<ThrottleTable> = LazyLock::new(ThrottleTable::default);
static PEPPER: LazyLock<Pepper> = LazyLock::new(|| Pepper::new(&Secret::new([7; 32])));
static NAMES: LazyLock<InternalHeaders> = LazyLock::new(InternalHeaders::default);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&octet| octet == b'\n');
    let query = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let headers = countersign_fuzz::header_fields(lines);
    let policy = Policy {
        issuer: "https://a",
        skew_s: 5,
        internal_headers: &NAMES,
        registry: &Nothing,
        tokens: &Nothing,
        pepper: &PEPPER,
        throttle: &*THROTTLE,
    };
    let peer = Peer::new("192.0.2.1:1".parse().expect("an address"), None);
    let request = RequestCredentials { headers: &headers, query };
    for path in ["/data/x", "/test/x"] {
        let matched = ROUTES.find("a", &Method::GET, path).expect("a route");
        assert!(policy.decide(matched, &peer, &request, Timestamp::from_unix_s(1_800_000_000)).is_err());
    }
});
