//! The generic cell rate algorithm (ITU-T I.371): one number of state for each client and route.
//!
//! Pure arithmetic on nanoseconds of a monotonic clock. Who keeps the numbers, and exchanges them atomically, is the
//! gateway's matter.

use std::num::NonZeroU32;
use std::time::Duration;

/// How many requests: `requests` for each `per`, evenly, and up to `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    interval_ns: u64,
    window_ns: u64,
}

/// A limit that means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// `per` is zero, or so short that there is no nanosecond for each request.
    #[error("`per` is too short for that many requests")]
    PeriodTooShort,
    /// `per` is longer than a day.
    #[error("`per` is longer than a day")]
    PeriodTooLong,
}

/// What the limit says about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted: keep this number.
    Accepted {
        /// The theoretical arrival time from now on.
        new_tat: u64,
    },
    /// Refused: the kept number stays as it is, or becomes smaller.
    Refused {
        /// The kept number, less a debt that this limit cannot have made.
        tat: u64,
        /// In how many nanoseconds the next request is accepted.
        retry_after_ns: u64,
    },
}

impl Limit {
    /// `requests` for each `per`, and `burst` at once.
    ///
    /// # Errors
    /// When `per` is out of range.
    pub fn new(requests: NonZeroU32, per: Duration, burst: NonZeroU32) -> Result<Self, LimitError> {
        if per > Duration::from_secs(86_400) {
            return Err(LimitError::PeriodTooLong);
        }
        let per_ns = u64::try_from(per.as_nanos()).map_err(|_| LimitError::PeriodTooLong)?;
        let interval_ns = per_ns / u64::from(requests.get());
        if interval_ns == 0 {
            return Err(LimitError::PeriodTooShort);
        }
        Ok(Self { interval_ns, window_ns: interval_ns.saturating_mul(u64::from(burst.get())) })
    }

    /// Decides about one request at `now_ns`; `tat` is the kept number, 0 for somebody new.
    pub const fn check(&self, tat: u64, now_ns: u64) -> Verdict {
        // Nobody owes more than a whole burst. A larger debt was made under another limit, before a reload: it would keep the
        // client out for long after the operator has raised the limit.
        let most = now_ns.saturating_add(self.window_ns);
        let tat = if tat < most { tat } else { most };
        let arrival = if tat > now_ns { tat } else { now_ns };
        let new_tat = arrival.saturating_add(self.interval_ns);
        let accepted_from = new_tat.saturating_sub(self.window_ns);
        if now_ns >= accepted_from {
            Verdict::Accepted { new_tat }
        } else {
            Verdict::Refused { tat, retry_after_ns: accepted_from - now_ns }
        }
    }
}

impl Verdict {
    /// The number to keep.
    pub const fn tat(self) -> u64 {
        match self {
            Self::Accepted { new_tat } => new_tat,
            Self::Refused { tat, .. } => tat,
        }
    }

    /// `Retry-After` of a refusal in whole seconds, rounded up so that who keeps to it is accepted; 0 when accepted.
    pub const fn retry_after_s(self) -> u32 {
        match self {
            Self::Accepted { .. } => 0,
            Self::Refused { retry_after_ns, .. } => {
                let seconds = retry_after_ns.div_ceil(1_000_000_000);
                if seconds > u32::MAX as u64 { u32::MAX } else { seconds as u32 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn limit(requests: u32, per_s: u64, burst: u32) -> Limit {
        let nonzero = |n| NonZeroU32::new(n).unwrap();
        Limit::new(nonzero(requests), Duration::from_secs(per_s), nonzero(burst)).unwrap()
    }

    /// How many of `tries` requests at the same moment are accepted.
    fn accepted(limit: &Limit, tat: &mut u64, now_ns: u64, tries: u32) -> u32 {
        let mut count = 0;
        for _ in 0..tries {
            let verdict = limit.check(*tat, now_ns);
            count += u32::from(matches!(verdict, Verdict::Accepted { .. }));
            *tat = verdict.tat();
        }
        count
    }

    #[test]
    fn a_burst_is_accepted_and_then_the_rate() {
        let limit = limit(100, 1, 200);
        let mut tat = 0;
        let start = 50 * SECOND;
        assert_eq!(accepted(&limit, &mut tat, start, 500), 200);
        assert_eq!(accepted(&limit, &mut tat, start + SECOND / 2, 500), 50);
        assert_eq!(accepted(&limit, &mut tat, start + SECOND, 500), 50);
        assert_eq!(
            accepted(&limit, &mut tat, start + 100 * SECOND, 500),
            200,
            "idle time gives no more than a burst"
        );
    }

    #[test]
    fn a_burst_of_one_spaces_requests_evenly() {
        let limit = limit(2, 1, 1);
        let Verdict::Accepted { new_tat } = limit.check(0, SECOND) else { panic!("the first is accepted") };
        let refused = Verdict::Refused { tat: new_tat, retry_after_ns: SECOND / 2 };
        assert_eq!(limit.check(new_tat, SECOND), refused);
        assert!(matches!(limit.check(new_tat, SECOND + SECOND / 2), Verdict::Accepted { .. }));
    }

    #[test]
    fn rule_g8_who_waits_as_told_is_accepted() {
        let limit = limit(1, 10, 1);
        let Verdict::Accepted { new_tat } = limit.check(0, SECOND) else { panic!("the first is accepted") };
        let refused = limit.check(new_tat, 2 * SECOND + 1);
        assert_eq!(refused.retry_after_s(), 9);
        let later = 2 * SECOND + 1 + u64::from(refused.retry_after_s()) * SECOND;
        assert!(matches!(limit.check(new_tat, later), Verdict::Accepted { .. }));
    }

    #[test]
    fn a_debt_from_before_a_reload_is_bounded_by_the_new_limit() {
        let (hourly, raised) = (limit(1, 3600, 10), limit(100, 1, 200));
        let (start, mut tat) = (SECOND, 0);
        assert_eq!(accepted(&hourly, &mut tat, start, 20), 10);
        // The whole burst is owed, and that is paid back at the new rate: not in ten hours.
        assert_eq!(accepted(&raised, &mut tat, start, 1), 0);
        assert_eq!(raised.check(tat, start).retry_after_s(), 1);
        assert_eq!(accepted(&raised, &mut tat, start + SECOND, 500), 100);
        assert_eq!(accepted(&raised, &mut tat, start + 10 * SECOND, 500), 200);
    }

    #[test]
    fn a_meaningless_limit_is_refused() {
        let one = NonZeroU32::MIN;
        assert_eq!(Limit::new(one, Duration::ZERO, one), Err(LimitError::PeriodTooShort));
        assert_eq!(Limit::new(NonZeroU32::MAX, Duration::from_secs(1), one), Err(LimitError::PeriodTooShort));
        assert_eq!(Limit::new(one, Duration::from_secs(86_401), one), Err(LimitError::PeriodTooLong));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(
            requests in 1u32..1000, burst in 1u32..1000, steps in proptest::collection::vec(0u64..SECOND, 1..200),
        ) {
            let limit = limit(requests, 1, burst);
            let (start, mut now, mut tat, mut count) = (SECOND, SECOND, 0, 0u64);
            for step in steps {
                now += step;
                if let Verdict::Accepted { new_tat } = limit.check(tat, now) {
                    tat = new_tat;
                    count += 1;
                }
            }
            prop_assert!(count <= u64::from(burst) + (now - start) / (SECOND / u64::from(requests)));
        }
    }
}
