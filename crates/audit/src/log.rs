//! The files: appended to by one process, cut into segments by size and age, never changed behind the end.

use crate::current::Current;
use crate::error::AuditError;
use crate::medium::{Disk, Medium};
use crate::recent::Recent;
use crate::record::{Entry, Head};
use crate::segment::segments;
use crate::tail;
use countersign_model::audit::AuditEvent;
use countersign_model::{Rng, Timestamp};
use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the log is cut into segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// A segment is closed at the first record boundary at or after this size. Default: 64 MiB, which `find` scans in
    /// a fraction of a second even where it cannot search.
    pub max_segment_bytes: u64,
    /// A segment older than this is closed before the next record. Default: a day.
    pub max_segment_age: Duration,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { max_segment_bytes: 64 << 20, max_segment_age: Duration::from_secs(24 * 60 * 60) }
    }
}

/// The log, open for appending. One per directory: others are refused while it lives.
pub struct AuditLog {
    directory: PathBuf,
    settings: LogSettings,
    medium: Box<dyn Medium>,
    /// Holds the advisory lock of the directory.
    _lock: File,
    current: Option<Current>,
    head: Head,
    /// What the start has to say, as long as it could not be written.
    owed: VecDeque<Entry>,
    recent: Recent,
    /// Records that were on disk once, and are gone or changed.
    missing: u64,
}

impl AuditLog {
    /// Opens the log in `directory` (made with mode 0700 where there is none) and continues its chain.
    ///
    /// `stored` is the head that was saved last. Whatever is not a whole record behind it is the trace of a crash: it is
    /// moved to a file `torn-…` beside the segments, and a `log_repaired` record says so. When the log ends *before* the
    /// stored head, or the record there is another one, that is no crash (the log is synced before its head is saved):
    /// a `log_repaired` record says so, and the chain continues from the stored head, so that the gap stays visible to
    /// [`crate::verify`] for ever.
    ///
    /// A disk that is full does not keep the log from opening: the record is written as soon as there is space.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process holds it.
    pub fn open(
        directory: &Path,
        settings: LogSettings,
        stored: Option<Head>,
        now: Timestamp,
        rng: &dyn Rng,
    ) -> Result<Self, AuditError> {
        Self::open_on(Box::new(Disk), directory, settings, stored, now, rng)
    }

    pub(crate) fn open_on(
        medium: Box<dyn Medium>,
        directory: &Path,
        settings: LogSettings,
        stored: Option<Head>,
        now: Timestamp,
        rng: &dyn Rng,
    ) -> Result<Self, AuditError> {
        let unusable = |source| AuditError::Unusable { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
        let lock = lock(directory)?;
        let tail = tail::repair(directory, segments(directory).map_err(unusable)?, stored, now, rng)
            .map_err(unusable)?;
        let current = match tail.segment {
            Some(segment) => Some(Current::open(&*medium, segment).map_err(unusable)?),
            None => None,
        };
        let mut log = Self {
            directory: directory.to_owned(),
            settings,
            medium,
            _lock: lock,
            current,
            head: tail.head,
            owed: tail.owed,
            recent: tail.recent,
            missing: tail.missing,
        };
        if log.missing > 0 {
            log.say_what_is_missing();
        }
        if let Err(error) = log.append(&mut VecDeque::new(), now) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the audit log cannot be written at start"
            );
        }
        Ok(log)
    }

    /// The end of the log: everything up to it is on disk.
    pub fn head(&self) -> Head {
        self.head
    }

    /// How many records were on disk once and are gone or changed, as far as this process has noticed. [`crate::verify`]
    /// reads the whole log and finds all of them.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Looks whether the segment that is written to is still what it was. If somebody removed, replaced or cut it, a new
    /// segment begins, and its first record tells what is missing. Without this look, records would go into a file that
    /// nobody reads again, or behind half a line.
    ///
    /// # Errors
    /// No new segment can be made, because the directory is gone too. The next call tries again.
    pub fn check(&mut self, now: Timestamp, rng: &dyn Rng) -> Result<(), AuditError> {
        let Some(current) = self.current.as_ref().filter(|current| !current.is_whole()) else {
            return Ok(());
        };
        let found = current.last_left(&segments(&self.directory).unwrap_or_default());
        self.current = Some(Current::create(&*self.medium, &self.directory, self.head.sequence + 1, now)?);
        if found < self.head.sequence {
            self.missing += self.head.sequence - found;
            self.owed.push_back(tail::missing(found, self.head.sequence, now, rng));
        }
        self.say_what_is_missing();
        Ok(())
    }

    fn say_what_is_missing(&self) {
        tracing::error!(
            records = self.missing,
            "records of the audit log are gone or changed: somebody removed or cut its files; `countersign audit verify` \
             says which ones"
        );
    }

    /// Appends `pending` from its front and syncs; what is confirmed is taken out of it.
    ///
    /// # Errors
    /// What is still in `pending` then is not in the log: a record that was written in part is removed again. The same
    /// call can be repeated later.
    pub fn append(&mut self, pending: &mut VecDeque<Entry>, now: Timestamp) -> Result<(), AuditError> {
        let mut owed = std::mem::take(&mut self.owed);
        while !owed.is_empty() {
            if let Err(error) = self.append_chunk(&mut owed, now) {
                self.owed = owed;
                return Err(error);
            }
        }
        while !pending.is_empty() {
            self.append_chunk(pending, now)?;
        }
        Ok(())
    }

    /// Whether an event with this reference was among the last ones that were appended durably or found at start: a
    /// caller that did not hear of its success appends it again.
    pub(crate) fn has_lately(&self, event: &AuditEvent) -> bool {
        self.recent.contains(event.reference)
    }

    /// One write and one sync, within one segment.
    fn append_chunk(&mut self, pending: &mut VecDeque<Entry>, now: Timestamp) -> Result<(), AuditError> {
        self.close_segment_when_full(now)?;
        let current = match &mut self.current {
            Some(current) => current,
            none => {
                none.insert(Current::create(&*self.medium, &self.directory, self.head.sequence + 1, now)?)
            }
        };
        let mut head = self.head;
        let mut lines = Vec::new();
        let mut count = 0;
        for entry in pending.iter() {
            head = head
                .extend(entry, &mut lines)
                .map_err(|error| current.not_written(io::Error::other(error)))?;
            count += 1;
            if current.length() + lines.len() as u64 >= self.settings.max_segment_bytes {
                break;
            }
        }
        current.write(&lines)?;
        self.head = head;
        for entry in pending.drain(..count) {
            if entry.kept_by_caller {
                self.recent.insert(entry.event.reference);
            }
        }
        Ok(())
    }

    fn close_segment_when_full(&mut self, now: Timestamp) -> Result<(), AuditError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        current.clean().map_err(|source| current.not_written(source))?;
        let full = current.length() >= self.settings.max_segment_bytes;
        let old = now.since(current.created()) >= self.settings.max_segment_age;
        if current.length() > 0 && (full || old) {
            self.current = None;
        }
        Ok(())
    }
}

/// One writer per directory. The operating system gives the lock back however the process ends.
fn lock(directory: &Path) -> Result<File, AuditError> {
    let path = directory.join("lock");
    let unusable = |source| AuditError::Unusable { path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{SMALL, T0, append, directory, events, open, rng};
    use crate::{Record, verify};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_chain_goes_on_after_a_restart_and_over_segments() {
        let directory = directory();
        let mut head = None;
        for _ in 0..5 {
            let mut log = AuditLog::open(directory.path(), SMALL, head, T0, rng()).unwrap();
            append(&mut log, 7);
            head = Some(log.head());
        }
        let report = verify(directory.path(), head).unwrap();
        assert!(report.is_intact(), "{:?}", report.findings);
        assert_eq!((report.records, report.head, report.repairs.len()), (35, head.unwrap(), 0));
        assert!(report.segments > 5, "{}", report.segments);
    }

    #[test]
    fn rule_g20_a_log_whose_files_were_removed_fails_until_it_can_be_written_where_it_is_read() {
        let directory = directory();
        let path = directory.path().join("audit");
        let mut log = open(&path, None);
        append(&mut log, 3);
        fs::remove_dir_all(&path).unwrap();
        log.check(T0, rng()).unwrap_err();
        log.check(T0, rng()).unwrap_err();
        assert_eq!(log.missing(), 0, "told when there is a place to write it");
        fs::create_dir(&path).unwrap();
        log.check(T0, rng()).unwrap();
        log.check(T0, rng()).unwrap();
        log.append(&mut events(1), T0).unwrap();
        assert_eq!((log.head().sequence, segments(&path).unwrap().len(), log.missing()), (5, 1, 3));
        let report = verify(&path, Some(log.head())).unwrap();
        assert!(!report.is_intact() && report.records == 2, "what is gone shows: {report:?}");
    }

    #[test]
    fn a_segment_that_somebody_cut_removed_or_replaced_is_left_and_what_is_missing_is_told() {
        type Harm = fn(&Path);
        let harms: [(Harm, u64); 5] = [
            (|path| fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap(), 4),
            (|path| cut_last_octets(path, 20), 1),
            (|path| fs::remove_file(path).unwrap(), 4),
            (|path| fs::copy(path, path.with_extension("new")).map(drop).unwrap(), 0),
            (
                |path| {
                    fs::copy(path, path.with_extension("new")).unwrap();
                    fs::rename(path.with_extension("new"), path).unwrap();
                },
                0,
            ),
        ];
        for (harm, missing) in harms {
            let directory = directory();
            let settings = LogSettings { max_segment_bytes: 1200, ..LogSettings::default() };
            let mut log = AuditLog::open(directory.path(), settings, None, T0, rng()).unwrap();
            append(&mut log, 4); // fills the first segment
            append(&mut log, 4);
            let whole = segments(directory.path()).unwrap();
            let last = whole.last().unwrap();
            let in_last = log.head().sequence + 1 - last.first_sequence;
            harm(&last.path);
            log.check(T0.plus_days(1), rng()).unwrap();
            append(&mut log, 1);
            assert_eq!(log.missing(), missing.min(in_last), "{whole:?}");
            let report = verify(directory.path(), Some(log.head())).unwrap();
            assert_eq!(report.is_intact(), missing == 0, "{report:?}");
            assert_eq!(report.repairs.len(), usize::from(missing > 0), "{report:?}");
            drop(log);
            let again = open(directory.path(), Some(report.head));
            assert_eq!(again.missing(), 0, "what is told is no news at the next start");
        }
    }

    fn cut_last_octets(path: &Path, octets: u64) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - octets).unwrap();
    }

    #[test]
    fn a_start_counts_the_records_that_are_gone_or_changed() {
        let directory = directory();
        let path = directory.path().join("audit");
        let mut log = open(&path, None);
        append(&mut log, 7);
        let head = log.head();
        drop(log);
        let kept = fs::read(&segments(&path).unwrap()[0].path).unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(open(&path, Some(head)).missing(), 7);
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("audit-00000000000000000001-0000000000000.jsonl"), &kept[..kept.len() / 2])
            .unwrap();
        let cut = open(&path, Some(head)).missing();
        assert!((3..=4).contains(&cut), "{cut}");
    }

    #[test]
    fn segments_are_cut_at_record_boundaries_by_size_and_age() {
        let directory = directory();
        let mut log = AuditLog::open(directory.path(), SMALL, None, T0, rng()).unwrap();
        append(&mut log, 20);
        for segment in segments(directory.path()).unwrap() {
            let content = fs::read(&segment.path).unwrap();
            assert!(content.ends_with(b"}\n") && content.len() < 1000 + 400, "{}", content.len());
            let first: Record =
                serde_json::from_slice(content.split(|&c| c == b'\n').next().unwrap()).unwrap();
            assert_eq!(first.sequence, segment.first_sequence);
            assert_eq!(fs::metadata(&segment.path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let before = segments(directory.path()).unwrap().len();
        log.append(&mut events(1), T0.plus_days(1)).unwrap();
        assert_eq!(segments(directory.path()).unwrap().len(), before + 1);
        log.append(&mut events(1), T0.plus_days(1)).unwrap();
        assert_eq!(segments(directory.path()).unwrap().len(), before + 1);
        assert!(verify(directory.path(), Some(log.head())).unwrap().is_intact());
    }

    #[test]
    fn a_second_writer_is_refused_until_the_first_is_gone() {
        let directory = directory();
        let log = open(directory.path(), None);
        let second = AuditLog::open(directory.path(), LogSettings::default(), None, T0, rng());
        assert!(matches!(second, Err(AuditError::InUse { .. })));
        drop(log);
        open(directory.path(), None);
    }

    #[test]
    fn the_directory_is_for_its_owner_alone() {
        let directory = directory();
        let path = directory.path().join("audit");
        drop(open(&path, None));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
