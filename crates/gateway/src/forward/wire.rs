//! Whether a connection to an upstream may carry another request, read off the order of its bytes.
//!
//! A connection is used for one caller after another, and HTTP/1.1 does not say which answer belongs to which request. So
//! a connection on which anything came that was not asked for, or whose last answer may be followed by more, is not used
//! again: the next caller would read what was meant for another one. hyper looks at the messages; the order of bytes,
//! and what lies in the kernel unread, are looked at here.

use crate::socket::Socket;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the stream and the pool tell each other.
#[derive(Debug)]
pub(super) struct Conduct {
    stage: Cell<Stage>,
    fit: Cell<bool>,
    /// The next read asks the kernel, whatever the runtime has heard.
    look: Cell<bool>,
    /// The upstream has closed its side.
    ended: Cell<bool>,
    /// Whether [`copy`](Self::copy) takes what is written.
    copies: Cell<bool>,
    /// The request as it was written, for as long as nothing came in answer.
    copy: RefCell<Vec<u8>>,
}

/// A copy of a longer request is not kept for the next one.
const MAX_KEPT_COPY: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The exchange is over.
    Parked,
    /// The pool has it.
    Kept,
    /// A request is to be written.
    Ours,
    /// Something of it was written.
    Asked,
    /// Something of the final answer came.
    Answered,
}

impl Conduct {
    /// Of a connection that is new.
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            stage: Cell::new(Stage::Ours),
            fit: Cell::new(true),
            look: Cell::new(false),
            ended: Cell::new(false),
            copies: Cell::new(false),
            copy: RefCell::default(),
        })
    }

    /// Keeps a copy of the request that is written next, until something comes in answer. hyper takes a request apart as it
    /// writes it; a copy of its octets costs less than one of its fields.
    pub(super) fn keep_copy(&self) {
        self.copies.set(true);
        self.copy.borrow_mut().clear();
    }

    /// The octets of a request to which nothing came in answer, if it was written or could not be.
    pub(super) fn take_copy(&self) -> Option<Vec<u8>> {
        let is_unanswered = self.copies.take() && matches!(self.stage.get(), Stage::Ours | Stage::Asked);
        is_unanswered.then(|| self.copy.take())
    }

    /// Whether anything of the request was written: from then on it may have been carried out.
    pub(super) fn was_asked(&self) -> bool {
        matches!(self.stage.get(), Stage::Asked | Stage::Answered)
    }

    /// The connection was kept and is to carry a request. What came meanwhile lies in the kernel, and the runtime has
    /// possibly not looked there since: it does between tasks.
    pub(super) fn begin(&self) {
        self.stage.set(Stage::Ours);
        self.look.set(true);
    }

    /// The answer is complete. `sent` says whether the whole request was: what is still written of it would be read as the
    /// next one.
    pub(super) fn park(&self, sent: bool) {
        let mut copy = self.copy.borrow_mut();
        if copy.capacity() > MAX_KEPT_COPY {
            *copy = Vec::new();
        }
        self.fit.set(self.fit.get() && sent);
        self.stage.set(Stage::Parked);
    }

    /// The pool keeps the connection for another request.
    pub(super) fn keep(&self) {
        self.stage.set(Stage::Kept);
    }

    /// The connection carries no other request: its answer is of a kind that more may follow, or another connection needs
    /// its place.
    pub(super) fn give_up(&self) {
        self.fit.set(false);
    }

    /// Whether the connection may carry another request.
    pub(super) fn is_in_order(&self) -> bool {
        self.fit.get()
    }

    /// Whether the connection is closed with a reset. The side that closes first holds its port for a minute (TIME_WAIT),
    /// so a caller whose every request ends a connection would use up all ports that lead to an upstream (G20). A reset
    /// holds none. Nothing is lost by it: the exchange is over, or it is broken off. A connection that was kept and has
    /// grown old is closed in the usual way: these are few.
    fn closes_with_reset(&self) -> bool {
        let rests = self.stage.get() == Stage::Kept && self.fit.get();
        !rests && !self.ended.get()
    }

    /// The kernel took so many of the bytes in `pieces`, or none.
    ///
    /// An upstream that answers before it has the whole request, and closes, lets the rest of it fail. hyper would report
    /// that and not read the answer, which lies in the kernel. So after the first bytes of a request a failure is silent:
    /// what is to be read, the answer or the end, decides.
    fn wrote<'a>(
        &self,
        pieces: impl IntoIterator<Item = &'a [u8]> + Clone,
        result: io::Result<usize>,
    ) -> io::Result<usize> {
        let length = pieces.clone().into_iter().map(<[u8]>::len).sum();
        let mut left = *result.as_ref().unwrap_or(&length);
        if self.copies.get() {
            let mut copy = self.copy.borrow_mut();
            for piece in pieces {
                let (piece, _) = piece.split_at(piece.len().min(left));
                copy.extend_from_slice(piece);
                left -= piece.len();
            }
        }
        if result.is_err() {
            self.fit.set(false);
            return if self.was_asked() { Ok(length) } else { result };
        }
        match self.stage.get() {
            Stage::Ours => self.stage.set(Stage::Asked),
            Stage::Asked => {}
            // The upstream answered before it had the whole request.
            Stage::Answered | Stage::Parked | Stage::Kept => self.fit.set(false),
        }
        result
    }

    fn read(&self, bytes: &[u8]) -> io::Result<()> {
        match self.stage.get() {
            Stage::Parked | Stage::Kept | Stage::Ours => {
                self.fit.set(false);
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to no request"));
            }
            Stage::Asked => {
                self.copies.set(false);
                let answer = after_interim(bytes);
                if !answer.is_empty() {
                    self.stage.set(Stage::Answered);
                    // Anything else is left from before. An answer that comes in smaller pieces is not looked at closer.
                    self.fit.set(self.fit.get() && answer.starts_with(b"HTTP/1."));
                }
            }
            Stage::Answered => {}
        }
        Ok(())
    }
}

/// These bytes without the interim answers (1xx) that they begin with. Those are a part of the one answer to a request, and
/// may come unasked (RFC 9110 section 15.2); hyper passes over them. What comes of one in several pieces is taken for the
/// final answer: the upload that goes on after it then ends the connection, and nothing worse.
fn after_interim(mut bytes: &[u8]) -> &[u8] {
    while bytes.starts_with(b"HTTP/1.") && bytes.get(9) == Some(&b'1') {
        let Some(length) = head_length(bytes) else { break };
        bytes = &bytes[length..];
    }
    bytes
}

/// Through the first empty line. A line ends with LF too, as it does for hyper.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        length += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return Some(length);
        }
    }
    None
}

/// A connection to an upstream, below hyper.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    conduct: Rc<Conduct>,
}

impl Wire {
    pub(super) fn new(socket: Socket, conduct: Rc<Conduct>) -> Self {
        Self { socket, conduct }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, conduct } = self.get_mut();
        if conduct.look.take() {
            match socket.peek_now() {
                Ok(0) => {
                    conduct.ended.set(true);
                    return Poll::Ready(Ok(()));
                }
                Ok(_) => return Poll::Ready(conduct.read(b"")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let start = buf.filled().len();
        ready!(Pin::new(socket).poll_read(cx, buf))?;
        let bytes = &buf.filled()[start..];
        if bytes.is_empty() {
            conduct.ended.set(true);
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(conduct.read(bytes))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { socket, conduct } = self.get_mut();
        let result = ready!(Pin::new(socket).poll_write(cx, bytes));
        Poll::Ready(conduct.wrote([bytes], result))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, conduct } = self.get_mut();
        let result = ready!(Pin::new(socket).poll_write_vectored(cx, slices));
        Poll::Ready(conduct.wrote(slices.iter().map(|slice| &**slice), result))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    /// hyper lets go of the stream right after, and how it closes is decided there: after a FIN a reset may come too late.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.conduct.closes_with_reset() {
            self.socket.reset_when_closed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::task::Waker;

    fn read(wire: &mut Wire) -> Poll<io::Result<usize>> {
        let (mut bytes, mut cx) = ([0; 64], Context::from_waker(Waker::noop()));
        let mut buf = ReadBuf::new(&mut bytes);
        Pin::new(wire).poll_read(&mut cx, &mut buf).map_ok(|()| buf.filled().len())
    }

    /// A wire, and the upstream's end of it.
    async fn connected() -> (Wire, Rc<Conduct>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let conduct = Conduct::new();
        (Wire::new(Socket::new(stream).unwrap(), conduct.clone()), conduct, listener.accept().unwrap().0)
    }

    /// Until the other end's kernel has acknowledged all that `stream` wrote, as /proc/net/tcp tells. The runtime does not
    /// run meanwhile.
    fn settle(stream: &TcpStream) {
        let port = |address: SocketAddr| format!(":{:04X}", address.port());
        let (local, remote) = (port(stream.local_addr().unwrap()), port(stream.peer_addr().unwrap()));
        loop {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let mut row =
                row.filter(|row| row.len() > 4 && row[1].ends_with(&local) && row[2].ends_with(&remote));
            if row.next().unwrap()[4].starts_with("00000000:") {
                return;
            }
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn what_came_while_the_connection_was_parked_is_seen_though_the_runtime_has_not_looked() {
        let (mut wire, conduct, mut upstream) = connected().await;
        conduct.park(true);
        assert!(read(&mut wire).is_pending());
        upstream.write_all(b"x").unwrap();
        settle(&upstream);
        assert!(read(&mut wire).is_pending(), "the runtime has not looked: what follows shows nothing");
        conduct.begin();
        let Poll::Ready(Err(error)) = read(&mut wire) else { panic!("it was not seen") };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!conduct.is_in_order());
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_while_it_was_parked_reads_as_closed() {
        let (mut wire, conduct, upstream) = connected().await;
        conduct.park(true);
        assert!(read(&mut wire).is_pending());
        upstream.shutdown(std::net::Shutdown::Write).unwrap();
        settle(&upstream);
        // The end is no data, so nothing tells when the kernel has it.
        loop {
            conduct.begin();
            match read(&mut wire) {
                Poll::Pending => std::thread::yield_now(),
                end => return assert!(matches!(end, Poll::Ready(Ok(0))), "{end:?}"),
            }
        }
    }

    #[test]
    fn each_order_of_bytes_has_its_judgement() {
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
        for (first, then_written, sent, fit) in [
            (OK, false, true, true),
            (OK, true, true, false),
            (OK, false, false, false),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", false, true, true),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", true, true, false),
            (b"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\n", true, true, false),
            (b"HTTP/1.1 100 Continue\r\n\r\n\r\nHTTP/1.1 200 OK\r\n", false, true, false),
            (b"HTTP/1.1 103 Early Hints\r\n", false, true, true),
            (b"\r\nHTTP/1.1 200 OK\r\n", false, true, false),
            (b"HTTP/1.1 ", false, true, true),
            (b"HTTP/1.1 ", true, true, false),
            (b"HTTP/", false, true, false),
            (b"HTTP/1.0 200 OK\r\n", false, true, true),
        ] {
            let conduct = Conduct::new();
            conduct.wrote([], Ok(0)).unwrap();
            conduct.wrote([], Ok(0)).unwrap();
            conduct.read(first).unwrap();
            conduct.read(b"more").unwrap();
            if then_written {
                conduct.wrote([], Ok(0)).unwrap();
            }
            conduct.park(sent);
            assert_eq!(conduct.is_in_order(), fit, "{}", String::from_utf8_lossy(first));
        }
        let conduct = Conduct::new();
        conduct.park(true);
        conduct.wrote([], Ok(0)).unwrap();
        assert!(!conduct.is_in_order(), "the rest of a request");
    }

    #[test]
    fn rule_g18_a_write_that_fails_in_the_middle_of_a_request_leaves_the_verdict_to_what_is_read() {
        let broken = || Err(io::ErrorKind::BrokenPipe.into());
        let conduct = Conduct::new();
        assert!(conduct.wrote([b"GET /".as_slice()], broken()).is_err() && !conduct.was_asked());
        assert_eq!(conduct.wrote([b"GET /".as_slice()], Ok(5)).unwrap(), 5);
        assert_eq!(conduct.wrote([b"a".as_slice(), b"bc"], broken()).unwrap(), 3);
        assert!(!conduct.is_in_order());
    }
}
