//! The record of a connection that ended before its first request (rule T11): at the door or in the handshake. A flood of
//! them is folded by the recorder, and is one line of the log when it ends (rule G20).

use crate::worker::{Listener, Worker};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ReasonCode, Reference};

/// Records it, and says it in the log. The listener is added to the facts.
pub(crate) fn record(
    worker: &Worker,
    listener: &Listener,
    action: AuditAction,
    reason: ReasonCode,
    mut facts: Facts,
) {
    let settings = &worker.settings;
    let now = settings.clock.now();
    let reference = Reference::generate(now, settings.rng.as_ref());
    facts.listener = Some(listener.name.to_string());
    let (source, sni, detail) = (facts.source, facts.sni.clone(), facts.detail.clone());
    let thumbprint = facts.certificate.as_ref().and_then(|certificate| certificate.thumbprint);
    let recorded = settings.recorder.record(AuditEvent::refused(
        reference,
        now,
        action,
        reason,
        Actor::Anonymous,
        facts,
    ));
    if recorded.folded {
        return;
    }
    tracing::info!(
        "countersign.reason" = reason.as_str(),
        "countersign.ref" = %recorded.reference,
        "countersign.listener" = &*listener.name,
        "client.address" = source.map(tracing::field::display),
        "tls.client.server_name" = sni,
        "tls.client.hash.sha256" = thumbprint.map(tracing::field::display),
        detail,
        "{}",
        action.refused_before_request().unwrap_or("refused")
    );
}
