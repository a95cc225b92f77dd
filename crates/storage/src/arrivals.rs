//! Rate limits in memory: one number for each key, exchanged atomically by all who count. The arithmetic is
//! [`countersign_policy::rate_limit`]'s.

use countersign_policy::rate_limit::{Limit, Verdict};
use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

/// The numbers of all keys. Times are nanoseconds of one clock, which need not be monotonic: a number from the future
/// owes no more than one burst.
#[derive(Debug)]
pub struct Arrivals<K: Eq + Hash> {
    numbers: DashMap<K, AtomicU64, RandomState>,
    swept_ns: AtomicU64,
}

const SWEEP_INTERVAL_NS: u64 = 60_000_000_000;

impl<K: Eq + Hash> Default for Arrivals<K> {
    fn default() -> Self {
        Self { numbers: DashMap::default(), swept_ns: AtomicU64::new(0) }
    }
}

impl<K: Eq + Hash + Clone> Arrivals<K> {
    /// Counts one arrival of `key`, unless the limit refuses it.
    pub fn count(&self, limit: &Limit, key: &K, now_ns: u64) -> Verdict {
        match self.numbers.get(key) {
            Some(number) => exchange(limit, &number, now_ns),
            None => exchange(limit, &self.numbers.entry(key.clone()).or_default().downgrade(), now_ns),
        }
    }

    /// Forgets the keys whose arrivals no longer count. Any caller may ask; the sweep runs at most once a minute.
    pub fn sweep(&self, now_ns: u64) {
        let swept_ns = self.swept_ns.load(Ordering::Relaxed);
        if now_ns < swept_ns.saturating_add(SWEEP_INTERVAL_NS)
            || self.swept_ns.compare_exchange(swept_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        self.numbers.retain(|_, number| number.load(Ordering::Relaxed) > now_ns);
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

fn exchange(limit: &Limit, number: &AtomicU64, now_ns: u64) -> Verdict {
    let mut seen = number.load(Ordering::Relaxed);
    loop {
        let verdict = limit.check(seen, now_ns);
        if verdict.tat() == seen {
            return verdict;
        }
        match number.compare_exchange_weak(seen, verdict.tat(), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return verdict,
            Err(changed) => seen = changed,
        }
    }
}
