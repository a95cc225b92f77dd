//! How far the views may be trusted: when the feed was last heard of, and from which moment on they are complete.
//!
//! The wall clock may be set, forwards and back. So the age of the feed is the larger of what the two clocks say, and
//! what was left out because it had expired is known by the moment that it was judged by.

use countersign_model::Timestamp;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a revocation is held after its certificate has expired. A clock may be set back by so much and no revocation
/// is missed.
const KEPT_AFTER_EXPIRY_S: i64 = 86_400;

/// The age of views that are not complete: longer than any setting allows.
const NOT_COMPLETE: Duration = Duration::from_secs(u32::MAX as u64);

/// Since when, by both clocks. Read by every request: two loads, and no lock.
#[derive(Debug)]
pub(super) struct Freshness {
    /// The beginning of the other instants.
    origin: Instant,
    heard_ms: AtomicI64,
    heard_after_ns: AtomicU64,
    /// When the revocations were read.
    read_ms: AtomicI64,
    read_after_ns: AtomicU64,
}

impl Freshness {
    /// Everything is read now.
    pub(super) fn new(now: Timestamp, instant: Instant) -> Self {
        Self {
            origin: instant,
            heard_ms: AtomicI64::new(now.unix_ms()),
            heard_after_ns: AtomicU64::new(0),
            read_ms: AtomicI64::new(now.unix_ms()),
            read_after_ns: AtomicU64::new(0),
        }
    }

    /// The feed was heard of, and everything in it is applied.
    pub(super) fn heard(&self, now: Timestamp, instant: Instant) {
        self.heard_after_ns.store(self.after_ns(instant), Ordering::Relaxed);
        self.heard_ms.store(now.unix_ms(), Ordering::Relaxed);
    }

    /// Every revocation was read whose certificate had not expired by [`Freshness::kept_from`].
    pub(super) fn read(&self, now: Timestamp, instant: Instant) {
        self.read_after_ns.store(self.after_ns(instant), Ordering::Relaxed);
        self.read_ms.store(now.unix_ms(), Ordering::Relaxed);
    }

    /// From when on certificates must not have expired, for their revocations to be read `now`.
    pub(super) fn kept_from(now: Timestamp) -> Timestamp {
        now.plus_s(-KEPT_AFTER_EXPIRY_S)
    }

    /// From when on certificates must not have expired, for their revocations to be held. A clock that ran ahead forgets
    /// nothing: since the revocations were read no more time has passed than the clock says that nobody sets.
    pub(super) fn held_from(&self, now: Timestamp, instant: Instant) -> Timestamp {
        let passed_ns = self.after_ns(instant).saturating_sub(self.read_after_ns.load(Ordering::Relaxed));
        let passed_ms = i64::try_from(passed_ns / 1_000_000).unwrap_or(i64::MAX);
        let at_most = self.read_ms.load(Ordering::Relaxed).saturating_add(passed_ms);
        Self::kept_from(now.min(Timestamp::from_unix_ms(at_most)))
    }

    /// Whether no revocation is missing by this clock. One is, perhaps, when they were read by a clock that was ahead, as at
    /// a start before the time was set.
    pub(super) fn is_complete(&self, now: Timestamp) -> bool {
        let read_at = Timestamp::from_unix_ms(self.read_ms.load(Ordering::Relaxed));
        now >= Self::kept_from(read_at)
    }

    /// How old the views are.
    pub(super) fn age(&self, now: Timestamp, instant: Instant) -> Duration {
        if !self.is_complete(now) {
            return NOT_COMPLETE;
        }
        let heard_at = Timestamp::from_unix_ms(self.heard_ms.load(Ordering::Relaxed));
        // Heard of in the future: the clock was set back, and how far nobody knows until the feed is heard of again.
        let by_wall_clock = now.since(heard_at).max(heard_at.since(now));
        let heard_after_ns = self.heard_after_ns.load(Ordering::Relaxed);
        let silence_ns = self.after_ns(instant).saturating_sub(heard_after_ns);
        by_wall_clock.max(Duration::from_nanos(silence_ns))
    }

    fn after_ns(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY_S: i64 = 86_400;

    /// What the clocks say when so much time has passed, and the wall clock was set by so much.
    fn later(origin: Instant, passed: Duration, set_by_s: i64) -> (Timestamp, Instant) {
        let passed_ms = i64::try_from(passed.as_millis()).unwrap();
        (Timestamp::from_unix_ms(NOW.unix_ms() + passed_ms + set_by_s * 1000), origin + passed)
    }

    #[test]
    fn rule_g16_no_step_of_the_clock_makes_a_silent_feed_look_younger() {
        let origin = Instant::now();
        let freshness = Freshness::new(NOW, origin);
        for set_by_s in [0, 1, -1, 60, -60, 3600, -3600, -3599, -7200, 30 * DAY_S, -30 * DAY_S] {
            let (now, instant) = later(origin, HOUR, set_by_s);
            assert!(freshness.age(now, instant) >= HOUR, "{set_by_s}");
        }
    }

    #[test]
    fn rule_g16_a_step_is_over_when_the_feed_is_heard_of_again() {
        let origin = Instant::now();
        let freshness = Freshness::new(NOW, origin);
        for set_by_s in [30 * DAY_S, 0, -DAY_S / 2, 3600, 0] {
            let (now, instant) = later(origin, HOUR, set_by_s);
            freshness.heard(now, instant);
            assert_eq!(freshness.age(now, instant), Duration::ZERO, "{set_by_s}");
            let (now, instant) = later(origin, HOUR + Duration::from_secs(3), set_by_s);
            assert_eq!(freshness.age(now, instant), Duration::from_secs(3), "{set_by_s}");
        }
    }

    #[test]
    fn rule_g14_a_clock_that_runs_ahead_makes_nothing_forgotten() {
        let origin = Instant::now();
        let freshness = Freshness::new(NOW, origin);
        for set_by_s in [0, 3600, 30 * DAY_S, 3650 * DAY_S] {
            let (now, instant) = later(origin, HOUR, set_by_s);
            assert_eq!(freshness.held_from(now, instant), NOW.plus_s(3600 - DAY_S), "{set_by_s}");
        }
        let (now, instant) = later(origin, HOUR, -7200);
        assert_eq!(freshness.held_from(now, instant), NOW.plus_s(-3600 - DAY_S), "set back, it is believed");
    }

    #[test]
    fn rule_g14_views_that_a_clock_read_that_was_ahead_are_not_fresh_before_they_are_read_again() {
        let origin = Instant::now();
        let freshness = Freshness::new(NOW.plus_s(2 * DAY_S), origin);
        let (now, instant) = later(origin, HOUR, 0);
        freshness.heard(now, instant);
        assert_eq!(freshness.age(now, instant), NOT_COMPLETE, "though the feed was heard of just now");
        freshness.read(now, instant);
        assert_eq!(freshness.age(now, instant), Duration::ZERO);
        // Within what is kept, nothing is missing.
        let (now, instant) = later(origin, HOUR, -DAY_S);
        assert!(freshness.is_complete(now));
        freshness.heard(now, instant);
        assert_eq!(freshness.age(now, instant), Duration::ZERO);
    }
}
