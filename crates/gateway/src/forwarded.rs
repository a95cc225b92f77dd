//! The host that a request asks for, and what upstreams are told of its way (RFC 7239, and its widespread ancestors).

use countersign_policy::route::host_name;
use countersign_policy::{Denial, Peer};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// RFC 7239, and its widespread ancestors, as they are for one connection and host. Inbound ones are gone: whoever is in
/// front of us proved nothing. Kept with the connection, which mostly has one host.
pub(crate) struct Forwarded {
    authority: String,
    host: String,
    fields: [(HeaderName, HeaderValue); 4],
}

impl Forwarded {
    /// Takes host and port as the client wrote them.
    ///
    /// # Errors
    /// `request_malformed` when they are none.
    pub(crate) fn new(peer: &Peer, tls: bool, authority: &str) -> Result<Self, Denial> {
        let host = host_name(authority)?.into_owned();
        let address = peer.address().ip().to_canonical();
        let proto = if tls { "https" } else { "http" };
        let node = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        // It was checked to be one: neither quotes nor controls.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        Ok(Self {
            authority: authority.to_owned(),
            host,
            fields: [
                (header::FORWARDED, value(format!("for={node};proto={proto};host=\"{authority}\""))),
                (X_FORWARDED_FOR, value(address.to_string())),
                (X_FORWARDED_HOST, value(authority.to_owned())),
                (X_FORWARDED_PROTO, HeaderValue::from_static(proto)),
            ],
        })
    }

    /// Whether it is what these ask for.
    pub(crate) fn is_for(&self, authority: &str) -> bool {
        self.authority == authority
    }

    /// The host without port, in lower case.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Sets them.
    pub(crate) fn set(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.fields {
            headers.insert(name.clone(), value.clone());
        }
    }
}
