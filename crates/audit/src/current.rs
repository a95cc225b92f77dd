//! The segment that is written to.

use crate::error::AuditError;
use crate::lines::Lines;
use crate::medium::{Medium, SegmentFile};
use crate::record::Glance;
use crate::segment::Segment;
use countersign_model::Timestamp;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The segment that is written to.
pub(crate) struct Current {
    path: PathBuf,
    /// The number of its first record.
    first: u64,
    created: Timestamp,
    /// Device and inode: another file may come to stand under the same name.
    identity: (u64, u64),
    file: Box<dyn SegmentFile>,
    /// Up to here everything is a confirmed record.
    length: u64,
    /// A write failed, and what it left behind `length` could not be removed yet.
    dirty: bool,
}

impl Current {
    /// A new one.
    pub(crate) fn create(
        medium: &dyn Medium,
        directory: &Path,
        first: u64,
        now: Timestamp,
    ) -> Result<Self, AuditError> {
        let Segment { path, created, .. } = Segment::new(directory, first, now);
        match medium.create(&path).and_then(|file| Ok((file.identity()?, file))) {
            Ok((identity, file)) => {
                Ok(Self { path, first, created, identity, file, length: 0, dirty: false })
            }
            Err(source) => Err(AuditError::NotWritten { path, source }),
        }
    }

    /// One to go on with.
    pub(crate) fn open(medium: &dyn Medium, segment: Segment) -> io::Result<Self> {
        let Segment { path, created, first_sequence: first } = segment;
        let file = medium.open(&path)?;
        let (length, identity) = (file.length()?, file.identity()?);
        Ok(Self { path, first, created, identity, file, length, dirty: false })
    }

    /// Whether its name still leads to what was written, all of it.
    pub(crate) fn is_whole(&self) -> bool {
        match std::fs::metadata(&self.path) {
            // What somebody wrote behind the end is no loss; `verify` points at it.
            Ok(found) => (found.dev(), found.ino()) == self.identity && found.len() >= self.length,
            // Anything else is no proof that it is gone, as a lack of descriptors.
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }

    /// The number of the last record that is left of the log, where this segment is gone, replaced or cut.
    pub(crate) fn last_left(&self, segments: &[Segment]) -> u64 {
        if segments.is_empty() {
            return 0;
        }
        let mut last = self.first.saturating_sub(1);
        if let Ok(mut lines) = Lines::from(&self.path, 0) {
            while let Ok(Some(line)) = lines.next() {
                if Glance::at(line).is_none_or(|glance| glance.sequence != last + 1) {
                    break;
                }
                last += 1;
            }
        }
        last
    }

    pub(crate) fn created(&self) -> Timestamp {
        self.created
    }

    /// Up to here everything is a confirmed record.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Appends and syncs. After a failure none of it is confirmed, and what is there of it is removed.
    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<(), AuditError> {
        // A failed sync leaves the pages marked clean although they may not be on disk, so a later sync proves nothing:
        // only writing the lines again does.
        if let Err(source) = self.file.append(lines).and_then(|()| self.file.sync()) {
            self.dirty = true;
            let _ = self.clean(); // tried again before the next write
            return Err(self.not_written(source));
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    pub(crate) fn not_written(&self, source: io::Error) -> AuditError {
        AuditError::NotWritten { path: self.path.clone(), source }
    }

    /// Removes what a failed write left behind.
    pub(crate) fn clean(&mut self) -> io::Result<()> {
        if self.dirty {
            if self.file.length()? != self.length {
                self.file.truncate(self.length)?;
            }
            self.dirty = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::Disk;
    use crate::testing::{FaultyDisk, SMALL, T0, append, directory, events, issued, rng};
    use crate::{AuditLog, Head, verify};
    use std::collections::VecDeque;

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
}
