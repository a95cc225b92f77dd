//! Failed attempts with a secret are counted for each client and source network (rule C10, RFC 6749 section 2.3.1):
//! an attacker can neither guess, nor lock the real client out of other networks. Clients that prove a key are not
//! affected: there is nothing to guess.

use countersign_model::{ClientId, Timestamp};
use ipnet::IpNet;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Whose failures are counted together: the attempted client, from one network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ThrottleKey {
    /// `None`: all names that no client can have.
    client: Option<ClientId>,
    network: IpNet,
}

impl ThrottleKey {
    /// The key of an attempt. Networks are /24 of IPv4 and /64 of IPv6: what one household or host commands.
    pub fn new(client: Option<ClientId>, address: IpAddr) -> Self {
        let address = address.to_canonical(); // ::ffff:192.0.2.1 is 192.0.2.1
        let length = if address.is_ipv4() { 24 } else { 64 };
        let network = IpNet::new(address, length).map_or(IpNet::from(address), |network| network.trunc());
        Self { client, network }
    }
}

/// Whether an attempt is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Open,
    /// It is not, before this many seconds have passed.
    Wait {
        /// For `Retry-After`.
        retry_after_s: u32,
    },
}

/// The counters: a port, so that several nodes can share them.
pub trait Throttle: Send + Sync {
    /// What is to be done with an attempt.
    fn verdict(&self, key: &ThrottleKey, now: Timestamp) -> Verdict;
    /// Counts a failed attempt.
    fn record_failure(&self, key: &ThrottleKey, now: Timestamp);
}

/// How patient we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// So many failures in a row are without consequence.
    pub free_failures: u32,
    /// After so many seconds without a failure and without a wait all is forgotten.
    pub window_s: u32,
    /// The first wait; each further failure doubles it.
    pub first_wait_s: u32,
    /// No wait is longer.
    pub longest_wait_s: u32,
}

impl Default for Patience {
    fn default() -> Self {
        // A program that was given a wrong secret fails often, a person who corrects it does not want to wait an hour.
        Self { free_failures: 10, window_s: 900, first_wait_s: 2, longest_wait_s: 900 }
    }
}

/// The failures of one key: pure arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    count: u32,
    last_at: Timestamp,
    blocked_until: Timestamp,
}

impl Failures {
    /// What is to be done with an attempt now.
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        if now >= self.blocked_until {
            return Verdict::Open;
        }
        let wait_ms = self.blocked_until.since(now).as_millis();
        Verdict::Wait { retry_after_s: u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX) }
    }

    /// The state after one more failure.
    #[must_use]
    pub fn and_one_more(self, now: Timestamp, patience: &Patience) -> Self {
        // It was let in before an attempt beside it began the wait. A partner's pool of connections with one wrong secret
        // fails all at once; doubled for each of them, its first wait would be the longest.
        if now < self.blocked_until {
            return self;
        }
        let count = if self.is_forgotten(now, patience) { 1 } else { self.count.saturating_add(1) };
        let blocked_until = match count.checked_sub(patience.free_failures) {
            None | Some(0) => self.blocked_until,
            Some(beyond) => {
                let factor = 1u64 << u64::from(beyond - 1).min(32);
                let wait_s = u64::from(patience.first_wait_s).saturating_mul(factor);
                let wait_s = wait_s.min(u64::from(patience.longest_wait_s));
                now.plus_s(i64::try_from(wait_s).unwrap_or(i64::MAX))
            }
        };
        Self { count, last_at: now, blocked_until }
    }

    /// The same by a clock that was set back behind the last failure: who has to wait goes on waiting as long as was said,
    /// and not for as long as the clock was ahead.
    #[must_use]
    fn by_clock_set_back(self, now: Timestamp) -> Self {
        if now >= self.last_at {
            return self;
        }
        let wait_ms = (self.blocked_until.unix_ms() - self.last_at.unix_ms()).max(0);
        let blocked_until = Timestamp::from_unix_ms(now.unix_ms().saturating_add(wait_ms));
        Self { last_at: now, blocked_until, ..self }
    }

    /// Whether there is nothing left to remember. The window begins when the wait is over: otherwise the longest wait
    /// would be the way to a clean slate.
    pub fn is_forgotten(&self, now: Timestamp, patience: &Patience) -> bool {
        now >= self.last_at.max(self.blocked_until).plus_s(i64::from(patience.window_s))
    }
}

const SHARDS: usize = 16;

/// Counters in memory, of bounded size.
pub struct ThrottleTable {
    patience: Patience,
    hasher: RandomState,
    shards: [Mutex<HashMap<ThrottleKey, Failures>>; SHARDS],
    entries_per_shard: usize,
}

impl ThrottleTable {
    /// Counters for at most about `entries` pairs of client and network.
    pub fn new(patience: Patience, entries: usize) -> Self {
        Self {
            patience,
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            entries_per_shard: entries.div_ceil(SHARDS).max(1),
        }
    }

    fn shard(&self, key: &ThrottleKey) -> std::sync::MutexGuard<'_, HashMap<ThrottleKey, Failures>> {
        let index = (self.hasher.hash_one(key) % SHARDS as u64) as usize;
        // Each change is one insertion: a panic elsewhere leaves nothing half done.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ThrottleTable {
    fn default() -> Self {
        Self::new(Patience::default(), 65_536)
    }
}

impl Throttle for ThrottleTable {
    fn verdict(&self, key: &ThrottleKey, now: Timestamp) -> Verdict {
        self.shard(key).get_mut(key).map_or(Verdict::Open, |failures| {
            *failures = failures.by_clock_set_back(now);
            failures.verdict(now)
        })
    }

    fn record_failure(&self, key: &ThrottleKey, now: Timestamp) {
        let mut shard = self.shard(key);
        if shard.len() >= self.entries_per_shard && !shard.contains_key(key) {
            shard.retain(|_, failures| {
                *failures = failures.by_clock_set_back(now);
                !failures.is_forgotten(now, &self.patience)
            });
            // An attacker who fills the table with single failures must not push out those who are blocked.
            if shard.len() >= self.entries_per_shard {
                shard.retain(|_, failures| failures.verdict(now) != Verdict::Open);
            }
            if shard.len() >= self.entries_per_shard {
                return;
            }
        }
        let failures = shard.entry(key.clone()).or_default();
        *failures = failures.by_clock_set_back(now).and_one_more(now, &self.patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_s(1_800_000_000);

    fn key(client: &str, address: &str) -> ThrottleKey {
        ThrottleKey::new(client.parse().ok(), address.parse().unwrap())
    }

    fn fail(table: &ThrottleTable, key: &ThrottleKey, times: u32, now: Timestamp) {
        for _ in 0..times {
            table.record_failure(key, now);
        }
    }

    #[test]
    fn rule_c10_failures_beyond_ten_wait_ever_longer() {
        let table = ThrottleTable::default();
        let attacker = key("acme-pay", "192.0.2.7");
        fail(&table, &attacker, 10, START);
        assert_eq!(table.verdict(&attacker, START), Verdict::Open);
        let mut now = START;
        for expected in [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            table.record_failure(&attacker, now);
            assert_eq!(table.verdict(&attacker, now), Verdict::Wait { retry_after_s: expected });
            assert_eq!(
                table.verdict(&attacker, now.plus_s(i64::from(expected) - 1)),
                Verdict::Wait { retry_after_s: 1 }
            );
            now = now.plus_s(i64::from(expected));
            assert_eq!(table.verdict(&attacker, now), Verdict::Open);
        }
    }

    #[test]
    fn rule_c10_attempts_that_were_in_flight_do_not_double_the_wait() {
        let table = ThrottleTable::default();
        let pool = key("acme-pay", "192.0.2.7");
        fail(&table, &pool, 11, START);
        // All of them were let in before the first of them failed.
        fail(&table, &pool, 50, START);
        assert_eq!(table.verdict(&pool, START), Verdict::Wait { retry_after_s: 2 });
        fail(&table, &pool, 50, START.plus_s(2));
        assert_eq!(table.verdict(&pool, START.plus_s(2)), Verdict::Wait { retry_after_s: 4 });
    }

    #[test]
    fn rule_c10_the_real_client_is_not_locked_out_of_its_network() {
        let table = ThrottleTable::default();
        fail(&table, &key("acme-pay", "192.0.2.7"), 20, START);
        let blocked = |client, address| table.verdict(&key(client, address), START) != Verdict::Open;
        assert!(blocked("acme-pay", "192.0.2.200"), "the same network");
        assert!(blocked("acme-pay", "::ffff:192.0.2.9"), "the same network, mapped");
        assert!(!blocked("acme-pay", "192.0.3.7"), "another network");
        assert!(!blocked("other-bank", "192.0.2.7"), "another client");
        fail(&table, &key("acme-pay", "2001:db8::1"), 20, START);
        assert!(blocked("acme-pay", "2001:db8::ffff:1"));
        assert!(!blocked("acme-pay", "2001:db8:0:1::1"));
    }

    #[test]
    fn failures_are_forgotten_after_the_window() {
        let table = ThrottleTable::default();
        let typist = key("acme-pay", "192.0.2.7");
        fail(&table, &typist, 10, START);
        let later = START.plus_s(900);
        fail(&table, &typist, 10, later);
        assert_eq!(table.verdict(&typist, later), Verdict::Open);
    }

    #[test]
    fn a_flood_of_names_does_not_push_out_who_is_blocked() {
        let table = ThrottleTable::new(Patience::default(), 64);
        let attacker = key("acme-pay", "192.0.2.7");
        fail(&table, &attacker, 20, START);
        for i in 0..10_000 {
            table.record_failure(&key(&format!("c{i}"), "192.0.2.7"), START);
        }
        assert_ne!(table.verdict(&attacker, START), Verdict::Open);
        let size: usize = table.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(size <= 64, "{size}");
    }

    #[test]
    fn rule_c10_a_clock_that_was_ahead_locks_nobody_out_and_lets_nobody_in() {
        let table = ThrottleTable::new(Patience::default(), 16);
        let attacker = key("acme-pay", "192.0.2.7");
        let ahead = START.plus_s(30 * 86_400);
        fail(&table, &attacker, 15, ahead);
        let Verdict::Wait { retry_after_s } = table.verdict(&attacker, ahead) else { panic!("it waits") };
        // Set back: the wait is as long as was said, and then it is over.
        assert_eq!(table.verdict(&attacker, START), Verdict::Wait { retry_after_s });
        let waited = START.plus_s(i64::from(retry_after_s));
        assert_eq!(table.verdict(&attacker, waited.plus_s(-1)), Verdict::Wait { retry_after_s: 1 });
        assert_eq!(table.verdict(&attacker, waited), Verdict::Open);

        // And what was counted then is forgotten in time, so that the table has room for others.
        let network = |n: u32| key("acme-pay", &format!("192.0.{n}.1"));
        (0..200).for_each(|n| table.record_failure(&network(n), ahead));
        let later = START.plus_s(86_400);
        (0..200).for_each(|n| table.record_failure(&network(n), START));
        fail(&table, &attacker, 15, later);
        assert_ne!(table.verdict(&attacker, later), Verdict::Open);
    }

    #[test]
    fn names_that_no_client_can_have_share_one_counter() {
        assert_eq!(key("<x>", "192.0.2.7"), key("", "192.0.2.8"));
    }
}
