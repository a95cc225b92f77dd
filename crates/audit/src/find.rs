//! Finds a record by its reference. References carry their time, and records are appended nearly in that order, so a
//! look-up picks the segment and searches it by halving; only when that finds nothing it reads on.

use crate::lines::Lines;
use crate::record::{Glance, Record};
use crate::segment::{Segment, segments};
use countersign_model::{Reference, Timestamp};
use std::io;
use std::path::Path;

/// How long after its own time a record may be appended in order: a series counts for at most 30 s, the writer gathers
/// for milliseconds. What comes later still (a disk was full) is found by reading on.
const DELAY_S: i64 = 60;
/// Below this it is faster to read than to halve.
const READ_BYTES: u64 = 64 * 1024;

/// All records with `reference`: none, one, or a refusal and the counts of the series that it opened.
///
/// Reads files only, so it also works on a copy and beside a running server.
///
/// # Errors
/// When a file cannot be read.
pub fn find(directory: &Path, reference: Reference) -> io::Result<Vec<Record>> {
    let segments = segments(directory)?;
    let at = reference.at();
    let mut found = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let ends = segments.get(index + 1).map(|next| next.created);
        if segment.created <= at.plus_s(DELAY_S) && ends.is_none_or(|ends| ends >= at.plus_s(-DELAY_S)) {
            search(segment, reference, &mut found)?;
        }
    }
    if found.is_empty() {
        // Nothing is recorded before it happens: what ended before cannot hold it (a minute's grace for the clock).
        for (index, segment) in segments.iter().enumerate() {
            let ends = segments.get(index + 1).map(|next| next.created);
            if ends.is_none_or(|ends| ends >= at.plus_s(-DELAY_S)) {
                scan(
                    Lines::from(&segment.path, 0)?,
                    reference,
                    Timestamp::from_unix_ms(i64::MAX),
                    &mut found,
                )?;
            }
        }
    }
    Ok(found)
}

/// Every record was appended between its reference's time and [`DELAY_S`] later. So where the references' times reach
/// the one that is sought less the delay, no record with it has passed; and behind the first that exceeds it by the
/// delay none comes.
fn search(segment: &Segment, reference: Reference, found: &mut Vec<Record>) -> io::Result<()> {
    let earliest = reference.at().plus_s(-DELAY_S);
    let (mut low, mut high) = (0, std::fs::metadata(&segment.path)?.len());
    while high - low > READ_BYTES {
        let middle = low + (high - low) / 2;
        let mut lines = Lines::from(&segment.path, middle)?;
        let start = lines.offset();
        if start >= high {
            high = middle;
            continue;
        }
        match lines.next()?.and_then(Glance::at) {
            Some(glance) if glance.reference.at() < earliest => low = start,
            Some(_) => high = middle,
            None => break, // a damaged line: read from where it is certain
        }
    }
    scan(Lines::from(&segment.path, low)?, reference, reference.at().plus_s(DELAY_S), found)
}

fn scan(mut lines: Lines, reference: Reference, until: Timestamp, found: &mut Vec<Record>) -> io::Result<()> {
    while let Some(line) = lines.next()? {
        let Some(glance) = Glance::at(line) else { continue };
        if glance.reference == reference {
            found.extend(serde_json::from_slice::<Record>(line).ok());
        } else if glance.reference.at() > until {
            break;
        }
    }
    Ok(())
}
