//! Which header fields of a request a route forwards (rule G19).

use crate::header_names::{Class, Pattern, class_of, is_exact};

/// Where a route departs from the table of header names. By default it does not.
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderRules {
    removed: Vec<Pattern>,
    allowed: Vec<Pattern>,
}

/// Why a name cannot be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAllowable {
    /// It is no name and no beginning of names.
    NoName,
    /// It is, or may be, a name that is never forwarded.
    Never,
    /// It is forwarded as it is.
    Needless,
    /// The same route removes it.
    Removed,
}

/// Why a header field does not go on to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The table of names says so: it is of this class.
    Table(Class),
    /// The route has it in `remove_headers`.
    Listed,
}

impl HeaderRules {
    /// `allowed` are names that [`allowable`] has passed.
    pub(super) fn new(removed: Vec<Pattern>, allowed: Vec<Pattern>) -> Self {
        Self { removed, allowed }
    }

    /// Why a field of this name does not go on to the upstream; `None` if it does.
    pub(super) fn removal(&self, name: &str) -> Option<Removal> {
        let class = class_of(name);
        let goes = match class {
            None | Some(Class::Plain) => true,
            Some(Class::Gateway) => self.allowed.iter().any(|pattern| pattern.matches(name)),
            // Only as it is always written: what an upstream may take for it never stands beside it.
            Some(Class::Exact) => is_exact(name),
            Some(Class::Connection | Class::Credential | Class::Ours | Class::Way | Class::Override) => false,
        };
        if !goes {
            return class.map(Removal::Table);
        }
        self.removed.iter().any(|pattern| pattern.matches(name)).then_some(Removal::Listed)
    }
}

/// A name that an operator lets through: one that another gateway would have set, and no other. What the gateway itself
/// says, credentials, and what would change the decided path or method are never let through.
pub(super) fn allowable(text: &str) -> Result<Pattern, NotAllowable> {
    let pattern = Pattern::new(text).map_err(|_| NotAllowable::NoName)?;
    let mut classes = pattern.classes().peekable();
    if classes.peek().is_none() {
        return Err(NotAllowable::Needless);
    }
    // Of a whole name the first line of the table that fits says what it is; the beginning of names may be all of them.
    let exact = (!text.ends_with('*')).then(|| class_of(text)).flatten();
    let allowable = match exact {
        Some(Class::Plain) => return Err(NotAllowable::Needless),
        Some(class) => class == Class::Gateway,
        None => classes.all(|class| matches!(class, Class::Gateway | Class::Plain)),
    };
    drop(classes);
    if allowable { Ok(pattern) } else { Err(NotAllowable::Never) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(removed: &[&str], allowed: &[&str]) -> HeaderRules {
        let removed = removed.iter().map(|text| Pattern::new(text).unwrap()).collect();
        HeaderRules::new(removed, allowed.iter().map(|text| allowable(text).unwrap()).collect())
    }

    #[test]
    fn rule_g19_what_identifies_a_caller_is_forwarded_only_where_an_operator_allowed_it() {
        let default = HeaderRules::default();
        let changed = rules(&["x-acme-*", "Digest"], &["X-User-*", "x-ssl-client-verify"]);
        for (name, by_default, when_changed) in [
            ("accept", true, true),
            ("x-user-agent", true, true),
            ("x-user-id", false, true),
            ("x_user__id", false, true),
            ("x-user", false, false),
            ("x-ssl-client-verify", false, true),
            ("x-ssl-client-cert", false, false),
            ("x-acme-user", true, false),
            ("digest", true, false),
            ("countersign-client-id", false, false),
            ("client_cert", false, false),
            ("authorization", false, false),
            ("x-forwarded-for", false, false),
            ("x-original-url", false, false),
            ("connection", false, false),
            ("cookie", true, true),
            ("cookie-", false, false),
            ("x-fapi-interaction-id", true, true),
            ("x_fapi_interaction_id", false, false),
            ("x-fapi--interaction-id", false, false),
        ] {
            assert_eq!(
                (default.removal(name).is_none(), changed.removal(name).is_none()),
                (by_default, when_changed),
                "{name}"
            );
        }
    }

    #[test]
    fn rule_g19_what_can_never_be_allowed() {
        use NotAllowable::{Needless, Never, NoName};
        for (text, reason) in [
            ("countersign-client-id", Never),
            ("Countersign_*", Never),
            ("countersign-c-*", Never),
            ("client-cert", Never),
            ("client-*", Never),
            ("x-forwarded-for", Never),
            ("x-forwarded-*", Never),
            ("x-*", Never),
            ("authorization", Never),
            ("proxy-*", Never),
            ("x-original-url", Never),
            ("x-original-*", Never),
            ("x-http-method-override", Never),
            ("te", Never),
            ("cookie", Never),
            ("script_name", Never),
            ("server-*", Never),
            ("x-accel-*", Never),
            ("x-middleware-subrequest", Never),
            ("x-request-uri", Never),
            ("accept", Needless),
            ("x-user-agent", Needless),
            ("x-original-filename", Needless),
            ("x-acme-*", Needless),
            ("x.user", NoName),
            ("*", NoName),
            ("", NoName),
        ] {
            assert_eq!(allowable(text).err(), Some(reason), "{text}");
        }
        for text in [
            "x-user",
            "x-user-*",
            "X_SSL_*",
            "x-forwarded-port",
            "x-real-ip",
            "x-original-forwarded-for",
            "remote-user",
            "x-tenant-id",
            "x-scope",
            "x-hasura-*",
            "sslclientcert",
        ] {
            assert!(allowable(text).is_ok(), "{text}");
        }
    }
}
