//! `[log]`: the operational log, on standard error.

use crate::config::reader::section;
use crate::config::values::words;

section! {
    /// The operational log, on standard error.
    LogSection = "[log]" {
        /// `auto` writes for people on a terminal and JSON otherwise.
        format: LogFormat = Default("\"auto\"");
        /// How much: each level has what the ones before have.
        level: LogLevel = Default("\"info\"");
    }
}

words! {
    /// How the log is written.
    LogFormat {
        /// For people on a terminal, JSON otherwise.
        Auto = "auto",
        /// One line for people.
        Human = "human",
        /// JSON lines with OpenTelemetry field names.
        Json = "json",
    }
}

words! {
    /// How much is logged.
    LogLevel {
        /// What needs somebody.
        Error = "error",
        /// What may need somebody.
        Warn = "warn",
        /// Every denial and change.
        Info = "info",
        /// How decisions are made.
        Debug = "debug",
    }
}

/// The operational log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// How it is written.
    pub format: LogFormat,
    /// How much.
    pub level: LogLevel,
}

impl LogSection {
    pub(crate) fn check(&self) -> Option<Log> {
        Some(Log { format: *self.format.value()?, level: *self.level.value()? })
    }
}
