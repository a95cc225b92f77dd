//! What one caller takes, others do not lack: connections, requests in flight, and the reserve for operators (rule G20).

use crate::client::Raw;
use crate::http2_peer::{DATA, HEADERS, Peer};
use crate::pki::Flaw;
use crate::upstream;
use crate::world::{NOW, Options, SOON, World, get, uri};
use countersign_gateway::{Cut, Descriptors, Limits, Upstream};
use countersign_model::client::{ClientState, CredentialState};
use countersign_policy::{ClientEntry, Registry};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One worker, so that the test knows who accepts.
async fn world(descriptors: Descriptors, change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = Limits::default();
    change(&mut limits);
    World::start_with(Options { limits, descriptors, workers: 1, ..Options::default() }).await
}

async fn ask_as_operator(world: &World) -> String {
    let mut stream = TcpStream::connect(world.running.local_addr("operators").unwrap()).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// Sends a request whose answer never begins, and waits until it is with the upstream.
async fn waits(world: &World, raw: &mut Raw, token: &str) {
    let before = world.upstream.requests.load(Ordering::SeqCst);
    raw.send(get("/data/silent", token)).await;
    while world.upstream.requests.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
}

/// Strangers in every state that one can be in, many more than there may be connections.
#[tokio::test]
async fn rule_g20_strangers_keep_out_neither_partners_nor_operators() {
    const CALLERS: usize = 8;
    let world = world(Descriptors { callers: CALLERS, upstreams: 100 }, |limits| {
        limits.connections_per_address = 1000;
        limits.times.first = Duration::from_secs(600);
        limits.handshake = Duration::from_secs(600);
    })
    .await;
    let (mut partner, token) = world.acme().await;
    assert_eq!(partner.call(get("/data/", &token)).await.status, 200);
    let public = world.running.local_addr("public").unwrap();
    let (mut mute, mut shaken, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 * CALLERS {
        mute.push(TcpStream::connect(public).await.unwrap());
        shaken.push(world.dial(None).tls().await.unwrap());
        for begun in ["GET / HT", "POST /oauth2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"] {
            let mut raw = world.connect(None).await;
            raw.send(begun).await;
            others.push(raw);
        }
        let mut raw = world.connect(None).await;
        assert_eq!(raw.call(get("/data/", "no-token")).await.status, 401);
        others.push(raw);
    }
    // Nothing but requests that trickle.
    for _ in 0..3 * CALLERS {
        let mut raw = world.connect(None).await;
        raw.send("POST /oauth2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").await;
        others.push(raw);
    }
    assert!(ask_as_operator(&world).await.starts_with("HTTP/1.1 200 "));
    let (mut other, _) = world.acme().await;
    assert_eq!(other.call(get("/data/", &token)).await.status, 200, "a partner comes in");
    assert_eq!(partner.call(get("/data/", &token)).await.status, 200, "and stays");
    let metrics = crate::observed::metrics().render();
    assert!(metrics.contains(r#"countersign_connections_evicted_total{listener="public"}"#));
}

/// Nobody makes room who is known: then the newcomer is closed at once.
#[tokio::test]
async fn rule_g20_connections_in_all_are_capped_and_given_back() {
    let world = world(Descriptors { callers: 2, upstreams: 100 }, |_| {}).await;
    let (mut one, token) = world.acme().await;
    let two = world.connect(Some(&world.other)).await;
    assert_eq!(one.call(get("/data/", &token)).await.status, 200);
    assert!(world.dial(Some(&world.acme)).tls().await.is_err(), "the third is closed");
    assert!(ask_as_operator(&world).await.starts_with("HTTP/1.1 200 "));
    drop(two);
    let again = async {
        while world.dial(Some(&world.acme)).tls().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, again).await.unwrap();
    assert_eq!(one.call(get("/data/", &token)).await.status, 200);
}

/// A partner may have its certificate, or calls that are permitted, on more connections than there may be.
#[tokio::test]
async fn rule_g20_a_partner_keeps_out_neither_other_partners_nor_operators() {
    const CALLERS: usize = 8;
    let world = world(Descriptors { callers: CALLERS, upstreams: 100 }, |_| {}).await;
    let mut early = world.connect(Some(&world.other)).await;
    let token_of_other = world.token("other-bank", Some(&world.other));
    assert_eq!(early.call(get("/data/", &token_of_other)).await.status, 200);
    let bearer = world.token("acme-pay", None);
    let mut held = Vec::new();
    for _ in 0..3 * CALLERS {
        held.push(world.acme().await.0);
        let mut raw = world.connect(None).await;
        assert_eq!(raw.call(get("/open/", &bearer)).await.status, 200);
        held.push(raw);
    }
    let mut late = world.connect(Some(&world.other)).await;
    for raw in [&mut early, &mut late] {
        assert_eq!(raw.call(get("/data/", &token_of_other)).await.status, 200);
    }
    assert!(ask_as_operator(&world).await.starts_with("HTTP/1.1 200 "));
    let (mut acme, token) = world.acme().await;
    assert_eq!(acme.call(get("/data/", &token)).await.status, 200, "it has connections of its own");
}

/// A caller that probes the admin API without end does not lock it.
#[tokio::test]
async fn rule_g20_idle_connections_of_operators_make_room_for_new_ones() {
    let world = world(Descriptors::UNLIMITED, |_| {}).await;
    let operators = world.running.local_addr("operators").unwrap();
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(operators).await.unwrap());
    }
    assert!(ask_as_operator(&world).await.starts_with("HTTP/1.1 200 "));
}

/// An administrative call is carried out when its answer is cut, and what is shown once is lost.
#[tokio::test]
async fn rule_g17_no_newcomer_cuts_an_operators_request_in_flight() {
    const HEAD: &[u8] = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let world = world(Descriptors::UNLIMITED, |_| {}).await;
    let operators = world.running.local_addr("operators").unwrap();
    let mut calls = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(operators).await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        // Its body is asked for: it is in flight.
        let mut begun = [0; CONTINUE.len()];
        stream.read_exact(&mut begun).await.unwrap();
        assert_eq!(begun, CONTINUE);
        calls.push(stream);
    }
    assert_eq!(ask_as_operator(&world).await, "", "it is turned away");
    // One that comes when a place is about to be free is served.
    let ask = ask_as_operator(&world);
    let finish = async {
        let mut answers = Vec::new();
        for mut stream in calls {
            let mut answer = [0; 12];
            stream.write_all(b"123456789").await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            answers.push(answer);
        }
        answers
    };
    let (asked, answers) = tokio::join!(ask, finish);
    assert!(asked.starts_with("HTTP/1.1 200 "), "{asked}");
    assert!(answers.iter().all(|answer| answer == b"HTTP/1.1 200"), "every call is answered");
}

#[tokio::test]
async fn rule_g20_requests_in_flight_of_one_client_are_capped_over_all_workers() {
    let limits = Limits { requests_per_client: 2, ..Limits::default() };
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let (mut first, token) = world.acme().await;
    let (mut second, _) = world.acme().await;
    waits(&world, &mut first, &token).await;
    waits(&world, &mut second, &token).await;
    // On every worker, over every version of HTTP.
    for _ in 0..4 {
        let (mut third, _) = world.acme().await;
        let reply = third.call(get("/data/", &token)).await;
        assert_eq!(reply.refusal(), (503, "client_requests_exhausted".to_owned()));
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    peer.get_with(1, "/data/", Some(&format!("Bearer {token}"))).await;
    let mut document = Vec::new();
    while let Some(frame) = peer.frame().await {
        if frame.kind == DATA && frame.stream == 1 {
            document.extend(frame.payload);
        }
        if (frame.kind == DATA || frame.kind == HEADERS) && frame.flags & 1 == 1 {
            break;
        }
    }
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["code"], "client_requests_exhausted");
    let mut other = world.connect(Some(&world.other)).await;
    let other_token = world.token("other-bank", Some(&world.other));
    assert_eq!(other.call(get("/data/", &other_token)).await.status, 200, "others are served");
    // Its caller has gone: the request is over.
    drop(first);
    let (mut again, _) = world.acme().await;
    let served = async { while again.call(get("/data/", &token)).await.status != 200 {} };
    tokio::time::timeout(SOON, served).await.unwrap();
}

#[tokio::test]
async fn rule_g20_requests_in_flight_to_one_upstream_are_capped_over_all_workers() {
    let (address, counts) = upstream::echo().await;
    let mut slow = Upstream::new("slow", &format!("http://{address}")).unwrap();
    slow.max_requests = 4;
    let world = World::start_with(Options { upstreams: vec![slow], ..Options::default() }).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let other_token = world.token("other-bank", Some(&world.other));
    let mut waiting = Vec::new();
    for n in 1..=4 {
        let (identity, token) = if n < 4 { (&world.acme, &token) } else { (&world.other, &other_token) };
        let mut raw = world.connect(Some(identity)).await;
        raw.send(get("/slow/silent", token)).await;
        while counts.requests.load(Ordering::SeqCst) < n {
            tokio::task::yield_now().await;
        }
        waiting.push(raw);
        if n == 3 {
            // What is left is for others, whichever worker and connection it calls on.
            for _ in 0..4 {
                let reply = world.acme().await.0.call(get("/slow/", token)).await;
                assert_eq!(reply.refusal(), (503, "client_requests_exhausted".to_owned()));
                assert_eq!(reply.header("retry-after"), Some("1"));
            }
            let log = world.audit_log().await;
            assert!(
                log.contains("slow: a quarter is left to other clients; requests in flight at most: 4"),
                "{log}"
            );
        }
    }
    let mut other = world.connect(Some(&world.other)).await;
    let reply = other.call(get("/slow/", &other_token)).await;
    assert_eq!(reply.refusal(), (503, "upstream_requests_exhausted".to_owned()));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(other.call(get("/data/", &other_token)).await.status, 200, "other upstreams are served");
    drop(waiting);
    let served = async { while other.call(get("/slow/", &other_token)).await.status != 200 {} };
    tokio::time::timeout(SOON, served).await.unwrap();
}

/// Few descriptors lower every cap: one client leaves some to the others, and what is kept unused is given up for what is
/// needed.
#[tokio::test]
async fn rule_g20_connections_to_upstreams_stay_within_their_share() {
    const UPSTREAMS: usize = 8;
    let world = world(Descriptors { callers: 100, upstreams: UPSTREAMS }, |_| {}).await;
    let token = world.token("acme-pay", Some(&world.acme));
    let mut waiting = Vec::new();
    for _ in 0..UPSTREAMS / 4 {
        let (mut raw, _) = world.acme().await;
        waits(&world, &mut raw, &token).await;
        waiting.push(raw);
    }
    let (mut raw, _) = world.acme().await;
    assert_eq!(raw.call(get("/data/", &token)).await.code(), "client_requests_exhausted");
    let mut other = world.connect(Some(&world.other)).await;
    let other_token = world.token("other-bank", Some(&world.other));
    for _ in 0..2 * UPSTREAMS {
        // Each of these leaves a connection behind that cannot be used again, or one that can.
        assert_eq!(other.call(get("/data/", &other_token)).await.status, 200);
        assert_eq!(other.call(get("/closing/", &other_token)).await.status, 200);
    }
}

#[tokio::test]
async fn rule_g20_who_says_nothing_after_the_handshake_is_closed_soon() {
    let world = world(Descriptors::UNLIMITED, |limits| limits.times.first = Duration::from_millis(50)).await;
    let mut silent = world.connect(None).await;
    let mut certified = world.connect(Some(&world.acme)).await;
    for raw in [&mut silent, &mut certified] {
        tokio::time::timeout(SOON, raw.closed()).await.expect("closed without a word");
    }
    let mut peer = Peer::connect(&world, None).await;
    peer.greet(65_535).await;
    tokio::time::timeout(SOON, peer.live(async |_, _| {})).await.expect("closed without a request");
    // Who has asked once may take its time.
    let (mut raw, token) = world.acme().await;
    assert_eq!(raw.call(get("/data/", &token)).await.status, 200);
    tokio::time::timeout(Duration::from_millis(200), raw.closed()).await.expect_err("it is kept");
}

type Ending = fn(&World);

/// What can end a certificate of acme-pay, or what it stands for.
fn endings() -> [(&'static str, Ending); 4] {
    fn change(world: &World, change: impl FnOnce(&mut ClientEntry)) {
        change(world.registry.clients.lock().unwrap().get_mut(&"acme-pay".parse().unwrap()).unwrap());
    }
    [
        ("revoked", |world| drop(world.revoke(&world.acme))),
        ("client disabled", |world| change(world, |entry| entry.client.state = ClientState::Disabled)),
        ("credential revoked", |world| {
            change(world, |entry| entry.credentials[0].state = CredentialState::Revoked);
        }),
        ("credential over", |world| change(world, |entry| entry.credentials[0].expires_at = Some(NOW))),
    ]
}

#[tokio::test]
async fn rule_g20_a_certificate_that_is_not_good_any_more_is_a_strangers() {
    const CALLERS: usize = 8;
    for (name, end) in endings() {
        let world = world(Descriptors { callers: CALLERS, upstreams: 100 }, |limits| {
            limits.connections_per_address = 1000;
            limits.times.first = Duration::from_secs(600);
        })
        .await;
        end(&world);
        let mut thief = world.connect(Some(&world.acme)).await;
        let mut others = Vec::new();
        for _ in 0..2 * CALLERS {
            others.push(world.connect(None).await);
        }
        tokio::time::timeout(SOON, thief.closed()).await.expect(name);
    }
}

/// A call as nobody. Its answer says that the gateway has seen the certificate of the connection.
const PRESENT: &str = "POST /oauth2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

/// Its client has a new one, and is not kept out by the thief of the old one.
#[tokio::test]
async fn rule_g20_a_revoked_certificate_takes_nothing_of_its_clients_share() {
    let limits = Limits { connections_per_client: 2, ..Limits::default() };
    let world = World::start_with(Options { limits, ..Options::default() }).await;
    let renewed = world.clients_ca.client(&uri("acme-pay"), Flaw::None);
    let token = world.token("acme-pay", Some(&renewed));
    let mut thief = [world.connect(Some(&world.acme)).await, world.connect(Some(&world.acme)).await];
    for raw in &mut thief {
        raw.call(PRESENT).await;
    }
    assert_eq!(world.running.cut(&world.revoke(&world.acme)).await, 2);
    // At once: those of the thief are not closed yet.
    let mut first = world.connect(Some(&renewed)).await;
    assert_eq!(first.call(get("/data/", &token)).await.status, 200);
    let again = [world.connect(Some(&world.acme)).await, world.connect(Some(&world.acme)).await];
    let mut second = world.connect(Some(&renewed)).await;
    assert_eq!(second.call(get("/data/", &token)).await.status, 200);
    let reply = world.connect(Some(&renewed)).await.call(get("/data/", &token)).await;
    assert_eq!(reply.code(), "connections_exhausted", "those of its own count");
    drop((thief, again));
}

/// A connection that has only presented its certificate is found too.
#[tokio::test]
async fn rule_g14_a_certificate_ends_with_the_credential_that_it_matches() {
    let world = World::start().await;
    let mut raw = world.connect(Some(&world.acme)).await;
    raw.call(PRESENT).await;
    let client = "acme-pay".parse().unwrap();
    let entry = || world.registry.client(&client).unwrap();
    assert_eq!(world.running.cut(&Cut::Ended(entry())).await, 0, "it is good");
    world.registry.clients.lock().unwrap().get_mut(&client).unwrap().credentials[0].state =
        CredentialState::Revoked;
    assert_eq!(world.running.cut(&Cut::Ended(entry())).await, 1);
    raw.closed().await;
}
