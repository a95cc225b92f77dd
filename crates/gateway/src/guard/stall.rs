//! A bound for a peer that does not read what is written to it (rule G15): hyper has none on either version of HTTP.

use super::timer::Timer;
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

    /// The result of a write, or an error once there was none for too long.
    fn bound_write(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(written)), Some((_, taken))) = (&result, &mut self.stalled) {
            *taken += written;
            if *taken >= MIN_PROGRESS {
                self.stalled = None;
            }
        }
        if result.is_ready() { result } else { self.wait(cx) }
    }

    /// The same where nothing is left to be taken when it is ready.
    fn bound_flush(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if result.is_pending() {
            return self.wait(cx);
        }
        self.stalled = None;
        result
    }

    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let (since, _) = *self.stalled.get_or_insert_with(|| (Instant::now(), 0));
        ready!(self.timer.poll_until(since + self.patience, cx));
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

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedWrites<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.bound_write(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.bound_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.bound_flush(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The end of a TLS stream is written behind all that the peer did not take.
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.bound_flush(cx, result)
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
}
