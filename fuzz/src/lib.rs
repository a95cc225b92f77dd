//! What the fuzz targets share. Each target is one parser of hostile bytes and the property that must hold.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Cuts the input into pieces: each begins with its length in two octets. A length that is too great takes the rest.
pub fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let [high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        pieces.push(piece);
        data = rest;
    }
    pieces
}

/// Header fields, one on each line; what is none is left out.
pub fn header_fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take(32) {
        let colon = line.iter().position(|&octet| octet == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.strip_prefix(b":").unwrap_or(value).trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
