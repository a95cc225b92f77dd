//! The head of an HTTP/2 request (RFC 9113 section 8.3). First line: method and URI; then a field on each.
//!
//! What passes is what HTTP/1.1 would have passed: one authority that is a host, a path, and the size of both.
#![no_main]

use countersign_gateway::Limits;
use countersign_gateway::fuzzing::check_http2;
use http::{Request, Version};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&octet| octet == b'\n');
    let line = lines.next().unwrap_or_default();
    let (method, uri) = line.split_at(line.iter().position(|&octet| octet == b' ').unwrap_or(line.len()));
    let request = Request::builder().method(method).uri(uri.trim_ascii()).version(Version::HTTP_2).body(());
    let Ok(request) = request else { return };
    let (mut parts, ()) = request.into_parts();
    parts.headers = countersign_fuzz::header_fields(lines);
    let mut limits = Limits::default();
    limits.sizes.head_bytes = 1024;
    limits.sizes.header_count = 20;
    let Ok(authority) = check_http2(&parts, &limits) else { return };

    assert!(
        !authority.is_empty() && authority.bytes().all(|c| c.is_ascii_graphic() && !b"@/?#\\".contains(&c))
    );
    for host in parts.headers.get_all("host") {
        assert!(host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()), "two authorities");
    }
    assert!(parts.method.as_str().len() <= 32 && parts.method.as_str() != "CONNECT");
    assert_eq!(parts.uri.scheme_str(), Some("https"));
    let target = parts.uri.path_and_query().expect("a path").as_str();
    assert!((target.starts_with('/') || target == "*") && !target.contains('#'));
    for name in parts.headers.keys() {
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        assert!(name.as_str().bytes().all(plain), "{name}");
    }
    // The crumbs of a cookie are one field (RFC 9113 section 8.2.3), and of lengths there is one that is a number.
    let crumbs = parts.headers.get_all("cookie").iter().count();
    let lengths: Vec<_> = parts.headers.get_all("content-length").iter().collect();
    assert!(
        lengths.len() <= 1 && lengths.iter().all(|length| length.as_bytes().iter().all(u8::is_ascii_digit))
    );
    assert!(!["TRACE", "TRACK", "PRI"].contains(&parts.method.as_str()));
    assert!(
        parts.headers.len() - crumbs.saturating_sub(1) <= limits.sizes.header_count
            && target.len() <= limits.sizes.head_bytes
    );
});
