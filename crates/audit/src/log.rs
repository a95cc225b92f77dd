//! The files: appended to by one process, cut into segments by size and age, never changed behind the end.

use crate::current::Current;
use crate::error::AuditError;
use crate::medium::{Disk, Medium};
use crate::recent::Recent;
use crate::record::{Entry, Head};
use crate::segment::{Segment, segments};
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
            Some(Segment { path, created, .. }) => {
                Some(Current::open(&*medium, path, created).map_err(unusable)?)
            }
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
        };
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

    /// Appends `pending` from its front and syncs; what is confirmed is taken out of it.
    ///
    /// # Errors
    /// What is still in `pending` then is not in the log: a record that was written in part is removed again. The same
    /// call can be repeated later.
    pub fn append(&mut self, pending: &mut VecDeque<Entry>, now: Timestamp) -> Result<(), AuditError> {
        // A segment that somebody removed is written to without an error, and nobody reads it again.
        if self.current.as_ref().is_some_and(Current::is_gone) {
            let first = self.head.sequence + 1;
            self.current = Some(Current::create(&*self.medium, &self.directory, first, now)?);
            tracing::error!("the segment of the audit log that was written to is gone: a new one is begun");
        }
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
        let nothing = &mut VecDeque::new();
        log.append(nothing, T0).unwrap_err();
        log.append(nothing, T0).unwrap_err();
        log.append(&mut events(1), T0).unwrap_err();
        fs::create_dir(&path).unwrap();
        log.append(&mut events(1), T0).unwrap();
        assert_eq!((log.head().sequence, segments(&path).unwrap().len()), (4, 1));
        let report = verify(&path, Some(log.head())).unwrap();
        assert!(!report.is_intact() && report.records == 1, "what is gone shows: {report:?}");
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
