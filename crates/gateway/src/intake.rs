//! What a request is before anything is decided: whole, unambiguous and for one host (rules G12, G15 and T5).
//!
//! On HTTP/1.1 the guard has checked the bytes, and its verdict is taken over here. On HTTP/2, where hyper and h2 have
//! checked the frames, the pseudo-header fields are checked here (RFC 9113 section 8.3).

use crate::body::{RequestBody, Verdict};
use crate::connection::Connection;
use crate::forwarded::Forwarded;
use crate::guard::explain::{method_refused, name_refused, target_refused};
use crate::guard::head;
use crate::settings::{Limits, ListenerSettings};
use countersign_model::ReasonCode;
use countersign_policy::Denial;
use countersign_policy::header_names::is_plain;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::{Method, Request, Version};
use hyper::body::Incoming;
use std::rc::Rc;

/// A request whose head is in order.
pub(crate) struct Received {
    pub(crate) parts: Parts,
    pub(crate) body: RequestBody,
    /// What it asks for.
    pub(crate) forwarded: Rc<Forwarded>,
    /// Where the reason is found when the body breaks a limit on HTTP/2.
    pub(crate) verdict: Option<Verdict>,
}

/// Takes a request in.
///
/// # Errors
/// What the guard found, or what is wrong with the pseudo-header fields; `host_misdirected`.
pub(crate) fn receive(
    request: Request<Incoming>,
    ordinal: u64,
    connection: &Connection,
    listener: &ListenerSettings,
    limits: &Limits,
) -> Result<Received, Denial> {
    // Only a refused head is noted before the service is called; a body that was refused since comes up at its end.
    if let Some(denial) = connection.exchange.denial(ordinal) {
        return Err(denial);
    }
    let (parts, incoming) = request.into_parts();
    let authority = if connection.http2 { Some(check_http2(&parts, limits)?) } else { authority(&parts)? };
    let forwarded = connection.forwarded(authority.unwrap_or(NO_HOST))?;
    let has_host = authority.is_some();
    let (body, verdict) = if connection.http2 && !hyper::body::Body::is_end_stream(&incoming) {
        let times = &limits.times;
        let (body, verdict) = RequestBody::bounded(
            incoming,
            limits.sizes.body_bytes,
            times.body_progress,
            times.body,
            connection.bodies.clone(),
        );
        (body, Some(verdict))
    } else {
        (RequestBody::bounded_below(incoming, connection.exchange.body_refused()), None)
    };
    // Who names no host takes what this listener is for: rule T5 keeps names apart, and browsers always send one.
    if has_host {
        listener.trust.load().check(forwarded.host())?;
    }
    Ok(Received { parts, body, forwarded, verdict })
}

/// What stands for the host of a request of HTTP/1.0 that names none. Such a request is never forwarded.
const NO_HOST: &str = "localhost";

/// The Host field; the guard has seen that a request of HTTP/1.1 has one and that an absolute form says the same.
fn authority(parts: &Parts) -> Result<Option<&str>, Denial> {
    match parts.headers.get(HOST).map(|host| host.to_str()) {
        Some(Ok(host)) => Ok(Some(host)),
        None if parts.version == Version::HTTP_10 => Ok(None),
        _ => Err(Denial::new(ReasonCode::RequestHeaderInvalid).note("no Host")),
    }
}

pub(crate) fn check_http2<'a>(parts: &'a Parts, limits: &Limits) -> Result<&'a str, Denial> {
    let malformed = |note: &'static str| Denial::new(ReasonCode::RequestMalformed).note(note);
    if parts.version != Version::HTTP_2 {
        return Err(ReasonCode::HttpVersionUnsupported.into());
    }
    if !head::is_accepted(parts.method.as_str()) {
        return Err(method_refused(parts.method.as_str()));
    }
    // h2 drops the scheme of a request without `:authority`, because a URI cannot have one alone.
    if parts.uri.authority().is_some() && parts.uri.scheme_str() != Some("https") {
        return Err(malformed("the scheme is not https"));
    }
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let is_path = target.starts_with('/') || (target == "*" && parts.method == Method::OPTIONS);
    if let Some(fault) = head::fault_of_target(target.as_bytes()) {
        return Err(target_refused(fault));
    }
    if !is_path {
        return Err(malformed("the path is none"));
    }
    // As HTTP/1.1 would write it, so that one limit means the same on both.
    let (mut bytes, mut crumbs) = (0, 0);
    for (name, value) in &parts.headers {
        // Rule G19: other characters are `-` or `_` to some servers behind us.
        if !is_plain(name.as_str().as_bytes()) {
            return Err(name_refused(name.as_str().as_bytes()));
        }
        bytes += name.as_str().len() + value.len() + 4;
        crumbs += usize::from(name == COOKIE);
    }
    // RFC 9113 section 8.2.3: a cookie may come in crumbs, and they are one field.
    let count = parts.headers.len() - crumbs.saturating_sub(1);
    if bytes + target.len() > limits.sizes.head_bytes || count > limits.sizes.header_count {
        return Err(ReasonCode::RequestHeaderTooLarge.into());
    }
    check_length(parts, limits)?;
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    // RFC 9113 section 8.3.1: where both are there they say the same. A client that translates from HTTP/1.1 sends `host`.
    match (authority, host.map(|host| host.as_bytes()), hosts.next()) {
        (Some(authority), None, None) => Ok(authority),
        (Some(authority), Some(host), None) if authority.as_bytes().eq_ignore_ascii_case(host) => {
            Ok(authority)
        }
        (None, Some(host), None) => std::str::from_utf8(host).map_err(|_| ReasonCode::RequestHeaderInvalid),
        (None, None, _) => {
            return Err(Denial::new(ReasonCode::RequestHeaderInvalid).note("neither :authority nor host"));
        }
        _ => Err(ReasonCode::RequestFramingAmbiguous),
    }
    .and_then(|authority| {
        if head::is_host(authority.as_bytes()) {
            Ok(authority)
        } else {
            Err(ReasonCode::RequestHeaderInvalid)
        }
    })
    .map_err(Denial::from)
}

/// One length that is a number, as on HTTP/1.1; whether it is true, h2 sees. It takes signs and several equal ones.
fn check_length(parts: &Parts, limits: &Limits) -> Result<(), Denial> {
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    match head::content_length(length.as_bytes()) {
        Some(_) if lengths.next().is_some() => Err(ReasonCode::RequestFramingAmbiguous.into()),
        Some(length) if length > limits.sizes.body_bytes => Err(ReasonCode::RequestBodyTooLarge.into()),
        Some(_) => Ok(()),
        None => Err(ReasonCode::RequestFramingAmbiguous.into()),
    }
}
