//! A budget of cost: so much may be spent in each second, and some seconds' worth at once. [`crate::rate_limit`] counts
//! requests before they are done; this counts what was done once it is known what it cost.
//!
//! Pure arithmetic on nanoseconds of a monotonic clock. One number is kept for each spender: the moment at which all that
//! it spent is paid back.

use std::time::Duration;

const SECOND_NS: u128 = 1_000_000_000;

/// How much may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostBudget {
    per_second_ns: u64,
    window_ns: u64,
}

impl CostBudget {
    /// `per_second` in each second, and what `window` gives at once. Of a `per_second` of zero nothing is ever paid back.
    pub const fn new(per_second: Duration, window: Duration) -> Self {
        Self { per_second_ns: nanoseconds(per_second), window_ns: nanoseconds(window) }
    }

    /// The number to keep after a cost at `now_ns`; `paid_ns` is the kept one, 0 for a new spender.
    ///
    /// Nobody owes more than two windows: what was at work when the budget was spent is counted, and a larger debt was
    /// made under another budget, before a reload.
    pub fn spend(&self, paid_ns: u64, now_ns: u64, cost: Duration) -> u64 {
        let pays_back_ns = cost.as_nanos() * SECOND_NS / u128::from(self.per_second_ns.max(1));
        let paid_ns = paid_ns.max(now_ns).saturating_add(u64::try_from(pays_back_ns).unwrap_or(u64::MAX));
        paid_ns.min(now_ns.saturating_add(self.window_ns.saturating_mul(2)))
    }

    /// How long until something is left to be spent, in nanoseconds; 0 if something is.
    pub const fn wait_ns(&self, paid_ns: u64, now_ns: u64) -> u64 {
        paid_ns.saturating_sub(now_ns.saturating_add(self.window_ns))
    }
}

const fn nanoseconds(duration: Duration) -> u64 {
    let nanoseconds = duration.as_nanos();
    if nanoseconds > u64::MAX as u128 { u64::MAX } else { nanoseconds as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    /// A tenth of a second in each second, a second at once.
    fn tenth() -> CostBudget {
        CostBudget::new(Duration::from_millis(100), Duration::from_secs(10))
    }

    #[test]
    fn a_window_is_spent_at_once_and_paid_back_at_the_rate() {
        let (budget, now) = (tenth(), 5 * SECOND);
        let mut paid = budget.spend(0, now, Duration::from_millis(1000));
        assert_eq!(budget.wait_ns(paid, now), 0, "to the last nanosecond");
        paid = budget.spend(paid, now, Duration::from_millis(50));
        assert_eq!(budget.wait_ns(paid, now), SECOND / 2);
        assert_eq!(budget.wait_ns(paid, now + SECOND / 2), 0);
        // Idle time gives no more than the window.
        let later = now + 1000 * SECOND;
        assert_eq!(
            budget.wait_ns(budget.spend(paid, later, Duration::from_millis(1001)), later),
            SECOND / 100
        );
    }

    #[test]
    fn a_debt_is_bounded() {
        let (budget, now) = (tenth(), SECOND);
        let paid = budget.spend(0, now, Duration::from_secs(86_400));
        assert_eq!(budget.wait_ns(paid, now), 10 * SECOND);
        let raised = CostBudget::new(Duration::from_secs(1), Duration::from_secs(1));
        assert!(raised.spend(u64::MAX, now, Duration::ZERO) <= now + 2 * SECOND);
        let nothing = CostBudget::new(Duration::ZERO, Duration::ZERO);
        assert_eq!(nothing.wait_ns(nothing.spend(0, now, Duration::ZERO), now), 0);
    }

    proptest! {
        #[test]
        fn never_more_than_the_window_and_the_rate(costs in prop::collection::vec((0u64..SECOND, 1u64..SECOND / 10), 1..200)) {
            let budget = tenth();
            let (start, mut now, mut paid, mut spent) = (SECOND, SECOND, 0, 0u64);
            let mut last = 0;
            for (step, cost) in costs {
                now += step;
                if budget.wait_ns(paid, now) == 0 {
                    paid = budget.spend(paid, now, Duration::from_nanos(cost));
                    spent += cost;
                    last = cost;
                }
            }
            // The last one begins while something is left, and costs what it costs.
            prop_assert!(spent <= SECOND + (now - start) / 10 + last);
        }
    }
}
