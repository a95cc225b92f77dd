//! The segment that is written to.

use crate::error::AuditError;
use crate::medium::{Medium, SegmentFile};
use crate::segment::Segment;
use countersign_model::Timestamp;
use std::io;
use std::path::{Path, PathBuf};

/// The segment that is written to.
pub(crate) struct Current {
    path: PathBuf,
    created: Timestamp,
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
        match medium.create(&path) {
            Ok(file) => Ok(Self { path, created, file, length: 0, dirty: false }),
            Err(source) => Err(AuditError::NotWritten { path, source }),
        }
    }

    /// One to go on with.
    pub(crate) fn open(medium: &dyn Medium, path: PathBuf, created: Timestamp) -> io::Result<Self> {
        let file = medium.open(&path)?;
        let length = file.length()?;
        Ok(Self { path, created, file, length, dirty: false })
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
