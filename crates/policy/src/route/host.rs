//! Host names, and rule T5: a request may not use a connection that was opened under other TLS settings.

use crate::denial::Denial;
use countersign_model::ReasonCode;
use std::borrow::Cow;
use std::collections::HashMap;

/// The name in a Host field or an `:authority`: without port, in lower case, without the dot at the end.
///
/// # Errors
/// `request_malformed` when it is none: userinfo (RFC 9110 section 4.2.4), a bad port, a character that no host has.
pub fn host_name(authority: &str) -> Result<Cow<'_, str>, Denial> {
    let malformed = || Denial::new(ReasonCode::RequestMalformed).note("the host is not a host");
    let name = match authority.rfind(':') {
        // The colons of an IPv6 address stand between brackets.
        Some(colon) if !authority[colon..].contains(']') => {
            let port = &authority[colon + 1..];
            if port.len() > 5 || !port.bytes().all(|c| c.is_ascii_digit()) {
                return Err(malformed());
            }
            &authority[..colon]
        }
        _ => authority,
    };
    let name = if name.starts_with('[') { name } else { name.strip_suffix('.').unwrap_or(name) };
    if !is_host(name) {
        return Err(malformed());
    }
    Ok(if name.bytes().any(|c| c.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// Whether a configured host is one as [`host_name`] returns it.
pub(super) fn is_plain_name(host: &str) -> bool {
    !host.contains(':') && matches!(host_name(host), Ok(Cow::Borrowed(name)) if name == host)
}

fn is_host(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Which names of a listener share which TLS settings: trust anchors, and whether a client certificate is asked for.
/// A number stands for one set of settings; names that are not listed, and connections without SNI, have the
/// listener's own.
#[derive(Debug, Clone, Default)]
pub struct TrustConfigurations {
    listener: u32,
    names: HashMap<String, u32>,
    /// Only the listed names are answered.
    closed: bool,
}

impl TrustConfigurations {
    /// One configuration for everything on the listener.
    pub fn one(listener: u32) -> Self {
        Self { listener, names: HashMap::new(), closed: false }
    }

    /// One configuration, for these names (lower case) and no others: a Host that is none of them is misdirected,
    /// whatever the SNI was, so that nobody reaches us under a name of his own (DNS rebinding).
    pub fn only(names: impl IntoIterator<Item = String>) -> Self {
        Self { listener: 0, names: names.into_iter().map(|name| (name, 0)).collect(), closed: true }
    }

    /// Gives `name` (lower case) a configuration of its own.
    pub fn insert(&mut self, name: String, configuration: u32) {
        self.names.insert(name, configuration);
    }

    /// Rule T5: whether a request for `host` may come over a connection that was opened for `sni`. On HTTP/2 clients
    /// coalesce connections by certificate and address, so that this happens with honest clients too.
    ///
    /// # Errors
    /// `host_misdirected`: 421 (RFC 9110 section 15.5.20).
    pub fn check(&self, sni: Option<&str>, host: &str) -> Result<(), Denial> {
        if self.names.is_empty() {
            return Ok(());
        }
        if self.closed && !self.names.contains_key(host) {
            return Err(ReasonCode::HostMisdirected.into());
        }
        let of_connection = sni.map_or(self.listener, |sni| self.of(sni));
        if of_connection == self.of(host) { Ok(()) } else { Err(ReasonCode::HostMisdirected.into()) }
    }

    fn of(&self, name: &str) -> u32 {
        self.names.get(name).copied().unwrap_or(self.listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_without_port_case_and_final_dot() {
        for (authority, expected) in [
            ("localhost:8443", "localhost"),
            ("API.Example.COM", "api.example.com"),
            ("api.example.", "api.example"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:8443", "[::1]"),
            ("[::1]", "[::1]"),
            ("a_b.example:", "a_b.example"),
        ] {
            assert_eq!(host_name(authority).unwrap(), expected, "{authority}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for authority in [
            "",
            ":",
            "user@host",
            "a b",
            "a:b",
            "host:123456",
            "[::1",
            "::1",
            "a..b",
            ".",
            "a/b",
            "h\u{e9}",
            "host:1:2",
            "[x]",
            "a,b",
            "[::1]x:1",
        ] {
            assert!(host_name(authority).is_err(), "{authority:?}");
        }
    }

    #[test]
    fn rule_t5_a_host_that_the_listener_does_not_answer_for_is_misdirected() {
        let listener = TrustConfigurations::only(["api.example".to_owned()]);
        assert!(listener.check(Some("api.example"), "api.example").is_ok());
        assert!(listener.check(None, "api.example").is_ok());
        assert!(listener.check(Some("api.example"), "evil.example").is_err());
        assert!(listener.check(None, "evil.example").is_err());
    }

    #[test]
    fn rule_t5_a_host_of_another_trust_configuration_is_misdirected() {
        let mut listener = TrustConfigurations::one(0);
        assert!(listener.check(Some("a.example"), "anything").is_ok());
        listener.insert("strict.example".into(), 1);
        listener.insert("strict2.example".into(), 1);
        for (sni, host, fine) in [
            (Some("strict.example"), "strict.example", true),
            (Some("strict.example"), "strict2.example", true),
            (Some("a.example"), "b.example", true),
            (None, "a.example", true),
            (Some("a.example"), "strict.example", false),
            (Some("strict.example"), "a.example", false),
            (None, "strict.example", false),
        ] {
            let checked = listener.check(sni, host);
            assert_eq!(checked.is_ok(), fine, "{sni:?} {host}");
            if let Err(denial) = checked {
                assert_eq!(denial.status().as_u16(), 421);
            }
        }
    }
}
