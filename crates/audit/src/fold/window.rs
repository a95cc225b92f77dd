//! The second that a rate counts in, and a budget for each.

use countersign_model::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};

const WINDOW_MS: i64 = 1000;
/// Refusals come nearly in the order of their times. One that is so much older than the present window counts in it:
/// times that alternate must not begin a window with each refusal. What is older still shows that the clock was set
/// back, and must not be folded for as long as it was ahead.
const LATE_MS: i64 = 60_000;

/// Whether what happens at `at` is not of the window that began at `window_start`.
pub(super) fn is_over(window_start: Timestamp, at: Timestamp) -> bool {
    let age_ms = at.unix_ms().saturating_sub(window_start.unix_ms());
    !(-LATE_MS..WINDOW_MS).contains(&age_ms)
}

/// A number per second, over all classes and without a lock: the second in the upper bits, the count in the lower.
/// What comes late ([`LATE_MS`]) takes of the present second.
#[derive(Default)]
pub(super) struct Budget(AtomicU64);

impl Budget {
    const COUNT_BITS: u32 = 24;

    /// Whether there was one left.
    pub(super) fn take(&self, now: Timestamp, limit: u32) -> bool {
        let asked = now.unix_s().max(0).unsigned_abs();
        let late_s = LATE_MS.unsigned_abs() / 1000;
        let mask = (1 << Self::COUNT_BITS) - 1;
        let step = |state: u64| {
            let present = state >> Self::COUNT_BITS;
            let in_present = (asked..asked + late_s).contains(&present);
            let (second, count) = if in_present { (present, state & mask) } else { (asked, 0) };
            (count < u64::from(limit).min(mask)).then_some(second << Self::COUNT_BITS | (count + 1))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::T0;

    #[test]
    fn the_budget_over_all_classes_is_for_each_second() {
        let budget = Budget::default();
        assert_eq!((0..10).filter(|_| budget.take(T0, 5)).count(), 5);
        assert_eq!((0..10).filter(|_| budget.take(T0.plus_s(1), 5)).count(), 5);
    }

    #[test]
    fn late_refusals_begin_no_new_second() {
        let budget = Budget::default();
        let times = || (0..100).map(|i| T0.plus_s(-(i % 2) * 30));
        assert_eq!(times().filter(|at| budget.take(*at, 5)).count(), 5);
        // By a clock that was set back.
        assert!(budget.take(T0.plus_s(-3600), 5));
    }
}
