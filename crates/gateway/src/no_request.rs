//! The record of a connection that ended before its first request (rule T11): at the door or in the handshake. A flood of
//! them is folded by the recorder, and is one line of the log when it ends (rule G20).

use crate::worker::{Listener, Worker};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ReasonCode, Reference};

/// Records it, and says it in the log. The listener is added to the facts; `complete` adds to them what is not worth its price
/// for a refusal that is folded.
pub(crate) fn record(
    worker: &Worker,
    listener: &Listener,
    action: AuditAction,
    reason: ReasonCode,
    mut facts: Facts,
    complete: impl FnOnce(&mut Facts),
) {
    let settings = &worker.settings;
    let now = settings.clock.now();
    let reference = Reference::generate(now, settings.rng.as_ref());
    facts.listener = Some(listener.name.to_string());
    let event = AuditEvent::refused(reference, now, action, reason, Actor::Anonymous, facts);
    let mut completed = None;
    let recorded = settings.recorder.record_completed(event, |facts| {
        complete(facts);
        completed = Some(facts.clone());
    });
    // A refusal that is folded is not completed.
    let Some(Facts { source, sni, certificate, client, detail, .. }) = completed else { return };
    let thumbprint = certificate.and_then(|certificate| certificate.thumbprint);
    tracing::info!(
        "countersign.reason" = reason.as_str(),
        "countersign.ref" = %recorded.reference,
        "countersign.listener" = &*listener.name,
        "client.address" = source.map(tracing::field::display),
        "tls.client.server_name" = sni,
        "tls.client.hash.sha256" = thumbprint.map(tracing::field::display),
        "countersign.client.id" = client.map(tracing::field::display),
        detail,
        "{}",
        action.refused_before_request().unwrap_or("refused")
    );
}
