//! HTTP/2: the same decisions, and what only HTTP/2 has.

use crate::pki::Identity;
use crate::world::{Options, World};
use bytes::Bytes;
use countersign_gateway::{Cut, Limits};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

async fn connect(
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

fn request(path: &str, token: &str, body: &'static str) -> Request<Body> {
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
        ("get", "https://localhost/data/"),
        ("A-METHOD-OF-MORE-THAN-32-CHARACTERS", "https://localhost/data/"),
        ("GET", "http://localhost/data/"),
    ] {
        let odd = Request::builder().method(method).uri(uri).body(Full::default().boxed_unsync()).unwrap();
        let refused = sender.send_request(odd).await.unwrap();
        assert_eq!(refused.status(), 400, "{method} {uri}");
    }
}

#[tokio::test]
async fn rule_g15_limits_hold_on_http2_too() {
    let mut limits = Limits::default();
    limits.sizes.body_bytes = 1000;
    limits.times.body_progress = Duration::from_millis(50);
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

#[tokio::test]
async fn rule_g14_revocation_reaches_a_streaming_http2_connection() {
    let world = World::start().await;
    let (mut sender, task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let mut stream = sender.send_request(request("/data/stream", &token, "")).await.unwrap().into_body();
    assert!(stream.frame().await.unwrap().is_ok());
    let serial = *countersign_pki::validate_client(
        &world.acme.chain[0],
        &[],
        &world.anchors.load(),
        crate::world::NOW,
    )
    .unwrap()
    .serial();
    let reason = countersign_model::certificate::RevocationReason::KeyCompromise;
    world.registry.revoked.lock().unwrap().insert(serial, reason);
    let began = Instant::now();
    assert_eq!(world.running.cut(&Cut::Client("acme-pay".parse().unwrap())).await, 1);
    let refused = sender.send_request(request("/data/", &token, "")).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(text(refused).await.contains("certificate_revoked"));
    while stream.frame().await.is_some_and(|frame| frame.is_ok()) {}
    let _ = task.await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn rule_g15_an_idle_http2_connection_is_closed() {
    let mut limits = Limits::default();
    limits.times.idle = Duration::from_millis(50);
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let (mut sender, task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    assert_eq!(sender.send_request(request("/data/", &token, "")).await.unwrap().status(), 200);
    let _ = task.await;
}

#[tokio::test]
async fn rule_g15_taking_requests_back_for_ever_cuts_the_connection() {
    let limits = Limits { resets_per_second: 5, ..Limits::default() };
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let (mut sender, task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    // The upstream is silent, so that each is in flight when it is taken back.
    while !task.is_finished() {
        if sender.ready().await.is_err() {
            break;
        }
        let answer = sender.send_request(request("/silent/", &token, ""));
        let _ = tokio::time::timeout(Duration::from_millis(5), answer).await;
    }
    let _ = task.await;
}

#[tokio::test]
async fn bodies_stream_both_ways_on_http2() {
    let world = World::start().await;
    let (mut sender, _task) = connect(&world, Some(&world.acme)).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let long: &'static str = "0123456789".repeat(200_000).leak();
    let echoed = sender.send_request(request("/data/", &token, long)).await.unwrap();
    assert_eq!(echoed.version(), http::Version::HTTP_2);
    assert!(text(echoed).await.ends_with(long));
}
