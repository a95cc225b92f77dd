//! What the h2 crate refuses by itself, read off the frames that it sends (RFC 9113 sections 4.1, 6.4 and 6.8).
//!
//! A request with a connection-specific field, a malformed pseudo-header or a header list beyond all bounds never reaches
//! the service: h2 resets its stream and tells nobody. The peer is told by a frame, and so is the operator: frames are
//! read as they go out, of most of them no more than the nine octets of their head.

use super::fragments::Fragments;
use crate::body::Bodies;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A refusal in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Why (RFC 9113 section 7).
    pub(crate) code: h2::Reason,
    /// Of one stream, and not of the connection.
    pub(crate) of_stream: bool,
    /// The stream had an answer before: 431, because h2 has that one only.
    pub(crate) was_answered: bool,
}

/// The refusals of one connection that nobody has told of.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    any: Cell<bool>,
    list: RefCell<Vec<Refused>>,
}

impl Refused {
    /// Whether it may be the end of a body that contradicts its head (RFC 9113 section 8.1.1).
    fn may_be_of_body(&self) -> bool {
        self.of_stream && !self.was_answered && self.code == h2::Reason::PROTOCOL_ERROR
    }
}

impl Refusals {
    /// Takes all that are left.
    pub(crate) fn take(&self) -> Vec<Refused> {
        if self.any.replace(false) { self.list.take() } else { Vec::new() }
    }

    /// Takes those that nobody else tells of. The service tells of the request whose body was malformed, by the reason and
    /// with the client that it knows. Which stream that was it does not know, so a reset waits while it may be one of these.
    pub(crate) fn take_unseen(&self, bodies: &Arc<Bodies>) -> Vec<Refused> {
        if !self.any.get() {
            return Vec::new();
        }
        let mut list = self.list.borrow_mut();
        list.retain(|refused| !(refused.may_be_of_body() && bodies.take_malformed()));
        let may_wait = bodies.any_open();
        let unseen = list.extract_if(.., |refused| !(may_wait && refused.may_be_of_body())).collect();
        self.any.set(!list.is_empty());
        unseen
    }

    fn add(&self, refused: Refused) {
        self.any.set(true);
        self.list.borrow_mut().push(refused);
    }
}

/// The stream below hyper on HTTP/2. What comes in is looked at for fragments.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    fragments: Fragments,
    frames: Frames,
    refusals: Rc<Refusals>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, refusals: Rc<Refusals>) -> Self {
        Self { stream, fragments: Fragments::default(), frames: Frames::default(), refusals }
    }
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const HEAD: usize = 9;
/// The head and what is read of the longest: GOAWAY has its code behind the last stream's number.
const MOST: usize = HEAD + 8;
const END_STREAM: u8 = 1;
/// A 431 and the reset behind it are sent close together.
const ANSWERED: usize = 16;

/// Where in which frame the bytes are.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The frame's beginning, as far as it is read.
    begun: [u8; MOST],
    have: usize,
    /// How much of the frame's payload is still to come and not looked at.
    skip: usize,
    /// The streams that h2 answered last, whose resets say nothing new.
    answered: [u32; ANSWERED],
    next: usize,
}

impl Frames {
    pub(crate) fn read(&mut self, mut bytes: &[u8], refusals: &Refusals) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let wanted = self.wanted();
            let taken = (wanted - self.have).min(bytes.len());
            self.begun[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.wanted() {
                self.judge(refusals);
                self.skip = self.length() + HEAD - self.have;
                self.have = 0;
            }
        }
    }

    /// How much of the frame's beginning is read.
    fn wanted(&self) -> usize {
        if self.have < HEAD {
            return HEAD;
        }
        match self.begun[3] {
            RST_STREAM => HEAD + self.length().min(4),
            HEADERS | GOAWAY => HEAD + self.length().min(8),
            _ => HEAD,
        }
    }

    fn length(&self) -> usize {
        let [a, b, c, ..] = self.begun;
        usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
    }

    fn number(&self, at: usize) -> u32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| self.begun[at + i]);
        u32::from_be_bytes([a, b, c, d])
    }

    fn judge(&mut self, refusals: &Refusals) {
        let stream = self.number(5);
        match (self.begun[3], self.have) {
            (HEADERS, have)
                if self.begun[4] & END_STREAM != 0
                    && is_status_alone(&self.begun[HEAD..have], self.length()) =>
            {
                self.answered[self.next] = stream;
                self.next = (self.next + 1) % ANSWERED;
                refusals.add(Refused {
                    code: h2::Reason::REFUSED_STREAM,
                    of_stream: true,
                    was_answered: true,
                });
            }
            (RST_STREAM, 13) => {
                let code = h2::Reason::from(self.number(HEAD));
                // The others are ours, or answer what was on its way when a stream ended.
                let refuses = matches!(
                    code,
                    h2::Reason::PROTOCOL_ERROR
                        | h2::Reason::FLOW_CONTROL_ERROR
                        | h2::Reason::FRAME_SIZE_ERROR
                        | h2::Reason::REFUSED_STREAM
                        | h2::Reason::COMPRESSION_ERROR
                        | h2::Reason::ENHANCE_YOUR_CALM
                );
                if refuses && !self.answered.contains(&stream) {
                    refusals.add(Refused { code, of_stream: true, was_answered: false });
                }
            }
            (GOAWAY, MOST) => {
                let code = h2::Reason::from(self.number(HEAD + 4));
                if code != h2::Reason::NO_ERROR {
                    refusals.add(Refused { code, of_stream: false, was_answered: false });
                }
            }
            _ => {}
        }
    }
}

/// Whether a header block of this length, which begins so, is one field (RFC 7541 section 6). An answer of the service has
/// a date at least; h2 answers a header list beyond its bound with `:status: 431` and nothing else.
fn is_status_alone(begun: &[u8], length: usize) -> bool {
    let mut rest = begun;
    // Changes of the table's size (section 6.3) come first.
    while let [0x20..=0x3f, ..] = rest {
        let is_long = rest[0] == 0x3f;
        rest = &rest[1..];
        while is_long && rest.first().is_some_and(|byte| *byte >= 0x80) {
            rest = &rest[1..];
        }
        rest = &rest[usize::from(is_long).min(rest.len())..];
    }
    let length = length - (begun.len() - rest.len());
    match rest {
        [indexed, ..] if *indexed >= 0x80 => length == 1,
        // A literal whose name is the table's `:status`, with one of the two ways to be kept or not.
        [0x48 | 0x08 | 0x18, value, ..] => length == 2 + usize::from(value & 0x7f),
        _ => false,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.fragments.read(&mut buf.filled_mut()[start..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.frames.read(&bytes[..written], &this.refusals);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        let mut rest = written;
        for slice in slices {
            let of_this = rest.min(slice.len());
            this.frames.read(&slice[..of_this], &this.refusals);
            rest -= of_this;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn ending(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(kind, stream, payload);
        frame[4] = END_STREAM;
        frame
    }

    #[test]
    fn refusals_are_seen_however_the_bytes_are_cut() {
        let code = |code: u32| code.to_be_bytes();
        let goaway = |code: u32| [1u32.to_be_bytes(), code.to_be_bytes()].concat();
        let bytes = [
            frame(4, 0, &[0; 12]),
            frame(HEADERS, 1, b"an answer"),
            ending(HEADERS, 13, &[0x88, 0xbe]),           // with a date
            frame(0, 1, &frame(RST_STREAM, 1, &code(1))), // as data
            frame(RST_STREAM, 3, &code(1)),
            frame(RST_STREAM, 5, &code(0)), // NO_ERROR: the answer needs no more of the request
            frame(RST_STREAM, 5, &code(8)), // CANCEL: ours
            ending(HEADERS, 7, b"\x48\x82\x68\x01"),
            frame(RST_STREAM, 7, &code(7)),
            ending(HEADERS, 15, &[0xbe]),
            ending(HEADERS, 17, b"\x3f\xe1\x1f\x48\x03431"),
            frame(RST_STREAM, 9, &code(7)),
            frame(GOAWAY, 0, &goaway(0)),
            frame(GOAWAY, 0, &[goaway(11), b"too_many_resets".to_vec()].concat()),
            frame(RST_STREAM, 11, b""), // none
            frame(GOAWAY, 0, &goaway(1)),
        ]
        .concat();
        let seen = |code, of_stream, was_answered| Refused { code, of_stream, was_answered };
        let expected = [
            seen(h2::Reason::PROTOCOL_ERROR, true, false),
            seen(h2::Reason::REFUSED_STREAM, true, true),
            seen(h2::Reason::REFUSED_STREAM, true, true),
            seen(h2::Reason::REFUSED_STREAM, true, true),
            seen(h2::Reason::REFUSED_STREAM, true, false),
            seen(h2::Reason::ENHANCE_YOUR_CALM, false, false),
            seen(h2::Reason::PROTOCOL_ERROR, false, false),
        ];
        for step in [1, 2, 5, 9, 13, bytes.len()] {
            let (refusals, mut frames) = (Refusals::default(), Frames::default());
            bytes.chunks(step).for_each(|piece| frames.read(piece, &refusals));
            assert_eq!(refusals.take(), expected, "step {step}");
            assert!(refusals.take().is_empty());
        }
    }
}
