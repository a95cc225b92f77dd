//! Names of things: each a type of its own, so that none is taken for another.

use crate::{Rng, Timestamp, rng};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use ulid::Ulid;

/// A text that is not a name of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
}

/// Makes a name type out of lower-case letters, digits, `.`, `_` and `-`: safe in a log, a path, a URI and a header.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_name(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { what: $what, rule: "1 to 64 characters of a-z 0-9 . _ -, first a letter or digit" })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c));
    first && rest && text.len() <= 64
}

name_type!(
    /// `client_id` of RFC 6749 section 2.2. Chosen by the operator, never by the client (RFC 9068 section 5).
    ClientId,
    "client_id"
);
name_type!(
    /// One of our certificate authorities, as it stands in CRL addresses: `root`, `clients`, `servers`.
    IssuerId,
    "issuer name"
);

/// Makes an identifier that sorts by the time of its making.
macro_rules! ulid_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Ulid);

        impl $name {
            /// A new one: `now` and 80 random bits.
            pub fn generate(now: Timestamp, rng: &dyn Rng) -> Self {
                let [a, b, c, d, e, f, g, h, i, j] = rng::random::<10>(rng);
                let random = u128::from_be_bytes([0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h, i, j]);
                Self(Ulid::from_parts(u64::try_from(now.unix_ms()).unwrap_or(0), random))
            }

            /// When it was made.
            pub fn at(self) -> Timestamp {
                Timestamp::from_unix_ms(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Only the canonical form: one object has one name in logs and look-ups.
                match Ulid::from_string(text) {
                    Ok(ulid) if ulid.to_string() == text => Ok(Self(ulid)),
                    _ => Err(InvalidId { what: $what, rule: "26 characters of Crockford's base 32 (a ULID)" }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ulid_type!(
    /// `Countersign-Ref`: finds the full story of an answer in the audit log. Carries its time and nothing else; no secret.
    Reference,
    "reference"
);
ulid_type!(
    /// One credential of a client.
    CredentialId,
    "credential id"
);

/// The identifier of a key: the RFC 7638 thumbprint of its public JWK, base64url. It is the `kid` of token keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A certificate's serial number: the content octets of the DER INTEGER, without leading zeros; 1 to 20 of them.
///
/// Displayed in lower-case hexadecimal. RFC 5280 section 4.1.2.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial {
    len: u8,
    octets: [u8; 20],
}

impl Serial {
    /// Takes big-endian octets; leading zeros do not count. `None` when nothing or more than 20 octets remain.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let start = octets.iter().position(|&octet| octet != 0)?;
        let significant = &octets[start..];
        let mut serial = Self { len: u8::try_from(significant.len()).ok()?, octets: [0; 20] };
        serial.octets.get_mut(..significant.len())?.copy_from_slice(significant);
        Some(serial)
    }

    /// The octets, big-endian, the first one not zero.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// The short form that people read: `3f9a…c21e`.
    pub fn short(&self) -> String {
        let full = self.to_string();
        if full.len() <= 9 { full } else { format!("{}…{}", &full[..4], &full[full.len() - 4..]) }
    }
}

/// What a person types for a serial number: the whole of it, a beginning (`3f9a1b2c`), or the short form of our tables
/// (`3f9a…c21e`, also with two dots). A typing mistake in a few digits would lead to another certificate: beginning and
/// end have at least eight digits together, or are the whole number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPattern {
    begin: String,
    end: String,
}

impl SerialPattern {
    /// How many digits are needed where they are not the whole number: 32 bits, of which 30 are random.
    pub const MIN_DIGITS: usize = 8;

    /// The digits that the number begins with, in lower case.
    pub fn begin(&self) -> &str {
        &self.begin
    }

    /// Whether there are enough digits to tell certificates apart.
    pub fn is_long_enough(&self) -> bool {
        self.begin.len() + self.end.len() >= Self::MIN_DIGITS
    }

    /// The number, if the pattern is a whole one.
    pub fn whole(&self) -> Option<Serial> {
        if self.end.is_empty() { self.begin.parse().ok() } else { None }
    }

    /// Whether the number has this beginning and this end, which do not overlap.
    pub fn matches(&self, serial: &Serial) -> bool {
        let text = serial.to_string();
        text.len() >= self.begin.len() + self.end.len()
            && text.starts_with(&self.begin)
            && text.ends_with(&self.end)
    }
}

impl FromStr for SerialPattern {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (begin, end) = text.split_once('…').or_else(|| text.split_once("..")).unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|c| c.is_ascii_hexdigit());
        if begin.is_empty() || begin.len() + end.len() > 40 || !digits(begin) || !digits(end) {
            return Err(InvalidId {
                what: "serial number",
                rule: "hexadecimal digits, with … between its parts",
            });
        }
        Ok(Self { begin: begin.to_ascii_lowercase(), end: end.to_ascii_lowercase() })
    }
}

impl FromStr for Serial {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { what: "serial number", rule: "2 to 40 hexadecimal digits" };
        let octets = hex::decode(text).map_err(|_| invalid)?;
        Self::from_octets(&octets).ok_or(invalid)
    }
}

impl TryFrom<String> for Serial {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.to_string()
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.octets()))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// SHA-256 of a DER certificate. Displayed as `x5t#S256`: base64url without padding (RFC 8705 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbprint(pub [u8; 32]);

impl FromStr for Thumbprint {
    type Err = InvalidId;
    /// Reads unpadded base64url or 64 hexadecimal digits (with or without colons, as openssl prints them).
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let decoded = if text.len() == 43 {
            URL_SAFE_NO_PAD.decode(text).ok()
        } else {
            hex::decode(text.replace(':', "")).ok()
        };
        decoded.and_then(|octets| octets.try_into().ok()).map(Self).ok_or(InvalidId {
            what: "thumbprint",
            rule: "SHA-256 as 43 characters of base64url or 64 hexadecimal digits",
        })
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        thumbprint.to_string()
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;
    impl Rng for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = i as u8;
            }
        }
    }

    #[test]
    fn a_client_id_is_safe_everywhere_it_is_written() {
        for good in ["acme-pay", "0", "a.b_c-d"] {
            assert!(good.parse::<ClientId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "Acme", "a/b", "a b", "a\n", "é", "..", &"a".repeat(65)] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reference_carries_its_time_and_reads_only_its_canonical_form() {
        let now = Timestamp::from_unix_ms(1_799_999_999_123);
        let reference = Reference::generate(now, &Counting);
        assert_eq!(reference.at(), now);
        let text = reference.to_string();
        assert_eq!(text.parse::<Reference>(), Ok(reference));
        assert!(text.to_lowercase().parse::<Reference>().is_err());
    }

    #[test]
    fn a_serial_ignores_leading_zeros_and_refuses_zero() {
        assert_eq!(Serial::from_octets(&[0, 0x3f, 0x9a]).unwrap().to_string(), "3f9a");
        assert_eq!(Serial::from_octets(&[0, 0]), None);
        assert_eq!(Serial::from_octets(&[1; 21]), None);
        assert_eq!("003F9A".parse::<Serial>().unwrap().to_string(), "3f9a");
    }

    #[test]
    fn a_thumbprint_reads_what_openssl_prints() {
        let thumbprint = Thumbprint([0xab; 32]);
        let openssl = vec!["AB"; 32].join(":");
        assert_eq!(openssl.parse::<Thumbprint>(), Ok(thumbprint));
        assert_eq!(thumbprint.to_string().parse::<Thumbprint>(), Ok(thumbprint));
    }
}
