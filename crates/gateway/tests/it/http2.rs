//! HTTP/2: the same decisions, and what only HTTP/2 has.

use crate::http2_peer::{HEADERS, Peer, RST_STREAM};
use crate::pki::Identity;
use crate::world::{CUT, Options, SOON, World};
use bytes::Bytes;
use countersign_gateway::{Cut, Limits};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

pub(crate) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

pub(crate) async fn connect(
    world: &World,
    identity: Option<&Identity>,
) -> (SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
    let mut dial = world.dial(identity);
    dial.alpn = vec!["h2"];
    let stream = dial.tls().await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

pub(crate) fn request(path: &str, token: &str, body: &'static str) -> Request<Body> {
    Request::builder()
        .method(if body.is_empty() { "GET" } else { "POST" })
        .uri(format!("https://localhost{path}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(Bytes::from_static(body.as_bytes())).boxed_unsync())
        .unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn requests_run_beside_each_other_with_the_same_decisions() {
    let world = World::start().await;
    let (mut sender, _task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let (a, b, c) = tokio::join!(
        sender.clone().send_request(request("/data/a", &token, "")),
        sender.clone().send_request(request("/data/b", &token, "body")),
        sender.clone().send_request(request("/pay/", &token, "")),
    );
    assert!(text(a.unwrap()).await.starts_with("GET /a\n"));
    assert!(text(b.unwrap()).await.ends_with("\n\nbody"));
    let refused = c.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.headers().contains_key("countersign-ref"));
    assert!(text(refused).await.contains("token_scope_insufficient"));
    assert_eq!(sender.send_request(request("/data/c", &token, "")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn rule_g12_host_beside_another_authority_is_refused() {
    let world = World::start().await;
    let (mut sender, _task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let mut other = request("/data/", &token, "");
    other.headers_mut().insert("host", "other.example".parse().unwrap());
    let refused = sender.send_request(other).await.unwrap();
    assert_eq!(refused.status(), 400);
    assert!(text(refused).await.contains("request_framing_ambiguous"));
    let mut same = request("/data/", &token, "");
    same.headers_mut().insert("host", "localhost".parse().unwrap());
    assert_eq!(sender.send_request(same).await.unwrap().status(), 200);
    for (method, uri) in [
        ("TRACE", "https://localhost/data/"),
        ("TRACK", "https://localhost/data/"),
        ("PRI", "https://localhost/data/"),
        ("track", "https://localhost/data/"),
        ("get", "https://localhost/data/"),
        ("A-METHOD-OF-MORE-THAN-32-CHARACTERS", "https://localhost/data/"),
        ("GET", "http://localhost/data/"),
    ] {
        let odd = Request::builder().method(method).uri(uri).body(Full::default().boxed_unsync()).unwrap();
        let refused = sender.send_request(odd).await.unwrap();
        assert_eq!(refused.status(), 400, "{method} {uri}");
        let told = text(refused).await.contains(&format!("The method `{method}"));
        assert_eq!(told, method != "GET", "{method} {uri}");
    }
}

#[tokio::test]
async fn rule_g15_limits_hold_on_http2_too() {
    let mut limits = Limits::default();
    limits.sizes.body_bytes = 1000;
    limits.times.body_progress = Duration::from_millis(500);
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let (mut sender, _task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let announced = request("/data/", &token, std::str::from_utf8(&[b'a'; 2000]).unwrap().to_owned().leak());
    let refused = sender.send_request(announced).await.unwrap();
    assert_eq!(refused.status(), 413);
    let pieces = |count: usize, then_silence: bool| {
        let stream = futures_util::stream::unfold(0, move |n| async move {
            if n == count {
                if then_silence {
                    std::future::pending::<()>().await;
                }
                return None;
            }
            Some((Ok(hyper::body::Frame::data(Bytes::from_static(&[b'a'; 600]))), n + 1))
        });
        http_body_util::StreamBody::new(stream).boxed_unsync()
    };
    let streamed = request("/data/", &token, "x").map(|_| pieces(2, false));
    assert_eq!(sender.send_request(streamed).await.unwrap().status(), 413);
    let slow = request("/data/", &token, "x").map(|_| pieces(1, true));
    assert_eq!(sender.send_request(slow).await.unwrap().status(), 408);
    let mut large = request("/data/", &token, "");
    large.headers_mut().insert("x-large", "a".repeat(40_000).parse().unwrap());
    let refused = sender.send_request(large).await.unwrap();
    assert_eq!(refused.status(), 431);
}

/// RFC 9113 section 8.2.3: a cookie may come in crumbs, and they are one field, which HTTP/1.1 has once.
#[tokio::test]
async fn rule_g15_the_crumbs_of_a_cookie_count_as_one_field() {
    let world = World::start().await;
    let (mut sender, _task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let with = |name: &'static str, count: usize, value: &str| {
        let mut request = request("/data/", &token, "");
        for n in 0..count {
            request.headers_mut().append(name, format!("c{n}={value}").parse().unwrap());
        }
        request
    };
    let answer = sender.send_request(with("cookie", 150, "v")).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = text(answer).await;
    let cookies: Vec<_> = seen.lines().filter(|line| line.starts_with("cookie: ")).collect();
    assert_eq!(cookies.len(), 1, "{seen}");
    assert!(cookies[0].starts_with("cookie: c0=v; c1=v; ") && cookies[0].ends_with("; c149=v"), "{seen}");
    for (name, count, value) in [("x-other", 150, "v"), ("cookie", 150, &*"v".repeat(300))] {
        let refused = sender.send_request(with(name, count, value)).await.unwrap();
        assert_eq!(refused.status(), 431, "{name}");
    }
}

#[tokio::test]
async fn rule_g14_revocation_reaches_a_streaming_http2_connection() {
    let world = World::start().await;
    let (mut sender, task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let mut stream = sender.send_request(request("/data/stream", &token, "")).await.unwrap().into_body();
    assert!(stream.frame().await.unwrap().is_ok());
    world.revoke(&world.acme);
    let began = Instant::now();
    assert_eq!(world.running.cut(&Cut::Client("acme-pay".parse().unwrap())).await, 1);
    let refused = sender.send_request(request("/data/", &token, "")).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(text(refused).await.contains("certificate_revoked"));
    while stream.frame().await.is_some_and(|frame| frame.is_ok()) {}
    let _ = task.await;
    assert!(began.elapsed() < CUT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn rule_g15_an_idle_http2_connection_is_closed() {
    let mut limits = Limits::default();
    limits.times.idle = Duration::from_millis(300);
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let (mut sender, task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    assert_eq!(sender.send_request(request("/data/", &token, "")).await.unwrap().status(), 200);
    let _ = task.await;
}

/// hyper's client would keep to what we announce: this one does not.
#[tokio::test]
async fn rule_g15_concurrent_streams_are_capped() {
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let limits = Limits { concurrent_streams: 2, ..Limits::default() };
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let authorization = format!("Bearer {}", world.token("acme-pay", Some(&world.acme)));
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    for stream in [1, 3] {
        peer.get_with(stream, "/data/stream", Some(&authorization)).await;
    }
    let mut answered = 0;
    while answered < 2 {
        answered += usize::from(peer.frame().await.unwrap().kind == HEADERS);
    }
    peer.get_with(5, "/data/stream", Some(&authorization)).await;
    let refused = loop {
        let frame = peer.frame().await.unwrap();
        if frame.stream == 5 {
            break frame;
        }
    };
    assert_eq!((refused.kind, refused.payload.as_slice()), (RST_STREAM, &REFUSED_STREAM[..]));
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 2);
    while !world.audit_log().await.contains("client_requests_exhausted") {
        tokio::task::yield_now().await; // the frame is told of once it is out
    }
}

/// In frames written by hand, so that nothing but the test decides when a request is taken back: one that is whole, and
/// one whose body is still to come, which costs us as much.
#[tokio::test]
async fn rule_g15_taking_requests_back_for_ever_cuts_the_connection() {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let limits = Limits { resets_per_second: 1, ..Limits::default() };
    for whole in [true, false] {
        let world = World::start_with(Options { limits, ..Options::default() }).await;
        let authorization = format!("Bearer {}", world.token("acme-pay", Some(&world.acme)));
        let mut peer = Peer::connect(&world, Some(&world.acme)).await;
        peer.greet(65_535).await;
        for (stream, requests) in [(1, 1), (3, 2)] {
            if whole {
                peer.get_with(stream, "/data/silent", Some(&authorization)).await;
            } else {
                peer.begin_post(stream, "/data/", &authorization).await;
            }
            while world.upstream.requests.load(Ordering::SeqCst) < requests {
                tokio::task::yield_now().await;
            }
        }
        // One behind the other, because they count within a second.
        for stream in [1, 3] {
            peer.send(RST_STREAM, 0, stream, &CANCEL).await;
        }
        let ended = tokio::time::timeout(SOON, peer.live(async |_, _| {})).await;
        assert!(ended.is_ok(), "two within a second are one too many; whole: {whole}");
    }
    let counted = r#"countersign_http2_errors_total{listener="public",kind="resets"}"#;
    assert!(crate::observed::metrics().render().contains(counted));
}

#[tokio::test]
async fn bodies_stream_both_ways_on_http2() {
    let world = World::start().await;
    let (mut sender, _task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let long = "0123456789".repeat(200_000);
    let (pieces, rest) = tokio::sync::mpsc::unbounded_channel::<String>();
    let body = futures_util::stream::unfold(rest, |mut rest| async {
        let piece = rest.recv().await?;
        Some((Ok(hyper::body::Frame::data(Bytes::from(piece))), rest))
    });
    let (first, second) = long.split_at(10);
    let streamed =
        request("/data/", &token, "x").map(|_| http_body_util::StreamBody::new(body).boxed_unsync());
    let answer = tokio::spawn(sender.send_request(streamed));
    pieces.send(first.to_owned()).unwrap();
    // Before the body has ended: a gateway that gathers it first would never get here.
    while world.upstream.requests.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    pieces.send(second.to_owned()).unwrap();
    drop(pieces);
    let echoed = answer.await.unwrap().unwrap();
    assert_eq!(echoed.version(), http::Version::HTTP_2);
    assert!(text(echoed).await.ends_with(&long));
    // And back: pieces of an answer that never ends.
    let mut endless = sender.send_request(request("/data/stream", &token, "")).await.unwrap().into_body();
    assert!(endless.frame().await.unwrap().unwrap().is_data());
}
