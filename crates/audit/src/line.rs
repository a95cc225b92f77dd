//! The line of the operational log that tells of a folded series: it stands for the lines that the refusals of the series
//! did not get, and carries the fields of those lines (rule G20).

use crate::record::Entry;

/// Writes it.
pub(crate) fn of_series(entry: &Entry) {
    let (event, Some(folded)) = (&entry.event, &entry.folded) else { return };
    // Tokens that were issued have no line in the log.
    let Some(reason) = event.reason else { return };
    let has_request = event.action.refused_before_request().is_none();
    // The level of a line is a constant.
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                "http.response.status_code" = has_request.then_some(reason.reason().status),
                "countersign.listener" = event.facts.listener,
                "countersign.reason" = reason.as_str(),
                "countersign.client.id" = event.facts.client.as_ref().map(tracing::field::display),
                "client.network" = folded.network,
                "countersign.folded.count" = folded.count,
                "countersign.folded.first" = %folded.first,
                "countersign.folded.last" = %folded.last,
                "countersign.ref" = %event.reference,
                "{}", event.action.line()
            )
        };
    }
    match reason.reason().status {
        500 => line!(error),
        501.. => line!(warn),
        _ => line!(info),
    }
}
