//! Finds a record by its reference. References carry their time, and records are appended nearly in that order, so a
//! look-up picks the segment and searches it by halving; only when that finds nothing it reads on.

use crate::lines::Lines;
use crate::record::{Record, reference_in};
use crate::segment::{Segment, segments};
use countersign_model::{Reference, Rng, Timestamp};
use std::io;
use std::path::Path;

/// How long after its own time a record may be appended in order: a series counts for at most 30 s, the writer gathers
/// for milliseconds. What comes later still (a disk was full) is found by reading on.
const DELAY_S: i64 = 40;
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
        // Nothing is recorded before it happens: what ended before cannot hold it (with some grace for the clock).
        for (index, segment) in segments.iter().enumerate() {
            let ends = segments.get(index + 1).map(|next| next.created);
            if ends.is_none_or(|ends| ends >= at.plus_s(-DELAY_S)) {
                scan(Lines::from(&segment.path, 0)?, reference, None, &mut found)?;
            }
        }
    }
    Ok(found)
}

/// Every record was appended between its reference's time and [`DELAY_S`] later. So where the references' times reach
/// the one that is sought less the delay, no record with it has passed; and behind the first that exceeds it by the
/// delay none comes. References are compared as text: they sort by their time.
fn search(segment: &Segment, reference: Reference, found: &mut Vec<Record>) -> io::Result<()> {
    let earliest = first_at(reference.at().plus_s(-DELAY_S));
    let latest = first_at(reference.at().plus_s(DELAY_S));
    let (mut low, mut high) = (0, std::fs::metadata(&segment.path)?.len());
    while high - low > READ_BYTES {
        let middle = low + (high - low) / 2;
        let mut lines = Lines::from(&segment.path, middle)?;
        let start = lines.offset();
        if start >= high {
            high = middle;
            continue;
        }
        match lines.next()?.and_then(reference_in) {
            Some(here) if here < earliest.as_bytes() => low = start,
            Some(_) => high = middle,
            None => break, // a damaged line: read from where it is certain
        }
    }
    scan(Lines::from(&segment.path, low)?, reference, Some(&latest), found)
}

fn scan(
    mut lines: Lines,
    reference: Reference,
    until: Option<&str>,
    found: &mut Vec<Record>,
) -> io::Result<()> {
    let wanted = reference.to_string();
    while let Some(line) = lines.next()? {
        let Some(here) = reference_in(line) else { continue };
        if here == wanted.as_bytes() {
            found.extend(serde_json::from_slice::<Record>(line).ok());
        } else if until.is_some_and(|until| here > until.as_bytes()) {
            break;
        }
    }
    Ok(())
}

/// The smallest reference of a moment, as text.
fn first_at(at: Timestamp) -> String {
    struct Zeros;
    impl Rng for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }
    Reference::generate(at, &Zeros).to_string()
}
