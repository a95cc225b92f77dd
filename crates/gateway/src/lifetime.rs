//! Runs a connection to its end: its own, or the one that was ordered (rule G14; design, decision 20).

use crate::connection::{Connection, Ended};
use crate::guard::GuardTimes;
use crate::guard::timer::Timer;
use crate::patience::Patience;
use std::pin::Pin;
use std::task::{Context, Poll};

/// An HTTP connection of hyper's, whichever version.
pub(crate) trait Http {
    fn poll_http(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;
    fn begin_end(self: Pin<&mut Self>);
}

/// Runs a connection to its end: its own, or the one that was ordered. `times` bounds what HTTP/2 would wait for without
/// end; HTTP/1.1 has the guard for that.
/// `looked` is called whenever HTTP has done something, at its end too.
///
/// HTTP comes in a box because a future keeps room for all that was ever moved into it: the connection by value would be
/// in the memory of each open one twice over.
pub(crate) async fn run(
    mut http: Pin<Box<impl Http>>,
    connection: &Connection,
    times: Option<&GuardTimes>,
    looked: impl Fn(),
) -> Ended {
    let mut cut_timer = Timer::default();
    let mut patience = times.map(Patience::new);
    let ended = std::future::poll_fn(|cx| {
        if connection.begins_to_finish() {
            http.as_mut().begin_end();
        }
        if let Some(at) = connection.cut_at()
            && cut_timer.poll_until(at, cx).is_ready()
        {
            return Poll::Ready(if connection.was_reset_too_often() { Ended::Resets } else { Ended::Cut });
        }
        let polled = http.as_mut().poll_http(cx);
        looked();
        if let Poll::Ready(result) = polled {
            return Poll::Ready(result.map_or_else(Ended::Failed, |()| Ended::InOrder));
        }
        if connection.is_to_finish() {
            cx.waker().wake_by_ref(); // ordered by the request just answered
        }
        connection.wake_with(cx.waker());
        patience.as_mut().map_or(Poll::Pending, |patience| patience.poll_over(connection, cx))
    })
    .await;
    connection.end();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_policy::Peer;

    struct AtItsEnd;

    impl Http for AtItsEnd {
        fn poll_http(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<hyper::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn begin_end(self: Pin<&mut Self>) {}
    }

    #[tokio::test]
    async fn rule_g15_requests_that_end_with_their_connection_were_not_taken_back() {
        let connection = Connection::new(Peer::new(([192, 0, 2, 1], 1).into(), None), None, None, true, true);
        connection.note_reset(1);
        run(Box::pin(AtItsEnd), &connection, None, || {}).await;
        (0..100).for_each(|_| connection.note_reset(1));
        assert!(!connection.was_reset_too_often());
    }
}
