//! The sections of `countersign.toml`, a file for each: what is read, and how it becomes a checked type.

pub mod admin;
pub mod apis;
pub mod audit;
pub mod internal;
pub mod keys;
pub mod limits;
pub mod listeners;
pub mod log;
pub mod oauth;
pub mod routes;
pub mod storage;
pub mod upstreams;

use super::mistake::{Mistake, Mistakes};
use super::reader::{At, Given, section};
use super::values::{Name, Origin};
use crate::words::{list, similar};
use std::collections::BTreeMap;

section! {
    /// One file, read from top to bottom: where we listen, what is behind us, what is protected and how. Relative paths are
    /// relative to the file.
    Document = "" {
        /// The issuer: exactly what clients see, in metadata and in every token (RFC 8414 section 2). `https`, host and port.
        issuer: Origin = Required;
        /// Where the data is.
        storage: storage::StorageSection = Required;
        /// The custody of keys.
        keys: keys::KeysSection = Required;
        /// The admin API.
        admin: admin::AdminSection = Required;
        /// Where we listen.
        listeners: Vec<At<listeners::ListenerSection>> = Required;
        /// What is behind us.
        upstreams: Vec<At<upstreams::UpstreamSection>> = Default("[]");
        /// What tokens are for.
        apis: Vec<At<apis::ApiSection>> = Default("[]");
        /// What is protected, and how.
        routes: Vec<At<routes::RouteSection>> = Default("[]");
        /// The authorization server.
        oauth: oauth::OauthSection = Default("{}");
        /// The `internal` method of the sandbox.
        internal: internal::InternalSection = Default("{}");
        /// Limits against floods and slow callers.
        limits: limits::LimitsSection = Default("{}");
        /// The audit log.
        audit: audit::AuditSection = Default("{}");
        /// The operational log.
        log: log::LogSection = Default("{}");
    }
}

/// Reports every name of `names` that was there before, and gives those that are first with their place in the list.
pub(crate) fn unique_names<'a>(
    what: &str,
    names: impl Iterator<Item = &'a Given<Name>>,
    out: &mut Mistakes,
) -> BTreeMap<&'a str, usize> {
    let mut seen = BTreeMap::new();
    for (index, name) in names.enumerate() {
        let Some(name) = name.get() else { continue };
        if seen.contains_key(name.value.as_str()) {
            let message = format!("two {what}s are called `{}`", name.value);
            out.add(Mistake::new(
                name.entry.clone(),
                message,
                format!("this {what} is the second of that name"),
            ));
        } else {
            seen.insert(name.value.as_str(), index);
        }
    }
    seen
}

/// The mistake of a name that nothing has.
pub(crate) fn unknown_name<'a>(
    what: &str,
    name: &At<Name>,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Mistake {
    let message = format!("there is no {what} `{}`", name.value);
    let mistake = Mistake::new(name.span.clone(), message, format!("no [[{what}s]] section has this name"));
    match similar(name.value.as_str(), known.clone()) {
        Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
        None => mistake.help(format!("there is {}", list(known))),
    }
}
