//! Names of header fields that an upstream may read as ours (rule G19), as servers with CGI variables read them.

use crate::http2;
use crate::upstream;
use crate::world::{Options, World, get};
use bytes::Bytes;
use countersign_gateway::Upstream;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::sync::atomic::Ordering;

/// What lighttpd makes of a name, and PHP and Rack of most: everything but letters and digits is `_`.
fn variable(name: &str) -> String {
    let variable = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(variable).collect()
}

/// Every variable of what the echo upstream received whose value is `forged`.
fn forged(seen: &str) -> Vec<String> {
    let fields = seen.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(_, value)| value.contains("forged")).map(|(name, _)| variable(name)).collect()
}

const OURS: [&str; 9] = [
    "Countersign-Client-Id",
    "Countersign-Certificate",
    "Client-Cert",
    "X-Forwarded-For",
    "X-Original-URL",
    "X-HTTP-Method-Override",
    "Script-Name",
    "X-SSL-Client-Verify",
    "X-Fapi-Interaction-Id",
];

const OTHER_TOKEN_CHARACTERS: [&str; 13] = [".", "!", "|", "~", "'", "^", "`", "*", "+", "&", "%", "$", "#"];

#[tokio::test]
async fn rule_g19_names_of_other_characters_are_refused_on_either_version() {
    let world = World::start().await;
    let token = world.token("acme-pay", Some(&world.acme));
    let (mut sender, _task) = http2::connect(&world, Some(&world.acme)).await;
    for separator in OTHER_TOKEN_CHARACTERS {
        for name in OURS.map(|name| name.replace('-', separator)) {
            let mut raw = world.connect(Some(&world.acme)).await;
            let request = get("/data/", &token).replace("\r\n\r\n", &format!("\r\n{name}: forged\r\n\r\n"));
            let reply = raw.call(request).await;
            assert_eq!(reply.refusal(), (400, "request_header_invalid".to_owned()), "{name}");
            let document = reply.text();
            let fault = format!("The header name `{name}` contains `{separator}`. Use letters, digits");
            assert!(document.contains(&fault), "{document}");
            raw.closed().await;
            let mut request = http2::request("/data/", &token, "");
            let field = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(field, HeaderValue::from_static("forged"));
            let refused = sender.send_request(request).await.unwrap();
            assert_eq!(refused.status(), 400, "{name}");
            let document = refused.into_body().collect().await.unwrap().to_bytes();
            let document = String::from_utf8_lossy(&document);
            assert!(document.contains("request_header_invalid"), "{name}");
            let fault = format!("The header name `{}` contains", name.to_lowercase());
            assert!(document.contains(&fault), "{document}");
        }
    }
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 0, "nothing of it reached the upstream");
}

#[tokio::test]
async fn rule_g19_no_spelling_of_ours_reaches_the_upstream() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    for name in OURS {
        for spelling in [
            name.to_owned(),
            name.replace('-', "_"),
            name.replace('-', "--"),
            name.replace('-', "-_"),
            format!("-{name}"),
            format!("_{name}_"),
            format!("HTTP_{name}").replace('-', "_"),
            format!("http-{name}"),
        ] {
            // What is read under its one spelling is the caller's to say there.
            if spelling == "X-Fapi-Interaction-Id" {
                continue;
            }
            let fields = format!("\r\n{spelling}: forged\r\nX-Own: kept\r\n\r\n");
            let reply = raw.call(get("/data/", &token).replace("\r\n\r\n", &fields)).await;
            assert_eq!(reply.status, 200, "{spelling}");
            assert!(reply.text().contains("x-own: kept\n"), "{}", reply.text());
            assert_eq!(forged(reply.text()), Vec::<String>::new(), "{spelling}");
        }
    }
}

#[tokio::test]
async fn rule_g19_identity_headers_of_other_gateways_are_removed_unless_the_route_allows_them() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let names = [
        "Remote-User",
        "X-User-Id",
        "X-SSL-Client-Verify",
        "X-SSL-Client-Cert",
        "X-Consumer-Username",
        "X-Acme-User",
        "Countersign-Scope",
        "X-Forwarded-For",
        "Client-IP",
    ];
    let fields: String = names.iter().map(|name| format!("{name}: forged\r\n")).collect();
    for (path, expected) in [
        ("/data/", vec!["X_ACME_USER"]),
        // As `allowing` of `world.rs` has it: x-user-*, x-ssl-client-verify; without x-acme-*.
        ("/allowing/", vec!["X_USER_ID", "X_SSL_CLIENT_VERIFY"]),
    ] {
        let reply = raw.call(get(path, &token).replace("\r\n\r\n", &format!("\r\n{fields}\r\n"))).await;
        let mut seen = forged(reply.text());
        seen.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(seen, expected, "{path}");
    }
}

#[tokio::test]
async fn rule_g19_fields_that_connection_names_go_in_every_spelling() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let fields =
        "\r\nConnection: X-Hop, x_other\r\nX_Hop: forged\r\nX-Hop: forged\r\nX-Other: forged\r\n\r\n";
    let reply = raw.call(get("/data/", &token).replace("\r\n\r\n", fields)).await;
    assert_eq!((reply.status, forged(reply.text())), (200, Vec::new()));
}

#[tokio::test]
async fn rule_g19_an_upstream_does_not_speak_for_us() {
    let address = upstream::canned(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nCountersign.Ref: forged\r\ncountersign_ref: forged\r\n\
        Countersign-Client-Id: forged\r\nx_fapi_interaction_id: forged\r\nKeep_Alive: forged\r\nx.fapi.interaction.id: forged\r\n\
        Connection: x_hop\r\nX-Hop: forged\r\nX-Own: kept\r\n\r\nok",
    )
    .await;
    let speaking = Upstream::new("speaking", &format!("http://{address}")).unwrap();
    let world = World::start_with(Options { upstreams: vec![speaking], ..Options::default() }).await;
    let (mut raw, token) = world.acme().await;
    let reply = raw.call(get("/speaking/", &token)).await;
    assert_eq!((reply.status, reply.text(), reply.header("x-own")), (200, "ok", Some("kept")));
    assert!(!reply.headers.iter().any(|(_, value)| value == "forged"), "{:?}", reply.headers);
}

#[tokio::test]
async fn rule_g19_trailer_fields_have_plain_names_on_either_version() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let trailers =
        "\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nCountersign.Client.Id: forged\r\n\r\n";
    let request = get("/data/", &token).replacen("GET", "POST", 1).replace("\r\n\r\n", trailers);
    let reply = raw.call(request).await;
    assert_eq!(reply.refusal(), (400, "request_header_invalid".to_owned()));
    assert!(reply.text().contains("The name of a trailer field"), "{}", reply.text());
    let (mut sender, _task) = http2::connect(&world, Some(&world.acme)).await;
    for (name, status) in [("countersign.client.id", 400), ("x-plain", 200)] {
        let mut trailers = HeaderMap::new();
        trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("forged"));
        let frames = [Ok(Frame::data(Bytes::from_static(b"a"))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let request: Request<http2::Body> = http2::request("/data/", &token, "x").map(|_| body);
        assert_eq!(sender.send_request(request).await.unwrap().status(), status, "{name}");
    }
}

/// Who looks a refusal up, and who reads its answer, learns what to change and of which request.
#[tokio::test]
async fn rule_g19_a_refused_head_is_explained_in_the_answer_and_in_the_record() {
    let world = World::start().await;
    let many = format!("Connection: a{}\r\n", ", a".repeat(32));
    for (line, fields, status, told) in [
        ("POST /data/one", "X.Request.Id: 1\r\n", 400, "The header name `X.Request.Id` contains `.`"),
        ("POST /data/two", many.as_str(), 400, "`Connection` lists 33 options. At most 32 are accepted"),
        ("TRACK /data/three", "", 400, "The method `TRACK` is not accepted"),
        ("HEAD /data/four", "B@d: 1\r\n", 400, "The header name `B@d` contains `@`"),
    ] {
        let mut raw = world.connect(Some(&world.acme)).await;
        let reply = raw.call(format!("{line}?secret=x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
        assert_eq!(reply.status, status, "{line}");
        let document: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
        assert!(document["detail"].as_str().unwrap().starts_with(told), "{document}");
        assert!(!document["action"].as_str().unwrap().contains("segments"), "{document}");
        let (method, path) = line.split_once(' ').unwrap();
        let log = world.audit_log().await;
        let record = log.lines().find(|record| record.contains(path)).expect("it is recorded");
        assert!(record.contains(&format!("\"method\":\"{method}\"")) && record.contains(told), "{record}");
        assert!(!record.contains("secret"), "{record}");
    }
}

#[tokio::test]
async fn rule_g19_what_is_removed_is_counted_by_route_and_class() {
    let address = upstream::canned(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let counting = Upstream::new("counting", &format!("http://{address}")).unwrap();
    let world = World::start_with(Options { upstreams: vec![counting], ..Options::default() }).await;
    let (mut raw, token) = world.acme().await;
    let counted = || {
        let text = crate::observed::metrics().render();
        let lines = text.lines().filter(|line| {
            line.starts_with("countersign_request_headers_removed_total") && line.contains("\"counting\"")
        });
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // Hop-by-hop fields and credentials end here in each request.
    let plain = "\r\nConnection: keep-alive\r\nKeep-Alive: 1\r\nX-Own: kept\r\nClient-Secret: x\r\n\r\n";
    assert_eq!(raw.call(get("/counting/", &token).replace("\r\n\r\n", plain)).await.status, 200);
    assert_eq!(counted(), Vec::<String>::new());
    let fields = "\r\nRemote-User: a\r\nX_User_Id: b\r\nCountersign-Scope: c\r\nScript-Name: d\r\nX-Original-URL: e\r\n\
        X-Http-Method: PUT\r\nX-User-Locale: f\r\n\r\n";
    assert_eq!(raw.call(get("/counting/", &token).replace("\r\n\r\n", fields)).await.status, 200);
    let line = |class: &str, count: u32| {
        format!(r#"countersign_request_headers_removed_total{{route="counting",class="{class}"}} {count}"#)
    };
    assert_eq!(counted(), [line("gateway", 2), line("ours", 1), line("override", 3)]);
}

#[tokio::test]
async fn rule_g19_a_client_id_of_the_api_arrives_where_the_internal_method_is_off() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let fields = "\r\nClient-Id: forged\r\nClient-Secret: forged\r\n\r\n";
    let reply = raw.call(get("/data/", &token).replace("\r\n\r\n", fields)).await;
    assert_eq!((reply.status, forged(reply.text())), (200, vec!["CLIENT_ID".to_owned()]));
    // Where the method is on, no other spelling stands in for what was checked.
    let mut raw = world.connect(None).await;
    let request = format!(
        "GET /test/x HTTP/1.1\r\nHost: localhost\r\nclient_id: test-shop\r\nclient_secret: {}\r\n\r\n",
        world.secret
    );
    let reply = raw.call(request.replace("\r\n\r\n", fields)).await;
    assert_eq!((reply.status, forged(reply.text())), (200, Vec::new()));
}
