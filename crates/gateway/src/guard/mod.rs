//! The guard between TLS and hyper on HTTP/1.1 connections (design, decision 21; rules G12 and G15).
//!
//! It reads the message boundaries itself ([`framing`]), with limits and timers tighter than hyper's. When a message is
//! refused, hyper would answer with an empty 400, or close silently; the guard instead hands hyper one harmless request
//! in the place of the refused head and notes in the [`Exchange`] which message of the connection that is. The service
//! counts its calls, finds its own number there, and answers with the denial like with any other. No header marks the
//! substitute, so no client can forge one. After it the guard is silent until hyper, told to close, closes.
//!
//! A violation inside a body ends the body with an error; `serve()` finds the reason in the [`Exchange`].

pub(crate) mod explain;
pub(crate) mod fragments;
pub(crate) mod frames;
pub mod framing;
pub(crate) mod head;
pub mod limits;
mod lines;
mod linger;
pub(crate) mod stall;
pub(crate) mod timer;

use crate::body;
use crate::socket::Progress;
use bytes::{Buf, BytesMut};
use countersign_model::ReasonCode;
use countersign_policy::Denial;
use explain::Explained;
use framing::{Framing, Judgement};
use limits::FramingLimits;
use linger::Linger;
use stall::BoundedWrites;
use std::cell::{Cell, OnceCell};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use timer::Timer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a connection may take its time for. Each is a setting with a safe default (rule G15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardTimes {
    /// Until the first byte of the first request, after the handshake; on HTTP/2 until the first request. Default 10 s
    /// (rule G20): a caller opens a connection to send a request.
    pub first: Duration,
    /// From the first byte of a head to its last. Default 10 s.
    pub head: Duration,
    /// Between two messages. Default 75 s, as other servers have it, so that clients' pools fit.
    pub idle: Duration,
    /// Without a single byte of a body that is awaited. Default 20 s.
    pub body_progress: Duration,
    /// For the whole of a body. Default 5 min: with the progress alone a byte every 19 s would hold a connection for years.
    pub body: Duration,
    /// Without the peer taking 4 KiB of the answer, or all that there is of it, on HTTP/2 of any one of the answers; and how long an HTTP/2
    /// connection that has nothing left to answer may take to end. Default 30 s.
    pub write_progress: Duration,
}

impl Default for GuardTimes {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body_progress: Duration::from_secs(20),
            body: Duration::from_secs(300),
            write_progress: Duration::from_secs(30),
        }
    }
}

/// What the guard and the service of one connection tell each other.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    refused: Cell<Option<Refused>>,
    /// What the refused head was: there is one at most on a connection.
    explained: OnceCell<Box<Explained>>,
    called: Cell<u64>,
    answered: Cell<u64>,
    /// When the last answer was over.
    answered_at: Cell<Option<Instant>>,
    /// How many messages came to the end of their bodies.
    whole: Cell<u64>,
    /// The program stops, and waits for the connection.
    hurried: Cell<bool>,
    /// Why a body was refused: for whoever reads it, on whichever thread. There is one at most on a connection.
    body_refused: Arc<OnceLock<ReasonCode>>,
}

/// Which message was refused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refused {
    ordinal: u64,
    reason: ReasonCode,
    in_head: bool,
}

impl Exchange {
    /// Counts a call of the service: the ordinal of its message, the first being 1.
    pub(crate) fn call(&self) -> u64 {
        self.called.set(self.called.get() + 1);
        self.called.get()
    }

    /// Where the reason is found once a body has ended with an error.
    pub(crate) fn body_refused(&self) -> &Arc<OnceLock<ReasonCode>> {
        &self.body_refused
    }

    /// The answer of a message is sent or given up.
    pub(crate) fn answered(&self, at: Instant) {
        self.answered.set(self.answered.get() + 1);
        self.answered_at.set(Some(at));
    }

    /// When the last answer was over.
    pub(crate) fn answered_at(&self) -> Option<Instant> {
        self.answered_at.get()
    }

    /// Why the message with this ordinal was refused, in its head or (so far) in its body.
    pub(crate) fn refusal(&self, ordinal: u64) -> Option<ReasonCode> {
        self.refused.get().filter(|refused| refused.ordinal == ordinal).map(|refused| refused.reason)
    }

    /// The same as a refusal, with what can be told of the head.
    pub(crate) fn denial(&self, ordinal: u64) -> Option<Denial> {
        let reason = self.refusal(ordinal)?;
        Some(match self.explained.get().filter(|_| self.is_substituted(ordinal)) {
            Some(explained) => explained.denial(reason),
            None => body::refused(reason),
        })
    }

    /// What was read of the refused head in whose place the service sees the substitute.
    pub(crate) fn explained(&self) -> Option<&Explained> {
        self.explained.get().map(Box::as_ref)
    }

    /// Whether the service sees the substitute in the place of the message with this ordinal.
    pub(crate) fn is_substituted(&self, ordinal: u64) -> bool {
        self.refused.get().is_some_and(|refused| refused.ordinal == ordinal && refused.in_head)
    }

    /// Whether the message with this ordinal came to the end of its body.
    pub(crate) fn is_whole(&self, ordinal: u64) -> bool {
        self.whole.get() >= ordinal
    }

    /// The connection is to end soon.
    pub(crate) fn hurry(&self) {
        self.hurried.set(true);
    }

    fn is_hurried(&self) -> bool {
        self.hurried.get()
    }

    /// How many messages the service was called with.
    pub(crate) fn calls(&self) -> u64 {
        self.called.get()
    }

    /// How many messages are being answered.
    pub(crate) fn in_flight(&self) -> u64 {
        self.called.get().saturating_sub(self.answered.get())
    }
}

/// The harmless request that stands for a refused head.
const SUBSTITUTE: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// The stream below hyper.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    stream: BoundedWrites<S>,
    framing: Framing,
    exchange: Rc<Exchange>,
    times: GuardTimes,
    /// What came and was not handed on: `released` bytes that are judged, then a head that is not complete.
    held: BytesMut,
    released: usize,
    end: End,
    waiting: Option<(Wait, Instant)>,
    body_began: Option<(u64, Instant)>,
    timer: Timer,
    linger: Option<Linger>,
}

/// Whether more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// A head was refused: after the substitute nothing more is read.
    Silent,
    /// A body was refused: the next read is an error.
    Failed,
}

/// What the connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Message,
    /// The rest of the head behind so many: each has a deadline of its own.
    Head(u64),
    Body,
}

impl<S: AsyncRead + AsyncWrite + Progress + Unpin> Guard<S> {
    pub(crate) fn new(stream: S, limits: FramingLimits, times: GuardTimes, exchange: Rc<Exchange>) -> Self {
        Self {
            stream: BoundedWrites::new(stream, times.write_progress),
            framing: Framing::new(limits),
            exchange,
            times,
            held: BytesMut::new(),
            released: 0,
            end: End::Open,
            waiting: None,
            body_began: None,
            timer: Timer::default(),
            linger: None,
        }
    }

    /// Reads into hyper's own buffer and lets stand what is judged well: a whole head costs no copy.
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let start = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let bytes = &buf.filled()[start..];
        if bytes.is_empty() {
            return Poll::Ready(Ok(false));
        }
        let mut good = 0;
        let mut refused = None;
        while good < bytes.len() {
            match self.framing.judge(&bytes[good..]) {
                Judgement::Pass(n) => good += n,
                Judgement::Incomplete => {
                    self.held.extend_from_slice(&bytes[good..]);
                    break;
                }
                Judgement::Refused(reason) => {
                    if self.framing.between_messages() {
                        let _ = self.exchange.explained.set(Box::new(Explained::of(&bytes[good..], reason)));
                    }
                    refused = Some(reason);
                    break;
                }
            }
        }
        buf.set_filled(start + good);
        self.tell_whole();
        self.progress();
        if let Some(reason) = refused {
            self.refuse(reason);
        }
        Poll::Ready(Ok(true))
    }

    /// Reads on behind an incomplete head.
    fn read_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut piece = [MaybeUninit::uninit(); 4096];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        if piece.filled().is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.held.extend_from_slice(piece.filled());
        self.progress();
        while self.released < self.held.len() {
            match self.framing.judge(&self.held[self.released..]) {
                Judgement::Pass(n) => self.released += n,
                Judgement::Incomplete => break,
                Judgement::Refused(reason) => {
                    if self.framing.between_messages() {
                        let head = &self.held[self.released..];
                        let _ = self.exchange.explained.set(Box::new(Explained::of(head, reason)));
                    }
                    self.refuse(reason);
                    break;
                }
            }
        }
        self.tell_whole();
        Poll::Ready(Ok(true))
    }

    fn tell_whole(&self) {
        let unfinished = u64::from(!self.framing.between_messages());
        self.exchange.whole.set(self.framing.heads().saturating_sub(unfinished));
    }

    /// Bytes came: what was waited for begins anew, except a head, which has one deadline for all of it.
    fn progress(&mut self) {
        let within_head = matches!(self.waiting, Some((Wait::Head(_), _)));
        if !(within_head && self.framing.between_messages() && !self.held.is_empty()) {
            self.waiting = None;
        }
    }

    fn refuse(&mut self, reason: ReasonCode) {
        let in_head = self.framing.between_messages();
        let ordinal = self.framing.heads() + u64::from(in_head);
        self.exchange.refused.set(Some(Refused { ordinal, reason, in_head }));
        self.held.truncate(self.released);
        if in_head {
            self.held.extend_from_slice(SUBSTITUTE);
            self.released = self.held.len();
            self.end = End::Silent;
        } else {
            let _ = self.exchange.body_refused.set(reason); // the first reason counts
            self.end = End::Failed;
        }
    }

    /// Nothing came. Decides whether that has lasted too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Waited> {
        let wait = if !self.framing.between_messages() {
            Wait::Body
        } else if !self.held.is_empty() {
            Wait::Head(self.framing.heads())
        } else if self.exchange.answered.get() >= self.framing.heads() {
            Wait::Message
        } else {
            // Our own work. Nobody asks again when the answer is out, so the timer does: what it finds then has waited
            // since the answer.
            self.timer.wake_within(self.times.idle, cx);
            return Poll::Pending;
        };
        let since = match self.waiting {
            Some((same, since)) if same == wait => since,
            _ => {
                let answered_at = self.exchange.answered_at.get().filter(|_| wait == Wait::Message);
                let since = answered_at.unwrap_or_else(Instant::now);
                self.waiting = Some((wait, since));
                since
            }
        };
        let deadline = match wait {
            Wait::Message if self.framing.heads() == 0 => since + self.times.first.min(self.times.idle),
            Wait::Message => since + self.times.idle,
            Wait::Head(_) => since + self.times.head,
            Wait::Body => {
                let heads = self.framing.heads();
                let began = match self.body_began {
                    Some((same, began)) if same == heads => began,
                    _ => since,
                };
                self.body_began = Some((heads, began));
                (since + self.times.body_progress).min(began + self.times.body)
            }
        };
        ready!(self.timer.poll_until(deadline, cx));
        Poll::Ready(if wait == Wait::Message { Waited::Idle } else { Waited::TooSlow })
    }
}

enum Waited {
    Idle,
    TooSlow,
}

impl<S: AsyncRead + AsyncWrite + Progress + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        loop {
            if this.released > 0 {
                let n = this.released.min(buf.remaining());
                buf.put_slice(&this.held[..n]);
                this.held.advance(n);
                this.released -= n;
                return Poll::Ready(Ok(()));
            }
            match this.end {
                End::Open => {}
                End::Silent => return Poll::Pending, // hyper answers the substitute, then closes
                End::Failed => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "body refused")));
                }
            }
            let read = if this.held.is_empty() { this.read_through(cx, buf) } else { this.read_held(cx) };
            match read {
                Poll::Ready(Ok(true)) if buf.filled().len() > start => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())), // the peer has closed
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => match ready!(this.wait(cx)) {
                    Waited::Idle => return Poll::Ready(Ok(())), // reads as closed, and hyper closes
                    Waited::TooSlow => this.refuse(ReasonCode::RequestTooSlow),
                },
            }
        }
    }
}

/// Writes go as they are: the stream below bounds them.
impl<S: AsyncRead + AsyncWrite + Progress + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let linger = match &mut this.linger {
            Some(linger) => linger,
            none => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                if this.end == End::Open && this.framing.between_messages() {
                    return Poll::Ready(Ok(())); // nothing unread is on its way
                }
                none.insert(Linger::begin(Instant::now()))
            }
        };
        let mut piece = [MaybeUninit::uninit(); 16 * 1024];
        loop {
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut this.stream).poll_read(cx, &mut piece) {
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    let now = Instant::now();
                    linger.reads(now);
                    // A peer that always has more would never let the timer have its turn.
                    if linger.until(this.exchange.is_hurried()) <= now {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    let until = linger.until(this.exchange.is_hurried());
                    return this.timer.poll_until(until, cx).map(Ok);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
