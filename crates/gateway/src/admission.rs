//! Rate limits: for each client on each route one number, exchanged atomically by all workers (rule G8).

use crate::load::ClientTurn;
use countersign_model::{ClientId, ReasonCode};
use countersign_policy::rate_limit::{Limit, Verdict};
use countersign_policy::{Denial, Permit};
use countersign_storage::arrivals::Arrivals;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::sync::OnceLock;
use tokio::time::Instant;

/// A request that may go on: the client has not too many in flight, and the rate limit lets it through. Forwarding takes
/// one, and keeps it until the answer is sent.
#[derive(Debug)]
pub(crate) struct Admission(ClientTurn);

impl Admission {
    /// The client's turn.
    pub(crate) fn turn(&self) -> &ClientTurn {
        &self.0
    }
}

/// The counters of all clients.
#[derive(Debug, Default)]
pub(crate) struct RateLimits {
    arrivals: Arrivals<Key>,
    /// Hashes the names of routes; the same for all workers.
    names: RandomState,
    epoch: OnceLock<Instant>,
}

/// A client on a route. The route's name is the operator's own word, so its plain hash stands for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    client: ClientId,
    route: u64,
}

impl RateLimits {
    /// Counts a permitted request.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub(crate) fn admit(&self, permit: &Permit, turn: ClientTurn, now: Instant) -> Result<Admission, Denial> {
        let route = permit.route();
        match route.rate_limit() {
            None => Ok(Admission(turn)),
            Some(limit) => self
                .count(limit, permit.client_id(), route.name(), now)
                .map(|()| Admission(turn))
                .map_err(|denial| permit.refused(denial)),
        }
    }

    fn count(&self, limit: &Limit, client: &ClientId, route: &str, now: Instant) -> Result<(), Denial> {
        let key = Key { client: client.clone(), route: self.names.hash_one(route) };
        match self.arrivals.count(limit, &key, self.nanoseconds(now)) {
            Verdict::Accepted { .. } => Ok(()),
            refused => Err(Denial::new(ReasonCode::RateLimited).retry_after_s(refused.retry_after_s())),
        }
    }

    /// Forgets who has not called for so long that nothing is left of it. Every worker asks; one of them does it.
    pub(crate) fn sweep(&self) {
        self.arrivals.sweep(self.nanoseconds(Instant::now()));
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(*self.epoch.get_or_init(|| now));
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn rule_g8_the_limit_is_for_each_client_on_each_route() {
        let one = NonZeroU32::MIN;
        let limit = Limit::new(one, Duration::from_secs(10), one).unwrap();
        let limits = RateLimits::default();
        let (a, b): (ClientId, ClientId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let count = |client: &ClientId, route| limits.count(&limit, client, route, Instant::now());
        assert!(count(&a, "data").is_ok());
        let denial = count(&a, "data").unwrap_err();
        assert_eq!(denial, Denial::new(ReasonCode::RateLimited).retry_after_s(10));
        assert!(count(&b, "data").is_ok() && count(&a, "pay").is_ok());
        tokio::time::advance(Duration::from_secs(70)).await;
        limits.sweep();
        assert!(limits.arrivals.is_empty());
        assert!(count(&a, "data").is_ok());
    }
}
