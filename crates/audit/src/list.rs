//! Lists records, the newest first.

use crate::lines::LinesBackwards;
use crate::record::Record;
use crate::segment::segments;
use countersign_model::audit::AuditAction;
use countersign_model::{ClientId, Timestamp};
use ipnet::IpNet;
use std::io;
use std::path::Path;

/// Which records are wanted. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these actions.
    pub action: Option<AuditAction>,
    /// Only records that concern this client.
    pub client: Option<ClientId>,
    /// Only records of callers in this network. A series of folded records is of a network, and admitted if the two overlap.
    pub source: Option<IpNet>,
    /// Only what happened at this moment or later.
    pub since: Option<Timestamp>,
    /// Only what happened before this moment.
    pub until: Option<Timestamp>,
    /// Only records before this sequence number: where an earlier listing ended.
    pub before: Option<u64>,
    /// Only records of this token (`jti`), or of requests with this `x-fapi-interaction-id`.
    pub token_or_interaction: Option<String>,
}

/// By how much clocks are set back at most for [`Filter::since`] to find everything: records are in the order in which they
/// were written, and reading stops at the first that is so much older.
const CLOCK_STEP_S: i64 = 3600;

impl Filter {
    fn admits(&self, record: &Record) -> bool {
        let (event, facts) = (&record.event, &record.event.facts);
        self.action.is_none_or(|action| event.action == action)
            && self.client.as_ref().is_none_or(|client| facts.client.as_ref() == Some(client))
            && self.source.is_none_or(|network| is_of(record, network))
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
            && self.before.is_none_or(|before| record.sequence < before)
            && self.token_or_interaction.as_ref().is_none_or(|wanted| {
                [&facts.jti, &facts.interaction_id]
                    .into_iter()
                    .flatten()
                    .any(|id| id.eq_ignore_ascii_case(wanted))
            })
    }

    /// Whether nothing older is wanted.
    fn ends_at(&self, record: &Record) -> bool {
        self.since.is_some_and(|since| record.event.at < since.plus_s(-CLOCK_STEP_S))
    }
}

fn is_of(record: &Record, network: IpNet) -> bool {
    let of_source = record.event.facts.source.is_some_and(|source| network.contains(&source.to_canonical()));
    let folded = record.folded.as_ref().and_then(|folded| folded.network.as_deref());
    let of_series = folded.and_then(|text| text.parse::<IpNet>().ok());
    of_source || of_series.is_some_and(|series| series.contains(&network) || network.contains(&series))
}

/// At most `limit` records that `filter` admits, the newest first. Lines that are no records are passed over; `verify`
/// points at them.
///
/// Reads files only, so it also works on a copy, beside a running server, and on the files of one that is stopped.
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
            if filter.ends_at(&record) {
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
