//! Lists records, the newest first.

use crate::lines::LinesBackwards;
use crate::record::Record;
use crate::segment::segments;
use countersign_model::audit::AuditAction;
use countersign_model::{ClientId, Timestamp};
use std::io;
use std::path::Path;

/// Which records are wanted. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these actions.
    pub action: Option<AuditAction>,
    /// Only records that concern this client.
    pub client: Option<ClientId>,
    /// Only records at or after this moment.
    pub since: Option<Timestamp>,
}

impl Filter {
    fn admits(&self, record: &Record) -> bool {
        let event = &record.event;
        self.action.is_none_or(|action| event.action == action)
            && self.client.as_ref().is_none_or(|client| event.facts.client.as_ref() == Some(client))
            && self.since.is_none_or(|since| event.at >= since)
    }
}

/// Events wait in the queue and on a full disk, so a record may stand behind younger ones. This far behind `since` the
/// search goes on.
const DISORDER_S: i64 = 60;

/// At most `limit` records that `filter` admits, the newest first. Lines that are no records are passed over; `verify`
/// points at them.
///
/// # Errors
/// When a file cannot be read.
pub fn list(directory: &Path, filter: &Filter, limit: usize) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let horizon = filter.since.map(|since| since.plus_s(-DISORDER_S));
    for segment in segments(directory)?.iter().rev() {
        let mut lines = LinesBackwards::of(&segment.path)?;
        while records.len() < limit {
            let Some(line) = lines.next()? else { break };
            let Ok(record) = serde_json::from_slice::<Record>(&line) else { continue };
            if horizon.is_some_and(|horizon| record.event.at < horizon) {
                return Ok(records);
            }
            if filter.admits(&record) {
                records.push(record);
            }
        }
        if records.len() >= limit {
            break;
        }
    }
    Ok(records)
}
