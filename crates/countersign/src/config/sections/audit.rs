//! `[audit]`: the append-only log of what was done and refused (design, decision 18).

use crate::config::reader::section;
use crate::config::values::{PathBufText, Period, Size};
use std::path::{Path, PathBuf};
use std::time::Duration;

section! {
    /// The append-only log of what was done and refused. A change needs a restart.
    AuditSection = "[audit]" {
        /// The directory of its files.
        directory: PathBufText = Default("\"audit\"");
        /// How large a file grows before the next one begins.
        segment_size: Size = Default("\"64MiB\"");
        /// How old a file grows before the next one begins.
        segment_age: Period = Default("\"24h\"");
        /// Whether a token or a denial is on disk before it is answered; otherwise it is within a tenth of a second.
        before_answer: bool = Default("false");
    }
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The directory of its files.
    pub directory: PathBuf,
    /// How large a file grows.
    pub segment_bytes: u64,
    /// How old a file grows.
    pub segment_age: Duration,
    /// Whether tokens and denials are on disk before the answer.
    pub before_answer: bool,
}

impl AuditSection {
    pub(crate) fn check(&self, base: &Path) -> Option<Audit> {
        Some(Audit {
            directory: base.join(&self.directory.value()?.0),
            segment_bytes: self.segment_size.value()?.0,
            segment_age: self.segment_age.value()?.0,
            before_answer: *self.before_answer.value()?,
        })
    }
}
