//! How much CPU time a piece of work takes. A worker is one thread, so what the thread ran while a future was polled is what
//! the future cost, its system calls included, however busy the machine is.

use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

/// Runs `work` and adds what it costs to `cost` as it goes: work that is dropped before its end has cost something too.
pub(crate) async fn measured<F: Future>(work: F, cost: &Cell<Duration>) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let began = thread_time();
        let poll = work.as_mut().poll(cx);
        cost.set(cost.get() + thread_time().saturating_sub(began));
        poll
    })
    .await
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
        let waited = Cell::default();
        measured(tokio::time::sleep(Duration::from_millis(50)), &waited).await;
        assert!(waited.get() < Duration::from_millis(50), "{waited:?}");
        let worked = Cell::default();
        measured(work(20_000_000), &worked).await;
        assert!(worked.get() > Duration::from_millis(1), "{worked:?}");
    }
}
