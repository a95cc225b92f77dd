//! HTTP/2 requests that are none, in frames written by hand: each leaves its trace, and none reaches the upstream.

use crate::http2_peer::{CONTINUATION, DATA, HEADERS, Outcome, Peer, WINDOW_UPDATE};
use crate::upstream;
use crate::world::{Options, SOON, World, get};
use countersign_gateway::{Limits, Upstream};
use std::sync::Arc;
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
    world.recorded(&["request_refused", "request_malformed", "HTTP/2 ended a stream"]).await;
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
    world.recorded(&["request_refused", "request_malformed", "HTTP/2 ended a stream"]).await;
    assert_eq!(world.upstream.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn rule_g12_a_connection_that_h2_ends_is_recorded() {
    let world = world().await;
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    peer.send(DATA, 0, 0, b"data of no stream").await;
    assert_eq!(timeout(SOON, peer.outcome(1)).await.expect("no end"), Outcome::Goaway(PROTOCOL_ERROR));
    world.recorded(&["request_malformed", "HTTP/2 ended the connection"]).await;
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
        world.recorded(&["request_refused", "request_malformed", "HTTP/2 ended"]).await;
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
    world.recorded(&["request_header_too_large", "HTTP/2 ended a stream"]).await;
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
    world.recorded(&["request_framing_ambiguous"]).await;
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
    drop(peer);
    world.recorded(&["request_framing_ambiguous"]).await;
    let log = world.audit_log().await;
    let refused = log.lines().filter(|line| line.contains("request_refused"));
    assert_eq!(refused.count(), 4, "each once: {log}");
}

/// A world with a route `bodies` to an upstream of its own, so that its counts are this test's only.
async fn world_of_bodies() -> (World, Arc<upstream::Counts>) {
    let (address, counts) = upstream::echo().await;
    let bodies = Upstream::new("bodies", &format!("http://{address}")).unwrap();
    let world = World::start_with(Options {
        limits: Limits { stream_resets: 1000, ..Limits::default() },
        upstreams: vec![bodies],
        ..Options::default()
    });
    (world.await, counts)
}

/// Since the start of the process.
fn decisions_of_bodies() -> Vec<String> {
    let text = crate::observed::metrics().render();
    let lines = text.lines().filter(|line| {
        line.starts_with("countersign_decisions_total")
            && line.contains("route=\"bodies\"")
            && !line.ends_with(" 0")
    });
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn rule_i4_a_request_with_a_refused_body_is_told_of_once_and_with_its_client() {
    let (world, upstream) = world_of_bodies().await;
    let token = world.token("acme-pay", Some(&world.acme));
    let authorization = format!("Bearer {token}");
    let counted = |decision: &str, reason: &str, count: usize| {
        format!(
            r#"countersign_decisions_total{{route="bodies",decision="{decision}",reason="{reason}"}} {count}"#
        )
    };
    let refusals = |log: &str| -> Vec<String> {
        log.lines().filter(|line| line.contains("request_refused")).map(str::to_owned).collect()
    };
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    let mut stream = 1;
    for (length, data) in [("5", &b"abc"[..]), ("2", b"abc")] {
        let mut fields = GET.to_vec();
        (fields[0].1, fields[3].1) = ("POST", "/bodies/");
        fields.extend([("content-length", length), ("authorization", &authorization)]);
        peer.fields(stream, false, &fields).await;
        // hyper drops a request whose stream is reset before the service has begun to wait for its body.
        let begun = async {
            while upstream.requests.load(Ordering::SeqCst) <= stream as usize / 2 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, begun).await.expect("its head reaches the upstream");
        peer.send(DATA, 1, stream, data).await;
        let outcome = timeout(SOON, peer.outcome(stream)).await.expect("no answer");
        assert!(outcome.has_status(400) || outcome == Outcome::Reset(PROTOCOL_ERROR), "{outcome:?}");
        stream += 2;
        let done = async {
            while refusals(&world.audit_log().await).len() < stream as usize / 2 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, done).await.expect("each is recorded");
    }
    // The connection goes on, and whatever was to be told of the others has been told.
    let mut fields = GET.to_vec();
    fields[3].1 = "/bodies/";
    fields.push(("authorization", &authorization));
    peer.fields(stream, true, &fields).await;
    assert!(timeout(SOON, peer.outcome(stream)).await.expect("no answer").has_status(200));
    assert_eq!(
        decisions_of_bodies(),
        [counted("allow", "none", 1), counted("deny", "request_framing_ambiguous", 2)]
    );

    // Over HTTP/1.1 the guard ends the body.
    let mut raw = world.connect(Some(&world.acme)).await;
    let chunked = "\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    let request = get("/bodies/", &token).replacen("GET", "POST", 1).replace("\r\n\r\n", chunked);
    let before = upstream.requests.load(Ordering::SeqCst);
    raw.send(request).await;
    let begun = async {
        while upstream.requests.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, begun).await.expect("its head reaches the upstream");
    assert_eq!(raw.call("no size\r\n").await.status, 400);
    let log = refusals(&world.audit_log().await);
    assert_eq!(log.len(), 3, "{log:#?}");
    for line in &log {
        assert!(line.contains("acme-pay") && !line.contains("anonymous"), "{line}");
        assert!(line.contains(r#""route":"bodies""#), "{line}");
    }
    let decisions = decisions_of_bodies();
    assert!(decisions.contains(&counted("allow", "none", 1)), "{decisions:#?}");
    let denied = decisions.iter().filter(|line| line.contains("deny"));
    let denied: u32 = denied.map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()).sum();
    assert_eq!(denied, 3, "{decisions:#?}");
}

/// A reset that no body explains is told of, though bodies are on their way.
#[tokio::test]
async fn rule_g12_a_malformed_head_beside_an_open_body_is_told_of() {
    let world = world().await;
    let authorization = format!("Bearer {}", world.token("acme-pay", Some(&world.acme)));
    let mut peer = Peer::connect(&world, Some(&world.acme)).await;
    peer.greet(65_535).await;
    let mut fields = GET.to_vec();
    (fields[0].1, fields[3].1) = ("POST", "/data/");
    fields.push(("authorization", &authorization));
    peer.fields(1, false, &fields).await;
    peer.send(DATA, 0, 1, b"a").await;
    let mut malformed = GET.to_vec();
    malformed.push(("connection", "close"));
    peer.fields(3, true, &malformed).await;
    let outcome = timeout(SOON, peer.outcome(3)).await.expect("no answer");
    assert_eq!(outcome, Outcome::Reset(PROTOCOL_ERROR));
    peer.send(DATA, 1, 1, b"b").await;
    assert!(timeout(SOON, peer.outcome(1)).await.expect("no answer").has_status(200));
    drop(peer);
    world.recorded(&["request_refused", "request_malformed", "HTTP/2 ended a stream"]).await;
}
