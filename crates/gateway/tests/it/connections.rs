//! Open connections end when what they stand on does (rule G14; design, decision 20).

use crate::http2_peer::{DATA, Peer};
use crate::pki::{Authority, Flaw};
use crate::world::{CUT, NOW, Options, SOON, World, get, uri};
use countersign_gateway::{Cut, Limits};
use countersign_pki::{TrustAnchors, validate_client};
use rustls::ClientConnection;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn rule_g14_a_revoked_certificate_is_refused_on_its_next_request_and_cut() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let mut idle = world.connect(Some(&world.acme)).await;
    let mut other = world.connect(Some(&world.other)).await;
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    let cut = world.revoke(&world.acme);
    let began = Instant::now();
    assert_eq!(world.running.cut(&cut).await, 2);
    let reply = raw.call(get("/data/", &token)).await;
    assert_eq!(reply.refusal(), (401, "certificate_revoked".to_owned()));
    assert_eq!(reply.header("connection"), Some("close"));
    raw.closed().await;
    idle.closed().await;
    assert!(began.elapsed() < CUT, "{:?}", began.elapsed());
    let other_token = world.token("other-bank", Some(&world.other));
    assert_eq!(other.call(get("/data/", &other_token)).await.status, 200, "others are not touched");
    assert_eq!(world.running.cut(&cut).await, 0);
}

/// A serial number is unique within its issuer only (RFC 5280 section 4.1.2.2).
#[tokio::test]
async fn rule_g14_a_serial_number_is_revoked_under_its_own_issuer_only() {
    let world = World::start().await;
    let second = Authority::new("second");
    let anchors = TrustAnchors::new(vec![world.clients_ca.trusted("clients"), second.trusted("second")]);
    world.anchors.store(Arc::new(anchors));
    let twin = second.client(&uri("acme-pay"), Flaw::None);
    let serial_of = |identity: &crate::pki::Identity| {
        *validate_client(&identity.chain[0], &world.anchors.load(), NOW).unwrap().serial()
    };
    assert_eq!(serial_of(&twin), serial_of(&world.acme));
    let token_of_twin = world.token("acme-pay", Some(&twin));
    let (mut acme, token) = world.acme().await;
    let mut open = world.connect(Some(&twin)).await;
    assert_eq!(acme.call(get("/data/", &token)).await.status, 200);
    assert_eq!(open.call(get("/data/", &token_of_twin)).await.status, 200);
    assert_eq!(world.running.cut(&world.revoke(&world.acme)).await, 1);
    assert_eq!(acme.call(get("/data/", &token)).await.code(), "certificate_revoked");
    assert_eq!(open.call(get("/data/", &token_of_twin)).await.status, 200);
    let reply = world.connect(Some(&twin)).await.call(get("/data/", &token_of_twin)).await;
    assert_eq!(reply.status, 200, "on a new connection too");
}

#[tokio::test]
async fn rule_g14_a_streaming_answer_is_cut_within_a_second() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    raw.send(get("/data/stream", &token)).await;
    assert_eq!(raw.head().await.status, 200);
    let began = Instant::now();
    assert_eq!(world.running.cut(&world.revoke(&world.acme)).await, 1);
    raw.drain().await;
    assert!(began.elapsed() < CUT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn rule_g14_cutting_a_client_finds_its_bearer_connections_too() {
    let world = World::start().await;
    let mut raw = world.connect(None).await;
    let token = world.token("other-bank", None);
    assert_eq!(raw.call(get("/open/", &token)).await.status, 200);
    assert_eq!(world.running.cut(&Cut::Client("other-bank".parse().unwrap())).await, 1);
    assert_eq!(world.running.cut(&Cut::Client("acme-pay".parse().unwrap())).await, 0);
    raw.closed().await;
}

#[tokio::test]
async fn rule_t9_a_certificate_that_expires_on_an_open_connection_is_refused() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    world.clock.advance_s(2 * 365 * 86_400);
    let reply = raw.call(get("/data/", &token)).await;
    assert_eq!(reply.refusal(), (401, "certificate_expired".to_owned()));
    assert_eq!(reply.header("connection"), Some("close"));
    raw.closed().await;
}

#[tokio::test]
async fn stopping_ends_requests_in_flight_first() {
    let world = World::start().await;
    let (mut raw, token) = world.acme().await;
    let mut idle = world.connect(Some(&world.acme)).await;
    let head = format!(
        "POST /data/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n"
    );
    raw.send(head).await;
    while world.upstream.requests.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let address = world.running.local_addr("public").unwrap();
    let stopping = tokio::spawn(world.running.shutdown());
    idle.closed().await;
    assert!(raw.call("ab").await.text().ends_with("\n\nab"));
    raw.closed().await;
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// A stranger who holds handshakes open must not make a restart take its full time, nor have requests begin after it.
#[tokio::test]
async fn stopping_ends_connections_that_come_out_of_their_handshake_later() {
    let limits = Limits { shutdown: Duration::from_secs(600), ..Limits::default() };
    // One worker: another one with nothing in flight would stop at once, and this connection with it.
    let world = World::start_with(Options { limits, workers: 1, ..Options::default() }).await;
    let address = world.running.local_addr("public").unwrap();
    let dial = world.dial(Some(&world.acme));
    let mut client = ClientConnection::new(Arc::new(dial.config()), "localhost".try_into().unwrap()).unwrap();
    let (mut hello, mut answered) = (Vec::new(), vec![0; 16_384]);
    client.write_tls(&mut hello).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&hello).await.unwrap();
    let n = stream.read(&mut answered).await.unwrap(); // accepted, and in the middle of the handshake

    let (mut raw, token) = world.acme().await;
    raw.send(format!(
        "POST /data/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n"
    ))
    .await;
    while world.upstream.requests.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn(world.running.shutdown());
    while TcpStream::connect(address).await.is_ok() {} // until nobody listens any more

    let mut received = &answered[..n];
    let mut finish = Vec::new();
    loop {
        while !received.is_empty() {
            client.read_tls(&mut received).unwrap();
            client.process_new_packets().unwrap();
        }
        client.write_tls(&mut finish).unwrap();
        stream.write_all(&std::mem::take(&mut finish)).await.unwrap();
        if !client.is_handshaking() {
            break;
        }
        let n = stream.read(&mut answered).await.unwrap();
        received = &answered[..n];
    }
    let ended = async { while stream.read(&mut answered).await.is_ok_and(|n| n > 0) {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("closed without a request");
    assert!(raw.call("ab").await.text().ends_with("\n\nab"), "what was in flight is answered");
    stopping.await.unwrap();
}

/// Peers that have nothing to wait for, and say nothing: before HTTP/2 begins, after it has, and after an answer.
#[tokio::test]
async fn stopping_waits_for_no_silent_http2_peer() {
    let limits = Limits { shutdown: Duration::from_secs(600), ..Limits::default() };
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let mute = Peer::connect(&world, Some(&world.acme)).await;
    let mut greeted = Peer::connect(&world, Some(&world.acme)).await;
    greeted.greet(65_535).await;
    let mut answered = Peer::connect(&world, Some(&world.acme)).await;
    answered.greet(65_535).await;
    answered.get(1).await;
    while answered.frame().await.unwrap().kind != DATA {}
    tokio::time::timeout(SOON, world.running.shutdown()).await.expect("nobody waits for an answer");
    drop((mute, greeted, answered));
}

#[tokio::test]
async fn a_refusal_says_that_the_connection_ends_where_a_body_is_left_unread() {
    let world = World::start().await;
    let mut raw = world.connect(Some(&world.acme)).await;
    let small = "POST /data/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
    for _ in 0..2 {
        let reply = raw.call(small).await;
        assert_eq!((reply.status, reply.header("connection")), (401, None), "it came with its head");
    }
    raw.send("POST /data/ HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n").await;
    let reply = raw.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (401, Some("close")), "RFC 9112 section 9.6");
    raw.closed().await;
}

#[tokio::test]
async fn a_busy_port_is_an_error_with_its_address() {
    let world = World::start().await;
    let address = world.running.local_addr("public").unwrap();
    let error = world.start_another(address).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on {address} (listener `public`)"));
}
