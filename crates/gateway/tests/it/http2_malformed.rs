//! HTTP/2 requests that are none, in frames written by hand: each leaves its trace, and none reaches the upstream.

use crate::http2_peer::{CONTINUATION, DATA, HEADERS, Outcome, Peer, WINDOW_UPDATE};
use crate::world::{Options, SOON, World};
use countersign_gateway::Limits;
use std::sync::atomic::Ordering;
use tokio::time::timeout;

const PROTOCOL_ERROR: u32 = 1;

/// A world that lets a peer make many mistakes on one connection.
async fn world() -> World {
    World::start_with(Options {
        limits: Limits { stream_resets: 1000, ..Limits::default() },
        ..Options::default()
    })
    .await
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/data/")];

/// Waits until the audit log says it.
async fn recorded(world: &World, words: &[&str]) {
    let says = async {
        loop {
            let log = world.audit_log().await;
            if log.lines().any(|line| words.iter().all(|word| line.contains(word))) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    if timeout(SOON, says).await.is_err() {
        panic!("{words:?} is not recorded in\n{}", world.audit_log().await);
    }
}

/// How often a metric was counted, in all tests of this process.
fn counted(labels: &str) -> u64 {
    let text = crate::observed::metrics().render();
    let line = text.lines().find(|line| line.contains(labels));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn rule_g12_a_request_that_h2_refuses_is_counted_and_recorded() {
    let world = world().await;
    let authorization = format!("Bearer {}", world.token("acme-pay", Some(&world.acme)));
    let labels = [
        r#"countersign_decisions_total{route="none",decision="deny",reason="request_malformed"}"#,
        r#"countersign_http2_errors_total{listener="public",kind="stream_protocol"}"#,
    ];
    let before = labels.map(counted);
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    let with = |fields: &[(&'static str, &'static str)]| [&GET, fields].concat();
    let malformed = [
        with(&[("connection", "close")]),
        with(&[("keep-alive", "timeout=5")]),
        with(&[("proxy-connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "h2c")]),
        with(&[("te", "gzip")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "5"), ("content-length", "6")]),
        with(&[("content-length", "+0")]),
        with(&[(":path", "/data/y")]),
        with(&[("x-a", "b"), (":method", "GET")]),
        with(&[(":status", "200")]),
        GET[..3].to_vec(),
        GET[1..].to_vec(),
        [&GET[..3], &[(":path", "")]].concat(),
        [&GET[..3], &[(":path", "data")]].concat(),
    ];
    let mut stream = 1;
    for mut fields in malformed.clone() {
        fields.push(("authorization", &authorization));
        peer.fields(stream, true, &fields).await;
        let outcome = timeout(SOON, peer.outcome(stream)).await.expect("no answer");
        assert_eq!(outcome, Outcome::Reset(PROTOCOL_ERROR), "{:?}", &fields[..fields.len() - 1]);
        stream += 2;
    }
    recorded(&world, &["request_refused", "request_malformed", "HTTP/2 ended a stream"]).await;
    let count = u64::try_from(malformed.len()).unwrap();
    let all = async {
        while labels.map(counted).iter().zip(before).any(|(now, before)| *now < before + count) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, all).await.expect("each is counted");
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 0);
    // The connection goes on.
    let mut fields = GET.to_vec();
    fields.push(("authorization", &authorization));
    peer.fields(stream, true, &fields).await;
    assert!(timeout(SOON, peer.outcome(stream)).await.expect("no answer").has_status(200));
}

/// As over HTTP/1.1; the http crate would cut it off. A string with Huffman coding has no room for anything but what ends
/// the stream.
#[tokio::test]
async fn rule_g12_a_fragment_is_refused_over_http2_too() {
    let world = world().await;
    let authorization = format!("Bearer {}", world.token("acme-pay", Some(&world.acme)));
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    let mut stream = 1;
    for path in ["/data/#", "/data/x#fragment", "/data/x?a=b#c", "/data/#?a", "/oauth2/x#"] {
        let mut fields = GET.to_vec();
        fields[3].1 = path;
        fields.push(("authorization", &authorization));
        peer.fields(stream, true, &fields).await;
        let outcome = timeout(SOON, peer.outcome(stream)).await.expect("no answer");
        assert!(outcome.has_status(400), "{path} {outcome:?}");
        stream += 2;
    }
    // `/a#` with Huffman coding, kept by the table; then the entry of the table.
    for block in [&b"\x82\x87\x41\x09localhost\x44\x83\x60\x7f\xf5"[..], &b"\x82\x87\xbf\xbe"[..]] {
        peer.send(HEADERS, 5, stream, block).await;
        let outcome = timeout(SOON, peer.outcome(stream)).await.expect("no answer");
        assert_eq!(outcome, Outcome::Reset(PROTOCOL_ERROR));
        stream += 2;
    }
    recorded(&world, &["request_refused", "request_malformed", "HTTP/2 ended a stream"]).await;
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn rule_g12_a_connection_that_h2_ends_is_recorded() {
    let world = world().await;
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    peer.send(DATA, 0, 0, b"data of no stream").await;
    assert_eq!(timeout(SOON, peer.outcome(1)).await.expect("no end"), Outcome::Goaway(PROTOCOL_ERROR));
    recorded(&world, &["request_malformed", "HTTP/2 ended the connection"]).await;
}

/// What no header block may have, and what no frame may say: whichever way h2 refuses it, it is recorded.
#[tokio::test]
async fn rule_g12_each_way_of_h2_to_refuse_is_recorded() {
    let block = |bytes: &[u8]| (HEADERS, 5, 1, bytes.to_vec());
    for (kind, flags, stream, payload) in [
        block(b"\x82\x87\x00\x03X-A\x01b"),     // a name in upper case
        block(b"\x82\x87\x00\x01 \x01b"),       // a name that is none
        block(b"\xff\xff\xff\xff\xff\xff"),     // an index beyond all tables
        block(b"\x80"),                         // an index of nothing
        (HEADERS, 5, 2, b"\x82".to_vec()),      // a stream of the server
        (HEADERS, 5, 0, b"\x82".to_vec()),      // a stream of nobody
        (WINDOW_UPDATE, 0, 0, vec![0; 4]),      // a window of nothing
        (WINDOW_UPDATE, 0, 0, vec![0; 3]),      // too short
        (CONTINUATION, 4, 1, b"\x82".to_vec()), // of no block
    ] {
        let world = world().await;
        let mut peer = Peer::connect(&world, Some(&world.acme)).await;
        peer.greet(65_535).await;
        peer.send(kind, flags, stream, &payload).await;
        let outcome = timeout(SOON, peer.outcome(1)).await.expect("no end");
        assert!(
            matches!(outcome, Outcome::Reset(1..) | Outcome::Goaway(1..)),
            "{kind} {payload:x?} {outcome:?}"
        );
        recorded(&world, &["request_refused", "request_malformed", "HTTP/2 ended"]).await;
        assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn rule_g15_what_is_over_all_bounds_is_recorded_as_too_large() {
    let world = world().await;
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    let long = "a".repeat(40_000);
    let mut fields = GET.to_vec();
    fields.extend([("x-a", &*long), ("x-b", &*long)]);
    peer.fields(1, true, &fields).await;
    assert!(matches!(timeout(SOON, peer.outcome(1)).await.expect("no answer"), Outcome::Answered(_)), "431");
    recorded(&world, &["request_header_too_large", "HTTP/2 ended a stream"]).await;
}

#[tokio::test]
async fn rule_g12_a_length_that_the_data_contradict_sends_nothing_upstream() {
    let world = world().await;
    let authorization = format!("Bearer {}", world.token("acme-pay", Some(&world.acme)));
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    let post = |length: &'static str| {
        let mut fields = GET.to_vec();
        fields[0].1 = "POST";
        fields.extend([("content-length", length), ("authorization", &authorization)]);
        fields
    };
    let (mut stream, empty): (u32, &[u8]) = (1, &[]);
    for data in [vec![&b"x"[..]], vec![empty, b"x"], vec![empty, empty, b"GET /data/ HTTP/1.1\r\n\r\n"]] {
        peer.fields(stream, false, &post("0")).await;
        for (n, piece) in data.iter().enumerate() {
            let ends = u8::from(n + 1 == data.len());
            peer.send(DATA, ends, stream, piece).await;
        }
        let outcome = timeout(SOON, peer.outcome(stream)).await.expect("no answer");
        assert!(outcome.has_status(400) || outcome == Outcome::Reset(PROTOCOL_ERROR), "{outcome:?}");
        stream += 2;
    }
    recorded(&world, &["request_framing_ambiguous"]).await;
    // Several that are equal, which h2 takes for one.
    let mut twice = post("1");
    twice.push(("content-length", "1"));
    peer.fields(stream, false, &twice).await;
    peer.send(DATA, 1, stream, b"x").await;
    assert!(timeout(SOON, peer.outcome(stream)).await.expect("no answer").has_status(400));
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 0, "nothing of it reached the upstream");
    // An end of its own contradicts nothing.
    stream += 2;
    peer.fields(stream, false, &post("0")).await;
    peer.send(DATA, 0, stream, empty).await;
    peer.send(DATA, 1, stream, empty).await;
    assert!(timeout(SOON, peer.outcome(stream)).await.expect("no answer").has_status(200));
}
