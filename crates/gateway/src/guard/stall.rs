//! A peer that takes nothing of what is written to it (rule G15): the bound that hyper has on no version of HTTP.

use super::timer::Timer;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A stream that gives up on a peer which takes nothing: below the guard, and on HTTP/2, where there is none, below
/// hyper. A peer that has stopped to read takes no GOAWAY either, so hyper and h2 would wait for it for ever.
#[derive(Debug)]
pub(crate) struct BoundedWrites<S> {
    stream: S,
    patience: Duration,
    stalled_since: Option<Instant>,
    timer: Timer,
}

impl<S> BoundedWrites<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stalled_since: None, timer: Timer::default() }
    }

    /// The result of a write, or an error once there was none for too long.
    fn bound<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled_since = None;
            return result;
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        ready!(self.timer.poll_until(since + self.patience, cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no data")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedWrites<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedWrites<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.bound(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.bound(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.bound(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The end of a TLS stream is written behind all that the peer did not take.
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.bound(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test(start_paused = true)]
    async fn rule_g15_a_peer_that_takes_nothing_ends_the_writing() {
        let (_peer, stream) = tokio::io::duplex(16);
        let mut stream = BoundedWrites::new(stream, Duration::from_secs(30));
        let began = Instant::now();
        let error = stream.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn rule_g15_a_peer_that_takes_a_little_is_waited_for() {
        let (mut peer, stream) = tokio::io::duplex(1);
        let mut stream = BoundedWrites::new(stream, Duration::from_secs(30));
        let taking = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                tokio::io::AsyncReadExt::read_u8(&mut peer).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(&[0; 10]), taking);
        written.unwrap();
    }
}
