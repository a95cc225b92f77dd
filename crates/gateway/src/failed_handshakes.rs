//! What failed handshakes cost, for each network: a budget of CPU time, not of their number (rule T13). Somebody who tries
//! out certificates fails eighty times in a quarter of a minute and costs next to nothing; somebody who makes each failure
//! as dear as it gets is turned away before TLS until the budget has refilled.
//!
//! The map keeps a network only while it owes something, which is for a moment after a cheap failure. It is bounded all
//! the same: beyond that many networks the failures of a new one are not counted.

use crate::addresses::source_of;
use countersign_policy::cost_budget::CostBudget;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Most networks that are remembered. One entry takes some 50 bytes.
const MAX_NETWORKS: usize = 65_536;
/// How often networks that owe nothing are dropped, at most.
const SWEEP_INTERVAL_NS: u64 = 1_000_000_000;
/// How often it is told that a network is turned away, at most.
const TOLD_INTERVAL_NS: u64 = 60_000_000_000;
/// How often it is told of any network, at most.
const TOLD_OF_ANY_INTERVAL_NS: u64 = 1_000_000_000;

/// What the networks owe, over all workers.
#[derive(Debug)]
pub(crate) struct FailedHandshakes {
    networks: DashMap<IpAddr, Account, RandomState>,
    epoch: Instant,
    swept_ns: AtomicU64,
    told_ns: AtomicU64,
}

/// What one network owes. Moments are nanoseconds since the epoch, which is moment 1.
#[derive(Debug, Default)]
struct Account {
    paid_ns: u64,
    /// When it was last told that it is turned away; 0 for never.
    told_ns: u64,
}

impl Default for FailedHandshakes {
    fn default() -> Self {
        Self {
            networks: DashMap::default(),
            epoch: Instant::now(),
            swept_ns: AtomicU64::default(),
            told_ns: AtomicU64::default(),
        }
    }
}

impl FailedHandshakes {
    /// Whether the network of `address` has something of its budget left.
    pub(crate) fn admits(&self, address: IpAddr, budget: &CostBudget) -> bool {
        let now_ns = self.now_ns();
        self.networks
            .get(&source_of(address))
            .is_none_or(|account| budget.wait_ns(account.paid_ns, now_ns) == 0)
    }

    /// Counts what a failed handshake cost. If that spends the budget, and it was not told lately, for how long the network
    /// is now turned away.
    pub(crate) fn charge(&self, address: IpAddr, cost: Duration, budget: &CostBudget) -> Option<Duration> {
        let (network, now_ns) = (source_of(address), self.now_ns());
        if !self.networks.contains_key(&network) && !self.has_room(now_ns) {
            return None;
        }
        let mut account = self.networks.entry(network).or_default();
        account.paid_ns = budget.spend(account.paid_ns, now_ns, cost);
        let wait_ns = budget.wait_ns(account.paid_ns, now_ns);
        if wait_ns == 0 || !is_due(account.told_ns, now_ns, TOLD_INTERVAL_NS) {
            return None;
        }
        let told_ns = self.told_ns.load(Ordering::Relaxed);
        if !is_due(told_ns, now_ns, TOLD_OF_ANY_INTERVAL_NS)
            || self.told_ns.compare_exchange(told_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return None;
        }
        account.told_ns = now_ns;
        Some(Duration::from_nanos(wait_ns))
    }

    /// Forgets the networks that owe nothing. Every worker asks; at most once a second one of them does it.
    pub(crate) fn sweep(&self) {
        self.sweep_at(self.now_ns());
    }

    fn has_room(&self, now_ns: u64) -> bool {
        if self.networks.len() >= MAX_NETWORKS {
            self.sweep_at(now_ns);
        }
        self.networks.len() < MAX_NETWORKS
    }

    fn sweep_at(&self, now_ns: u64) {
        let swept_ns = self.swept_ns.load(Ordering::Relaxed);
        if !is_due(swept_ns, now_ns, SWEEP_INTERVAL_NS)
            || self.swept_ns.compare_exchange(swept_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        // An account that was told of is kept for as long as it is not to be told again.
        self.networks.retain(|_, account| {
            account.paid_ns > now_ns
                || account.told_ns > 0 && !is_due(account.told_ns, now_ns, TOLD_INTERVAL_NS)
        });
        if self.networks.capacity() > 4 * self.networks.len() {
            self.networks.shrink_to_fit();
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Whether something that was done at `then_ns`, or never if that is 0, may be done again.
fn is_due(then_ns: u64, now_ns: u64, interval_ns: u64) -> bool {
    then_ns == 0 || now_ns.saturating_sub(then_ns) >= interval_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn tenth() -> CostBudget {
        CostBudget::new(Duration::from_millis(100), Duration::from_secs(10))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn rule_t13_a_network_is_turned_away_for_what_its_failures_cost() {
        let (failed, budget) = (FailedHandshakes::default(), tenth());
        let attacker = address("192.0.2.1");
        // Eighty failures in 15 s, each as dear as a handshake on a slow machine.
        for _ in 0..80 {
            assert!(failed.admits(attacker, &budget));
            assert_eq!(failed.charge(attacker, 10 * MILLISECOND, &budget), None);
            tokio::time::advance(Duration::from_millis(187)).await;
        }
        let mut dear = 0;
        while failed.admits(attacker, &budget) {
            failed.charge(attacker, 100 * MILLISECOND, &budget);
            dear += 1;
        }
        assert!((8..=12).contains(&dear), "{dear} of a tenth of a second each");
        assert!(failed.admits(address("192.0.2.2"), &budget), "a neighbour");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(failed.admits(attacker, &budget), "it refills");
    }

    #[tokio::test(start_paused = true)]
    async fn rule_t13_networks_are_grouped_as_connections_are() {
        let (failed, budget) = (FailedHandshakes::default(), tenth());
        for _ in 0..20 {
            failed.charge(address("2001:db8::1"), 100 * MILLISECOND, &budget);
            failed.charge(address("192.0.2.1"), 100 * MILLISECOND, &budget);
        }
        assert!(!failed.admits(address("2001:db8::2"), &budget));
        assert!(failed.admits(address("2001:db8:0:1::2"), &budget));
        assert!(!failed.admits(address("::ffff:192.0.2.1"), &budget));
    }

    #[tokio::test(start_paused = true)]
    async fn rule_t13_it_is_told_once_a_minute_and_of_one_network_a_second() {
        let (failed, budget) = (FailedHandshakes::default(), tenth());
        let told = |address, cost| failed.charge(address, cost, &budget);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(told(one, 999 * MILLISECOND), None);
        assert_eq!(told(one, 101 * MILLISECOND), Some(Duration::from_secs(1)));
        assert_eq!(told(one, MILLISECOND), None);
        assert_eq!(told(other, 1100 * MILLISECOND), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(told(other, 200 * MILLISECOND).is_some());
        tokio::time::advance(Duration::from_secs(30)).await;
        failed.sweep();
        assert_eq!(told(one, 1100 * MILLISECOND), None, "not after a sweep either");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(told(one, 1100 * MILLISECOND).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn rule_t13_memory_is_bounded_and_given_back() {
        let (failed, budget) = (FailedHandshakes::default(), tenth());
        let networks = u32::try_from(MAX_NETWORKS).unwrap();
        let network = |number: u32| IpAddr::V6(Ipv6Addr::from(u128::from(number) << 64));
        for number in 0..networks + 1000 {
            failed.charge(network(number), 10 * MILLISECOND, &budget);
        }
        assert_eq!(failed.networks.len(), MAX_NETWORKS);
        let late = IpAddr::V4(Ipv4Addr::LOCALHOST);
        failed.charge(late, Duration::from_secs(100), &budget);
        assert!(failed.admits(late, &budget), "no room to count it");
        tokio::time::advance(Duration::from_secs(2)).await;
        failed.charge(late, Duration::from_secs(100), &budget);
        assert!(!failed.admits(late, &budget), "what is paid back makes room");
        tokio::time::advance(Duration::from_secs(100)).await;
        failed.sweep();
        assert!(failed.networks.is_empty());
        assert!(failed.networks.capacity() < MAX_NETWORKS);
    }
}
