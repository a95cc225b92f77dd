//! The one line of a denial in the operational log (experience.md section 5): the same whoever refuses, the data path or a
//! local service, so that `grep REF` finds each of them. Refusals that the audit log folds have no line of their own
//! (rule G20): when their series ends, the audit log's writer says in one line how many there were.

use crate::observe::method_label;
use countersign_audit::Recorded;
use countersign_model::audit::AuditAction;
use countersign_policy::{Denial, Peer};
use http::{Method, StatusCode, Uri};

/// How much of a path is recorded.
pub(crate) const MAX_PATH: usize = 256;

/// Writes the line of a refusal that was recorded as `action`, and answered with `status`. `request` is absent where nothing
/// of it was understood; `place` is the route or the reserved prefix. The level is INFO where the caller is the cause, WARN
/// where an upstream or a shortage is, and ERROR where we are.
///
/// What the caller controls is escaped (rule G11): the method is one of a few words, the path has printable ASCII only
/// and is escaped all the same. The query is left out: it may carry anything.
pub fn log_denial(
    action: AuditAction,
    denial: &Denial,
    status: StatusCode,
    peer: Option<&Peer>,
    request: Option<(&Method, &Uri)>,
    place: &str,
    recorded: Recorded,
) {
    if recorded.folded {
        return;
    }
    let certificate = peer.and_then(Peer::certificate);
    let path: String = request.map_or("", |(_, uri)| uri.path()).chars().take(MAX_PATH).collect();
    // The level of a line is a constant.
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                "http.request.method" = request.map(|(method, _)| method_label(method)),
                "url.path" = %path.escape_default(),
                "http.route" = place,
                "http.response.status_code" = status.as_u16(),
                "client.address" = peer.map(|peer| tracing::field::display(peer.address().ip().to_canonical())),
                "tls.client.hash.sha256" = peer.and_then(Peer::thumbprint).map(tracing::field::display),
                "countersign.certificate" = certificate.map(|certificate| certificate.serial().short()),
                "countersign.client.id" = denial.known_client().map(tracing::field::display),
                "countersign.reason" = denial.reason().as_str(),
                "countersign.detail" = denial.operator_note(),
                "countersign.ref" = %recorded.reference,
                "{}", action.line()
            )
        };
    }
    match denial.status() {
        StatusCode::INTERNAL_SERVER_ERROR => line!(error),
        status if status.is_server_error() => line!(warn),
        _ => line!(info),
    }
}
