//! What is known of the disks that we write to, their free space and whether the database is in its place: looked at now and then, and read by all who would write more than has to
//! be written (rule G20).

use countersign_model::Timestamp;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How much space is left, and whether the database is in its place. One for a process.
#[derive(Debug)]
pub struct Space {
    free: AtomicU64,
    low_since_ms: AtomicI64,
    fullest: Mutex<&'static str>,
    displaced_since_ms: AtomicI64,
}

const ENOUGH: i64 = i64::MIN;

impl Default for Space {
    fn default() -> Self {
        Self {
            free: AtomicU64::new(u64::MAX),
            low_since_ms: AtomicI64::new(ENOUGH),
            fullest: Mutex::new(""),
            displaced_since_ms: AtomicI64::new(ENOUGH),
        }
    }
}

impl Space {
    /// Takes over that `free` bytes are left on the fullest of the file systems; less than `floor` is little. Whether that
    /// changed what [`low_since`](Self::low_since) says. It is enough again with an eighth more than the floor, so that it
    /// does not change with each byte.
    pub fn seen(&self, free: u64, floor: u64, now: Timestamp) -> bool {
        self.free.store(free, Ordering::Relaxed);
        let was_low = self.low_since().is_some();
        let low = free < if was_low { floor.saturating_add(floor / 8) } else { floor };
        if low != was_low {
            self.low_since_ms.store(if low { now.unix_ms() } else { ENOUGH }, Ordering::Relaxed);
        }
        low != was_low
    }

    /// Since when there is little; `None` while there is enough.
    pub fn low_since(&self) -> Option<Timestamp> {
        let since_ms = self.low_since_ms.load(Ordering::Relaxed);
        (since_ms != ENOUGH).then(|| Timestamp::from_unix_ms(since_ms))
    }

    /// Takes over which of the paths is on the fullest file system.
    pub fn is_fullest(&self, path: &'static str) {
        *self.fullest.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    /// Which path that is; empty before it was looked at.
    pub fn fullest(&self) -> &'static str {
        *self.fullest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over whether the database was deleted, moved or replaced under us. Whether that is news.
    pub fn database_is_displaced(&self, displaced: bool, now: Timestamp) -> bool {
        let was = self.displaced_since().is_some();
        if was != displaced {
            self.displaced_since_ms.store(if displaced { now.unix_ms() } else { ENOUGH }, Ordering::Relaxed);
        }
        was != displaced
    }

    /// Since when the database is not where the next start looks for it; `None` while it is.
    pub fn displaced_since(&self) -> Option<Timestamp> {
        let since_ms = self.displaced_since_ms.load(Ordering::Relaxed);
        (since_ms != ENOUGH).then(|| Timestamp::from_unix_ms(since_ms))
    }

    /// How many bytes were left when it was looked at last.
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g20_the_floor_has_one_edge_downwards_and_a_higher_one_upwards() {
        let (space, at) = (Space::default(), Timestamp::from_unix_s);
        let seen = [
            (1000, 1, false, None),
            (999, 2, true, Some(2)),
            (10, 3, false, Some(2)),
            (1124, 4, false, Some(2)),
            (1125, 5, true, None),
            (1000, 6, false, None),
        ];
        for (free, now, changed, since) in seen {
            assert_eq!(space.seen(free, 1000, at(now)), changed, "{free}");
            assert_eq!((space.low_since(), space.free()), (since.map(at), free), "{free}");
        }
    }
}
