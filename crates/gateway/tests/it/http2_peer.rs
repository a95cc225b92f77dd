//! An HTTP/2 client without a library, for what no library would send.

use crate::pki::Identity;
use crate::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What h2 asks before it sends its last GOAWAY.
const SHUTDOWN_PING: &[u8] = &[0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];

/// A connection on which a test writes HTTP/2 frame by frame.
pub(crate) struct Peer(pub(crate) TlsStream<TcpStream>);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The header block of its answer.
    Answered(Vec<u8>),
    Reset(u32),
    Goaway(u32),
    Closed,
}

impl Outcome {
    /// Whether the answer has this status. h2 writes those that RFC 7541 appendix A has by their index, others as text.
    pub(crate) fn has_status(&self, status: u16) -> bool {
        let Self::Answered(block) = self else { return false };
        match status {
            200 => block.first() == Some(&0x88),
            400 => block.first() == Some(&0x8c),
            421 => block.starts_with(&[0x48, 0x82, 0x68, 0x41]), // the name by its index, the digits in Huffman coding
            _ => panic!("a status without an index: {status}"),
        }
    }
}

/// A frame as it came.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Peer {
    pub(crate) async fn connect(world: &World, identity: Option<&Identity>) -> Self {
        let mut dial = world.dial(identity);
        dial.alpn = vec!["h2"];
        Self(dial.tls().await.unwrap())
    }

    /// Preface and settings; of the latter the window that every stream begins with.
    pub(crate) async fn greet(&mut self, initial_window: u32) {
        self.0.write_all(PREFACE).await.unwrap();
        let mut setting = vec![0, 4];
        setting.extend(initial_window.to_be_bytes());
        self.send(SETTINGS, 0, 0, &setting).await;
    }

    /// Whether it could be sent: a peer that was cut cannot be told any more.
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.is_ok() && self.0.flush().await.is_ok()
    }

    pub(crate) async fn get(&mut self, stream: u32) {
        self.get_with(stream, "/oauth2/x", None).await;
    }

    pub(crate) async fn get_with(&mut self, stream: u32, path: &str, authorization: Option<&str>) {
        // RFC 7541 appendix A: 2 is GET, 3 is POST, 7 is https.
        let block = block(&[0x82, 0x87], path, authorization);
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block).await;
    }

    /// A request whose body is still to come.
    pub(crate) async fn begin_post(&mut self, stream: u32, path: &str, authorization: &str) {
        let block = block(&[0x83, 0x87], path, Some(authorization));
        self.send(HEADERS, END_HEADERS, stream, &block).await;
    }

    /// A request of these fields, as they are: literals that no table keeps (RFC 7541 section 6.2.2).
    pub(crate) async fn fields(&mut self, stream: u32, ends: bool, fields: &[(&str, &str)]) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            string(&mut block, name.as_bytes());
            string(&mut block, value.as_bytes());
        }
        let ends = if ends { END_STREAM } else { 0 };
        // RFC 9113 section 4.2: a frame has 16 KiB at most.
        let mut pieces = block.chunks(16 * 1024).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            let flags = if kind == HEADERS { ends | last } else { last };
            self.send(kind, flags, stream, piece).await;
            kind = CONTINUATION;
        }
    }

    /// The answer to a request: its status, or the code of its reset. Says no to nothing else.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some(frame) = self.frame().await {
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.send(SETTINGS, ACK, 0, &[]).await;
                }
                HEADERS if frame.stream == stream => return Outcome::Answered(frame.payload),
                RST_STREAM if frame.stream == stream => {
                    return Outcome::Reset(u32::from_be_bytes(frame.payload.try_into().unwrap()));
                }
                GOAWAY => {
                    return Outcome::Goaway(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
                }
                _ => {}
            }
        }
        Outcome::Closed
    }

    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Answers settings, and pings but one, until the connection ends; `with` sees every other frame.
    pub(crate) async fn live(&mut self, mut with: impl AsyncFnMut(&mut Self, Frame)) {
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

fn block(method_and_scheme: &[u8], path: &str, authorization: Option<&str>) -> Vec<u8> {
    let mut block = method_and_scheme.to_vec();
    literal(&mut block, &[0x04], path);
    literal(&mut block, &[0x01], "localhost");
    if let Some(authorization) = authorization {
        literal(&mut block, &[0x0f, 23 - 15], authorization);
    }
    block
}

/// A field whose name is in the table, with a value as it is (RFC 7541 sections 5.1 and 6.2.2).
fn literal(block: &mut Vec<u8>, name: &[u8], value: &str) {
    block.extend(name);
    string(block, value.as_bytes());
}

/// A string without Huffman coding (RFC 7541 section 5.2).
fn string(block: &mut Vec<u8>, value: &[u8]) {
    match value.len() {
        short @ 0..127 => block.push(u8::try_from(short).unwrap()),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            block.push(u8::try_from(rest).unwrap());
        }
    }
    block.extend(value);
}
