//! What the recorder's handles and the writer's thread have in common.

use crate::fold::{FoldSettings, FoldTable};
use crate::queue::Queue;
use crate::record::Head;
use countersign_model::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// How the recorder works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecorderSettings {
    /// So many events may wait for the writer. Default: 16,384, some seconds of a node's refusals.
    pub queue: usize,
    /// How long the writer lets events gather before it writes and syncs them together. Default: 50 ms, so that they
    /// are on disk within 100 ms.
    pub gather: Duration,
    /// How often the head is saved while records come in. Default: half a second, so that it is never older than one.
    pub head_interval: Duration,
    /// So many events are kept in memory while the disk fails; the rest are counted. Default: 10,000.
    pub kept_while_disk_fails: usize,
    /// Whether [`Recorder::record_before_answer`](crate::Recorder::record_before_answer) waits for the disk. Default: no.
    pub before_answer: bool,
    /// When equal refusals are folded.
    pub fold: FoldSettings,
}

impl Default for RecorderSettings {
    fn default() -> Self {
        Self {
            queue: 16_384,
            gather: Duration::from_millis(50),
            head_interval: Duration::from_millis(500),
            kept_while_disk_fails: 10_000,
            before_answer: false,
            fold: FoldSettings::default(),
        }
    }
}

/// What the recorder has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Records written and synced.
    pub written: u64,
    /// Refusals that were counted in a series instead of having a record of their own.
    pub folded: u64,
    /// Events that are not in the log. Each is counted in a `log_repaired` record.
    pub lost: u64,
    /// Records that were on disk once, and are gone or changed: somebody removed or cut the files, while this process ran
    /// or before it started.
    pub missing: u64,
    /// The sequence number of the last record.
    pub sequence: u64,
    /// The sequence number of the head that was saved last.
    pub head_saved: u64,
}

const HEALTHY: i64 = i64::MIN;

/// What recorder and writer both hold.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) folds: FoldTable,
    /// Since when records do not reach the disk, in milliseconds; [`HEALTHY`] while they do.
    failing_since_ms: AtomicI64,
    /// Only what administrators do is written; the rest is counted.
    pub(crate) sparing: AtomicBool,
    pub(crate) written: AtomicU64,
    pub(crate) folded: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) missing: AtomicU64,
    pub(crate) sequence: AtomicU64,
    pub(crate) head_saved: AtomicU64,
}

impl Shared {
    /// Of a recorder that has done nothing yet, on a log with this head, of which so many records are missing.
    pub(crate) fn new(settings: &RecorderSettings, head: Head, missing: u64) -> Self {
        // With `before_answer`, tokens are never folded.
        let issued_per_client_per_s =
            if settings.before_answer { 0 } else { settings.fold.issued_per_client_per_s };
        let fold = FoldSettings { issued_per_client_per_s, ..settings.fold };
        Self {
            queue: Queue::new(settings.queue.max(1)),
            folds: FoldTable::new(fold),
            failing_since_ms: AtomicI64::new(HEALTHY),
            sparing: AtomicBool::new(false),
            written: AtomicU64::new(0),
            folded: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            missing: AtomicU64::new(missing),
            sequence: AtomicU64::new(head.sequence),
            head_saved: AtomicU64::new(0),
        }
    }

    /// Since when records do not reach the disk; `None` while they do.
    pub(crate) fn failing_since(&self) -> Option<Timestamp> {
        let since_ms = self.failing_since_ms.load(Ordering::Relaxed);
        (since_ms != HEALTHY).then(|| Timestamp::from_unix_ms(since_ms))
    }

    /// Says that records do not reach the disk; whether that is new. The first moment stays.
    pub(crate) fn fails(&self, now: Timestamp) -> bool {
        let (new, order) = (now.unix_ms(), Ordering::Relaxed);
        self.failing_since_ms.compare_exchange(HEALTHY, new, order, order).is_ok()
    }

    /// Says that records reach the disk; whether that is new.
    pub(crate) fn works(&self) -> bool {
        self.failing_since_ms.swap(HEALTHY, Ordering::Relaxed) != HEALTHY
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            written: self.written.load(Ordering::Relaxed),
            folded: self.folded.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            missing: self.missing.load(Ordering::Relaxed),
            sequence: self.sequence.load(Ordering::Relaxed),
            head_saved: self.head_saved.load(Ordering::Relaxed),
        }
    }
}
