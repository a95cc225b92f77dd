//! Requests as attackers and broken programs send them, and what of them reaches the upstream (rules G8, G9, G12 and G15).
//! The corpus of framings is the gateway crate's; here is one of each class through the whole server.

use countersign_model::ReasonCode;
use countersign_testkit::server::ISSUER;
use countersign_testkit::{Answer, Identity, TestServer, upstream};
use http::Method;
use serde_json::json;
use std::net::IpAddr;
use tokio::io::AsyncReadExt;

/// A server, a client with its certificate, and a token of it.
struct World {
    server: TestServer,
    acme: Identity,
    token: String,
}

impl World {
    async fn start_with(more: &str) -> Self {
        let server = TestServer::start_with(more).await;
        server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
        let acme = server.certificate("acme-pay").await;
        let token = server.bound_token("acme-pay", &acme).await;
        Self { server, acme, token }
    }

    async fn call(&self, path: &str) -> Answer {
        self.server.call(Some(&self.acme), path, &self.token).await
    }

    /// Sends bytes on a connection of its own; `TOKEN` stands for the token. The refusal must be announced as the end.
    async fn refused(&self, bytes: &str, status: u16, code: &str) {
        let shown: String = bytes.chars().take(100).collect();
        let mut raw = self.server.caller(Some(&self.acme)).raw().await.unwrap();
        let answer = raw.call(bytes.replace("TOKEN", &self.token)).await;
        assert_eq!((answer.status, answer.code().as_deref()), (status, Some(code)), "{shown:?}");
        assert_eq!(answer.header("connection"), "close", "{shown:?}");
        assert_eq!(self.server.explanation(&answer).await["reason"], code, "{shown:?}");
        assert!(raw.is_closed().await, "{shown:?}");
    }
}

const AUTH: &str = "Host: localhost\r\nAuthorization: Bearer TOKEN\r\n";

#[tokio::test]
async fn rule_g12_ambiguous_framing_is_refused_and_nothing_is_smuggled() {
    let world = World::start_with("").await;
    let smuggled = format!("GET /data/smuggled HTTP/1.1\r\n{AUTH}\r\n");
    for (head, status, code) in [
        // CL.TE, TE.CL, TE.TE and CL.CL of the literature.
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400, "request_framing_ambiguous"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400, "request_framing_ambiguous"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", 400, "request_framing_ambiguous"),
        ("Transfer-Encoding:\x0bchunked\r\n", 400, "request_header_invalid"),
        ("Content-Length: 0\r\nContent-Length: 44\r\n", 400, "request_framing_ambiguous"),
        ("Content-Length: 0, 44\r\n", 400, "request_framing_ambiguous"),
        ("Content-Length: -1\r\n", 400, "request_framing_ambiguous"),
        ("Host: other.example\r\n", 400, "request_framing_ambiguous"),
        ("X: a\nContent-Length: 4\r\n", 400, "request_framing_ambiguous"),
        ("X: a\0b\r\n", 400, "request_header_invalid"),
        ("X: a\r\n b\r\n", 400, "request_header_invalid"),
        ("Bad Name: x\r\n", 400, "request_header_invalid"),
    ] {
        let request = format!("POST /data/x HTTP/1.1\r\n{AUTH}{head}\r\n0\r\n\r\n{smuggled}");
        world.refused(&request, status, code).await;
    }
    for (line, status, code) in [
        ("GET /data/x HTTP/1.0", 505, "http_version_unsupported"),
        ("CONNECT localhost:443 HTTP/1.1", 400, "request_malformed"),
        ("GET https://other.example/data/x HTTP/1.1", 400, "request_framing_ambiguous"),
    ] {
        world.refused(&format!("{line}\r\n{AUTH}\r\n{smuggled}"), status, code).await;
    }
    // A chunk that is none, after the head was good.
    let chunked =
        format!("POST /data/x HTTP/1.1\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\nzz\r\n{smuggled}");
    let mut raw = world.server.caller(Some(&world.acme)).raw().await.unwrap();
    let answer = raw.call(chunked.replace("TOKEN", &world.token)).await;
    assert_eq!((answer.status, answer.code().as_deref()), (400, Some("request_framing_ambiguous")));
    raw.drain().await;
    let reached = world.server.upstream.paths();
    assert!(!reached.iter().any(|path| path.contains("smuggled")), "{reached:?}");
    assert_eq!(world.server.explanation(&answer).await["reason"], "request_framing_ambiguous");
}

#[tokio::test]
async fn paths_that_two_readers_would_read_differently_are_refused() {
    let world = World::start_with("").await;
    for path in [
        "/data/../pay/x",
        "/data/%2e%2e/pay/x",
        "/data/a%2fb",
        "/data/a\\b",
        "/data//x",
        "/data/%00",
        "/data/%zz",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\n{AUTH}\r\n").replace("TOKEN", &world.token);
        let answer = world.server.caller(Some(&world.acme)).raw().await.unwrap().call(request).await;
        assert_eq!((answer.status, answer.code().as_deref()), (400, Some("request_path_invalid")), "{path}");
    }
    for query in ["a<b", "a\\b", "a#b"] {
        let request = format!("GET /data/x?{query} HTTP/1.1\r\n{AUTH}\r\n").replace("TOKEN", &world.token);
        let answer = world.server.caller(Some(&world.acme)).raw().await.unwrap().call(request).await;
        assert_eq!(
            (answer.status, answer.code().as_deref()),
            (400, Some("request_query_invalid")),
            "{query}"
        );
    }
    assert_eq!(world.server.upstream.requests(), 0);
}

#[tokio::test]
async fn rule_t5_a_host_that_this_listener_does_not_answer_is_misdirected() {
    let world = World::start_with("").await;
    let authorization = format!("Bearer {}", world.token);
    let headers = [("host", "other.example"), ("authorization", authorization.as_str())];
    let answer = world.server.caller(Some(&world.acme)).get("/data/x", &headers).await.unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (421, Some("host_misdirected")));
}

#[tokio::test]
async fn a_route_with_a_host_goes_before_one_without() {
    let world = World::start_with(
        r#"
[[routes]]
name = "data-by-address"
environment = "production"
api = "bank"
host = "127.0.0.1"
path = "/data/"
upstream = "echo"
upstream_path = "/by-address/"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]
"#,
    )
    .await;
    let authorization = format!("Bearer {}", world.token);
    let caller = world.server.caller(Some(&world.acme));
    for (host, path) in
        [("127.0.0.1", "/by-address/x"), ("127.0.0.1:8443", "/by-address/x"), ("localhost", "/x")]
    {
        let headers = [("host", host), ("authorization", authorization.as_str())];
        let answer = caller.get("/data/x", &headers).await.unwrap();
        assert_eq!((answer.status, &answer.json()["path"]), (200, &json!(path)), "{host}");
    }
}

#[tokio::test]
async fn routes_and_methods_that_are_not_there_have_their_answers() {
    let world = World::start_with("").await;
    let caller = world.server.caller(Some(&world.acme));
    for caller in [caller.clone(), caller.http2()] {
        let answer = caller.get("/nowhere", &[]).await.unwrap();
        assert_eq!((answer.status, answer.code().as_deref()), (404, Some("route_not_found")));
        let answer = caller.send(Method::DELETE, "/limited/x", &[], "").await.unwrap();
        assert_eq!((answer.status, answer.code().as_deref()), (405, Some("method_not_allowed")));
        assert_eq!(answer.header("allow"), "GET");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_ne!(answer.header("date"), "", "rule G8");
    }
}

/// Whoever is refused has perhaps no certificate yet, and reads what to do all the same.
#[tokio::test]
async fn rule_k8_what_an_answer_links_to_answers_without_a_certificate() {
    let server = TestServer::start().await;
    let get = async |url: &str| {
        let path = url.strip_prefix(ISSUER).unwrap_or_else(|| panic!("not ours: {url}"));
        let answer = server.caller(None).get(path, &[]).await.unwrap();
        assert_eq!(answer.status, 200, "{url}");
        answer
    };
    let refused = server.caller(None).get("/data/x", &[]).await.unwrap();
    assert_eq!(refused.status, 401);

    let challenge = refused.header("www-authenticate");
    let (_, resource) = challenge.split_once("resource_metadata=\"").unwrap();
    let resource = get(resource.split('"').next().unwrap()).await.json();
    assert_eq!(resource["resource"], format!("{ISSUER}/data"));
    assert_eq!(resource["authorization_servers"], json!([ISSUER]), "byte for byte (RFC 8414 section 3.3)");

    // Libraries that are made for OpenID look elsewhere by default, and read the same octets there.
    let openid = get(&format!("{ISSUER}/.well-known/openid-configuration")).await;
    let oauth = get(&format!("{ISSUER}/.well-known/oauth-authorization-server")).await;
    assert_eq!((openid.status, &openid.body), (200, &oauth.body));
    assert_eq!(openid.header("content-type"), oauth.header("content-type"));
    for member in ["userinfo_endpoint", "subject_types_supported", "id_token_signing_alg_values_supported"] {
        assert!(oauth.json().get(member).is_none(), "{member} is of OpenID alone");
    }
    let metadata = oauth.json();
    assert_eq!(metadata["issuer"], ISSUER, "byte for byte (RFC 8414 section 3.3)");
    let keys = get(metadata["jwks_uri"].as_str().unwrap()).await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "{keys}");
    let endpoint = metadata["token_endpoint"].as_str().unwrap().strip_prefix(ISSUER).unwrap();
    let asked = server.caller(None).send(Method::POST, endpoint, &[], "").await.unwrap();
    assert_eq!((asked.status, &asked.json()["error"]), (400, &json!("invalid_request")), "it is there");

    let problem = refused.json();
    let page = String::from_utf8(get(problem["type"].as_str().unwrap()).await.body).unwrap();
    assert!(page.contains("token_missing"), "{page}");
    for code in ReasonCode::ALL {
        let answer = get(&format!("{ISSUER}/problems/{code}")).await;
        assert!(answer.header("content-type").starts_with("text/html"), "{code}");
        let page = String::from_utf8(answer.body).unwrap();
        assert!(page.contains(code.as_str()), "the page of {code} does not name it: {page}");
    }
}

#[tokio::test]
async fn rule_g15_headers_and_bodies_over_the_limits_are_refused() {
    let more = "[limits]\nheader_size = \"4KiB\"\nheader_count = 20\nbody_size = \"1KiB\"";
    let world = World::start_with(more).await;
    let long = format!("X: {}\r\n", "a".repeat(5000));
    let many = "X: y\r\n".repeat(30);
    for fields in [long, many] {
        let request = format!("GET /data/x HTTP/1.1\r\n{AUTH}{fields}\r\n");
        world.refused(&request, 431, "request_header_too_large").await;
    }
    let announced = format!("POST /data/x HTTP/1.1\r\n{AUTH}Content-Length: 1025\r\n\r\n");
    world.refused(&announced, 413, "request_body_too_large").await;
    let chunk = format!("400\r\n{}\r\n", "a".repeat(1024));
    let chunked =
        format!("POST /data/x HTTP/1.1\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    world.refused(&chunked, 413, "request_body_too_large").await;

    let authorization = format!("Bearer {}", world.token);
    let http2 = world.server.caller(Some(&world.acme)).http2();
    let headers = [("authorization", authorization.as_str()), ("x", &*"a".repeat(5000))];
    let answer = http2.get("/data/x", &headers).await.unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (431, Some("request_header_too_large")));
    let answer = http2.send(Method::POST, "/data/x", &headers[..1], &"a".repeat(1025)).await.unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (413, Some("request_body_too_large")));
    let fits = http2.send(Method::POST, "/data/x", &headers[..1], &"a".repeat(1024)).await.unwrap();
    assert_eq!(fits.json()["body"].as_str().unwrap().len(), 1024);
}

#[tokio::test]
async fn rule_g15_a_slow_client_is_given_its_time_and_no_more() {
    let more = "[limits]\nheader_timeout = \"100ms\"\nbody_pause_timeout = \"100ms\"";
    let world = World::start_with(more).await;
    world.refused("GET /data/x HT", 408, "request_too_slow").await;
    let body = format!("POST /data/x HTTP/1.1\r\n{AUTH}Content-Length: 10\r\n\r\nabc");
    world.refused(&body, 408, "request_too_slow").await;
    world.refused(&body.replace("/data/x", "/oauth2/token"), 408, "request_too_slow").await;
}

#[tokio::test]
async fn rule_g15_a_silent_connection_is_closed_in_silence() {
    let server = TestServer::start_with("[limits]\nidle_timeout = \"100ms\"").await;
    assert!(server.caller(None).raw().await.unwrap().is_closed().await);
}

#[tokio::test]
async fn rule_t11_a_handshake_that_does_not_come_ends() {
    let server = TestServer::start_with("[limits]\nhandshake_timeout = \"100ms\"").await;
    let mut mute = tokio::net::TcpStream::connect(server.gateway).await.unwrap();
    let read = mute.read(&mut [0; 1]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "closed without a word");
    let record = server.recorded("handshake_refused", |_| true).await;
    assert_eq!(
        (record["reason"].as_str(), record["source"].as_str()),
        (Some("request_too_slow"), Some("127.0.0.1"))
    );
}

#[tokio::test]
async fn rule_t11_connections_of_one_address_are_capped() {
    let server = TestServer::start_with("[limits]\nconnections_per_address = 2").await;
    let caller = server.caller(None);
    let one = caller.connect().await.unwrap();
    let _two = caller.connect().await.unwrap();
    assert!(caller.connect().await.is_err(), "closed before any TLS work");
    // Nobody was told on the connection, so that the record is the only trace.
    let record = server.recorded("connection_refused", |_| true).await;
    assert_eq!(
        (record["reason"].as_str(), record["source"].as_str(), record["listener"].as_str()),
        (Some("connections_exhausted"), Some("127.0.0.1"), Some("public")),
        "{record}"
    );
    assert!(record["detail"].as_str().unwrap().contains("connections_per_address"), "{record}");
    let elsewhere = caller.clone().from(IpAddr::from([127, 0, 0, 2]));
    assert_eq!(elsewhere.get("/data/x", &[]).await.unwrap().status, 401, "another address has its own");
    drop(one);
}

#[tokio::test]
async fn rule_g15_connections_of_one_client_are_capped() {
    let world = World::start_with("[limits]\nconnections_per_client = 1").await;
    let caller = world.server.caller(Some(&world.acme));
    // The connection that the token was asked for on may not have ended for the server yet.
    let first = async {
        loop {
            let mut first = caller.connect().await.unwrap();
            match first.send(Method::GET, "/data/x", &[], "").await.unwrap().status {
                503 => {}
                status => return (first, status),
            }
        }
    };
    let (_first, status) = tokio::time::timeout(std::time::Duration::from_secs(30), first).await.unwrap();
    assert_eq!(status, 401, "it has no token");
    let mut second = caller.connect().await.unwrap();
    let answer = second.send(Method::GET, "/data/x", &[], "").await.unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (503, Some("connections_exhausted")));
    assert_ne!(answer.header("retry-after"), "");
}

/// The token endpoint and other APIs are not behind the caps of an API that is slow.
#[tokio::test]
async fn rule_g20_requests_in_flight_are_capped_for_each_client_and_each_upstream() {
    let endless = upstream::start_endless().await;
    let mut more = "[limits]\nrequests_per_client = 2\n".to_owned();
    for (name, requests) in [("slow", 1), ("other", 100)] {
        more += &format!(
            r#"
[[upstreams]]
name = "{name}"
url = "http://{endless}"
response_timeout = "10m"
requests = {requests}
[[routes]]
name = "{name}"
environment = "production"
api = "bank"
path = "/{name}/"
upstream = "{name}"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]
"#
        );
    }
    let world = World::start_with(&more).await;
    let authorization = format!("Bearer {}", world.token);
    let headers = [("authorization", authorization.as_str())];
    let mut connection = world.server.caller(Some(&world.acme)).http2().connect().await.unwrap();
    let _first = connection.begin(Method::GET, "/slow/x", &headers, "").await.unwrap();
    let refused = async |path: &str, code: &str| {
        let answer = world.call(path).await;
        assert_eq!((answer.status, answer.code().as_deref()), (503, Some(code)), "{path}");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(world.server.explanation(&answer).await["client"], "acme-pay", "{path}");
    };
    refused("/slow/x", "upstream_requests_exhausted").await;
    assert_eq!(world.call("/data/x").await.status, 200);
    let _second = connection.begin(Method::GET, "/other/x", &headers, "").await.unwrap();
    refused("/data/x", "client_requests_exhausted").await;
    world.server.bound_token("acme-pay", &world.acme).await;
    world.server.add_client("other-bank", "production", "tls_client_auth", &["data:read"]).await;
    let other = world.server.certificate("other-bank").await;
    let token = world.server.bound_token("other-bank", &other).await;
    assert_eq!(world.server.call(Some(&other), "/data/x", &token).await.status, 200, "others are served");
}

#[tokio::test]
async fn an_upstream_that_is_down_slow_or_babbling_is_not_the_callers_fault() {
    let log = crate::audit::captured_log();
    const BABBLE: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n\r\n";
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Le";
    const TWO_LENGTHS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    let (down, _bound) = upstream::nobody();
    let mut more = String::new();
    for (name, address) in [
        ("down", down),
        ("slow", upstream::start_scripted(None).await),
        ("closing", upstream::start_scripted(Some(b"")).await),
        ("babbling", upstream::start_scripted(Some(BABBLE)).await),
        ("cut", upstream::start_scripted(Some(CUT)).await),
        ("two-lengths", upstream::start_scripted(Some(TWO_LENGTHS)).await),
    ] {
        let patience = if name == "slow" { "100ms" } else { "30s" };
        more += &format!(
            r#"
[[upstreams]]
name = "{name}"
url = "http://{address}"
response_timeout = "{patience}"
[[routes]]
name = "{name}"
environment = "production"
api = "bank"
path = "/{name}/"
upstream = "{name}"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]
"#
        );
    }
    let world = World::start_with(&more).await;
    for (path, status, codes) in [
        ("/down/x", 502, ["upstream_unreachable"; 2]),
        ("/slow/x", 504, ["upstream_too_slow"; 2]),
        ("/closing/x", 502, ["upstream_broke_off"; 2]),
        ("/babbling/x", 502, ["upstream_response_invalid"; 2]),
        ("/cut/x", 502, ["upstream_broke_off"; 2]),
        ("/two-lengths/x", 502, ["upstream_response_invalid"; 2]),
    ] {
        let answer = world.call(path).await;
        let code = answer.code().unwrap_or_default();
        assert!(
            answer.status == status && codes.contains(&code.as_str()),
            "{path}: {} {code}",
            answer.status
        );
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!body.contains("127.0.0.1:") && !body.contains("OpenSSH"), "nothing of the upstream: {body}");
        assert_eq!(world.server.explanation(&answer).await["client"], "acme-pay");
    }
    assert_eq!(world.call("/data/x").await.status, 200, "the others go on");
    world.call("/nowhere/x").await;
    let log = log.text();
    for (reason, level) in
        [("upstream_unreachable", "WARN"), ("upstream_too_slow", "WARN"), ("route_not_found", "INFO")]
    {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(reason)).collect();
        assert!(!lines.is_empty() && lines.iter().all(|line| line.contains(level)), "{reason}: {lines:?}");
    }
}

#[tokio::test]
async fn rule_g9_forged_identity_headers_are_stripped_and_ours_arrive() {
    let world = World::start_with("").await;
    let forged = [
        "Countersign-Client-Id",
        "countersign_client_id",
        "COUNTERSIGN_Scope",
        "Countersign-Environment",
        "Countersign-Binding",
        "Countersign-Certificate",
        "Client-Cert",
        "CLIENT_CERT",
        "Client-Cert-Chain",
        "X-Forwarded-For",
        "x_forwarded_for",
        "X-Forwarded-Client-Cert",
        "X-Client-Cert",
        "X-SSL-Client-Verify",
        "Forwarded",
        "X-Real-IP",
        "DPoP",
    ];
    let fields: String = forged.iter().map(|name| format!("{name}: forged\r\n")).collect();
    let request = format!(
        "GET /data/x HTTP/1.1\r\n{AUTH}{fields}X-Own: kept\r\nConnection: X-Hop\r\nX-Hop: gone\r\nx-fapi-interaction-id: abc-1\r\n\r\n"
    );
    let mut raw = world.server.caller(Some(&world.acme)).raw().await.unwrap();
    let answer = raw.call(request.replace("TOKEN", &world.token)).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("x-fapi-interaction-id"), "abc-1", "rule G8: echoed");

    let received = answer.json()["headers"].clone();
    let received: Vec<(String, String)> = serde_json::from_value(received).unwrap();
    assert!(!received.iter().any(|(_, value)| value.contains("forged") || value == "gone"), "{received:?}");
    let one = |name: &str| {
        let mut values =
            received.iter().filter(|(received, _)| received == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice");
        value
    };
    use base64::Engine;
    let certificate = base64::engine::general_purpose::STANDARD.encode(&world.acme.chain[0]);
    for (name, value) in [
        ("countersign-client-id", Some("acme-pay")),
        ("countersign-scope", Some("data:read")),
        ("countersign-environment", Some("production")),
        ("countersign-binding", Some("certificate")),
        ("countersign-certificate", Some(&*countersign_pki::thumbprint(&world.acme.chain[0]).to_string())),
        ("client-cert", Some(&*format!(":{certificate}:"))),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("https")),
        ("x-forwarded-host", Some("localhost")),
        ("x-fapi-interaction-id", Some("abc-1")),
        ("x-own", Some("kept")),
        ("authorization", None),
        ("client-cert-chain", None),
        ("dpop", None),
    ] {
        assert_eq!(one(name), value, "{name}");
    }
    assert!(one("forwarded").unwrap().starts_with("for=127.0.0.1;proto=https"));
    let made = world.call("/data/x").await;
    assert_eq!(made.header("x-fapi-interaction-id").len(), 36, "made where there was none");
}

#[tokio::test]
async fn rule_g9_the_internal_credentials_stay_here() {
    let server = TestServer::start().await;
    let secret =
        server.add_client("test-shop", "sandbox", "client_secret_basic", &["data:read"]).await.unwrap();
    let headers = [("client_id", "test-shop"), ("client_secret", secret.as_str())];
    let answer = server.caller(None).get("/test/data/x", &headers).await.unwrap();
    assert_eq!(answer.status, 200);
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!body.contains(&secret) && !body.contains("client_secret"), "{body}");
    assert!(body.contains(r#"["countersign-binding","internal"]"#), "{body}");
}

#[tokio::test]
async fn rule_g8_too_many_requests_are_told_when_to_come_again() {
    let world = World::start_with("").await;
    for _ in 0..2 {
        assert_eq!(world.call("/limited/x").await.status, 200);
    }
    let answer = world.call("/limited/x").await;
    assert_eq!((answer.status, answer.code().as_deref()), (429, Some("rate_limited")));
    let seconds: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(world.call("/data/x").await.status, 200, "each route counts by itself");
    assert_eq!(world.server.upstream.requests(), 3);
}

#[tokio::test]
async fn rule_c10_wrong_secrets_are_throttled_for_their_network_only() {
    let server = TestServer::start().await;
    let secret =
        server.add_client("web-shop", "production", "client_secret_post", &["data:read"]).await.unwrap();
    let ask = async |secret: &str, from: [u8; 4]| {
        let form = format!("grant_type=client_credentials&client_id=web-shop&client_secret={secret}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let caller = server.caller(None).from(IpAddr::from(from));
        caller.send(Method::POST, "/oauth2/token", &headers, &form).await.unwrap()
    };
    let mut throttled = None;
    for _ in 0..20 {
        let answer = ask("cs_wrong", [127, 0, 1, 1]).await;
        if answer.status == 429 {
            throttled = Some(answer);
            break;
        }
        assert_eq!((answer.status, answer.code().as_deref()), (400, Some("client_authentication_failed")));
    }
    let throttled = throttled.expect("guessing is never stopped");
    assert_eq!(throttled.code().as_deref(), Some("throttled"));
    assert_eq!(throttled.json()["error"], "temporarily_unavailable");
    let wait_s: i64 = throttled.header("retry-after").parse().unwrap();
    assert_eq!(
        ask(&secret, [127, 0, 1, 9]).await.status,
        429,
        "its whole network waits, also with the right secret"
    );
    assert_eq!(
        ask(&secret, [127, 0, 2, 1]).await.status,
        200,
        "the client itself, elsewhere, is not locked out"
    );
    server.clock.advance_s(wait_s);
    assert_eq!(ask(&secret, [127, 0, 1, 1]).await.status, 200, "and the network not for ever");
}

#[tokio::test]
async fn rule_t5_an_ipv6_address_of_the_certificate_is_a_host_that_is_answered() {
    let more = r#"
[[listeners]]
name = "six"
address = "127.0.0.1:0"
certificate = { ca = ["localhost", "::1"] }
serve = ["oauth2"]
"#;
    let server = countersign_testkit::TestServer::start_with(more).await;
    let address = server.server.local_addr("six").await.unwrap();
    let caller = countersign_testkit::Client::tls(address, &server.root, None, server.clock.clone());
    for (host, status) in [("[::1]:8443", 200), ("[::1]", 200), ("[::2]", 421), ("127.0.0.1", 421)] {
        let answer = caller.get("/oauth2/jwks", &[("host", host)]).await.unwrap();
        assert_eq!(answer.status, status, "{host}");
    }
}
