//! Host names, and rule T5: a request may not use a connection that was opened under other TLS settings.

use crate::denial::Denial;
use countersign_model::ReasonCode;
use std::borrow::Cow;
use std::collections::HashSet;

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

/// Which host names share the TLS settings of a listener: trust anchors, and whether a client certificate is asked for.
/// By default every name does.
#[derive(Debug, Clone, Default)]
pub struct TrustConfigurations {
    /// `None`: every name.
    names: Option<HashSet<String>>,
}

impl TrustConfigurations {
    /// These names (lower case) and no others: a Host that is none of them is misdirected, so that nobody reaches us under a
    /// name of his own (DNS rebinding).
    pub fn only(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: Some(names.into_iter().collect()) }
    }

    /// Rule T5: whether a request for `host` may come over a connection of this listener, whatever its SNI was: all names of
    /// a listener share its settings. On HTTP/2 clients coalesce connections by certificate and address, so that a host of
    /// another listener comes from honest clients too.
    ///
    /// # Errors
    /// `host_misdirected`: 421 (RFC 9110 section 15.5.20).
    pub fn check(&self, host: &str) -> Result<(), Denial> {
        match &self.names {
            Some(names) if !names.contains(host) => Err(ReasonCode::HostMisdirected.into()),
            _ => Ok(()),
        }
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
        let listener = TrustConfigurations::only(["api.example".to_owned(), "[::1]".to_owned()]);
        assert!(listener.check("api.example").is_ok());
        assert!(listener.check("[::1]").is_ok());
        for host in ["evil.example", "api.example.evil.example", "example", ""] {
            assert_eq!(listener.check(host).unwrap_err().status().as_u16(), 421, "{host}");
            assert!(TrustConfigurations::default().check(host).is_ok(), "{host}");
        }
        assert!(TrustConfigurations::only([]).check("api.example").is_err(), "no names are not all names");
    }
}
