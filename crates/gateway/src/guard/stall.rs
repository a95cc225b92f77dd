//! A peer that takes nothing of what is written to it (rule G15): the bound that hyper has on no version of HTTP.

use super::timer::Timer;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Since when nothing was taken.
#[derive(Debug)]
pub(super) struct WriteStall {
    patience: Duration,
    since: Option<Instant>,
    timer: Timer,
}

impl WriteStall {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, since: None, timer: Timer::default() }
    }

    /// The result of a write, or an error once there was none for too long.
    pub(super) fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.since = None;
            return result;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        ready!(self.timer.poll_until(since + self.patience, cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no data")))
    }
}

/// The stream below HTTP/2, where there is no guard: it only bounds writing. A peer that has stopped to read takes no
/// GOAWAY either, so hyper and h2 would wait for it for ever.
#[derive(Debug)]
pub(crate) struct BoundedWrites<S> {
    stream: S,
    stall: WriteStall,
}

impl<S> BoundedWrites<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, stall: WriteStall::new(patience) }
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
        this.stall.bound(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.stall.bound(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.stall.bound(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.stall.bound(cx, result)
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
