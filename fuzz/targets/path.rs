//! Path and Host of a request. First line: the host; the rest: the path.
//!
//! What matches a route must mean the same path to the upstream, however it decodes: no dot segment, no encoded slash.
#![no_main]

use std::sync::{Arc, LazyLock};

use countersign_model::{Environment, Scopes};
use countersign_policy::Route;
use countersign_policy::route::{
    Api, ClientCertificate, RouteSettings, RouteTable, TokenPolicy, check_path, host_name,
};
use http::Method;
use http::uri::PathAndQuery;

static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| {
    let api = Arc::new(Api { name: "bank".into(), audience: "https://a/".into(), scopes: [].into() });
    let route = |name: &str, host: Option<&str>, path: &str| {
        Route::new(RouteSettings {
            name: name.into(),
            environment: Environment::Production,
            api: api.clone(),
            host: host.map(str::to_owned),
            path: path.into(),
            methods: None,
            upstream: "u".into(),
            upstream_path: Some("/inner/".into()),
            client_certificate: ClientCertificate::Required,
            token: TokenPolicy::Bound,
            scopes: Scopes::default(),
            clients: None,
            internal: false,
            rate_limit: None,
            remove_headers: Vec::new(),
            allow_headers: Vec::new(),
        })
        .expect("a route")
    };
    let routes = vec![
        route("data", None, "/data/"),
        route("deep", None, "/data/deep/"),
        route("host", Some("api.example"), "/data/"),
    ];
    RouteTable::new(routes).expect("routes")
});

libfuzzer_sys::fuzz_target!(|data: &str| {
    let (authority, path) = data.split_once('\n').unwrap_or(("api.example", data));
    // Nothing else reaches the routes: hyper reads the target with this very parser.
    let Ok(path_and_query) = path.parse::<PathAndQuery>() else { return };
    let path = path_and_query.path();
    let host = host_name(authority);
    if let Ok(host) = &host {
        assert!(!host.bytes().any(|octet| octet.is_ascii_uppercase() || octet == b'@' || octet == b'/'));
    }
    let Ok(matched) = ROUTES.find(host.as_deref().unwrap_or("other"), &Method::GET, path) else { return };
    check_path(path).expect("only an unambiguous path matches");
    let prefix = matched.route().path();
    assert!(path.starts_with(prefix) || Some(path) == prefix.strip_suffix('/'));
    let target = matched.route().upstream_target(path, None).expect("the route's own path");
    assert!(target.starts_with("/inner/") || target == "/inner");
    let lower = target.to_ascii_lowercase();
    for trick in ["/../", "/./", "//", "%2f", "%2e", "%5c", "%00", "\\", ";", "?", "#"] {
        assert!(!lower.contains(trick), "{target} has {trick}");
    }
    assert!(!lower.ends_with("/..") && !lower.ends_with("/."));
    target.parse::<http::Uri>().expect("the upstream's target is a URI");
});
