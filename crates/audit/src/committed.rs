//! What the database of this installation had committed, as the log tells it: the log of an older database knows more.

use crate::lines::Lines;
use crate::record::Record;
use crate::segment::segments;
use countersign_model::audit::AuditEvent;
use std::io;
use std::path::Path;

/// How the member is written; quotes in texts are escaped, so that no text can look like it.
const MEMBER: &[u8] = br#","committed":"#;

/// The events that were committed after the one with the number `last`, in the order of the log. Only records after
/// `sequence` are read: those up to the head that the database has saved were there when it was saved.
///
/// # Errors
/// When a file cannot be read. A line that is damaged is not what `verify` is asked for here, and is passed over.
pub fn committed_after(directory: &Path, sequence: u64, last: u64) -> io::Result<Vec<AuditEvent>> {
    let segments = segments(directory)?;
    let mut found = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        if segments.get(index + 1).is_some_and(|next| next.first_sequence <= sequence.saturating_add(1)) {
            continue;
        }
        let mut lines = Lines::from(&segment.path, 0)?;
        while let Some(line) = lines.next()? {
            if !line.windows(MEMBER.len()).any(|window| window == MEMBER) {
                continue;
            }
            let Ok(record) = serde_json::from_slice::<Record>(line) else { continue };
            if record.event.committed.is_some_and(|number| number > last) {
                found.push(record.event);
            }
        }
    }
    Ok(found)
}
