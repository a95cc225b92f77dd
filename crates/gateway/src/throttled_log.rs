//! A line of the log that is written at most once in ten seconds over all workers, with the number of suppressed lines
//! (rule G20).

use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How long after one line the next is written.
const PAUSE: Duration = Duration::from_secs(10);

/// When a line was last written, over all workers.
#[derive(Debug, Default)]
pub(crate) struct ThrottledLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    written: Option<Instant>,
    kept_back: u64,
}

impl ThrottledLog {
    /// Whether the line is written now: then how many were not since the last one.
    pub(crate) fn due(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.written.is_some_and(|written| now - written < PAUSE) {
            state.kept_back += 1;
            return None;
        }
        state.written = Some(now);
        Some(std::mem::take(&mut state.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rule_g20_a_line_that_is_always_due_is_written_seldom_and_counts_the_others() {
        let line = ThrottledLog::default();
        assert_eq!(line.due(), Some(0), "the first one is never late");
        assert!((0..1000).all(|_| line.due().is_none()));
        tokio::time::advance(PAUSE).await;
        assert_eq!(line.due(), Some(1000));
        assert_eq!(line.due(), None);
    }
}
