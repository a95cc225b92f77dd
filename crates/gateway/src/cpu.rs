//! How much CPU time a piece of work takes. A worker is one thread, so what the thread ran while a future was polled is what
//! the future cost, its system calls included, however busy the machine is.

use rustix::time::{ClockId, clock_gettime};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

/// Runs `work`, and says what it cost beside what came of it.
pub(crate) async fn measured<F: Future>(work: F) -> (F::Output, Duration) {
    let mut work = pin!(work);
    let mut cost = Duration::ZERO;
    let output = poll_fn(|cx| {
        let began = thread_time();
        let poll = work.as_mut().poll(cx);
        cost += thread_time().saturating_sub(began);
        poll
    })
    .await;
    (output, cost)
}

/// What this thread has run.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[tokio::test]
    async fn work_is_counted_and_waiting_is_not() {
        let work = |rounds: u64| async move {
            tokio::task::yield_now().await;
            (0..rounds).fold(0u64, |sum, number| black_box(sum.wrapping_mul(31) ^ number))
        };
        let ((), waited) = measured(tokio::time::sleep(Duration::from_millis(50))).await;
        assert!(waited < Duration::from_millis(50), "{waited:?}");
        let (_, worked) = measured(work(20_000_000)).await;
        assert!(worked > Duration::from_millis(1), "{worked:?}");
    }
}
