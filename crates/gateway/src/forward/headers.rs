//! The header fields on their way: hop-by-hop fields end here (RFC 9110 section 7.6.1), inbound claims of identity are
//! taken out, and ours are set, in this one place (rule G9).

use super::removed::Removed;
use crate::forwarded::Forwarded;
use crate::guard::head::MAX_CONNECTION_OPTIONS;
use countersign_policy::decision::InternalHeaders;
use countersign_policy::header_names::{Class, class_of, is_exact, same_bytes};
use countersign_policy::identity::{identity_headers, is_internal_header};
use countersign_policy::{Peer, Permit};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body::Body;

/// The interaction id of the FAPI profiles: echoed, and made where there was none (rule G8).
pub(crate) const INTERACTION_ID: HeaderName = HeaderName::from_static("x-fapi-interaction-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// So many fields are set on the way to the upstream.
const OURS: usize = 14;

/// Makes a client's header fields the upstream's. Gives what was taken out of them that a caller may miss.
#[expect(clippy::too_many_arguments, reason = "each is a part of the one request, or of where it goes")]
pub(crate) fn for_upstream(
    headers: &mut HeaderMap,
    method: &Method,
    body: &impl Body,
    permit: &Permit,
    peer: &Peer,
    internal: &InternalHeaders,
    forwarded: &Forwarded,
    upstream: &HeaderValue,
    interaction_id: &HeaderValue,
) -> Removed {
    remove_named_by_connection(headers);
    let route = permit.route();
    let takes_internal = route.internal();
    let mut removed = Removed::default();
    keep(headers, OURS, |name| match route.removes_header(name) {
        None => !is_internal_header(name, internal, takes_internal),
        Some(removal) => {
            removed.note(name, removal);
            false
        }
    });
    check_trace(headers);
    join_cookies(headers);
    set_framing(headers, method, body);
    headers.insert(header::HOST, upstream.clone());
    headers.insert(INTERACTION_ID, interaction_id.clone());
    for (name, value) in identity_headers(permit, peer) {
        headers.insert(name, value);
    }
    forwarded.set(headers);
    removed
}

/// Says how long the body is where hyper would not (RFC 9112 section 6.3). It drops the body of a GET or HEAD whose length
/// it does not know: chunks are allowed with any method. And it says nothing of an empty body, though a method that gives
/// meaning to one should (RFC 9110 section 8.6); some servers answer 411.
fn set_framing(headers: &mut HeaderMap, method: &Method, body: &impl Body) {
    if !body.is_end_stream() {
        if body.size_hint().exact().is_none() {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    } else if !matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// Whether an answer says in one way how long it is: RFC 9112 section 6.1 lets us read Transfer-Encoding and forget the
/// Content-Length, but whoever sends both has been made to, and what follows may be another answer. hyper reads a coding
/// other than `chunked` to the end of the connection and leaves the body coded; we asked for none. It takes `2, 2` and
/// two equal lengths for one, and looks at none where there is no body (HEAD, 204, 304), so all of them are looked at here
/// (RFC 9110 section 8.6).
pub(super) fn is_framed_once(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let one_number =
        |length: &HeaderValue| !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    if !lengths.next().is_none_or(one_number) || lengths.next().is_some() {
        return false;
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && !headers.contains_key(header::CONTENT_LENGTH)
        }
        _ => false,
    }
}

/// Whether an answer that ended with its head may be followed by a body that its upstream should not have sent (RFC 9110
/// sections 9.3.2, 15.3.5 and 15.4.5): one to HEAD, and a 204 or 304 that speaks of a body. It would be read as the answer
/// to the next request. An honest 304 may say the length of the body that it spares the client; a connection for each of these
/// is the price, as for HEAD: a body that is sent nevertheless may come at any moment, also after the last look before the
/// next request, and callers can ask for a 304 whose body is of their own making.
pub(super) fn may_be_followed(is_head: bool, status: StatusCode, headers: &HeaderMap) -> bool {
    let speaks_of_body = || {
        headers.contains_key(header::TRANSFER_ENCODING)
            || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
    };
    is_head || (matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && speaks_of_body())
}

/// Makes an upstream's header fields the client's.
pub(crate) fn for_client(status: StatusCode, headers: &mut HeaderMap, interaction_id: HeaderValue) {
    remove_named_by_connection(headers);
    // A length is the answer's own, also where there is no body (HEAD, 304); only 204 has none (RFC 9110 section 8.6).
    let has_length = status != StatusCode::NO_CONTENT;
    // In any spelling: what we say to a client is not said by an upstream (rule G19).
    let goes = |name: &HeaderName| match class_of(name.as_str()) {
        Some(Class::Connection) => !(has_length && name == header::CONTENT_LENGTH),
        Some(Class::Ours) => true,
        Some(Class::Exact) => !is_exact(name.as_str()),
        _ => false,
    };
    // An answer mostly has none of these, so looking at the few that it has is cheaper than asking for each.
    let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
    headers.insert(INTERACTION_ID, interaction_id);
}

/// Takes out what is not wanted, and makes room for `more`. The map is made anew: on each request some fields go and more
/// come, and growing and closing gaps cost more than one walk.
fn keep(headers: &mut HeaderMap, more: usize, mut wanted: impl FnMut(&str) -> bool) {
    let mut kept = HeaderMap::with_capacity(headers.len() + more);
    let mut name = None;
    for (next, value) in std::mem::take(headers) {
        // Only the first of several values comes with their name.
        if let Some(next) = next {
            name = wanted(next.as_str()).then_some(next);
        }
        if let Some(name) = &name {
            kept.append(name.clone(), value);
        }
    }
    *headers = kept;
}

fn remove_named_by_connection(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    // Of a request the guard has counted them.
    let options = || {
        let values = headers.get_all(header::CONNECTION).iter();
        let options = values.flat_map(|value| value.as_bytes().split(|&c| c == b','));
        options.map(<[u8]>::trim_ascii).filter(|option| !option.is_empty()).take(MAX_CONNECTION_OPTIONS)
    };
    let is_named = |name: &&HeaderName| options().any(|option| same_bytes(option, name.as_str().as_bytes()));
    let named: Vec<HeaderName> = headers.keys().filter(is_named).cloned().collect();
    for name in named {
        headers.remove(name);
    }
}

/// W3C Trace Context section 4.3: what is not a valid traceparent is dropped, and its state with it.
fn check_trace(headers: &mut HeaderMap) {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    match (parents.next(), parents.next()) {
        (None, _) => {
            headers.remove(TRACESTATE);
        }
        (Some(parent), None) if is_traceparent(parent.as_bytes()) => {}
        _ => {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
    }
}

fn is_traceparent(value: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &[u8]| part.iter().all(|&c| c == b'0');
    let [v0, v1, b'-', rest @ ..] = value else { return false };
    // Version 00 has exactly these four parts; later ones may have more, and ff is none.
    let known = *v0 == b'0' && *v1 == b'0';
    if !hex(&[*v0, *v1]) || (*v0 == b'f' && *v1 == b'f') || rest.len() < 52 || (known && rest.len() != 52) {
        return false;
    }
    let (trace, parent, flags) = (&rest[..32], &rest[33..49], &rest[50..52]);
    let dashes = rest[32] == b'-' && rest[49] == b'-' && rest.get(52).is_none_or(|&c| c == b'-');
    dashes && hex(trace) && hex(parent) && hex(flags) && !zero(trace) && !zero(parent)
}

/// RFC 9113 section 8.2.3: HTTP/2 may split the cookie field; HTTP/1.1 may not.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g9_fields_named_by_connection_go_too() {
        let mut headers = HeaderMap::new();
        headers.append("connection", "close, X-One".parse().unwrap());
        headers.append("connection", "x-two".parse().unwrap());
        // An octet that is no text does not hide what stands beside it.
        headers.append("connection", HeaderValue::from_bytes(b"\xe9, x-four, X_Five,, -").unwrap());
        for name in ["x-one", "x-two", "x-three", "x-four", "x-five", "x.two"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        for_client(StatusCode::OK, &mut headers, HeaderValue::from_static("id"));
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-fapi-interaction-id", "x-three"]);
    }

    #[test]
    fn a_traceparent_is_checked() {
        for (value, valid) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false),
            ("rubbish", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, value.parse().unwrap());
            headers.insert(TRACESTATE, "a=b".parse().unwrap());
            check_trace(&mut headers);
            assert_eq!(
                (headers.contains_key(TRACEPARENT), headers.contains_key(TRACESTATE)),
                (valid, valid),
                "{value}"
            );
        }
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=1".parse().unwrap());
        headers.append("cookie", "b=2".parse().unwrap());
        join_cookies(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
