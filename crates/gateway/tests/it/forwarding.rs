//! The upstream's view, and upstreams that misbehave.

use crate::upstream;
use crate::world::{Options, SOON, World, get, thumbprint};
use countersign_gateway::Upstream;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn rule_g9_the_upstream_sees_our_identity_headers_and_no_others() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let reply = raw
        .call(format!(
            "GET /data/a%20b?c=[d]|e HTTP/1.1\r\nHost: localhost:8443\r\nAuthorization: Bearer {token}\r\n\
             Countersign-Client-Id: forged\r\ncountersign_scope: forged\r\nClient-Cert: :forged:\r\n\
             Client_Cert-Chain: forged\r\nX-Forwarded-For: forged\r\nForwarded: for=forged\r\nX-Real-IP: forged\r\n\
             X-Original-URL: /forged\r\nX-HTTP-Method-Override: FORGED-forged\r\nTrue-Client-IP: forged\r\n\
             Connection: X-Hop, keep-alive\r\nX-Hop: forged\r\nKeep-Alive: forged\r\nTE: trailers\r\n\
             Upgrade: websocket\r\nProxy-Authorization: forged\r\nDPoP: forged\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
             Accept: text/plain\r\nX-Custom: kept\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.status, 200);
    let seen = reply.text();
    assert!(seen.starts_with("GET /a%20b?c=[d]|e\n"), "{seen}");
    assert!(!seen.contains("forged") && !seen.contains("websocket") && !seen.contains(&token), "{seen}");
    for line in [
        "countersign-client-id: acme-pay",
        "countersign-scope: data:read",
        "countersign-environment: production",
        "countersign-binding: certificate",
        &format!("countersign-certificate: {}", thumbprint(&world.acme)),
        "forwarded: for=127.0.0.1;proto=https;host=\"localhost:8443\"",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: localhost:8443",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "accept: text/plain",
        "x-custom: kept",
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line} is not in\n{seen}");
    }
    assert_eq!(seen.lines().filter(|line| line.starts_with("client-cert: :")).count(), 1);
}

#[tokio::test]
async fn rule_g8_the_interaction_id_is_echoed_or_made() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let made = raw.call(get("/data/", &token)).await;
    let id = made.header("x-fapi-interaction-id").unwrap();
    assert!(id.len() == 36 && &id[14..15] == "4" && made.text().contains(id), "{id}");
    let request = get("/data/", &token).replace("\r\n\r\n", "\r\nX-FAPI-Interaction-ID: my-own\r\n\r\n");
    let echoed = raw.call(request).await;
    assert_eq!(echoed.header("x-fapi-interaction-id"), Some("my-own"));
    assert!(echoed.text().contains("x-fapi-interaction-id: my-own\n"));
}

#[tokio::test]
async fn rule_g8_refusals_of_a_route_have_the_interaction_id_too() {
    let options = Options { response_timeout: Duration::from_millis(100), ..Options::default() };
    let world = World::start_with(options).await;
    let (mut raw, token) = world.acme().await;
    for path in ["/pay/", "/silent/", "/down/"] {
        let named = get(path, &token).replace("\r\n\r\n", "\r\nX-FAPI-Interaction-ID: my-own\r\n\r\n");
        let refused = raw.call(named).await;
        assert!(refused.status >= 400);
        assert_eq!(refused.header("x-fapi-interaction-id"), Some("my-own"), "{path}");
        let made = raw.call(get(path, &token)).await;
        assert_eq!(made.header("x-fapi-interaction-id").map(str::len), Some(36), "{path}");
    }
    let unknown = raw.call(get("/nowhere/", &token)).await;
    assert_eq!(unknown.header("x-fapi-interaction-id"), None, "of no route");
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    for _ in 0..20 {
        assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    }
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 20);
    assert_eq!(world.upstream.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_kept_connection_that_its_upstream_closed_is_not_used_again() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    for n in 0..20 {
        let reply = raw.call(get("/closing/", &token)).await;
        assert_eq!((reply.status, reply.text()), (200, "ok"), "{n}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let all: String = (0..10).map(|n| get(&format!("/data/{n}"), &token)).collect();
    raw.send(all).await;
    for n in 0..10 {
        let reply = raw.reply().await;
        assert!(reply.text().starts_with(&format!("GET /{n}\n")), "{n}: {}", reply.text());
    }
}

#[tokio::test]
async fn heads_without_bodies_stay_without() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    raw.send(get("/data/", &token).replacen("GET", "HEAD", 1)).await;
    let reply = raw.reply_to(true).await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-length").is_some_and(|length| length != "0"), "{reply:?}");
    assert_eq!(raw.call(get("/early/", &token)).await.status, 204, "an interim answer is passed over");
    raw.send("HEAD /data/ HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(raw.reply_to(true).await.status, 401);
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
}

#[tokio::test]
async fn the_upstream_is_told_how_long_the_body_is() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let call = |method: &str, fields: &str, body: &str| {
        get("/data/", &token)
            .replacen("GET", method, 1)
            .replace("\r\n\r\n", &format!("\r\n{fields}\r\n{body}"))
    };
    // A GET may have a body (RFC 9110 section 9.3.1), of unknown length too; hyper would drop it.
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    for method in ["GET", "DELETE", "POST"] {
        let reply = raw.call(call(method, "Transfer-Encoding: chunked\r\n", chunks)).await;
        assert!(reply.text().contains("transfer-encoding: chunked\n"), "{}", reply.text());
        assert!(reply.text().ends_with("\n\nabc"), "{}", reply.text());
    }
    for (method, fields, said) in [
        ("POST", "Content-Length: 0\r\n", true),
        ("PUT", "", true),
        ("PATCH", "", true),
        ("GET", "", false),
        ("DELETE", "Content-Length: 0\r\n", false),
    ] {
        let reply = raw.call(call(method, fields, "")).await;
        assert_eq!(reply.text().contains("content-length: 0\n"), said, "{method} {}", reply.text());
        assert!(!reply.text().contains("transfer-encoding"), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_silent_upstream_has_its_deadline_whatever_came_with_the_request() {
    let options = Options { response_timeout: Duration::from_millis(100), ..Options::default() };
    let world = World::start_with(options).await;
    let (mut raw, token) = world.acme().await;
    let chunked = get("/silent/", &token)
        .replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(raw.call(chunked).await.refusal(), (504, "upstream_too_slow".to_owned()));
}

#[tokio::test]
async fn an_upstream_that_misbehaves_is_named_by_its_fault_and_nothing_else() {
    let options = Options { response_timeout: Duration::from_millis(100), ..Options::default() };
    let world = World::start_with(options).await;
    let (mut raw, token) = world.acme().await;
    for (path, status, code) in [
        ("/down/", 502, "upstream_unreachable"),
        ("/silent/", 504, "upstream_too_slow"),
        ("/garbage/", 502, "upstream_response_invalid"),
        ("/twofold/", 502, "upstream_response_invalid"),
        ("/listed/", 502, "upstream_response_invalid"),
        ("/twice/", 502, "upstream_response_invalid"),
        ("/ambiguous/", 502, "upstream_response_invalid"),
        ("/coded/", 502, "upstream_response_invalid"),
        ("/upgrader/", 502, "upstream_response_invalid"),
    ] {
        let reply = raw.call(get(path, &token)).await;
        assert_eq!(reply.refusal(), (status, code.to_owned()), "{path}");
        assert!(!reply.text().contains("127.0.0.1") && !reply.text().contains("OpenSSH"), "{}", reply.text());
    }
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200, "the client's connection goes on");
    assert!(world.audit_log().await.contains("upstream_too_slow"));
}

#[tokio::test]
async fn an_answer_without_a_body_says_nothing_ambiguous_of_its_length() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    for path in ["/twofold/", "/listed/", "/twice/"] {
        raw.send(get(path, &token).replacen("GET", "HEAD", 1)).await;
        let reply = raw.reply_to(true).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (502, Some("application/problem+json")),
            "{path}"
        );
    }
    for method in ["GET", "HEAD"] {
        raw.send(get("/lengthy/", &token).replacen("GET", method, 1)).await;
        let reply = raw.reply_to(true).await;
        assert_eq!((reply.status, reply.header("content-length")), (204, None), "RFC 9110 section 8.6");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    raw.send(get("/short/", &token)).await;
    let received = raw.everything().await;
    assert!(received.is_empty() || received.ends_with("\r\n\r\nabc"), "no made-up end: {received:?}");
}

/// An upstream that begins its answer and comes to a halt holds the client for the response timeout, not for ever.
#[tokio::test]
async fn rule_g15_an_answer_that_comes_to_a_halt_breaks_off() {
    let heads: [&[u8]; 2] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ];
    for head in heads {
        let address = upstream::halting(head).await;
        let mut halting = Upstream::new("halting", &format!("http://{address}")).unwrap();
        halting.response_timeout = Duration::from_millis(100);
        let world = World::start_with(Options { upstreams: vec![halting], ..Options::default() }).await;
        let (mut raw, token) = world.acme().await;
        raw.send(get("/halting/", &token)).await;
        let received = tokio::time::timeout(SOON, raw.everything()).await.expect("it waits for ever");
        assert!(received.starts_with("HTTP/1.1 200 "), "{received:?}");
        assert!(
            received.trim_end().ends_with("abc"),
            "what came is passed on, and no end made up: {received:?}"
        );
    }
}

#[tokio::test]
async fn rule_g15_a_connection_upstream_that_does_not_come_has_its_deadline() {
    let (address, _listener, _queued) = upstream::unanswering().await;
    let mut unanswering = Upstream::new("unanswering", &format!("http://{address}")).unwrap();
    unanswering.connect_timeout = Duration::from_millis(100);
    let world = World::start_with(Options { upstreams: vec![unanswering], ..Options::default() }).await;
    let (mut raw, token) = world.acme().await;
    let reply = tokio::time::timeout(SOON, raw.call(get("/unanswering/", &token))).await;
    let reply = reply.expect("it waits for ever");
    assert_eq!(reply.refusal(), (502, "upstream_unreachable".to_owned()));
    assert!(world.audit_log().await.contains("connecting took too long"), "the operator reads why");
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200, "the client's connection goes on");
}

#[tokio::test]
async fn rule_t10_routes_are_swapped_without_dropping_a_connection() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    let old = world.snapshot.load_full();
    world.snapshot.store(std::sync::Arc::new(countersign_gateway::Snapshot {
        routes: countersign_policy::RouteTable::default(),
        upstreams: old.upstreams.clone(),
        limits: old.limits,
        balancers: old.balancers.clone(),
        internal_headers: old.internal_headers.clone(),
    }));
    assert_eq!(raw.call(get("/data/", &token)).await.code(), "route_not_found");
    world.snapshot.store(old);
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
}
