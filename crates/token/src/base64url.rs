//! Strict base64url (RFC 7515 section 2): no padding, no white space, no bits beyond the last octet.
//!
//! Strict, because a second spelling of the same bytes is a second name for the same token: it would slip past a list
//! of what was revoked or replayed.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const STRICT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

/// The octets that `text` spells, if it is their one spelling.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STRICT.decode(text).ok()
}

/// Exactly `N` octets.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

/// The one spelling of `octets`.
pub(crate) fn encode(octets: impl AsRef<[u8]>) -> String {
    STRICT.encode(octets)
}

/// Appends the one spelling of `octets` to `text`.
pub(crate) fn encode_onto(octets: impl AsRef<[u8]>, text: &mut String) {
    STRICT.encode_string(octets, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling() {
        assert_eq!(decode("AQAB"), Some(vec![1, 0, 1]));
        assert_eq!(decode(""), Some(vec![]));
        for text in ["AQ==", "AQ=", "AR", "A", "AQ AB", "AQ\n", "+w", "/w", "AQAB=", "AQAB\0", "é"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
