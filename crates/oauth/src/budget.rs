//! How many tokens one client may have. Each costs a signature and a record: a client that takes them as fast as it can
//! takes processor and disk from the others (rule G20).

use countersign_model::{ClientId, ReasonCode, Timestamp};
use countersign_policy::Denial;
use countersign_policy::rate_limit::{Limit, Verdict};
use countersign_storage::arrivals::Arrivals;
use std::sync::atomic::{AtomicI64, Ordering};

/// The budgets of all clients. Asked when a client has proved who it is, so that no client spends another client's.
#[derive(Debug, Default)]
pub struct TokenBudget {
    arrivals: Arrivals<ClientId>,
    time: SteadyTime,
}

impl TokenBudget {
    /// Takes one token out of the client's budget.
    ///
    /// # Errors
    /// `token_rate_limited`, with the time to wait, if the budget is empty.
    pub fn take(&self, limit: &Limit, client: &ClientId, now: Timestamp) -> Result<(), Denial> {
        match self.arrivals.count(limit, client, self.time.nanoseconds(now)) {
            Verdict::Accepted { .. } => Ok(()),
            refused => Err(Denial::new(ReasonCode::TokenRateLimited).retry_after_s(refused.retry_after_s())),
        }
    }

    /// Forgets who has its whole budget again.
    pub fn sweep(&self, now: Timestamp) {
        self.arrivals.sweep(self.time.nanoseconds(now));
    }
}

/// The wall clock without its steps back: after one, clients would owe for tokens of a time that has not come.
#[derive(Debug, Default)]
struct SteadyTime {
    latest_ms: AtomicI64,
    ahead_ms: AtomicI64,
}

/// Requests are counted nearly in the order of their times.
const LATE_MS: i64 = 1000;

impl SteadyTime {
    fn nanoseconds(&self, now: Timestamp) -> u64 {
        let latest_ms = self.latest_ms.load(Ordering::Relaxed);
        let mut steady_ms = now.unix_ms().saturating_add(self.ahead_ms.load(Ordering::Relaxed));
        if steady_ms < latest_ms.saturating_sub(LATE_MS) {
            self.ahead_ms.store(latest_ms.saturating_sub(now.unix_ms()), Ordering::Relaxed);
            steady_ms = latest_ms;
        }
        if steady_ms > latest_ms {
            self.latest_ms.fetch_max(steady_ms, Ordering::Relaxed);
        }
        steady_ms.max(0).unsigned_abs().saturating_mul(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    #[test]
    fn rule_g20_a_budget_is_of_one_client_and_comes_back() {
        let budget = TokenBudget::default();
        let number = |n| NonZeroU32::new(n).unwrap();
        let limit = Limit::new(number(10), Duration::from_secs(1), number(50)).unwrap();
        let (acme, other): (ClientId, ClientId) = ("acme-pay".parse().unwrap(), "other".parse().unwrap());
        let now = Timestamp::from_unix_s(1_800_000_000);
        let taken =
            |client, now, tries| (0..tries).filter(|_| budget.take(&limit, client, now).is_ok()).count();
        assert_eq!(taken(&acme, now, 14_000), 50);
        let denial = budget.take(&limit, &acme, now).unwrap_err();
        assert_eq!(denial, Denial::new(ReasonCode::TokenRateLimited).retry_after_s(1));
        assert_eq!(taken(&other, now, 1), 1, "another client has its own");
        assert_eq!(taken(&acme, now.plus_s(1), 100), 10);
        let back = now.plus_s(-3600);
        assert_eq!(taken(&acme, back, 100), 0, "a clock that is set back gives nothing");
        assert_eq!(taken(&acme, back.plus_s(2), 100), 20, "and takes nothing away");
        budget.sweep(back.plus_s(3600));
        assert!(budget.arrivals.is_empty());
    }
}
