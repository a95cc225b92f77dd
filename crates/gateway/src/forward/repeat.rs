//! The one request that is sent a second time (rule G17): a GET without a body, on a kept connection that was just closed.
//!
//! An upstream closes a connection that it has not used for a while, and may do so just as we write to it. It has not read
//! the request then, but from here this looks like one that died of the request. GET changes nothing (RFC 9110 section
//! 9.2.1), so it may be sent again; the second time goes over a connection that is new.

use super::upload::Upload;
use http::{Method, Request};
use http_body::Body;
use httparse::{EMPTY_HEADER, Status};

/// Whether `request` may be sent a second time.
pub(super) fn is_repeatable(request: &Request<Upload>) -> bool {
    request.method() == Method::GET && request.body().is_end_stream()
}

/// The request that was written as these octets.
pub(super) fn request(written: &[u8]) -> Option<Request<Upload>> {
    let lines = written.iter().filter(|octet| **octet == b'\n').count();
    let mut fields = vec![EMPTY_HEADER; lines];
    let mut head = httparse::Request::new(&mut fields);
    let Ok(Status::Complete(length)) = head.parse(written) else { return None };
    if length != written.len() {
        return None;
    }
    let mut request = Request::builder().method(head.method?).uri(head.path?);
    for field in head.headers {
        request = request.header(field.name, field.value);
    }
    request.body(Upload::nothing()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g17_what_is_not_one_whole_request_without_a_body_is_not_repeated() {
        let whole = "GET /a?b HTTP/1.1\r\nhost: x\r\nx-a: 1\r\nx-a: \u{e4}\r\n\r\n";
        let repeated = request(whole.as_bytes()).unwrap();
        assert_eq!((repeated.method(), repeated.uri().to_string()), (&Method::GET, "/a?b".to_owned()));
        let values: Vec<_> = repeated.headers().get_all("x-a").iter().map(|value| value.as_bytes()).collect();
        assert_eq!(values, [b"1".as_slice(), "\u{e4}".as_bytes()]);
        assert!(is_repeatable(&repeated));
        for length in 0..whole.len() {
            assert!(request(&whole.as_bytes()[..length]).is_none(), "{length}");
        }
        assert!(request(format!("{whole}x").as_bytes()).is_none());
    }
}
