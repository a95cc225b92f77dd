//! Ambiguous framing (rule G12): each violation is answered with its code and the connection ends, and nothing of it
//! reaches the upstream.

use crate::world::{Options, World, get};
use countersign_gateway::Limits;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Sends `bytes` on a connection of its own; expects the refusal, the announced end, and the end.
async fn refused(world: &World, bytes: &[u8], status: u16, code: &str) {
    let shown = String::from_utf8_lossy(bytes).chars().take(120).collect::<String>();
    let mut raw = world.connect(Some(&world.acme)).await;
    let reply = raw.call(bytes).await;
    assert_eq!(reply.refusal(), (status, code.to_owned()), "{shown:?}");
    assert_eq!(reply.header("connection"), Some("close"), "{shown:?}");
    assert!(reply.header("date").is_some(), "{shown:?}");
    raw.closed().await;
}

#[tokio::test]
async fn rule_g12_ambiguous_framing_is_refused_and_closes() {
    let world = World::start().await;
    let token = world.token("acme-pay", Some(&world.acme));
    let auth = format!("Authorization: Bearer {token}\r\n");
    for (head, status, code) in [
        (
            "POST /data/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            400,
            "request_framing_ambiguous",
        ),
        (
            "POST /data/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n",
            400,
            "request_framing_ambiguous",
        ),
        (
            "POST /data/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n",
            400,
            "request_framing_ambiguous",
        ),
        ("POST /data/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4,4\r\n", 400, "request_framing_ambiguous"),
        ("POST /data/ HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n", 400, "request_framing_ambiguous"),
        (
            "POST /data/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            400,
            "request_framing_ambiguous",
        ),
        (
            "POST /data/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n",
            400,
            "request_framing_ambiguous",
        ),
        (
            "POST /data/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n",
            400,
            "request_framing_ambiguous",
        ),
        ("POST /data/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n", 400, "request_framing_ambiguous"),
        (
            "POST /data/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n",
            400,
            "request_framing_ambiguous",
        ),
        ("GET /data/ HTTP/1.1\nHost: x\r\n", 400, "request_framing_ambiguous"),
        ("GET /data/ HTTP/1.1\r\nHost: x\nX: y\r\n", 400, "request_framing_ambiguous"),
        ("GET /data/ HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n", 400, "request_header_invalid"),
        ("GET /data/ HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n", 400, "request_header_invalid"),
        ("GET /data/ HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n", 400, "request_header_invalid"),
        ("GET /data/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n", 400, "request_framing_ambiguous"),
        ("GET http://y/data/ HTTP/1.1\r\nHost: x\r\n", 400, "request_framing_ambiguous"),
        ("GET http://u@x/data/ HTTP/1.1\r\nHost: x\r\n", 400, "request_framing_ambiguous"),
        ("GET /data/ HTTP/1.1\r\n", 400, "request_header_invalid"),
        ("GET /data/ HTTP/1.1\r\nHost: a b\r\n", 400, "request_header_invalid"),
        ("GET /data/ HTTP/1.1\r\nHost: x\r\nB@d: y\r\n", 400, "request_header_invalid"),
        ("GET /data/#frag HTTP/1.1\r\nHost: x\r\n", 400, "request_path_invalid"),
        ("GET /data/?a#frag HTTP/1.1\r\nHost: x\r\n", 400, "request_query_invalid"),
        ("GET /data/{a} HTTP/1.1\r\nHost: x\r\n", 400, "request_path_invalid"),
        ("get /data/ HTTP/1.1\r\nHost: x\r\n", 400, "request_malformed"),
        ("TRACE /data/ HTTP/1.1\r\nHost: x\r\n", 400, "request_malformed"),
        ("TRACK /data/ HTTP/1.1\r\nHost: x\r\n", 400, "request_malformed"),
        ("PRI /data/ HTTP/1.1\r\nHost: x\r\n", 400, "request_malformed"),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n", 400, "request_malformed"),
        ("rubbish\r\n", 400, "request_malformed"),
        ("GET /data/ HTTP/1.0\r\nHost: x\r\n", 505, "http_version_unsupported"),
        ("GET /data/ HTTP/3.0\r\nHost: x\r\n", 505, "http_version_unsupported"),
        ("PRI * HTTP/2.0\r\n", 505, "http_version_unsupported"),
    ] {
        refused(&world, format!("{head}{auth}\r\n0\r\n\r\n").as_bytes(), status, code).await;
    }
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 0, "nothing of it reached the upstream");
    let log = world.audit_log().await;
    assert!(
        log.contains("request_framing_ambiguous") && !log.contains("refused\"}"),
        "recorded, without the substitute"
    );
}

#[tokio::test]
async fn rule_g12_bad_chunks_end_the_request_before_its_answer() {
    let world = World::start().await;
    let token = world.token("acme-pay", Some(&world.acme));
    let head = format!(
        "POST /data/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for body in
        ["zz\r\n", "3\r\nabcd\r\n", "3\nabc", "10000000000000000\r\n", "0\r\nbad trailer\r\n\r\n", "1 \r\na"]
    {
        refused(&world, format!("{head}{body}").as_bytes(), 400, "request_framing_ambiguous").await;
        // The same, when the head has gone upstream already.
        let mut raw = world.connect(Some(&world.acme)).await;
        let before = world.upstream.requests.load(Ordering::SeqCst);
        raw.send(format!("{head}3\r\nabc\r\n")).await;
        while world.upstream.requests.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        let reply = raw.call(body).await;
        assert_eq!(reply.refusal(), (400, "request_framing_ambiguous".to_owned()), "{body:?}");
        raw.closed().await;
    }
}

#[tokio::test]
async fn rule_g12_nothing_is_smuggled_behind_a_good_request() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let good = get("/data/first", &token);
    raw.send(format!(
        "{good}{good}POST /data/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 60\r\n\r\n{good}"
    ))
    .await;
    assert_eq!(raw.reply().await.status, 200);
    assert_eq!(raw.reply().await.status, 200);
    assert_eq!(raw.reply().await.refusal(), (400, "request_framing_ambiguous".to_owned()));
    raw.closed().await;
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_client_cannot_forge_the_substitute() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let reply = raw.call("GET / HTTP/1.1\r\nhost: refused\r\n\r\n").await;
    assert_eq!(reply.refusal(), (404, "route_not_found".to_owned()));
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200, "and the connection goes on");
}

#[tokio::test]
async fn rule_g15_heads_over_the_limit_are_431() {
    let world = World::start().await;
    let long = format!("GET /data/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(40_000));
    refused(&world, long.as_bytes(), 431, "request_header_too_large").await;
    let many = format!("GET /data/ HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(120));
    refused(&world, many.as_bytes(), 431, "request_header_too_large").await;
}

#[tokio::test]
async fn rule_g15_bodies_over_the_limit_are_413() {
    let mut limits = Limits::default();
    limits.sizes.body_bytes = 1000;
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let auth = format!("Host: x\r\nAuthorization: Bearer {token}\r\n");
    let announced = format!("POST /data/ HTTP/1.1\r\n{auth}Content-Length: 1001\r\n\r\n");
    refused(&world, announced.as_bytes(), 413, "request_body_too_large").await;
    let chunks = format!("{:x}\r\n{}\r\n", 600, "a".repeat(600)).repeat(2);
    let chunked =
        format!("POST /data/ HTTP/1.1\r\n{auth}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    refused(&world, chunked.as_bytes(), 413, "request_body_too_large").await;
    let local = chunked.replace("/data/", "/problems/x");
    refused(&world, local.as_bytes(), 413, "request_body_too_large").await;
}

#[tokio::test]
async fn rule_g15_slow_heads_and_bodies_are_408() {
    let mut limits = Limits::default();
    limits.times.head = Duration::from_millis(50);
    limits.times.body_progress = Duration::from_millis(50);
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let token = world.token("acme-pay", Some(&world.acme));
    refused(&world, b"GET /data/ HT", 408, "request_too_slow").await;
    let body = format!(
        "POST /data/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\nabc"
    );
    refused(&world, body.as_bytes(), 408, "request_too_slow").await;
    refused(&world, body.replace("/data/", "/problems/x").as_bytes(), 408, "request_too_slow").await;
}

#[tokio::test]
async fn rule_g15_an_idle_connection_is_closed_silently() {
    let mut limits = Limits::default();
    limits.times.idle = Duration::from_millis(300);
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let (mut raw, token) = world.acme().await;
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    raw.closed().await;
}

#[tokio::test]
async fn bodies_of_every_kind_arrive_whole() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let auth = format!("Host: x\r\nAuthorization: Bearer {token}\r\n");
    let long = "0123456789".repeat(30_000);
    for (framing, body) in [
        (format!("Content-Length: {}\r\n\r\n{long}", long.len()), long.as_str()),
        (
            format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x};x=y\r\n{long}\r\n1\r\n!\r\n0\r\nT: v\r\n\r\n",
                long.len()
            ),
            "!",
        ),
        ("Content-Length: 0\r\n\r\n".to_owned(), ""),
    ] {
        let reply = raw.call(format!("POST /data/x HTTP/1.1\r\n{auth}{framing}")).await;
        assert_eq!(reply.status, 200);
        assert!(reply.text().ends_with(body), "{}", &framing[..40]);
    }
    raw.send(format!("POST /data/x HTTP/1.1\r\n{auth}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"))
        .await;
    assert_eq!(raw.head().await.status, 100);
    assert!(raw.call("ab").await.text().ends_with("\n\nab"));
}
