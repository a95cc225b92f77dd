//! Finds a record by its reference. References carry their time, and records are appended nearly in that order, so a
//! look-up picks the segment and searches it by halving; only when that finds nothing it reads everything.

use crate::lines::Lines;
use crate::record::{Record, reference_in};
use crate::segment::{Segment, segments};
use countersign_model::{Reference, Rng, Timestamp};
use std::io;
use std::path::Path;

/// How long after its own time a record may be appended in order: a series counts for at most 30 s, the writer gathers
/// for milliseconds.
const DELAY_S: i64 = 40;
/// So many younger records may stand before one that waited for the disk: as many as are kept meanwhile, and a full
/// queue. Nothing is written while it waits, so that it is near however late it is.
const OVERTAKING: usize = 32_768;
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
    let earliest = reference.at().plus_s(-DELAY_S);
    let mut search = Search {
        wanted: reference.to_string(),
        earliest: first_at(earliest),
        latest: first_at(reference.at().plus_s(DELAY_S)),
        overtaking: OVERTAKING,
        found: Vec::new(),
    };
    for (index, segment) in segments.iter().enumerate() {
        if segments.get(index + 1).is_none_or(|next| next.created >= earliest) {
            search.halve(segment)?;
        }
    }
    if search.found.is_empty() {
        // The clock was set back, and the times of segments and records say nothing: it may stand anywhere.
        search.overtaking = usize::MAX;
        for segment in &segments {
            search.scan(Lines::from(&segment.path, 0)?)?;
        }
    }
    Ok(search.found)
}

/// Every record was appended between its reference's time and [`DELAY_S`] later. So where the references' times reach
/// the one that is sought less the delay, no record with it has passed; and behind the first that exceeds it by the
/// delay only what waited for the disk comes. References are compared as text: they sort by their time.
struct Search {
    wanted: String,
    earliest: String,
    latest: String,
    /// So many records that are later than `latest` are still read.
    overtaking: usize,
    found: Vec<Record>,
}

impl Search {
    fn halve(&mut self, segment: &Segment) -> io::Result<()> {
        if self.overtaking == 0 {
            return Ok(());
        }
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
                Some(here) if here < self.earliest.as_bytes() => low = start,
                Some(_) => high = middle,
                None => break, // a damaged line: read from where it is certain
            }
        }
        self.scan(Lines::from(&segment.path, low)?)
    }

    fn scan(&mut self, mut lines: Lines) -> io::Result<()> {
        while self.overtaking > 0
            && let Some(line) = lines.next()?
        {
            let Some(here) = reference_in(line) else { continue };
            if here == self.wanted.as_bytes() {
                self.found.extend(serde_json::from_slice::<Record>(line).ok());
            } else if here > self.latest.as_bytes() {
                self.overtaking -= 1;
            }
        }
        Ok(())
    }
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
