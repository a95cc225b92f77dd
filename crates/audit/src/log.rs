//! The files: appended to by one process, cut into segments by size and age, never changed behind the end.

use crate::current::Current;
use crate::error::AuditError;
use crate::medium::{Disk, Medium};
use crate::record::{Entry, Head};
use crate::segment::{Segment, segments};
use crate::tail::{self, Recent};
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
    use crate::medium::SegmentFile;
    use crate::testing::{FaultyDisk, T0, directory, issued, rng};
    use crate::{LossCause, Problem, Record, verify};
    use countersign_model::audit::AuditAction;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const SMALL: LogSettings =
        LogSettings { max_segment_bytes: 1000, max_segment_age: Duration::from_secs(24 * 60 * 60) };

    fn open(directory: &Path, stored: Option<Head>) -> AuditLog {
        AuditLog::open(directory, LogSettings::default(), stored, T0, rng()).unwrap()
    }

    fn events(count: usize) -> VecDeque<Entry> {
        (0..count).map(|_| issued(T0).into()).collect()
    }

    fn append(log: &mut AuditLog, count: usize) {
        log.append(&mut events(count), T0).unwrap();
    }

    fn only_segment(directory: &Path) -> PathBuf {
        let segments = segments(directory).unwrap();
        assert_eq!(segments.len(), 1);
        segments[0].path.clone()
    }

    fn last_record(directory: &Path) -> Record {
        crate::list(directory, &crate::Filter::default(), 1).unwrap().remove(0)
    }

    fn torn_files(directory: &Path) -> Vec<PathBuf> {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.to_string_lossy().contains("torn-")).collect()
    }

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
    fn a_write_that_a_crash_tore_at_any_octet_is_cut_and_recorded() {
        let whole = directory();
        let mut log = open(whole.path(), None);
        append(&mut log, 3);
        let stored = log.head();
        let before = fs::metadata(only_segment(whole.path())).unwrap().len() as usize;
        append(&mut log, 1);
        let segment = only_segment(whole.path());
        let content = fs::read(&segment).unwrap();
        for cut in before..=content.len() {
            let directory = directory();
            let path = directory.path().join(segment.file_name().unwrap());
            fs::write(&path, &content[..cut]).unwrap();
            let mut log = open(directory.path(), Some(stored));
            append(&mut log, 1);
            let report = verify(directory.path(), Some(log.head())).unwrap();
            assert!(report.is_intact(), "cut at {cut}: {:?}", report.findings);
            assert!(verify(directory.path(), Some(stored)).unwrap().is_intact(), "a crash is no cut tail");
            let torn = cut > before && cut < content.len();
            assert_eq!(report.repairs.len(), usize::from(torn), "cut at {cut}");
            assert_eq!(report.records, 4 + u64::from(torn || cut == content.len()), "cut at {cut}");
            if torn {
                assert_eq!(fs::read(&torn_files(directory.path())[0]).unwrap(), content[before..cut]);
                assert_eq!(report.repairs, [4]);
            }
        }
    }

    #[test]
    fn unsynced_garbage_behind_the_stored_head_is_a_crash() {
        // After a power cut a file may have its new length and zeros, or old blocks, where data should be.
        let directory = directory();
        let mut log = open(directory.path(), None);
        append(&mut log, 3);
        let stored = log.head();
        let path = only_segment(directory.path());
        let before = fs::metadata(&path).unwrap().len() as usize;
        append(&mut log, 3);
        drop(log);
        let mut content = fs::read(&path).unwrap();
        content[before + 10..before + 60].fill(0);
        fs::write(&path, &content).unwrap();
        let mut log = open(directory.path(), Some(stored));
        append(&mut log, 1);
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert!(report.is_intact(), "{:?}", report.findings);
        assert_eq!((report.records, report.repairs.as_slice()), (5, &[4][..]));
        assert_eq!(fs::read(&torn_files(directory.path())[0]).unwrap(), content[before..]);
    }

    #[test]
    fn a_log_whose_first_record_was_torn_begins_again() {
        let directory = directory();
        fs::write(directory.path().join("audit-00000000000000000001-1800000000000.jsonl"), b"{\"seq\":1,")
            .unwrap();
        let log = open(directory.path(), None);
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert!(report.is_intact(), "{:?}", report.findings);
        assert_eq!(report.repairs, [1]);
    }

    #[test]
    fn a_cut_tail_stays_visible_for_ever() {
        let directory = directory();
        let mut log = open(directory.path(), None);
        append(&mut log, 3);
        let path = only_segment(directory.path());
        let before = fs::metadata(&path).unwrap().len();
        append(&mut log, 4);
        let stored = log.head();
        drop(log);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(before).unwrap();
        let cut = verify(directory.path(), Some(stored)).unwrap();
        assert_eq!(cut.findings[0].problem, Problem::TailMissing { stored: 7, found: 3 });

        let mut log = open(directory.path(), Some(stored));
        let lost = last_record(directory.path()).lost.unwrap();
        assert_eq!((lost.count, lost.cause), (4, LossCause::TailMissing));
        append(&mut log, 2);
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        assert_eq!(report.findings[0].problem, Problem::Sequence { expected: 4, found: 8 });
    }

    #[test]
    fn a_log_that_was_removed_does_not_begin_again_unseen() {
        let directory = directory();
        let mut log = open(directory.path(), None);
        append(&mut log, 3);
        let stored = log.head();
        drop(log);
        fs::remove_file(only_segment(directory.path())).unwrap();
        let mut log = open(directory.path(), Some(stored));
        append(&mut log, 1);
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert_eq!(report.findings[0].problem, Problem::Sequence { expected: 1, found: 4 });
    }

    #[test]
    fn a_changed_last_record_stays_visible_for_ever() {
        let directory = directory();
        let mut log = open(directory.path(), None);
        append(&mut log, 3);
        let stored = log.head();
        drop(log);
        let path = only_segment(directory.path());
        let content = fs::read_to_string(&path).unwrap();
        let end = content.rfind("data:read").unwrap();
        fs::write(&path, format!("{}pay:write{}", &content[..end], &content[end + 9..])).unwrap();
        let mut log = open(directory.path(), Some(stored));
        append(&mut log, 1);
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert_eq!(report.findings[0].problem, Problem::Chain { sequence: 4 });
        assert_eq!(report.repairs, [4]);
    }

    #[test]
    fn what_stands_before_the_stored_head_is_evidence_and_never_cut() {
        let directory = directory();
        let mut log = open(directory.path(), None);
        append(&mut log, 5);
        let stored = log.head();
        drop(log);
        let path = only_segment(directory.path());
        let content = fs::read_to_string(&path).unwrap();
        let second = content.match_indices("data:read").nth(1).unwrap().0;
        let changed = format!("{}pay:write{}", &content[..second], &content[second + 9..]);
        fs::write(&path, &changed).unwrap();
        let mut log = open(directory.path(), Some(stored));
        append(&mut log, 1);
        assert!(fs::read_to_string(&path).unwrap().starts_with(&changed));
        assert!(torn_files(directory.path()).is_empty());
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        assert_eq!(report.findings[0].problem, Problem::Chain { sequence: 3 });
    }

    #[test]
    fn a_disk_that_fills_up_at_any_octet_leaves_whole_records_only() {
        let directory = directory();
        let disk = FaultyDisk::default();
        let medium = Box::new(disk.clone());
        let mut log = AuditLog::open_on(medium, directory.path(), SMALL, None, T0, rng()).unwrap();
        let mut pending = VecDeque::new();
        for space in (0..1200).step_by(7) {
            pending.push_back(issued(T0).into());
            disk.set(|faults| faults.space = Some(space));
            let head = log.head();
            if let Err(error) = log.append(&mut pending, T0) {
                let AuditError::NotWritten { source, .. } = error else { panic!("{error}") };
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            }
            let report = verify(directory.path(), Some(log.head())).unwrap();
            assert!(report.is_intact() && report.unfinished_bytes == 0, "{space}: {report:?}");
            assert!(log.head().sequence >= head.sequence);
        }
        disk.set(|faults| faults.space = None);
        log.append(&mut pending, T0).unwrap();
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert!(report.is_intact(), "{:?}", report.findings);
        assert_eq!(report.records, 1200_u64.div_ceil(7), "nothing twice, nothing missing");
    }

    #[test]
    fn what_a_failed_sync_may_have_lost_is_written_again() {
        let directory = directory();
        let disk = FaultyDisk::default();
        let medium = Box::new(disk.clone());
        let mut log = AuditLog::open_on(medium, directory.path(), SMALL, None, T0, rng()).unwrap();
        append(&mut log, 1);
        let head = log.head();
        let mut pending = events(2);
        disk.set(|faults| (faults.sync_fails, faults.truncate_fails) = (true, true));
        log.append(&mut pending, T0).unwrap_err();
        log.append(&mut pending, T0).unwrap_err();
        assert_eq!((pending.len(), log.head()), (2, head), "nothing is confirmed");
        disk.set(|faults| (faults.sync_fails, faults.truncate_fails) = (false, false));
        log.append(&mut pending, T0).unwrap();
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert!(report.is_intact(), "{:?}", report.findings);
        assert_eq!(report.records, 3);
    }

    #[test]
    fn a_full_disk_does_not_keep_a_repair_from_being_told_later() {
        let directory = directory();
        let mut log = open(directory.path(), None);
        append(&mut log, 1);
        let stored = log.head();
        drop(log);
        let path = only_segment(directory.path());
        let torn = [fs::read(&path).unwrap(), b"{\"seq\":2,\"pre".to_vec()].concat();
        fs::write(&path, torn).unwrap();
        let disk = FaultyDisk::default();
        disk.set(|faults| faults.space = Some(0));
        let medium = Box::new(disk.clone());
        let mut log = AuditLog::open_on(medium, directory.path(), SMALL, Some(stored), T0, rng()).unwrap();
        assert_eq!(log.head(), stored);
        disk.set(|faults| faults.space = None);
        append(&mut log, 1);
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert!(report.is_intact(), "{:?}", report.findings);
        assert_eq!((report.records, report.repairs.as_slice()), (3, &[2][..]));
    }

    #[test]
    fn dev_full_is_a_full_disk() {
        // The operating system's own ENOSPC, not an imitation.
        struct DevFull;
        impl Medium for DevFull {
            fn create(&self, _: &Path) -> io::Result<Box<dyn SegmentFile>> {
                Disk.open(Path::new("/dev/full"))
            }
            fn open(&self, _: &Path) -> io::Result<Box<dyn SegmentFile>> {
                Disk.open(Path::new("/dev/full"))
            }
        }
        let directory = directory();
        let mut log = AuditLog::open_on(Box::new(DevFull), directory.path(), SMALL, None, T0, rng()).unwrap();
        let error = log.append(&mut events(1), T0).unwrap_err();
        let AuditError::NotWritten { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        assert_eq!(log.head(), Head::EMPTY);
    }

    #[test]
    fn the_directory_is_for_its_owner_alone() {
        let directory = directory();
        let path = directory.path().join("audit");
        drop(open(&path, None));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_repair_names_the_system_as_its_actor() {
        let directory = directory();
        fs::write(directory.path().join("audit-00000000000000000001-1800000000000.jsonl"), b"x").unwrap();
        drop(open(directory.path(), None));
        let record = last_record(directory.path());
        assert_eq!(record.event.action, AuditAction::LogRepaired);
        assert_eq!(record.event.actor, countersign_model::audit::Actor::System);
    }
}
