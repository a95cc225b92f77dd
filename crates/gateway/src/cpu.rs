//! How much CPU time a piece of work takes. A worker is one thread, so what the thread ran while a future was polled is what
//! the future cost, its system calls included, however busy the machine is.

use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

/// Runs `work` and adds what it costs to `cost` as it goes: work that is dropped before its end has cost something too.
pub(crate) async fn measured<F: Future>(work: F, cost: &Cell<Duration>) -> F::Output {
    measured_by(thread_time, work, cost).await
}

async fn measured_by<F: Future>(
    mut time: impl FnMut() -> Duration,
    work: F,
    cost: &Cell<Duration>,
) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let began = time();
        let poll = work.as_mut().poll(cx);
        cost.set(cost.get() + time().saturating_sub(began));
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
    use tokio::task::yield_now;

    #[tokio::test]
    async fn what_runs_while_the_work_is_polled_is_counted_and_what_runs_between_is_not() {
        let time = Cell::new(Duration::ZERO);
        let run = |ms| time.set(time.get() + Duration::from_millis(ms));
        let cost = Cell::default();
        let work = measured_by(
            || time.get(),
            async {
                run(3);
                yield_now().await;
                run(4);
                yield_now().await;
            },
            &cost,
        );
        let others = async {
            run(100);
            yield_now().await;
            run(1000);
        };
        tokio::join!(work, others);
        assert_eq!(cost.get(), Duration::from_millis(7));
    }

    #[tokio::test]
    async fn work_that_is_dropped_before_its_end_has_cost_something() {
        let time = Cell::new(Duration::ZERO);
        let cost = Cell::default();
        let work = async {
            time.set(Duration::from_millis(3));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = measured_by(|| time.get(), work, &cost) => unreachable!("it never ends"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(cost.get(), Duration::from_millis(3));
    }

    #[test]
    fn the_time_of_a_thread_passes_as_it_works() {
        let began = thread_time();
        let worked = |number: u64| black_box(number.wrapping_mul(31));
        while thread_time() == began {
            (0..1000).map(worked).for_each(drop);
        }
        assert!(thread_time() > began);
    }
}
