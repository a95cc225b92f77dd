//! Doors for the fuzz targets to parsers that are private (feature `fuzzing`): each takes what the pipeline would give.

use crate::forwarded::Forwarded;
use crate::guard::fragments::Fragments;
use crate::guard::frames::{Frames, Refusals};
use crate::settings::Limits;
use crate::{forward, intake};
use bytes::Bytes;
use countersign_policy::decision::InternalHeaders;
use countersign_policy::{Denial, Peer, Permit};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::Empty;

/// The upstream's header fields, on a connection of `peer` over TLS; the request has no body.
pub fn for_upstream(
    headers: &mut HeaderMap,
    method: &Method,
    permit: &Permit,
    peer: Peer,
    internal: &InternalHeaders,
) {
    let Ok(forwarded) = Forwarded::new(&peer, true, "localhost") else { return };
    let (host, id) = (HeaderValue::from_static("upstream:8446"), HeaderValue::from_static("id"));
    let body = Empty::<Bytes>::new();
    let _removed =
        forward::for_upstream(headers, method, &body, permit, &peer, internal, &forwarded, &host, &id);
}

/// The client's header fields of an answer that has a body.
pub fn for_client(headers: &mut HeaderMap) {
    forward::for_client(StatusCode::OK, headers, HeaderValue::from_static("id"));
}

/// The authority of an HTTP/2 request whose head is in order.
///
/// # Errors
/// What is wrong with it.
pub fn check_http2<'a>(parts: &'a Parts, limits: &Limits) -> Result<&'a str, Denial> {
    intake::check_http2(parts, limits)
}

/// Changes the fragments in what an HTTP/2 client sends, which arrives in pieces of `cut` bytes.
pub fn without_fragments(bytes: &mut [u8], cut: usize) {
    let mut fragments = Fragments::default();
    bytes.chunks_mut(cut).for_each(|piece| fragments.read(piece));
}

/// The refusals in what an HTTP/2 server sends, which goes out in pieces of `cut` bytes.
pub fn refusals_in(bytes: &[u8], cut: usize) -> Vec<String> {
    let (refusals, mut frames) = (Refusals::default(), Frames::default());
    bytes.chunks(cut).for_each(|piece| frames.read(piece, &refusals));
    refusals.take().iter().map(|refused| format!("{refused:?}")).collect()
}
