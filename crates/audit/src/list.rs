//! Lists records, the newest first.

use crate::lines::LinesBackwards;
use crate::record::Record;
use crate::segment::segments;
use countersign_model::ClientId;
use countersign_model::audit::AuditAction;
use std::io;
use std::path::Path;

/// Which records are wanted. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these actions.
    pub action: Option<AuditAction>,
    /// Only records that concern this client.
    pub client: Option<ClientId>,
}

impl Filter {
    fn admits(&self, record: &Record) -> bool {
        let event = &record.event;
        self.action.is_none_or(|action| event.action == action)
            && self.client.as_ref().is_none_or(|client| event.facts.client.as_ref() == Some(client))
    }
}

/// At most `limit` records that `filter` admits, the newest first. Lines that are no records are passed over; `verify`
/// points at them.
///
/// # Errors
/// When a file cannot be read.
pub fn list(directory: &Path, filter: &Filter, limit: usize) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for segment in segments(directory)?.iter().rev() {
        let mut lines = LinesBackwards::of(&segment.path)?;
        while records.len() < limit {
            let Some(line) = lines.next()? else { break };
            let Ok(record) = serde_json::from_slice::<Record>(&line) else { continue };
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
