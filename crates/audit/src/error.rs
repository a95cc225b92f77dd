//! Why events are not in the log.

use crate::heads::HeadStoreError;
use crate::recorder::Recorded;
use std::io;
use std::path::PathBuf;

/// Why the log does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The directory or a segment cannot be read or made.
    #[error("the audit log at {} cannot be used", path.display())]
    Unusable {
        /// Which directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process writes this log: two writers would break the chain.
    #[error("the audit log at {} is in use by another process", path.display())]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// Records could not be written; none of them is in the log as far as it is known.
    #[error("the audit log at {} cannot be written", path.display())]
    NotWritten {
        /// Which directory or file.
        path: PathBuf,
        /// Why: `StorageFull` when the disk is.
        source: io::Error,
    },
    /// The writer's thread could not write what somebody waits for.
    #[error("the audit log did not confirm: {why}")]
    NotConfirmed {
        /// Why.
        why: String,
    },
    /// The records are on disk, but the head could not be saved outside of the log.
    #[error("the audit log's head was not saved")]
    HeadNotSaved {
        /// Why.
        source: HeadStoreError,
    },
    /// The recorder has ended.
    #[error("the audit log is closed")]
    Closed,
}

/// An event that was asked to be on disk before the answer and is not.
#[derive(Debug, thiserror::Error)]
#[error("the record {} is not on disk", recorded.reference)]
pub struct Unrecorded {
    /// What is told all the same: it may be recorded yet.
    pub recorded: Recorded,
    /// Why.
    pub source: AuditError,
}
