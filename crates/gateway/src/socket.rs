//! A TCP stream, and how it writes.
//!
//! Both sides of the data path nearly always have one piece to write: a TLS record, or the head of a request. rustls and
//! hyper hand it over as a list of one, which tokio writes with writev(2); send(2) costs the kernel less (measured on
//! loopback: 0.2 µs less for each of the two writes of a request). Several pieces go by writev(2) as before, uncopied.
//!
//! While a handshake is under way, what is read is counted and bounded (rule T13): rustls takes 64 KiB for each message,
//! and works once for each piece in which they come, however small.

use socket2::SockRef;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Most bytes that a peer may send before we answer: a ClientHello of the size of one record. Clients send 2 KiB; reading
/// 15,000 extensions costs more than the handshake that they begin.
const MAX_HELLO_BYTES: usize = 20 * 1024;
/// Most bytes that a peer may send after that: one message of the largest size that rustls takes, and half as much again
/// for all others. A client with a long chain sends 10 KiB.
const MAX_ANSWER_BYTES: usize = 96 * 1024;
/// Most reads that a handshake may take: enough for all these bytes in the smallest segments of IPv4.
const MAX_HANDSHAKE_READS: usize = 256;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    handshake: Option<Allowance>,
    /// While it is asked what the peer has read: how many bytes the kernel took.
    taken: Option<usize>,
}

/// What a peer may still send in its handshake.
#[derive(Debug)]
struct Allowance {
    bytes: usize,
    reads: usize,
    /// We have sent nothing yet.
    first: bool,
}

/// A peer that sends more in its handshake than any client has to say.
#[derive(Debug, thiserror::Error)]
#[error("more than 20 KiB in a ClientHello, or 96 KiB or 256 pieces in a handshake")]
pub(crate) struct HandshakeTooLarge;

/// A stream that may be over a socket, which knows better than the runtime whether its peer has read something.
pub(crate) trait Progress {
    /// The socket below it; `None` in tests that have no socket.
    fn socket(&mut self) -> Option<&mut Socket>;
}

impl Progress for Socket {
    fn socket(&mut self) -> Option<&mut Socket> {
        Some(self)
    }
}

impl Progress for TlsStream<Socket> {
    fn socket(&mut self) -> Option<&mut Socket> {
        Some(self.get_mut().0)
    }
}

#[cfg(test)]
impl Progress for tokio::io::DuplexStream {
    fn socket(&mut self) -> Option<&mut Socket> {
        None
    }
}

impl Socket {
    /// Takes a connected stream, and has it send at once what it is given.
    ///
    /// # Errors
    /// When the peer is gone already.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, handshake: None, taken: None })
    }

    /// How much can be read at once, one byte at most: asked of the kernel, and not of what the runtime has heard of it.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come and the peer has not closed.
    pub(crate) fn peek_now(&self) -> io::Result<usize> {
        SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit(); 1])
    }

    /// Closing it, which comes next, resets the connection: what is not sent yet is thrown away, and no port is held.
    pub(crate) fn reset_when_closed(&self) {
        // Where it fails the connection is closed in the usual way.
        let _ = self.stream.set_zero_linger();
    }

    /// Until [`Self::bytes_taken`], writes go to the kernel at once.
    pub(crate) fn writes_at_once(&mut self) {
        self.taken = Some(0);
    }

    /// How many bytes the kernel took since [`Self::writes_at_once`].
    pub(crate) fn bytes_taken(&mut self) -> usize {
        self.taken.take().unwrap_or(0)
    }

    /// Writes to the kernel when the runtime has not heard that it takes something. The kernel calls a stream writable
    /// again when a third of its send buffer is free, which may be a megabyte, but takes a write when any of it is: as soon
    /// as the peer has acknowledged something.
    fn write_at_once(&mut self, bytes: &[u8]) -> Option<usize> {
        let taken = self.taken.as_mut()?;
        let count = SockRef::from(&self.stream).send(bytes).ok().filter(|count| *count > 0)?;
        *taken += count;
        Some(count)
    }

    /// Bounds what is read until [`Self::handshake_done`].
    pub(crate) fn handshake_begins(&mut self) {
        self.handshake = Some(Allowance::new());
    }

    /// From here on anything may come.
    pub(crate) fn handshake_done(&mut self) {
        self.handshake = None;
    }
}

impl Allowance {
    fn new() -> Self {
        Self { bytes: MAX_HELLO_BYTES, reads: MAX_HANDSHAKE_READS, first: true }
    }

    /// We send something: the peer may go on.
    fn answered(&mut self) {
        if std::mem::take(&mut self.first) {
            self.bytes = MAX_ANSWER_BYTES;
        }
    }

    /// Counts a read of `bytes`.
    fn spend(&mut self, bytes: usize) -> io::Result<()> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidData, HandshakeTooLarge);
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(too_large)?;
        self.reads = self.reads.checked_sub(1).ok_or_else(too_large)?;
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, handshake, .. } = &mut *self;
        let Some(allowance) = handshake else { return Pin::new(stream).poll_read(cx, buf) };
        let filled = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        Poll::Ready(allowance.spend(buf.filled().len() - filled))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(allowance) = &mut self.handshake {
            allowance.answered();
        }
        match self.write_at_once(bytes) {
            Some(count) => Poll::Ready(Ok(count)),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(allowance) = &mut self.handshake {
            allowance.answered();
        }
        // One piece at a time while it is asked.
        if self.taken.is_some()
            && let Some(first) = slices.iter().find(|slice| !slice.is_empty())
            && let Some(count) = self.write_at_once(first)
        {
            return Poll::Ready(Ok(count));
        }
        match slices {
            [one] => Pin::new(&mut self.stream).poll_write(cx, one),
            several => Pin::new(&mut self.stream).poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_t13_a_handshake_is_bounded_in_bytes_and_in_pieces() {
        let mut hello = Allowance::new();
        assert!(hello.spend(MAX_HELLO_BYTES).is_ok());
        assert!(hello.spend(1).is_err());
        hello.answered();
        assert!(hello.spend(MAX_ANSWER_BYTES).is_ok());
        hello.answered();
        assert!(hello.spend(1).is_err(), "we answer twice, and that gives nothing more");

        let mut dribbled = Allowance::new();
        let taken = std::iter::repeat_with(|| dribbled.spend(1)).take_while(Result::is_ok).count();
        assert_eq!(taken, MAX_HANDSHAKE_READS);
        // In segments of 536 octets, the least that IPv4 has, all of the bytes fit.
        let mut slow = Allowance::new();
        assert!((0..MAX_HELLO_BYTES / 536).all(|_| slow.spend(536).is_ok()));
        slow.answered();
        assert!((0..MAX_ANSWER_BYTES / 536).all(|_| slow.spend(536).is_ok()));
    }
}
