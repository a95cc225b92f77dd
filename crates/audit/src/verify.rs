//! Verifies the log: reads every line, follows the chain, and compares its end with the head that was kept elsewhere.
//!
//! What the chain alone cannot show is a cut tail or a changed last record: that is what the stored head is for. What
//! neither shows is a log that was rewritten together with the stored head; keep copies of heads where the log's
//! writer cannot reach.

use crate::lines::Lines;
use crate::record::{Glance, Head, LossCause, Record, RecordHash};
use crate::segment::{Segment, segments};
use countersign_model::Timestamp;
use countersign_model::audit::AuditAction;
use serde::Serialize;
use std::fmt;
use std::io;
use std::path::Path;

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Segments read.
    pub segments: usize,
    /// Records read.
    pub records: u64,
    /// Events that they stand for: a record of a series counts all of its refusals.
    pub events: u64,
    /// Events that the records themselves call lost.
    pub lost: u64,
    /// The end of the log as it is.
    pub head: Head,
    /// The time of the first record.
    pub first: Option<Timestamp>,
    /// The time of the last record.
    pub last: Option<Timestamp>,
    /// Octets behind the last record: a record that is being written, or one that a crash tore. No finding.
    pub unfinished_bytes: u64,
    /// The sequence numbers of `log_repaired` records, for whoever wants to read them: no findings either.
    pub repairs: Vec<u64>,
    /// What is wrong, in the order of the log; at most [`Report::MOST_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more_findings: u64,
}

impl Report {
    /// So many findings are told one by one.
    pub const MOST_FINDINGS: usize = 100;

    /// Whether nothing was changed, dropped, moved or cut.
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file's name.
    pub segment: String,
    /// The line in it, from 1; 0 when it is the file, or the end of the log.
    pub line: u64,
    /// What.
    #[serde(flatten)]
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "problem")]
pub enum Problem {
    /// The line is no record.
    NotARecord,
    /// Records are missing, repeated or moved.
    Sequence {
        /// The number that should be here.
        expected: u64,
        /// The number that is.
        found: u64,
    },
    /// The hash is not that of the record before: that one was changed, or this one.
    Chain {
        /// The number of the record whose `prev` does not fit.
        sequence: u64,
    },
    /// The file's name says that it begins with another record.
    SegmentName {
        /// The number in the name.
        named: u64,
        /// The number of its first record.
        found: u64,
    },
    /// A segment ends within a line, and it is not the last one.
    SegmentCut,
    /// The log ends before its stored head.
    TailMissing {
        /// The last record that was stored.
        stored: u64,
        /// The last record that is here.
        found: u64,
    },
    /// The record with the stored head's number is another one.
    HeadChanged {
        /// Its number.
        sequence: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.segment.as_str(), self.line) {
            ("", _) => write!(f, "{}", self.problem),
            (segment, 0) => write!(f, "{segment}: {}", self.problem),
            (segment, line) => write!(f, "{segment}:{line}: {}", self.problem),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecord => write!(f, "this line is no record"),
            Self::Sequence { expected, found } if found > expected => {
                write!(f, "records {expected} to {} are missing: here is record {found}", found - 1)
            }
            Self::Sequence { expected, found } => {
                write!(f, "record {found} is repeated or moved: record {expected} should be here")
            }
            Self::Chain { sequence } => {
                write!(f, "record {sequence} does not continue the one before it: one of the two was changed")
            }
            Self::SegmentName { named, found } => {
                write!(f, "the file's name promises record {named} first, and record {found} is")
            }
            Self::SegmentCut => write!(f, "the file ends within a line and is not the last one"),
            Self::TailMissing { stored, found } => {
                write!(
                    f,
                    "the tail was cut: the log ends at record {found}, its stored head is record {stored}"
                )
            }
            Self::HeadChanged { sequence } => {
                write!(f, "record {sequence} was changed: it is not the one whose hash was stored")
            }
        }
    }
}

/// Verifies the log in `directory` against the head that was saved last.
///
/// Reads files only. Beside a running server read the stored head first, then call this: the log may be ahead of its
/// head, never behind.
///
/// # Errors
/// When a file cannot be read; what is wrong with its content is in the report.
pub fn verify(directory: &Path, stored: Option<Head>) -> io::Result<Report> {
    let segments = segments(directory)?;
    let mut walk = Walk::new(stored.filter(|stored| stored.sequence > 0));
    for (index, segment) in segments.iter().enumerate() {
        walk.segment(segment, index + 1 == segments.len())?;
    }
    Ok(walk.end())
}

struct Walk {
    report: Report,
    stored: Option<Head>,
    /// Whether the record of the stored head was seen, right or wrong.
    stored_seen: bool,
}

impl Walk {
    fn new(stored: Option<Head>) -> Self {
        let report = Report {
            segments: 0,
            records: 0,
            events: 0,
            lost: 0,
            head: Head::EMPTY,
            first: None,
            last: None,
            unfinished_bytes: 0,
            repairs: Vec::new(),
            findings: Vec::new(),
            more_findings: 0,
        };
        Self { report, stored, stored_seen: false }
    }

    fn segment(&mut self, segment: &Segment, is_last: bool) -> io::Result<()> {
        self.report.segments += 1;
        let mut lines = Lines::from(&segment.path, 0)?;
        let mut number = 0;
        while let Some(line) = lines.next()? {
            number += 1;
            self.line(segment, number, line);
        }
        match lines.unfinished() {
            0 => {}
            unfinished if is_last => self.report.unfinished_bytes = unfinished,
            _ => self.find(segment, 0, Problem::SegmentCut),
        }
        Ok(())
    }

    fn line(&mut self, segment: &Segment, number: u64, line: &[u8]) {
        // As our lines begin, and not merely JSON of the same meaning: a look-up by reference reads the beginning alone, so
        // that a record in another spelling would be there and never be found.
        let glance = Glance::at(line);
        let parsed = serde_json::from_slice::<Record>(line).ok();
        let Some(record) = parsed.filter(|record| {
            glance.is_some_and(|glance| {
                glance.sequence == record.sequence && glance.reference == record.event.reference
            })
        }) else {
            self.find(segment, number, Problem::NotARecord);
            return;
        };
        let found = record.sequence;
        if number == 1 && found != segment.first_sequence {
            self.find(segment, number, Problem::SegmentName { named: segment.first_sequence, found });
        }
        let expected = self.report.head.sequence + 1;
        if found != expected {
            self.find(segment, number, Problem::Sequence { expected, found });
        } else if record.previous != self.report.head.hash {
            self.find(segment, number, Problem::Chain { sequence: found });
        }
        self.report.head = Head { sequence: found, hash: RecordHash::of(line) };
        if self.stored.is_some_and(|stored| stored.sequence == found) {
            self.stored_seen = true;
            if self.stored != Some(self.report.head) {
                self.find(segment, number, Problem::HeadChanged { sequence: found });
            }
        }
        self.count(&record);
    }

    fn count(&mut self, record: &Record) {
        let report = &mut self.report;
        report.records += 1;
        report.events += record.events();
        report.first = report.first.or(Some(record.event.at));
        report.last = Some(record.event.at);
        if record.event.action == AuditAction::LogRepaired {
            report.repairs.push(record.sequence);
        }
        if let Some(lost) = &record.lost
            && lost.cause != LossCause::TailMissing
        {
            report.lost += lost.count;
        }
    }

    fn end(mut self) -> Report {
        if let Some(stored) = self.stored
            && !self.stored_seen
            && stored.sequence > self.report.head.sequence
        {
            let problem = Problem::TailMissing { stored: stored.sequence, found: self.report.head.sequence };
            self.push(Finding { segment: String::new(), line: 0, problem });
        }
        self.report
    }

    fn find(&mut self, segment: &Segment, line: u64, problem: Problem) {
        self.push(Finding { segment: segment.name(), line, problem });
    }

    fn push(&mut self, finding: Finding) {
        if self.report.findings.len() < Report::MOST_FINDINGS {
            self.report.findings.push(finding);
        } else {
            self.report.more_findings += 1;
        }
    }
}
