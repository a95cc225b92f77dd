//! A token request: its form, the credentials in form and header, and what is granted for it. First line: Authorization; the
//! rest: the body.
//!
//! What is granted belongs to one API, and is registered for the client.
#![no_main]

use std::sync::{Arc, LazyLock};

use countersign_model::client::{AuthMethod, Client, ClientState};
use countersign_model::{Environment, Timestamp};
use countersign_oauth::grant::grant;
use countersign_oauth::request::TokenRequest;
use countersign_oauth::{MutualTls, Settings};
use countersign_policy::client_auth::Presented;
use countersign_policy::route::Api;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let api = |name: &str, scopes: &[&str]| {
        let scopes = scopes.iter().map(|scope| (scope.parse().expect("a scope"), String::new())).collect();
        Arc::new(Api { name: name.into(), audience: format!("https://a/{name}"), scopes })
    };
    let apis =
        vec![api("bank", &["data:read", "pay:write"]), api("cards", &["cards:read"]), api("ops", &["ops"])];
    Settings::new("https://a".into(), apis, Vec::new(), 300, MutualTls::Off).expect("settings")
});

/// One that may address every API with some of its scopes, and one that may address a single one.
static CLIENTS: LazyLock<[Client; 2]> = LazyLock::new(|| {
    [&[][..], &["https://a/bank"]].map(|audiences: &[&str]| Client {
        id: "acme-pay".parse().expect("an id"),
        environment: Environment::Production,
        name: String::new(),
        contacts: Vec::new(),
        auth_method: AuthMethod::TlsClientAuth,
        scopes: "data:read cards:read".parse().expect("scopes"),
        audiences: audiences.iter().map(|&audience| audience.to_owned()).collect(),
        state: ClientState::Active,
        epoch: 1,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
    })
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&octet| octet == b'\n').unwrap_or(0);
    let (authorization, body) = data.split_at(end);
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let mut request = Request::post("/oauth2/token");
    request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if !authorization.is_empty() {
        let Ok(value) = HeaderValue::from_bytes(authorization) else { return };
        request = request.header(AUTHORIZATION, value);
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let Ok(token_request) = TokenRequest::parse(&parts, body) else { return };
    let _ = Presented::at_endpoint(&parts.headers, &token_request.client_form());
    for client in &*CLIENTS {
        let scope = token_request.scope.as_deref();
        let Ok(granted) = grant(client, scope, &token_request.resources, &SETTINGS) else { continue };
        assert!(granted.scopes.iter().count() > 0 && client.scopes.covers(&granted.scopes));
        assert!(granted.scopes.iter().all(|scope| granted.api.scopes.contains_key(scope)));
        assert!(client.audiences.is_empty() || client.audiences.contains(&granted.api.audience));
        assert!(token_request.resources.iter().all(|resource| {
            SETTINGS.api_of_resource(resource).is_some_and(|api| api.audience == granted.api.audience)
        }));
    }
});
