//! HTTP/2 peers that keep a connection for nothing (rule G15): each says just enough, in frames written by hand, that no
//! library ends it.

use crate::http2_peer::{DATA, HEADERS, Peer, WINDOW_UPDATE};
use crate::world::{Options, World};
use countersign_gateway::Limits;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Short times where a peer is to be cut by one of them, and long ones for all others.
async fn world(change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = Limits::default();
    limits.times.write_progress = Duration::from_millis(100);
    change(&mut limits);
    World::start_with(Options { limits, ..Options::default() }).await
}

#[tokio::test]
async fn rule_g15_a_peer_that_shakes_hands_and_says_nothing_is_dropped() {
    let world = world(|limits| limits.times.first = Duration::from_millis(50)).await;
    let mut silent = Peer::connect(&world, None).await;
    let _ = silent.0.read_to_end(&mut Vec::new()).await; // our settings, and the end however it comes
    let mut greeting = Peer::connect(&world, None).await;
    greeting.greet(65_535).await;
    greeting.live(async |_, _| {}).await;
}

#[tokio::test]
async fn rule_g15_a_peer_that_does_not_answer_the_last_ping_is_dropped() {
    let world = world(|limits| limits.times.idle = Duration::from_millis(300)).await;
    let mut peer = Peer::connect(&world, None).await;
    peer.greet(65_535).await;
    peer.get(1).await;
    let mut body = Vec::new();
    peer.live(async |_, frame| {
        if frame.kind == DATA {
            body.extend(frame.payload);
        }
    })
    .await;
    assert_eq!(body, b"local /oauth2/x 0");
}

#[tokio::test]
async fn rule_g15_a_peer_that_opens_no_window_is_dropped() {
    let world = world(|_| {}).await;
    for window in [0, 1] {
        let mut peer = Peer::connect(&world, None).await;
        peer.greet(window).await;
        for n in 0..20 {
            peer.get(2 * n + 1).await;
        }
        peer.live(async |_, _| {}).await;
    }
    let counted = r#"countersign_http2_errors_total{listener="public",kind="answer_stalled"}"#;
    assert!(crate::observed::metrics().render().contains(counted));
}

#[tokio::test]
async fn rule_g15_one_answer_that_moves_does_not_shield_one_that_does_not() {
    let world = world(|_| {}).await;
    let mut peer = Peer::connect(&world, None).await;
    peer.greet(1).await;
    peer.get(1).await;
    let mut next = 3;
    peer.get(next).await;
    peer.live(async |peer, frame| {
        if frame.kind == DATA && frame.stream == next {
            // Taken byte by byte; when it ends, the next one begins.
            if frame.flags & 1 == 1 {
                next += 2;
                peer.get(next).await;
            } else {
                peer.send(WINDOW_UPDATE, 0, next, &[0, 0, 0, 1]).await;
            }
        }
    })
    .await;
    assert!(next > 3, "the other one moved");
}

#[tokio::test]
async fn rule_g15_a_peer_that_takes_its_time_is_served_to_the_end() {
    let world = world(|limits| limits.times.write_progress = Duration::from_secs(20)).await;
    let mut peer = Peer::connect(&world, None).await;
    peer.greet(1).await;
    peer.get(1).await;
    let mut body = Vec::new();
    while let Some(frame) = peer.frame().await {
        if frame.kind == DATA {
            body.extend(frame.payload);
            if frame.flags & 1 == 1 {
                break;
            }
            peer.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]).await;
        }
    }
    assert_eq!(body, b"local /oauth2/x 0");
}

/// A client reads content in an answer to HEAD as a protocol error (RFC 9113 section 8.1.1), whoever answers.
#[tokio::test]
async fn an_answer_to_head_is_a_head_alone() {
    let world = world(|_| {}).await;
    for (path, what) in
        [("/data/", "a refusal"), ("/oauth2/token", "a local service"), ("/problems/x", "a page")]
    {
        let mut peer = Peer::connect(&world, None).await;
        peer.greet(65_535).await;
        // RFC 7541: method, path and authority as literals with indexed names, https indexed.
        let mut block = vec![0x02, 4];
        block.extend(b"HEAD");
        block.extend([0x87, 0x04, u8::try_from(path.len()).unwrap()]);
        block.extend(path.as_bytes());
        block.extend([0x01, 9]);
        block.extend(b"localhost");
        peer.send(HEADERS, 0x5, 1, &block).await;
        loop {
            let frame = peer.frame().await.unwrap_or_else(|| panic!("no answer from {what}"));
            assert_ne!(frame.kind, DATA, "{what}: RFC 9110 section 9.3.2");
            if frame.kind == HEADERS {
                assert_eq!((frame.stream, frame.flags & 1), (1, 1), "{what}: END_STREAM");
                break;
            }
        }
    }
}
