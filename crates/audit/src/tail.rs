//! The end of the log at start: what a crash left is cut and told, what a crash cannot have done is told and not hidden.
//!
//! The log is synced before its head is saved. So everything up to the stored head was on disk: a crash may tear only
//! what is behind it. A log that is shorter than its stored head, or differs from it, was tampered with, or the disk
//! lied; then the chain continues *from the stored head's hash*, and the gap stays for every later verification to see.

use crate::lines::{Lines, read_end, whole_lines};
use crate::recent::Recent;
use crate::record::{Entry, Glance, Head, LossCause, Lost, Record, RecordHash};
use crate::segment::{Segment, sync_directory};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{Reference, Rng, Timestamp};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How much of the log's end is examined: more than a crash can leave unsynced, little enough not to delay a start.
const EXAMINED_BYTES: u64 = 8 << 20;

/// Where the log goes on.
pub(crate) struct Tail {
    /// The segment to append to; `None`: a new one.
    pub(crate) segment: Option<Segment>,
    pub(crate) head: Head,
    /// What has to be recorded first.
    pub(crate) owed: VecDeque<Entry>,
    pub(crate) recent: Recent,
    /// So many records were on disk once, and are gone or changed.
    pub(crate) missing: u64,
}

/// Examines the end of the log, cuts what a crash left behind it, and says where the chain goes on.
pub(crate) fn repair(
    directory: &Path,
    mut segments: Vec<Segment>,
    stored: Option<Head>,
    now: Timestamp,
    rng: &dyn Rng,
) -> io::Result<Tail> {
    let mut tail = Tail {
        segment: None,
        head: Head::EMPTY,
        owed: VecDeque::new(),
        recent: Recent::default(),
        missing: 0,
    };
    let mut references = Vec::new();
    let mut of_stored = Vec::new();
    let mut newest = true;
    while let Some(segment) = segments.pop() {
        let mut survey = Survey::of(&segment, stored)?;
        references = std::mem::take(&mut survey.references);
        of_stored.append(&mut survey.of_stored);
        if survey.cut_at < survey.length {
            let kept = keep_aside(directory, &segment, &survey, now);
            cut(&segment, survey.cut_at)?;
            tail.owed.push_back(torn(&segment, &survey, kept, now, rng));
        }
        if survey.cut_at == 0 {
            std::fs::remove_file(&segment.path)?; // nothing was ever confirmed in it
        } else if let Some(last) = survey.last {
            tail.head = last;
            tail.segment = newest.then(|| segment.clone());
            segments.push(segment);
            break;
        } else {
            newest = false; // whole lines, but none of ours: left for `verify` to point at, and not appended to
        }
    }
    sync_directory(directory)?;
    if let Some(stored) = stored.filter(|stored| stored.sequence > 0) {
        if stored.sequence > tail.head.sequence {
            tail.missing = stored.sequence - tail.head.sequence;
            tail.owed.push_back(missing(tail.head.sequence, stored.sequence, now, rng));
            tail.head = stored;
        } else {
            if of_stored.is_empty() {
                of_stored = look_up(&segments, stored.sequence)?;
            }
            if of_stored.is_empty() || of_stored.iter().any(|hash| *hash != stored.hash) {
                tail.missing = 1;
                tail.owed.push_back(changed(stored, now, rng));
                tail.head.hash = stored.hash; // the next record will not continue the one before it: told for ever
            }
        }
    }
    tail.recent = Recent::of(references, &segments, EXAMINED_BYTES)?;
    Ok(tail)
}

/// Hashes of the records with this number, in the one segment that may hold it.
fn look_up(segments: &[Segment], sequence: u64) -> io::Result<Vec<RecordHash>> {
    let mut hashes = Vec::new();
    if let Some(segment) = segments.iter().rfind(|segment| segment.first_sequence <= sequence) {
        let mut lines = Lines::from(&segment.path, 0)?;
        while let Some(line) = lines.next()? {
            if Glance::at(line).is_some_and(|glance| glance.sequence == sequence) {
                hashes.push(RecordHash::of(line));
            }
        }
    }
    Ok(hashes)
}

/// What the end of one segment looks like.
struct Survey {
    length: u64,
    /// From here on it is the trace of a crash.
    cut_at: u64,
    /// The last record before that.
    last: Option<Head>,
    /// Hashes of the records before it that have the stored head's number.
    of_stored: Vec<RecordHash>,
    /// References of the records before it.
    references: Vec<Reference>,
}

impl Survey {
    fn of(segment: &Segment, stored: Option<Head>) -> io::Result<Self> {
        let mut file = File::open(&segment.path)?;
        let length = file.metadata()?.len();
        let (start, region) = read_end(&mut file, length, EXAMINED_BYTES)?;

        // What stands before a file's first record is known, before another one's it is not.
        let mut before = (start == 0).then(|| segment.first_sequence.saturating_sub(1));
        let mut records: Vec<(u64, Head, Reference)> = Vec::new();
        let mut broken: Option<Break> = None;
        let mut offset = start;
        let mut lines = whole_lines(&region).peekable();
        while let Some(line) = lines.next() {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            // What the stored head does not vouch for is parsed: where a crash left a hole, the beginning of one record
            // and the end of a later one are a line that looks like ours.
            let vouched = |glance: &Glance| stored.is_some_and(|stored| glance.sequence <= stored.sequence);
            let sound = |glance: &Glance| vouched(glance) || serde_json::from_slice::<Record>(text).is_ok();
            let glance = Glance::at(text).filter(sound);
            let continues = glance.is_some_and(|glance| {
                let last = records.last().map(|(_, last, _)| last);
                last.is_none_or(|last| glance.sequence == last.sequence + 1 && glance.previous == last.hash)
            });
            if !continues && broken.is_none() {
                broken = Some(Break { offset, before, is_last_line: lines.peek().is_none() });
            }
            if let Some(glance) = glance {
                before = Some(glance.sequence);
                let here = Head { sequence: glance.sequence, hash: RecordHash::of(text) };
                records.push((offset, here, glance.reference));
            }
            offset += line.len() as u64;
        }

        let cut_at = match broken {
            Some(broken) if broken.is_from_a_crash(stored) => broken.offset,
            _ => offset,
        };
        records.retain(|(offset, ..)| *offset < cut_at);
        let is_stored = |head: &Head| stored.is_some_and(|stored| stored.sequence == head.sequence);
        let heads = || records.iter().map(|(_, head, _)| *head);
        Ok(Self {
            length,
            cut_at,
            last: heads().next_back(),
            of_stored: heads().filter(is_stored).map(|head| head.hash).collect(),
            references: records.iter().map(|(.., reference)| *reference).collect(),
        })
    }
}

/// The first line that does not continue the chain.
struct Break {
    offset: u64,
    /// The number of the record before it, where it is known.
    before: Option<u64>,
    is_last_line: bool,
}

impl Break {
    fn is_from_a_crash(&self, stored: Option<Head>) -> bool {
        match stored {
            Some(stored) => self.before.is_some_and(|before| before >= stored.sequence),
            None => self.is_last_line,
        }
    }
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

/// The record that tells of a log that ends at `found` and should end at `head`.
pub(crate) fn missing(found: u64, head: u64, now: Timestamp, rng: &dyn Rng) -> Entry {
    let count = head - found;
    let detail = format!("the log ended at record {found} and its stored head is record {head}");
    let lost =
        Lost { count, cause: LossCause::TailMissing, action: None, reason: None, first: now, last: now };
    Entry { lost: Some(lost), ..told(detail, now, rng) }
}

fn changed(stored: Head, now: Timestamp, rng: &dyn Rng) -> Entry {
    let detail = format!("record {} is missing or is not the one whose hash was stored", stored.sequence);
    told(detail, now, rng)
}

fn told(detail: String, now: Timestamp, rng: &dyn Rng) -> Entry {
    let facts = Facts { detail: Some(detail), ..Facts::default() };
    AuditEvent::done(Reference::generate(now, rng), now, AuditAction::LogRepaired, Actor::System, facts)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::segments;
    use crate::testing::{
        FaultyDisk, SMALL, T0, append, directory, issued, last_record, only_segment, open, rng, torn_files,
    };
    use crate::{AuditLog, Problem, find, verify};
    use std::fs;

    fn append_all(log: &mut AuditLog, events: &[AuditEvent]) {
        log.append(&mut events.iter().cloned().map(Entry::from).collect(), T0).unwrap();
    }

    fn many(count: usize) -> Vec<AuditEvent> {
        (0..count).map(|_| issued(T0)).collect()
    }

    /// What an attacker writes who knows the format: record 2 is another one, those behind it are hashed anew, and one
    /// more follows. The old lines and the one that was added.
    fn forged(lines: &str) -> (String, String) {
        let (mut head, mut forged) = (Head::EMPTY, Vec::new());
        for (number, line) in (1..).zip(lines.lines()) {
            let record: Record = serde_json::from_str(line).unwrap();
            let mut entry = Entry::from(record.event);
            if number == 2 {
                entry.event.facts.scope = Some("data:write".into());
            }
            head = head.extend(&entry, &mut forged).unwrap();
        }
        let mut added = Vec::new();
        head.extend(&issued(T0).into(), &mut added).unwrap();
        (String::from_utf8(forged).unwrap(), String::from_utf8(added).unwrap())
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
    fn a_repair_names_the_system_as_its_actor() {
        let directory = directory();
        fs::write(directory.path().join("audit-00000000000000000001-1800000000000.jsonl"), b"x").unwrap();
        drop(open(directory.path(), None));
        let record = last_record(directory.path());
        assert_eq!(record.event.action, AuditAction::LogRepaired);
        assert_eq!(record.event.actor, countersign_model::audit::Actor::System);
    }

    #[test]
    fn a_log_that_was_rewritten_in_the_files_alone_stays_visible_for_ever() {
        for in_a_new_segment in [false, true] {
            let directory = directory();
            let mut log = open(directory.path(), None);
            append(&mut log, 5);
            let stored = log.head();
            drop(log);
            let path = only_segment(directory.path());
            let (mut forged, added) = forged(&fs::read_to_string(&path).unwrap());
            if in_a_new_segment {
                fs::write(Segment::new(directory.path(), 6, T0).path, added).unwrap();
            } else {
                forged += &added;
            }
            fs::write(&path, forged).unwrap();
            let mut stored = stored;
            for _ in 0..2 {
                let mut log = open(directory.path(), Some(stored));
                append(&mut log, 1);
                stored = log.head();
                let report = verify(directory.path(), Some(log.head())).unwrap();
                assert_eq!(report.findings.len(), 1, "{in_a_new_segment} {:?}", report.findings);
                assert_eq!(report.findings[0].problem, Problem::Chain { sequence: 7 });
                assert_eq!(report.repairs, [7], "the start says so, once");
            }
        }
    }

    #[test]
    fn a_stored_head_far_behind_the_end_is_looked_up_in_its_segment() {
        let directory = directory();
        let mut log = AuditLog::open(directory.path(), SMALL, None, T0, rng()).unwrap();
        append(&mut log, 5);
        let stored = log.head();
        append(&mut log, 20);
        drop(log);
        let mut log = AuditLog::open(directory.path(), SMALL, Some(stored), T0, rng()).unwrap();
        append(&mut log, 1);
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert!(report.is_intact() && report.repairs.is_empty(), "{report:?}");
    }

    #[test]
    fn a_segment_that_vanished_between_stored_head_and_end_stays_visible_for_ever() {
        let directory = directory();
        let mut log = AuditLog::open(directory.path(), SMALL, None, T0, rng()).unwrap();
        append(&mut log, 5);
        let stored = log.head();
        append(&mut log, 20);
        drop(log);
        let all = segments(directory.path()).unwrap();
        let holder = all.iter().rfind(|segment| segment.first_sequence <= stored.sequence).unwrap();
        fs::remove_file(&holder.path).unwrap();
        let mut log = AuditLog::open(directory.path(), SMALL, Some(stored), T0, rng()).unwrap();
        append(&mut log, 1);
        let report = verify(directory.path(), Some(log.head())).unwrap();
        assert!(report.findings.iter().any(|finding| finding.problem == Problem::Chain { sequence: 26 }));
        assert_eq!(report.repairs, [26]);
    }

    #[test]
    fn a_page_that_a_crash_left_unwritten_costs_no_event_and_raises_no_alarm() {
        const PAGE: usize = 4096;
        let whole = directory();
        let mut log = open(whole.path(), None);
        append(&mut log, 3);
        let stored = log.head();
        let path = only_segment(whole.path());
        let before = fs::metadata(&path).unwrap().len() as usize;
        let batch = many(40);
        append_all(&mut log, &batch);
        drop(log);
        let content = fs::read(&path).unwrap();
        for hole in (before.next_multiple_of(512)..content.len()).step_by(512) {
            let directory = directory();
            let mut torn = content.clone();
            let end = torn.len().min(hole + PAGE);
            torn[hole..end].fill(0);
            fs::write(directory.path().join(path.file_name().unwrap()), torn).unwrap();
            let mut log = open(directory.path(), Some(stored));
            // The outbox delivers its events again: those that are there are not wanted.
            let again: Vec<_> = batch.iter().filter(|event| !log.has_lately(event)).cloned().collect();
            append_all(&mut log, &again);
            let report = verify(directory.path(), Some(log.head())).unwrap();
            assert!(report.is_intact(), "{hole}: {:?}", report.findings);
            assert_eq!(report.repairs.len(), 1, "{hole}");
            for event in &batch {
                assert_eq!(find(directory.path(), event.reference).unwrap().len(), 1, "{hole}");
            }
        }
    }

    #[test]
    fn events_of_closed_segments_are_known_too() {
        let directory = directory();
        let mut log = AuditLog::open(directory.path(), SMALL, None, T0, rng()).unwrap();
        let batch = many(20);
        append_all(&mut log, &batch);
        drop(log);
        let log = AuditLog::open(directory.path(), SMALL, None, T0, rng()).unwrap();
        assert!(segments(directory.path()).unwrap().len() > 3);
        assert!(batch.iter().all(|event| log.has_lately(event)));
    }
}
