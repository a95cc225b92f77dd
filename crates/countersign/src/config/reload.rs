//! What may change while the program runs, and what may not (design, decision 24).

use super::configuration::Configuration;
use super::sections::listeners::Listener;

/// The parts in which `new` differs from `old` and which cannot change live, as they are written in the file. Empty: the new
/// configuration may be taken over as a whole.
pub fn needs_restart(old: &Configuration, new: &Configuration) -> Vec<String> {
    let mut parts = Vec::new();
    let mut compare = |changed: bool, part: &str| {
        if changed {
            parts.push(part.to_owned());
        }
    };
    compare(old.issuer != new.issuer, "issuer");
    compare(old.storage != new.storage, "[storage]");
    compare(old.keys != new.keys, "[keys]");
    compare(old.admin != new.admin, "[admin]");
    compare(old.audit != new.audit, "[audit]");
    compare(old.log.format != new.log.format, "[log] format");
    // Certificates carry the address of their CRLs, and each list repeats it: it stays as it is, also over a restart. Where
    // nobody wrote it, it is the address, which is named below.
    let url_is_written =
        [old, new].iter().any(|it| it.listeners.iter().any(|listener| listener.url.is_some()));
    compare(
        url_is_written && old.pki_url() != new.pki_url(),
        "[[listeners]] url of `pki` (only a new installation has another one)",
    );
    for listener in &old.listeners {
        let Some(after) = new.listeners.iter().find(|after| after.name == listener.name) else {
            parts.push(format!("[[listeners]] `{}` is gone", listener.name));
            continue;
        };
        parts.extend(changed_for_ever(listener, after));
    }
    for listener in &new.listeners {
        if !old.listeners.iter().any(|before| before.name == listener.name) {
            parts.push(format!("[[listeners]] `{}` is new", listener.name));
        }
    }
    parts
}

/// Sockets, and how a connection on them begins, are settled at start; certificates are read anew, and the names that are
/// answered are looked at with each request.
fn changed_for_ever(before: &Listener, after: &Listener) -> Vec<String> {
    let name = &before.name;
    let asks = |listener: &Listener| listener.tls.as_ref().map(|tls| tls.client_certificate);
    let differences = [
        (before.address != after.address, "address"),
        (asks(before) != asks(after), "client_certificate"),
        (before.serve != after.serve, "serve"),
    ];
    let changed = differences.into_iter().filter(|(changed, _)| *changed);
    changed.map(|(_, key)| format!("[[listeners]] `{name}` {key}")).collect()
}
