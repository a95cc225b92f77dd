//! Denials and permits as callers see them. The whole matrix is the binary's test; here is what the gateway adds.

use crate::world::{ISSUER, NOW, World, get};
use countersign_token::AccessTokenClaims;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_bound_token_with_its_certificate_opens_the_route() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let reply = raw.call(get("/data/accounts?x=1", &token)).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().starts_with("GET /accounts?x=1\n"), "{}", reply.text());
    assert!(reply.header("date").is_some());
    assert_eq!(
        reply.header("countersign-ref"),
        None,
        "only refusals have one, and the upstream's is not ours"
    );
    assert_eq!(reply.header("x-hop"), None);
    assert_eq!(reply.header("x-upstream"), Some("echo"));
}

#[tokio::test]
async fn rule_g8_refusals_have_their_status_and_challenge() {
    let world = World::start().await;
    let mut raw = world.connect(Some(&world.acme)).await;
    let reply = raw.call("GET /data/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(reply.refusal(), (401, "token_missing".to_owned()));
    assert_eq!(
        reply.header("www-authenticate").unwrap(),
        format!(
            "Bearer realm=\"data\", resource_metadata=\"{ISSUER}/.well-known/oauth-protected-resource/data\""
        )
    );
    let token = world.token("acme-pay", Some(&world.acme));
    let reply = raw.call(get("/pay/", &token)).await;
    assert_eq!(reply.refusal(), (403, "token_scope_insufficient".to_owned()));
    assert!(reply.header("www-authenticate").unwrap().contains("error=\"insufficient_scope\", "));
    assert!(reply.header("www-authenticate").unwrap().contains("scope=\"pay:write\""));
    assert_eq!(raw.call(get("/nowhere/", &token)).await.refusal(), (404, "route_not_found".to_owned()));
    let post = "POST /reading/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab";
    let reply = raw.call(post).await;
    assert_eq!(reply.refusal(), (405, "method_not_allowed".to_owned()));
    assert_eq!(reply.header("allow"), Some("GET"));
    assert_eq!(
        raw.call(get("/data/%2e%2e/pay/", &token)).await.refusal(),
        (400, "request_path_invalid".to_owned())
    );
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200, "the connection has gone on all along");
}

#[tokio::test]
async fn rule_g4_a_stolen_token_opens_nothing() {
    let world = World::start().await;
    let token = world.token("acme-pay", Some(&world.acme));
    for route in ["/data/", "/open/"] {
        let reply = world.connect(None).await.call(get(route, &token)).await;
        assert_eq!(reply.refusal(), (401, "token_certificate_missing".to_owned()), "{route}");
        let mut other = world.connect(Some(&world.other)).await;
        assert_eq!(
            other.call(get(route, &token)).await.refusal(),
            (401, "token_certificate_mismatch".to_owned())
        );
    }
    let log = world.audit_log().await;
    assert!(
        log.contains("token_certificate_mismatch") && !log.contains(&token),
        "recorded, without the token"
    );
}

#[tokio::test]
async fn rule_g13_the_binding_is_compared_on_each_request_also_of_a_cached_token() {
    let world = World::start().await;
    let (mut acme, token) = world.acme().await;
    let mut other = world.connect(Some(&world.other)).await;
    for _ in 0..4 {
        assert_eq!(acme.call(get("/data/", &token)).await.status, 200);
        assert_eq!(other.call(get("/data/", &token)).await.code(), "token_certificate_mismatch");
    }
}

#[tokio::test]
async fn rule_g2_a_cached_token_expires_and_dies_with_its_key() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    world.clock.advance_s(310);
    assert_eq!(raw.call(get("/data/", &token)).await.code(), "token_expired");
    world.clock.advance_s(-310);
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    world.token_keys.store(std::sync::Arc::new(crate::world::TokenSigner::new().keys()));
    assert_eq!(raw.call(get("/data/", &token)).await.code(), "token_key_unknown");
}

#[tokio::test]
async fn rule_g2_a_revoked_credential_ends_cached_tokens() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    world.registry.clients.lock().unwrap().get_mut(&"acme-pay".parse().unwrap()).unwrap().client.epoch += 1;
    assert_eq!(raw.call(get("/data/", &token)).await.code(), "token_revoked");
}

#[tokio::test]
async fn rule_g2_tokens_for_others_are_refused() {
    let world = World::start().await;
    let mut raw = world.connect(Some(&world.acme)).await;
    let claims = || world.claims("acme-pay", Some(&world.acme));
    for (claims, code) in [
        (AccessTokenClaims { issuer: "https://else.example".into(), ..claims() }, "token_issuer_wrong"),
        (AccessTokenClaims { audience: "https://else.example".into(), ..claims() }, "token_audience_wrong"),
        (AccessTokenClaims { issued_at: NOW.plus_s(100), ..claims() }, "token_not_yet_valid"),
        (AccessTokenClaims { confirmation: None, ..claims() }, "token_binding_missing"),
    ] {
        assert_eq!(raw.call(get("/data/", &world.sign(&claims))).await.code(), code);
    }
    let large = "a".repeat(9000);
    assert_eq!(raw.call(get("/data/", &large)).await.code(), "token_too_large");
    assert_eq!(raw.call(get("/data/", "a.b")).await.code(), "token_malformed");
}

#[tokio::test]
async fn rule_c11_the_internal_method_works_in_the_sandbox_only() {
    let world = World::start().await;
    let mut raw = world.connect(None).await;
    let call = |path: &str, secret: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nclient_id: test-shop\r\nclient_secret: {secret}\r\n\r\n"
        )
    };
    let reply = raw.call(call("/test/x", &world.secret)).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("countersign-binding: internal\n"), "{}", reply.text());
    assert!(!reply.text().contains(&world.secret), "the secret stays here");
    assert_eq!(raw.call(call("/data/x", &world.secret)).await.code(), "internal_method_refused");
    assert_eq!(raw.call(call("/test/x", "cs_wrong")).await.code(), "client_authentication_failed");
}

#[tokio::test]
async fn rule_c11_calls_by_the_internal_method_are_counted_and_recorded_apart() {
    let world = World::start().await;
    let mut raw = world.connect(None).await;
    for secret in [world.secret.as_str(), "cs_wrong"] {
        raw.call(format!(
            "GET /test/x HTTP/1.1\r\nHost: localhost\r\nclient_id: test-shop\r\nclient_secret: {secret}\r\n\r\n"
        ))
        .await;
    }
    let text = crate::observed::metrics().render();
    for decision in ["allow", "deny"] {
        let line = format!(r#"countersign_internal_calls_total{{route="test",decision="{decision}"}}"#);
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    let log = world.audit_log().await;
    let refused = log.lines().find(|line| line.contains("client_secret_wrong")).unwrap();
    assert!(refused.contains(r#""auth_method":"internal""#), "{refused}");
    // Anybody can name a client: it is not the actor of a call that did not prove it.
    assert!(
        refused.contains(r#""actor":{"kind":"anonymous"}"#) && refused.contains("test-shop"),
        "{refused}"
    );
}

#[tokio::test]
async fn rule_g8_too_many_requests_are_429_with_retry_after() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    for _ in 0..2 {
        assert_eq!(raw.call(get("/limited/", &token)).await.status, 200);
    }
    // On another connection, so on another worker: the count is one.
    let reply = world.connect(Some(&world.acme)).await.call(get("/limited/", &token)).await;
    assert_eq!(reply.refusal(), (429, "rate_limited".to_owned()));
    let seconds: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    let other = world.token("other-bank", Some(&world.other));
    assert_eq!(world.connect(Some(&world.other)).await.call(get("/limited/", &other)).await.status, 200);
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn reserved_paths_go_to_the_local_service() {
    let world = World::start().await;
    let mut raw = world.connect(None).await;
    let reply =
        raw.call("POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde").await;
    assert_eq!((reply.status, reply.text()), (200, "local /oauth2/token 5"));
    let reply = raw.call("GET /pki/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(reply.code(), "route_not_found", "not served on this listener");
}

#[tokio::test]
async fn rule_g16_a_node_that_is_too_old_decides_nothing_and_issues_nothing() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let issue = "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    world.registry.age_s.store(10, Ordering::SeqCst);
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    assert_eq!(raw.call(issue).await.status, 200);
    world.registry.age_s.store(11, Ordering::SeqCst);
    assert_eq!(raw.call(get("/data/", &token)).await.refusal(), (503, "not_ready".to_owned()));
    let refused = raw.call(issue).await;
    assert_eq!(refused.oauth_error(), (503, "temporarily_unavailable".to_owned()));
    assert_eq!(raw.call("GET /oauth2/jwks HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn rule_k3_the_gateway_refuses_at_the_oauth_endpoints_as_they_do() {
    let mut limits = countersign_gateway::Limits::default();
    limits.sizes.body_bytes = 10;
    let world = World::start_with(crate::world::Options { limits, ..Default::default() }).await;
    let chunks = "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                  14\r\n01234567890123456789\r\n0\r\n\r\n";
    let refused = world.connect(None).await.call(chunks).await;
    assert_eq!(refused.oauth_error(), (413, "invalid_request".to_owned()));
    assert!(refused.text().contains("request_body_too_large"), "{}", refused.text());
}

#[tokio::test]
async fn rule_i4_a_body_that_broke_a_limit_is_recorded_once() {
    let mut limits = countersign_gateway::Limits::default();
    limits.times.body_progress = std::time::Duration::from_millis(50);
    let world = World::start_with(crate::world::Options { limits, ..Default::default() }).await;
    let half =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab");
    // Its own refusal stands, and the connection ends ...
    let mut raw = world.connect(None).await;
    let refused = raw.call(half("/oauth2/refusing")).await;
    assert_eq!((refused.status, refused.text()), (413, "refused: request_too_slow"));
    assert_eq!(refused.header("connection"), Some("close"));
    raw.closed().await;
    assert!(!world.audit_log().await.contains("request_too_slow"), "recorded by the service");
    // ... and an answer to half a body does not.
    let replaced = world.connect(None).await.call(half("/oauth2/token")).await;
    assert_eq!(replaced.status, 408);
    assert!(world.audit_log().await.contains("request_too_slow"));
}

#[tokio::test]
async fn rule_g11_what_a_caller_controls_is_escaped_in_the_record() {
    let world = World::start().await;
    let mut raw = world.connect(None).await;
    let path = format!("/nowhere/%0a%1b[31m{}", "a".repeat(2000));
    assert_eq!(raw.call(get(&path, "x")).await.code(), "request_path_invalid");
    let log = world.audit_log().await;
    let line = log.lines().find(|line| line.contains("request_path_invalid")).unwrap();
    assert!(line.len() < 1500 && !line.contains('\u{1b}'), "{line}");
}

#[tokio::test]
async fn uses_of_credential_and_certificate_are_counted() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    raw.call(get("/data/", &token)).await;
    raw.call(get("/data/", &token)).await;
    raw.call(get("/pay/", &token)).await; // refused: no use
    let writes = format!("{:?}", world.usage.drain(100).unwrap().writes);
    assert!(writes.contains("uses: 2") && writes.contains("calls: 2"), "{writes}");
}
