//! Finds out that the wall clock was set, by comparing it with the clock that nobody sets.

use countersign_model::Timestamp;
use tokio::time::Instant;

/// Less is no step: a clock is slewed, and a loaded machine reads its two clocks some time apart.
const NO_STEP_S: i64 = 5;

/// The two clocks, as they were looked at last.
#[derive(Debug)]
pub(super) struct ClockSteps {
    now: Timestamp,
    instant: Instant,
}

impl ClockSteps {
    /// Both clocks as they are now.
    pub(super) const fn new(now: Timestamp, instant: Instant) -> Self {
        Self { now, instant }
    }

    /// By how many seconds the wall clock was set since the last look, if it was: negative, if it was set back. Each look
    /// counts from the one before, so that a clock that is slewed never adds up to a step.
    pub(super) fn look(&mut self, now: Timestamp, instant: Instant) -> Option<i64> {
        let passed = instant.saturating_duration_since(self.instant).as_millis();
        let passed_ms = i64::try_from(passed).unwrap_or(i64::MAX);
        let by_wall_clock_ms = now.unix_ms().saturating_sub(self.now.unix_ms());
        *self = Self { now, instant };
        let step_s = by_wall_clock_ms.saturating_sub(passed_ms) / 1000;
        (step_s.abs() >= NO_STEP_S).then_some(step_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_step_is_found_in_both_directions_and_once() {
        let (now, instant) = (Timestamp::from_unix_s(1_800_000_000), Instant::now());
        let mut steps = ClockSteps::new(now, instant);
        let mut set_by_s = 0;
        for (second, step_s, found) in [
            (1, 0, None),
            (2, 86_400, Some(86_400)),
            (3, 0, None),
            (4, -172_800, Some(-172_800)),
            (5, 1, None),
            (6, 1, None),
            (7, -4, None),
            (8, 5, Some(5)),
            // The machine slept, or was too busy to look: no step.
            (500, 0, None),
        ] {
            set_by_s += step_s;
            let looked = steps
                .look(now.plus_s(second + set_by_s), instant + Duration::from_secs(second.unsigned_abs()));
            assert_eq!(looked, found, "{second}");
        }
    }
}
