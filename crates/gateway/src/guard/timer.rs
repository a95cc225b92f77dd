//! One timer for many deadlines, most of which move on before they come.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes its task at a deadline. Re-arming costs nothing while the new deadline is later than the armed one: the old
/// one then wakes once too often and is armed again.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Sees to it that the task is woken after `patience` at the latest: for who must look again, and has no deadline yet.
    pub(crate) fn wake_within(&mut self, patience: Duration, cx: &mut Context<'_>) {
        let armed = self.sleep.as_ref().is_some_and(|sleep| !sleep.is_elapsed());
        if !armed {
            let _ = self.poll_until(Instant::now() + patience, cx); // not ready: it lies ahead
        }
    }

    /// Ready when `deadline` has come.
    pub(crate) fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        // The clock is read first: a task that is always busy uses up tokio's budget, and a `Sleep` that is polled
        // without budget is never ready, however late it is (measured: a saturated stream outlived its cut by seconds).
        while Instant::now() < deadline {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            sleep.as_mut().reset(deadline);
        }
        Poll::Ready(())
    }
}
