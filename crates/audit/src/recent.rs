//! What was appended last, by reference.

use crate::lines::{read_end, whole_lines};
use crate::record::Glance;
use crate::segment::Segment;
use countersign_model::Reference;
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io;

/// References of the last records: an event that is appended again because its confirmation was lost (a crash between
/// the sync and the deletion of its outbox row) is not written twice. It would be if more than is read at start had
/// followed it before the crash; the outbox delivers batches of far less.
#[derive(Default)]
pub(crate) struct Recent {
    known: HashSet<Reference>,
    order: VecDeque<Reference>,
}

impl Recent {
    const MOST: usize = 65_536;

    /// `newest` are those of the last of `segments`; those before it are read until there are `most` octets in all,
    /// because a batch may go over the ends of segments.
    pub(crate) fn of(newest: Vec<Reference>, segments: &[Segment], most: u64) -> io::Result<Self> {
        let mut pieces = vec![newest];
        let mut left = most;
        for (distance, segment) in segments.iter().rev().enumerate() {
            let mut file = File::open(&segment.path)?;
            let length = file.metadata()?.len();
            if distance > 0 {
                let (_, region) = read_end(&mut file, length, left)?;
                let glances = whole_lines(&region).filter_map(|line| Glance::at(line.strip_suffix(b"\n")?));
                pieces.push(glances.map(|glance| glance.reference).collect());
            }
            left = left.saturating_sub(length);
            if left == 0 {
                break;
            }
        }
        let mut recent = Self::default();
        pieces.into_iter().rev().flatten().for_each(|reference| recent.insert(reference));
        Ok(recent)
    }

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
