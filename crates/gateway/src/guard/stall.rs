//! A bound for a peer that does not read what is written to it (rule G15): hyper has none on either version of HTTP.

use super::timer::Timer;
use crate::socket::{Progress, Socket};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The least that a peer must read within its time, unless less is ready. A peer that reads a byte now and then would keep
/// its connection, and the one to the upstream, for years. In 30 s this is 136 bytes per second.
pub(crate) const MIN_PROGRESS: usize = 4 * 1024;

/// A stream that gives up on a peer that reads too little: below the guard, and on HTTP/2, which has no guard, below
/// hyper. A peer that has stopped to read takes no GOAWAY either, so hyper and h2 would wait for it for ever.
#[derive(Debug)]
pub(crate) struct BoundedWrites<S> {
    stream: S,
    patience: Duration,
    /// Since when the peer is awaited, and how much it has taken since.
    stalled: Option<(Instant, usize)>,
    timer: Timer,
}

impl<S> BoundedWrites<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stalled: None, timer: Timer::default() }
    }

    /// Begins the peer's time again once it has read enough.
    fn note(&mut self, bytes: usize) {
        if let Some((_, taken)) = &mut self.stalled {
            *taken += bytes;
            if *taken >= MIN_PROGRESS {
                self.stalled = None;
            }
        }
    }

    /// Ready when the peer's time is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (since, _) = *self.stalled.get_or_insert_with(|| (Instant::now(), 0));
        self.timer.poll_until(since + self.patience, cx)
    }
}

impl<S: Progress> BoundedWrites<S> {
    /// The result of a write, or an error once the peer has read too little for too long.
    fn bound_write(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>>
    where
        S: Unpin,
    {
        let result = write(Pin::new(&mut self.stream), cx);
        if let Poll::Ready(Ok(written)) = result {
            self.note(written);
        }
        if result.is_ready() { result } else { self.wait(cx, write) }
    }

    /// The same where nothing is left to be read when it is ready.
    fn bound_flush(
        &mut self,
        cx: &mut Context<'_>,
        mut flush: impl FnMut(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>>
    where
        S: Unpin,
    {
        let mut result = flush(Pin::new(&mut self.stream), cx);
        if result.is_pending() {
            result = self.wait(cx, flush);
        }
        if let Poll::Ready(Ok(())) = result {
            self.stalled = None;
        }
        result
    }

    /// Waits for the peer. When its time is over, the kernel is asked whether it has read anything: an honest peer that is
    /// slow may have read a megabyte before the kernel says so by itself.
    fn wait<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>>
    where
        S: Unpin,
    {
        ready!(self.poll_over(cx));
        if let Some(socket) = self.stream.socket() {
            socket.writes_at_once();
        }
        let result = write(Pin::new(&mut self.stream), cx);
        let taken = self.stream.socket().map_or(0, Socket::bytes_taken);
        self.note(taken);
        if result.is_ready() {
            return result;
        }
        ready!(self.poll_over(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer read less than 4 KiB within write_pause_timeout",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedWrites<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Progress + Unpin> AsyncWrite for BoundedWrites<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().bound_write(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().bound_write(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().bound_flush(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The end of a TLS stream is written behind all that the peer did not take.
        self.get_mut().bound_flush(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use tokio::task::coop::unconstrained;

    #[tokio::test(start_paused = true)]
    async fn rule_g15_a_peer_that_takes_nothing_ends_the_writing() {
        let (_peer, stream) = tokio::io::duplex(16);
        let mut stream = BoundedWrites::new(stream, Duration::from_secs(30));
        let began = Instant::now();
        let error = stream.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    /// A peer takes `bytes` after every 29 of the 30 s that it has, ten times.
    async fn written_to_one_that_takes(bytes: usize) -> io::Result<()> {
        let (mut peer, stream) = tokio::io::duplex(bytes);
        let mut stream = BoundedWrites::new(stream, Duration::from_secs(30));
        let taking = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                tokio::io::AsyncReadExt::read_exact(&mut peer, &mut vec![0; bytes]).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let answer = vec![0; 10 * bytes];
        tokio::select! {
            written = stream.write_all(&answer) => written,
            () = taking => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rule_g15_a_peer_that_takes_its_share_is_waited_for() {
        written_to_one_that_takes(MIN_PROGRESS).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn rule_g15_a_peer_that_takes_a_byte_now_and_then_ends_the_writing() {
        for bytes in [1, 100] {
            let began = Instant::now();
            let error = written_to_one_that_takes(bytes).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(began.elapsed() <= Duration::from_secs(60), "{:?}", began.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rule_g15_a_peer_that_has_read_everything_gets_its_whole_time_again() {
        let (mut peer, stream) = tokio::io::duplex(1);
        let mut stream = BoundedWrites::new(stream, Duration::from_secs(30));
        for _ in 0..10 {
            let taking = async {
                tokio::time::sleep(Duration::from_secs(29)).await;
                tokio::io::AsyncReadExt::read_exact(&mut peer, &mut [0; 2]).await.unwrap();
            };
            let (written, _) = tokio::join!(stream.write_all(&[0; 2]), taking);
            written.unwrap();
            stream.flush().await.unwrap();
        }
    }

    /// Writes a piece, if the peer is not waited for.
    async fn fill(stream: &mut BoundedWrites<Socket>) -> io::Result<()> {
        unconstrained(poll_fn(|cx| match Pin::new(&mut *stream).poll_write(cx, &[7; 16 * 1024]) {
            Poll::Pending => Poll::Ready(Ok(())),
            Poll::Ready(result) => Poll::Ready(result.map(|_| ())),
        }))
        .await
    }

    /// The kernel says that it takes more only when a third of its send buffer is free.
    #[tokio::test(start_paused = true)]
    async fn rule_g15_a_slow_reader_is_waited_for_however_much_the_kernel_holds() {
        const PATIENCE: Duration = Duration::from_secs(30);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let (reader, accepted) =
            tokio::join!(socket.connect(listener.local_addr().unwrap()), listener.accept());
        let (mut reader, stream) = (reader.unwrap(), accepted.unwrap().0);
        socket2::SockRef::from(&stream).set_send_buffer_size(256 * 1024).unwrap();
        let mut stream = BoundedWrites::new(Socket::new(stream).unwrap(), PATIENCE);
        for _ in 0..10 {
            for _ in 0..1000 {
                fill(&mut stream).await.unwrap();
            }
            assert!(stream.stalled.is_some(), "the buffer of the kernel is full");
            // More than the reader's own buffer holds, so that what was in it is known to have been read.
            tokio::io::AsyncReadExt::read_exact(&mut reader, &mut [0; 48 * 1024]).await.unwrap();
            tokio::time::advance(PATIENCE).await;
            fill(&mut stream).await.unwrap();
        }
        // From now on it reads nothing: the last of what it has read may be acknowledged late.
        let mut ended = Ok(());
        for _ in 0..1000 {
            tokio::time::advance(PATIENCE).await;
            ended = fill(&mut stream).await;
            if ended.is_err() {
                break;
            }
        }
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
