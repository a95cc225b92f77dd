//! What the fuzz targets share. Each target is one parser of hostile bytes and the property that must hold.

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
