//! A token request: its form, and the credentials in form and header. First piece: Authorization; the rest: the body.
#![no_main]

use countersign_oauth::request::TokenRequest;
use countersign_policy::client_auth::Presented;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&octet| octet == b'\n').unwrap_or(0);
    let (authorization, body) = data.split_at(end);
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let mut request = Request::post("/oauth2/token");
    request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if !authorization.is_empty() {
        let Ok(value) = HeaderValue::from_bytes(authorization) else { return };
        request = request.header(AUTHORIZATION, value);
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let Ok(token_request) = TokenRequest::parse(&parts, body) else { return };
    let _ = Presented::at_endpoint(&parts.headers, &token_request.client_form());
});
