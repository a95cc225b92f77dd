//! What upstreams are told of the way that a request came (RFC 7239, and its widespread ancestors).

use countersign_policy::Peer;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// RFC 7239, and its widespread ancestors, as they are for one connection and host. Inbound ones are gone: whoever is in
/// front of us proved nothing. Kept with the connection, which mostly has one host.
pub(crate) struct Forwarded {
    host: String,
    fields: [(HeaderName, HeaderValue); 4],
}

impl Forwarded {
    pub(crate) fn new(peer: &Peer, tls: bool, host: &str) -> Self {
        let address = peer.address().ip().to_canonical();
        let proto = if tls { "https" } else { "http" };
        let node = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        // The host was checked to be one: neither quotes nor controls.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        Self {
            host: host.to_owned(),
            fields: [
                (header::FORWARDED, value(format!("for={node};proto={proto};host=\"{host}\""))),
                (X_FORWARDED_FOR, value(address.to_string())),
                (X_FORWARDED_HOST, value(host.to_owned())),
                (X_FORWARDED_PROTO, HeaderValue::from_static(proto)),
            ],
        }
    }

    pub(crate) fn is_for(&self, host: &str) -> bool {
        self.host == host
    }

    /// Sets them.
    pub(crate) fn set(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.fields {
            headers.insert(name.clone(), value.clone());
        }
    }
}
