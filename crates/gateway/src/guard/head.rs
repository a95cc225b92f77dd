//! The head of one HTTP/1.1 request, read strictly (RFC 9112 sections 3, 5 and 6; RFC 9110 section 7.2; rule G12).
//!
//! httparse reads the grammar; the checks that it does not make are here. A head that passes is one that hyper takes.

use super::limits::{FramingLimits, MAX_HEADER_COUNT};
use super::lines;
use countersign_model::ReasonCode;
use countersign_policy::header_names::is_plain;
use std::mem::MaybeUninit;

/// How many options `Connection` may have, names of fields among them: each is compared with each field.
pub(crate) const MAX_CONNECTION_OPTIONS: usize = 32;

/// How long the body after a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    Fixed(u64),
    Chunked,
}

/// Reads the head at the front of `bytes`: its length and its body's, or `None` while it is incomplete.
pub(super) fn read(bytes: &[u8], limits: &FramingLimits) -> Result<Option<(usize, BodyLength)>, ReasonCode> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADER_COUNT];
    let count = limits.header_count.min(MAX_HEADER_COUNT);
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut headers[..count]) {
        Ok(httparse::Status::Complete(length)) if length <= limits.head_bytes => length,
        Ok(httparse::Status::Partial) if bytes.len() < limits.head_bytes => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(ReasonCode::RequestHeaderTooLarge),
        Err(error) => return Err(reason_of(error, bytes)),
    };
    check_line_ends(&bytes[..length])?;
    let target = request.path.unwrap_or_default();
    let is_old = match request.version {
        Some(1) => false,
        Some(0) if limits.http_1_0.admits(target) => true,
        _ => return Err(ReasonCode::HttpVersionUnsupported),
    };
    let method = request.method.unwrap_or_default();
    check_method(method)?;
    let (host, body) = check_fields(request.headers, limits)?;
    // RFC 9112 section 6.1: transfer codings came with HTTP/1.1, so that readers disagree where such a body ends.
    if is_old && body == BodyLength::Chunked {
        return Err(ReasonCode::RequestFramingAmbiguous);
    }
    // RFC 9112 section 3.2: every request of HTTP/1.1 has a Host; HTTP/1.0 did not know it.
    let host = match host {
        Some(host) if is_host(host) => host,
        None if is_old => b"",
        _ => return Err(ReasonCode::RequestHeaderInvalid),
    };
    check_target(target, method, host)?;
    Ok(Some((length, body)))
}

fn reason_of(error: httparse::Error, bytes: &[u8]) -> ReasonCode {
    use httparse::Error;
    match error {
        Error::Version => ReasonCode::HttpVersionUnsupported,
        Error::HeaderName | Error::HeaderValue => {
            lines::fault(bytes).unwrap_or(ReasonCode::RequestHeaderInvalid)
        }
        Error::NewLine => lines::fault(bytes).unwrap_or(ReasonCode::RequestMalformed),
        _ => fault_of_target(target_of(bytes)).map_or(ReasonCode::RequestMalformed, TargetFault::reason),
    }
}

/// The second word of the request line, which did not parse.
pub(super) fn target_of(head: &[u8]) -> &[u8] {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    line.split(|&byte| byte == b' ').nth(1).unwrap_or_default()
}

/// Every line of the head ends in CRLF (RFC 9112 section 2.2 lets a reader take a bare LF; readers differ, so we do not).
fn check_line_ends(head: &[u8]) -> Result<(), ReasonCode> {
    // Some ten line ends in a thousand bytes: found by a vector search, not by looking at each byte.
    let well_ended = |line_feed: usize| line_feed.checked_sub(1).is_some_and(|before| head[before] == b'\r');
    if memchr::memchr_iter(b'\n', head).all(well_ended) {
        Ok(())
    } else {
        Err(lines::fault(head).unwrap_or(ReasonCode::RequestFramingAmbiguous))
    }
}

/// Never forwarded: tunnels, what sends a request back (TRACK is the TRACE of IIS), and the beginning of HTTP/2 (RFC 9113
/// section 3.4), which an upstream may take for it.
const METHODS_OF_NO_API: [&str; 4] = ["CONNECT", "TRACE", "TRACK", "PRI"];

/// Methods are case-sensitive (RFC 9110 section 9.1): a name in lower case is not a method.
pub(crate) fn check_method(method: &str) -> Result<(), ReasonCode> {
    if is_accepted(method) { Ok(()) } else { Err(ReasonCode::RequestMalformed) }
}

/// Whether it is a method that may be forwarded.
pub(crate) fn is_accepted(method: &str) -> bool {
    let upper =
        !method.is_empty() && method.bytes().all(|c| c.is_ascii_uppercase() || c == b'-' || c == b'_');
    upper && method.len() <= 32 && !METHODS_OF_NO_API.contains(&method)
}

fn check_fields<'a>(
    fields: &[httparse::Header<'a>],
    limits: &FramingLimits,
) -> Result<(Option<&'a [u8]>, BodyLength), ReasonCode> {
    let mut host: Option<&'a [u8]> = None;
    let mut length = None;
    let mut chunked = false;
    let mut options = 0;
    let mut plain = true;
    for field in fields {
        // Rule G19: other characters are `-` or `_` to some servers behind us.
        plain &= is_plain(field.name.as_bytes());
        if field.name.eq_ignore_ascii_case("host") {
            if host.replace(field.value).is_some() {
                return Err(ReasonCode::RequestFramingAmbiguous);
            }
        } else if field.name.eq_ignore_ascii_case("content-length") {
            // Repeated ones are refused even when equal: whoever sends them is confused or worse.
            let value = content_length(field.value).ok_or(ReasonCode::RequestFramingAmbiguous)?;
            if length.replace(value).is_some() {
                return Err(ReasonCode::RequestFramingAmbiguous);
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            // RFC 9112 section 6.1: `chunked` once and last; no other coding is implemented.
            if chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(ReasonCode::RequestFramingAmbiguous);
            }
            chunked = true;
        } else if field.name.eq_ignore_ascii_case("connection") {
            options += 1 + memchr::memchr_iter(b',', field.value).count();
        }
    }
    if chunked && length.is_some() {
        return Err(ReasonCode::RequestFramingAmbiguous);
    }
    if !plain || options > MAX_CONNECTION_OPTIONS {
        return Err(ReasonCode::RequestHeaderInvalid);
    }
    match length {
        _ if chunked => Ok((host, BodyLength::Chunked)),
        Some(length) if length > limits.body_bytes => Err(ReasonCode::RequestBodyTooLarge),
        length => Ok((host, BodyLength::Fixed(length.unwrap_or(0)))),
    }
}

/// 1*DIGIT and nothing else: no sign, no list, no space (RFC 9110 section 8.6).
pub(crate) fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// The target is a path, `*` of OPTIONS, or an absolute form that names the same host (RFC 9112 section 3.2).
fn check_target(target: &str, method: &str, host: &[u8]) -> Result<(), ReasonCode> {
    if let Some(fault) = fault_of_target(target.as_bytes()) {
        return Err(fault.reason());
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(());
    }
    let (scheme, rest) = target.split_once("://").ok_or(ReasonCode::RequestMalformed)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(ReasonCode::RequestMalformed);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.as_bytes().eq_ignore_ascii_case(host) {
        Ok(())
    } else {
        Err(ReasonCode::RequestFramingAmbiguous) // two hosts, and userinfo makes another host too
    }
}

/// A character of a target that readers read differently, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TargetFault {
    pub(crate) byte: u8,
    pub(crate) in_query: bool,
}

impl TargetFault {
    pub(crate) fn reason(self) -> ReasonCode {
        if self.in_query { ReasonCode::RequestQueryInvalid } else { ReasonCode::RequestPathInvalid }
    }
}

/// The first character of `target` that is not accepted where it stands.
pub(crate) fn fault_of_target(target: &[u8]) -> Option<TargetFault> {
    let mut in_query = false;
    for &byte in target {
        match TARGET_BYTES[usize::from(byte)] {
            Place::Both => in_query |= byte == b'?',
            Place::Query if in_query => {}
            Place::Query | Place::Nowhere => return Some(TargetFault { byte, in_query }),
        }
    }
    None
}

/// `host[:port]` of RFC 3986 in its plain forms: a name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.iter().rposition(|&c| c == b']') {
        Some(end) if host.first() == Some(&b'[') => {
            let inside = &host[1..end];
            if inside.is_empty() || !inside.iter().all(|c| c.is_ascii_hexdigit() || *c == b':' || *c == b'.')
            {
                return false;
            }
            (&host[..=end], &host[end + 1..])
        }
        Some(_) => return false,
        None => {
            let colon = host.iter().position(|&c| c == b':').unwrap_or(host.len());
            let name = &host[..colon];
            if !name.iter().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(c)) {
                return false;
            }
            (name, &host[colon..])
        }
    };
    let port_is_fine = match port.split_first() {
        None => true,
        Some((b':', digits)) => (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    !name.is_empty() && name.len() <= 255 && port_is_fine
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where a character may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    /// Clients send it unescaped; the upstream gets it percent-encoded.
    Query,
    Both,
}

/// What a request target may be made of: RFC 3986 without the fragment, `[`, `]` and `|`, and what else every WHATWG URL
/// parser leaves as it is in queries. No backslash, no quotes, nothing beyond ASCII: readers behind us disagree about them.
static TARGET_BYTES: [Place; 256] = {
    let mut table = [Place::Nowhere; 256];
    let allowed = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?[]@!$&'()*+,;=%|";
    let mut i = 0;
    while i < allowed.len() {
        table[allowed[i] as usize] = Place::Both;
        i += 1;
    }
    let of_queries = b"{}^`";
    let mut i = 0;
    while i < of_queries.len() {
        table[of_queries[i] as usize] = Place::Query;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::limits::Http10;

    fn judge(head: &str) -> Result<BodyLength, ReasonCode> {
        match read(head.as_bytes(), &FramingLimits::default())? {
            Some((length, body)) => {
                assert_eq!(length, head.len(), "{head:?}");
                Ok(body)
            }
            None => panic!("incomplete: {head:?}"),
        }
    }

    fn refused(reason: ReasonCode, heads: &[&str]) {
        for head in heads {
            assert_eq!(judge(head), Err(reason), "{head:?}");
        }
    }

    #[test]
    fn plain_heads_pass() {
        for (head, body) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", BodyLength::Fixed(0)),
            ("GET /a?b=[c]|d HTTP/1.1\r\nhost: localhost:8443\r\n\r\n", BodyLength::Fixed(0)),
            ("GET https://X:1/a HTTP/1.1\r\nHost: x:1\r\n\r\n", BodyLength::Fixed(0)),
            ("OPTIONS * HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n", BodyLength::Fixed(0)),
            ("M-SEARCH / HTTP/1.1\r\nHost: x\r\n\r\n", BodyLength::Fixed(0)),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n", BodyLength::Fixed(12)),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n", BodyLength::Chunked),
        ] {
            assert_eq!(judge(head), Ok(body), "{head:?}");
        }
    }

    #[test]
    fn rule_g12_ambiguous_framing_is_refused() {
        refused(
            ReasonCode::RequestFramingAmbiguous,
            &[
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
            ],
        );
    }

    #[test]
    fn rule_g12_lines_and_hosts_that_readers_disagree_about_are_refused() {
        refused(
            ReasonCode::RequestFramingAmbiguous,
            &[
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
                "GET / HTTP/1.1\nHost: x\n\n",
                "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
                "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
                "GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET http://x@y/ HTTP/1.1\r\nHost: y\r\n\r\n",
            ],
        );
    }

    #[test]
    fn rule_g12_other_lines_that_readers_disagree_about_are_refused_as_invalid() {
        refused(
            ReasonCode::RequestHeaderInvalid,
            &[
                "GET / HTTP/1.1\r\nHost: x\r\n\n",
                "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n",
            ],
        );
    }

    #[test]
    fn rule_g12_a_missing_or_invalid_host_is_refused() {
        refused(
            ReasonCode::RequestHeaderInvalid,
            &[
                "GET / HTTP/1.1\r\nA: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: \r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: u@x\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x:port\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nB@d: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n",
            ],
        );
    }

    #[test]
    fn rule_g19_names_of_other_characters_are_refused() {
        let names = [
            "X.Y",
            "Countersign.Client.Id",
            "a!",
            "a|b",
            "~a",
            "a'b",
            "a^b",
            "`a",
            "a*",
            "a+b",
            "a&b",
            "a%b",
            "$a",
            "#a",
        ];
        for name in names {
            refused(
                ReasonCode::RequestHeaderInvalid,
                &[&format!("GET / HTTP/1.1\r\nHost: x\r\n{name}: b\r\n\r\n")],
            );
        }
        // What could be smuggling is told first.
        let both =
            "POST / HTTP/1.1\r\nA.B: c\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(ReasonCode::RequestFramingAmbiguous, &[both]);
    }

    #[test]
    fn rule_g15_connection_has_few_options() {
        let connection = |count: usize| {
            format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: {}\r\n\r\n", vec!["a"; count].join(","))
        };
        assert_eq!(judge(&connection(32)), Ok(BodyLength::Fixed(0)));
        refused(ReasonCode::RequestHeaderInvalid, &[&connection(33)]);
        let fields = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "Connection: a\r\n".repeat(33));
        refused(ReasonCode::RequestHeaderInvalid, &[&fields]);
    }

    #[test]
    fn rule_g12_odd_methods_and_targets_are_refused() {
        refused(
            ReasonCode::RequestMalformed,
            &[
                "get / HTTP/1.1\r\nHost: x\r\n\r\n",
                "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
                "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
                "TRACK / HTTP/1.1\r\nHost: x\r\n\r\n",
                "Track / HTTP/1.1\r\nHost: x\r\n\r\n",
                "PRI / HTTP/1.1\r\nHost: x\r\n\r\n",
                "PRI * HTTP/1.1\r\nHost: x\r\n\r\n",
                "pri / HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET a HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
                "G\"T / HTTP/1.1\r\nHost: x\r\n\r\n",
            ],
        );
    }

    #[test]
    fn rule_g12_characters_of_targets_are_refused_where_they_may_not_stand() {
        for (target, reason) in [
            ("/#a", ReasonCode::RequestPathInvalid),
            ("/\\a", ReasonCode::RequestPathInvalid),
            ("/{a}", ReasonCode::RequestPathInvalid),
            ("/a^", ReasonCode::RequestPathInvalid),
            ("/a`b?c", ReasonCode::RequestPathInvalid),
            ("/a<b", ReasonCode::RequestPathInvalid),
            ("/?a#b", ReasonCode::RequestQueryInvalid),
            ("/?a\\b", ReasonCode::RequestQueryInvalid),
            ("/?a\"b", ReasonCode::RequestQueryInvalid),
            ("/?<a", ReasonCode::RequestQueryInvalid),
            ("/?a>", ReasonCode::RequestQueryInvalid),
            ("/?\u{e9}", ReasonCode::RequestQueryInvalid),
            ("http://x/?<", ReasonCode::RequestQueryInvalid),
        ] {
            refused(reason, &[&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")]);
        }
        let of_url_parsers = judge("GET /?{a:[1]}^`|b HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(of_url_parsers, Ok(BodyLength::Fixed(0)));
    }

    #[test]
    fn rule_g12_other_versions_are_refused() {
        refused(
            ReasonCode::HttpVersionUnsupported,
            &[
                "GET / HTTP/1.0\r\nHost: x\r\n\r\n",
                "GET / HTTP/1.2\r\nHost: x\r\n\r\n",
                "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ],
        );
    }

    #[test]
    fn rule_g12_http_1_0_is_answered_where_it_is_admitted_and_has_no_transfer_coding() {
        let judge = |head: &str, http_1_0| {
            let limits = FramingLimits { http_1_0, ..FramingLimits::default() };
            read(head.as_bytes(), &limits).map(|read| read.unwrap().1)
        };
        let health = Http10::Paths(&["/livez"]);
        for host in ["", "Host: x\r\n", "Host: x\r\nConnection: keep-alive\r\n"] {
            let head = format!("GET /livez HTTP/1.0\r\n{host}\r\n");
            for admitted in [health, Http10::Everywhere] {
                assert_eq!(judge(&head, admitted), Ok(BodyLength::Fixed(0)), "{head:?}");
            }
            assert_eq!(judge(&head, Http10::Nowhere), Err(ReasonCode::HttpVersionUnsupported));
        }
        for other in ["/livez/", "/livez?a", "//livez", "/metrics", "http://x/livez", "*"] {
            let head = format!("GET {other} HTTP/1.0\r\nHost: x\r\n\r\n");
            assert_eq!(judge(&head, health), Err(ReasonCode::HttpVersionUnsupported), "{head:?}");
        }
        for (rest, refused) in [
            ("1.0\r\nTransfer-Encoding: chunked\r\n", ReasonCode::RequestFramingAmbiguous),
            ("1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n", ReasonCode::RequestFramingAmbiguous),
            ("1.0\r\nTransfer-Encoding: identity\r\n", ReasonCode::RequestFramingAmbiguous),
            ("1.0\r\nHost: x\r\nHost: x\r\n", ReasonCode::RequestFramingAmbiguous),
            ("1.0\r\nContent-Length: 1\r\nContent-Length: 1\r\n", ReasonCode::RequestFramingAmbiguous),
            ("1.0\r\nHost: a b\r\n", ReasonCode::RequestHeaderInvalid),
            ("1.1\r\nA: b\r\n", ReasonCode::RequestHeaderInvalid),
        ] {
            let head = format!("GET /livez HTTP/{rest}\r\n");
            assert_eq!(judge(&head, Http10::Everywhere), Err(refused), "{head:?}");
        }
    }

    #[test]
    fn rule_g15_heads_are_bounded_in_bytes_and_fields() {
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(33_000));
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(100));
        let endless = format!("GET /{}", "a".repeat(33_000));
        for head in [long, many, endless] {
            assert_eq!(
                read(head.as_bytes(), &FramingLimits::default()),
                Err(ReasonCode::RequestHeaderTooLarge),
                "{}",
                &head[..40]
            );
        }
        let large = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10485761\r\n\r\n";
        refused(ReasonCode::RequestBodyTooLarge, &[large]);
    }
}
