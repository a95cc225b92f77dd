//! The end of the log at start: what a crash left is cut and told, what a crash cannot have done is told and not hidden.
//!
//! The log is synced before its head is saved. So everything up to the stored head was on disk: a crash may tear only
//! what is behind it. A log that is shorter than its stored head, or differs from it, was tampered with, or the disk
//! lied; then the chain continues *from the stored head*, and the gap stays for every later verification to see.

use crate::record::{Entry, Glance, Head, LossCause, Lost, Record, RecordHash};
use crate::segment::{Segment, sync_directory};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{Reference, Rng, Timestamp};
use std::collections::{HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How much of the last segment is examined: more than a crash can leave unsynced, little enough not to delay a start.
const EXAMINED_BYTES: u64 = 8 << 20;

/// Where the log goes on.
pub(crate) struct Tail {
    /// The segment to append to; `None`: a new one.
    pub(crate) segment: Option<Segment>,
    pub(crate) head: Head,
    /// What has to be recorded first.
    pub(crate) owed: VecDeque<Entry>,
    pub(crate) recent: Recent,
}

/// Examines the end of the log, cuts what a crash left behind it, and says where the chain goes on.
pub(crate) fn repair(
    directory: &Path,
    mut segments: Vec<Segment>,
    stored: Option<Head>,
    now: Timestamp,
    rng: &dyn Rng,
) -> io::Result<Tail> {
    let mut tail =
        Tail { segment: None, head: Head::EMPTY, owed: VecDeque::new(), recent: Recent::default() };
    let mut altered = false;
    let mut newest = true;
    while let Some(segment) = segments.pop() {
        let survey = Survey::of(&segment, stored, &mut tail.recent)?;
        altered |= survey.altered;
        if survey.cut_at < survey.length {
            let kept = keep_aside(directory, &segment, &survey, now);
            cut(&segment, survey.cut_at)?;
            tail.owed.push_back(torn(&segment, &survey, kept, now, rng));
        }
        if survey.cut_at == 0 {
            std::fs::remove_file(&segment.path)?; // nothing was ever confirmed in it
        } else if let Some(last) = survey.last {
            tail.head = last;
            tail.segment = newest.then_some(segment);
            break;
        } else {
            newest = false; // whole lines, but none of ours: left for `verify` to point at, and not appended to
        }
    }
    sync_directory(directory)?;
    if let Some(stored) = stored {
        if stored.sequence > tail.head.sequence {
            tail.owed.push_back(missing(tail.head, stored, now, rng));
            tail.head = stored;
        } else if altered {
            tail.owed.push_back(changed(stored, now, rng));
            if stored.sequence == tail.head.sequence {
                tail.head = stored;
            }
        }
    }
    Ok(tail)
}

/// What the end of one segment looks like.
struct Survey {
    length: u64,
    /// From here on it is the trace of a crash.
    cut_at: u64,
    /// The last record before that.
    last: Option<Head>,
    /// The record of the stored head's number is here and has another hash.
    altered: bool,
}

impl Survey {
    fn of(segment: &Segment, stored: Option<Head>, recent: &mut Recent) -> io::Result<Self> {
        let mut file = File::open(&segment.path)?;
        let length = file.metadata()?.len();
        let (start, region) = read_end(&mut file, length)?;
        let whole = region.iter().rposition(|&octet| octet == b'\n').map_or(0, |end| end + 1);

        let mut last: Option<Head> = None;
        let mut broken: Option<Break> = None;
        let mut altered = false;
        let mut offset = start;
        let mut lines = region[..whole].split_inclusive(|&octet| octet == b'\n').peekable();
        while let Some(line) = lines.next() {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            // Only the last line is parsed: the chain vouches for those before it.
            let sound = lines.peek().is_some() || serde_json::from_slice::<Record>(text).is_ok();
            let glance = Glance::at(text).filter(|_| sound);
            let continues = glance.is_some_and(|glance| {
                last.is_none_or(|last| glance.sequence == last.sequence + 1 && glance.previous == last.hash)
            });
            if !continues && broken.is_none() {
                broken = Some(Break { offset, before: last, is_last_line: lines.peek().is_none() });
            }
            if let Some(glance) = glance {
                let here = Head { sequence: glance.sequence, hash: RecordHash::of(text) };
                altered |=
                    stored.is_some_and(|stored| stored.sequence == here.sequence && stored.hash != here.hash);
                last = Some(here);
                recent.insert(glance.reference);
            }
            offset += line.len() as u64;
        }

        match broken {
            Some(broken) if broken.is_from_a_crash(segment, stored) => {
                Ok(Self { length, cut_at: broken.offset, last: broken.before, altered })
            }
            _ => Ok(Self { length, cut_at: offset, last, altered }),
        }
    }
}

/// The first line that does not continue the chain.
struct Break {
    offset: u64,
    before: Option<Head>,
    is_last_line: bool,
}

impl Break {
    fn is_from_a_crash(&self, segment: &Segment, stored: Option<Head>) -> bool {
        let before = self.before.map_or(segment.first_sequence.saturating_sub(1), |head| head.sequence);
        match stored {
            Some(stored) => before >= stored.sequence,
            None => self.is_last_line,
        }
    }
}

/// The last [`EXAMINED_BYTES`] of the file from a line's start on, and where that is.
fn read_end(file: &mut File, length: u64) -> io::Result<(u64, Vec<u8>)> {
    let start = length.saturating_sub(EXAMINED_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut region = Vec::new();
    file.take(length - start).read_to_end(&mut region)?;
    if start == 0 {
        return Ok((0, region));
    }
    let skipped = region.iter().position(|&octet| octet == b'\n').map_or(region.len(), |end| end + 1);
    region.drain(..skipped);
    Ok((start + skipped as u64, region))
}

/// Keeps what is cut in a file of its own: it may be evidence. A full disk is no reason not to start.
fn keep_aside(directory: &Path, segment: &Segment, survey: &Survey, now: Timestamp) -> bool {
    let sequence = survey.last.map_or(0, |head| head.sequence);
    let path = directory.join(format!("torn-{sequence:020}-{:013}.bin", now.unix_ms().max(0)));
    let copy = || -> io::Result<()> {
        let mut source = File::open(&segment.path)?;
        source.seek(SeekFrom::Start(survey.cut_at))?;
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        io::copy(&mut source, &mut copy)?;
        copy.flush()?;
        copy.sync_all()
    };
    match copy() {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the torn end of the audit log could not be kept"
            );
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = std::fs::remove_file(&path);
            }
            false
        }
    }
}

fn cut(segment: &Segment, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(&segment.path)?;
    file.set_len(length)?;
    file.sync_all()
}

fn torn(segment: &Segment, survey: &Survey, kept: bool, now: Timestamp, rng: &dyn Rng) -> Entry {
    let octets = survey.length - survey.cut_at;
    let after = survey.last.map_or(segment.first_sequence.saturating_sub(1), |head| head.sequence);
    let kept = if kept { "kept in a torn- file" } else { "not kept" };
    told(
        format!("{octets} octets behind record {after} were no whole record and were cut ({kept})"),
        now,
        rng,
    )
}

fn missing(found: Head, stored: Head, now: Timestamp, rng: &dyn Rng) -> Entry {
    let count = stored.sequence - found.sequence;
    let detail = format!(
        "the log ended at record {} and its stored head is record {}",
        found.sequence, stored.sequence
    );
    let lost =
        Lost { count, cause: LossCause::TailMissing, action: None, reason: None, first: now, last: now };
    Entry { lost: Some(lost), ..told(detail, now, rng) }
}

fn changed(stored: Head, now: Timestamp, rng: &dyn Rng) -> Entry {
    told(format!("record {} is not the one whose hash was stored", stored.sequence), now, rng)
}

fn told(detail: String, now: Timestamp, rng: &dyn Rng) -> Entry {
    let facts = Facts { detail: Some(detail), ..Facts::default() };
    AuditEvent::done(Reference::generate(now, rng), now, AuditAction::LogRepaired, Actor::System, facts)
        .into()
}

/// References of the last records: an event that is appended again because its confirmation was lost (a crash between
/// the sync and the deletion of its outbox row) is not written twice.
#[derive(Default)]
pub(crate) struct Recent {
    known: HashSet<Reference>,
    order: VecDeque<Reference>,
}

impl Recent {
    const MOST: usize = 65_536;

    pub(crate) fn insert(&mut self, reference: Reference) {
        if self.known.insert(reference) {
            self.order.push_back(reference);
            if self.order.len() > Self::MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }

    pub(crate) fn contains(&self, reference: Reference) -> bool {
        self.known.contains(&reference)
    }
}
