//! HTTP/2 peers that keep a connection for nothing (rule G15): each says just enough, in frames written by hand, that no
//! library ends it.

use crate::world::{Options, World};
use countersign_gateway::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
/// What h2 asks before it sends its last GOAWAY.
const SHUTDOWN_PING: &[u8] = &[0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];

struct Peer(TlsStream<TcpStream>);

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Peer {
    async fn connect(world: &World) -> Self {
        let mut dial = world.dial(None);
        dial.alpn = vec!["h2"];
        Self(dial.tls().await.unwrap())
    }

    /// Preface and settings; of the latter the window that every stream begins with.
    async fn greet(&mut self, initial_window: u32) {
        self.0.write_all(PREFACE).await.unwrap();
        let mut setting = vec![0, 4];
        setting.extend(initial_window.to_be_bytes());
        self.send(SETTINGS, 0, 0, &setting).await;
    }

    /// Whether it could be sent: a peer that was cut cannot be told any more.
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.is_ok() && self.0.flush().await.is_ok()
    }

    async fn get(&mut self, stream: u32) {
        // RFC 7541: indexed GET and https, then path and authority as literals with indexed names.
        let mut block = vec![0x82, 0x87, 0x04, 9];
        block.extend(b"/oauth2/x");
        block.extend([0x01, 9]);
        block.extend(b"localhost");
        self.send(HEADERS, 0x5, stream, &block).await; // END_STREAM, END_HEADERS
    }

    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Answers settings, and pings but one, until the connection ends; `with` sees every other frame.
    async fn live(&mut self, mut with: impl AsyncFnMut(&mut Self, Frame)) {
        while let Some(frame) = self.frame().await {
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.send(SETTINGS, ACK, 0, &[]).await;
                }
                PING if frame.flags & ACK == 0 && frame.payload != SHUTDOWN_PING => {
                    self.send(PING, ACK, 0, &frame.payload).await;
                }
                _ => with(self, frame).await,
            }
        }
    }
}

/// Short times where a peer is to be cut by one of them, and long ones for all others.
async fn world(change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = Limits::default();
    limits.times.write_progress = Duration::from_millis(100);
    change(&mut limits);
    World::start_with(Options { limits, ..Options::default() }).await
}

#[tokio::test]
async fn rule_g15_a_peer_that_shakes_hands_and_says_nothing_is_dropped() {
    let world = world(|limits| limits.times.head = Duration::from_millis(50)).await;
    let mut silent = Peer::connect(&world).await;
    let _ = silent.0.read_to_end(&mut Vec::new()).await; // our settings, and the end however it comes
    let mut greeting = Peer::connect(&world).await;
    greeting.greet(65_535).await;
    greeting.live(async |_, _| {}).await;
}

#[tokio::test]
async fn rule_g15_a_peer_that_does_not_answer_the_last_ping_is_dropped() {
    let world = world(|limits| limits.times.idle = Duration::from_millis(50)).await;
    let mut peer = Peer::connect(&world).await;
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
        let mut peer = Peer::connect(&world).await;
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
    let mut peer = Peer::connect(&world).await;
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
    let mut peer = Peer::connect(&world).await;
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

#[tokio::test]
async fn a_refusal_of_head_is_a_head_alone() {
    let world = world(|_| {}).await;
    let mut peer = Peer::connect(&world).await;
    peer.greet(65_535).await;
    // RFC 7541: method, path and authority as literals with indexed names, https indexed.
    let mut block = vec![0x02, 4];
    block.extend(b"HEAD");
    block.extend([0x87, 0x04, 6]);
    block.extend(b"/data/");
    block.extend([0x01, 9]);
    block.extend(b"localhost");
    peer.send(HEADERS, 0x5, 1, &block).await;
    while let Some(frame) = peer.frame().await {
        assert_ne!(frame.kind, DATA, "RFC 9110 section 9.3.2");
        if frame.kind == HEADERS {
            assert_eq!((frame.stream, frame.flags & 1), (1, 1), "END_STREAM");
            return;
        }
    }
    panic!("no answer");
}
