//! Names in certificates: the subject (for people) and the subject alternative names (for machines).
//!
//! RFC 5280 sections 4.1.2.6 and 4.2.1.6; what a name may look like is checked before it is encoded.

use countersign_model::ClientId;
use der::asn1::{Ia5String, OctetString, Utf8StringRef};
use der::oid::ObjectIdentifier;
use der::oid::db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME};
use der::{Any, Encode, Sequence, Tag};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use x509_cert::ext::pkix::name::GeneralName;

/// `ub-organization-name` and `ub-common-name` of RFC 5280 appendix A.
const MAX_ATTRIBUTE_CHARACTERS: usize = 64;
const MAX_URI_BYTES: usize = 2048;

/// A name that does not fit into a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The organisation or common name is empty, too long, or has control characters.
    #[error("the {0} must have 1 to 64 characters and none of them a control character")]
    Attribute(&'static str),
    /// Not an absolute URI in ASCII.
    #[error("not an absolute URI of printable ASCII: {0:?}")]
    Uri(String),
    /// Not a host name.
    #[error("not a DNS name in lower case without wildcard: {0:?}")]
    Dns(String),
    /// Neither `uri:`, `dns:` nor `ip:` with a valid value.
    #[error("expected uri:…, dns:… or ip:…: {0:?}")]
    Kind(String),
}

/// The subject of a certificate: organisation and common name. Nothing decides by it (rule T7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// `O`: the registered name of a partner.
    pub organization: Option<String>,
    /// `CN`: a client's `client_id`; a server's name only if it is also among its alternative names (rule P3).
    pub common_name: Option<String>,
}

impl Subject {
    /// The subject of a client certificate: O is the registered name, CN the `client_id` (design, decision 22).
    pub fn client(registered_name: &str, client: &ClientId) -> Self {
        Self { organization: Some(registered_name.to_owned()), common_name: Some(client.as_str().to_owned()) }
    }

    /// The subject of a CA.
    pub fn authority(organization: &str, common_name: &str) -> Self {
        Self { organization: Some(organization.to_owned()), common_name: Some(common_name.to_owned()) }
    }

    /// The subject of a server certificate: its first DNS or IP name that fits a common name.
    pub fn server(names: &[SubjectAltName]) -> Self {
        let fits = |name: &SubjectAltName| match name {
            SubjectAltName::Dns(name) => Some(name.clone()),
            SubjectAltName::Ip(address) => Some(address.to_string()),
            SubjectAltName::Uri(_) => None,
        };
        let common_name = names.iter().filter_map(fits).find(|name| name.len() <= MAX_ATTRIBUTE_CHARACTERS);
        Self { organization: None, common_name }
    }

    /// The `Name`, DER. An empty one is an empty SEQUENCE.
    ///
    /// # Errors
    /// When an attribute is empty, too long or has control characters.
    pub fn to_der(&self) -> Result<Vec<u8>, NameError> {
        let mut names = Vec::new();
        for (what, oid, value) in [
            ("organization", ORGANIZATION_NAME, &self.organization),
            ("common name", COMMON_NAME, &self.common_name),
        ] {
            if let Some(value) = value {
                names.push(attribute(oid, value).ok_or(NameError::Attribute(what))?);
            }
        }
        names.to_der().map_err(|_| NameError::Attribute("subject"))
    }
}

impl fmt::Display for Subject {
    /// As RFC 4514 would, most specific first: `CN=acme-pay, O=Acme Ltd`. For people; values are not escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.common_name, &self.organization) {
            (Some(common_name), Some(organization)) => write!(f, "CN={common_name}, O={organization}"),
            (Some(common_name), None) => write!(f, "CN={common_name}"),
            (None, Some(organization)) => write!(f, "O={organization}"),
            (None, None) => Ok(()),
        }
    }
}

#[derive(Sequence)]
struct AttributeTypeAndValue<'a> {
    oid: ObjectIdentifier,
    value: Utf8StringRef<'a>,
}

/// One RelativeDistinguishedName of one attribute.
fn attribute(oid: ObjectIdentifier, value: &str) -> Option<Any> {
    let characters = value.chars().count();
    if !(1..=MAX_ATTRIBUTE_CHARACTERS).contains(&characters) || value.chars().any(char::is_control) {
        return None;
    }
    let pair = AttributeTypeAndValue { oid, value: Utf8StringRef::new(value).ok()? };
    Any::new(Tag::Set, pair.to_der().ok()?).ok()
}

/// A subject alternative name of the kinds that we issue. Displayed as `uri:…`, `dns:…`, `ip:…`, and read from that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectAltName {
    /// `uniformResourceIdentifier`; compared octet by octet (rule C4).
    Uri(String),
    /// `dNSName`.
    Dns(String),
    /// `iPAddress`.
    Ip(IpAddr),
}

impl SubjectAltName {
    /// Checks the name and encodes it.
    pub(crate) fn to_general_name(&self) -> Result<GeneralName, NameError> {
        match self {
            Self::Uri(uri) => general_uri(uri).ok_or_else(|| NameError::Uri(uri.clone())),
            Self::Dns(name) => is_host_name(name)
                .then(|| Ia5String::new(name).ok().map(GeneralName::DnsName))
                .flatten()
                .ok_or_else(|| NameError::Dns(name.clone())),
            Self::Ip(address) => {
                let octets = match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                OctetString::new(octets)
                    .map(GeneralName::IpAddress)
                    .map_err(|_| NameError::Kind(self.to_string()))
            }
        }
    }
}

impl fmt::Display for SubjectAltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => write!(f, "uri:{uri}"),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Ip(address) => write!(f, "ip:{address}"),
        }
    }
}

impl FromStr for SubjectAltName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let unknown = || NameError::Kind(text.to_owned());
        let name = match text.split_once(':').ok_or_else(unknown)? {
            ("uri", uri) => Self::Uri(uri.to_owned()),
            ("dns", name) => Self::Dns(name.to_owned()),
            ("ip", address) => Self::Ip(address.parse().map_err(|_| unknown())?),
            _ => return Err(unknown()),
        };
        name.to_general_name()?;
        Ok(name)
    }
}

/// The URI by which a certificate stands for a client: `<issuer>/clients/<client_id>` (design, decision 22).
pub fn client_uri(issuer_url: &str, client: &ClientId) -> String {
    format!("{}/clients/{client}", issuer_url.trim_end_matches('/'))
}

/// RFC 5280 section 4.2.1.6: absolute, with scheme and scheme-specific part, in IA5.
pub(crate) fn general_uri(uri: &str) -> Option<GeneralName> {
    let (scheme, rest) = uri.split_once(':')?;
    let scheme_valid = scheme.bytes().next().is_some_and(|c| c.is_ascii_alphabetic())
        && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    let printable = uri.bytes().all(|c| c.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&c));
    if !scheme_valid || rest.is_empty() || !printable || uri.len() > MAX_URI_BYTES {
        return None;
    }
    Ia5String::new(uri).ok().map(GeneralName::UniformResourceIdentifier)
}

/// RFC 1034 section 3.5 with the digits of RFC 1123 section 2.1; lower case, because names are compared as text.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    let all_digits = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(label) && !all_digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "uri:https://localhost:8443/clients/acme-pay",
            "dns:api.example.com",
            "dns:localhost",
            "ip:127.0.0.1",
            "ip:::1",
        ] {
            assert_eq!(text.parse::<SubjectAltName>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "dns:",
            "dns:*.example.com",
            "dns:Example.com",
            "dns:a..b",
            "dns:-a",
            "dns:1.2.3.4",
            "uri:relative",
            "uri:a b:c",
            "uri:https://exämple.com",
            "ip:1.2.3",
            "email:a@b",
            "uri:https:",
        ] {
            assert!(bad.parse::<SubjectAltName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subject_has_bounded_attributes_without_control_characters() {
        let subject = |name: &str| Subject { organization: Some(name.into()), common_name: None }.to_der();
        assert!(subject(&"é".repeat(64)).is_ok());
        for bad in ["", &"a".repeat(65), "a\0b", "a\nb"] {
            assert!(subject(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Subject { organization: None, common_name: None }.to_der().unwrap(), [0x30, 0]);
    }

    #[test]
    fn rule_p3_a_server_has_a_common_name_of_its_alternative_names() {
        let names = ["dns:localhost".parse().unwrap(), "ip:127.0.0.1".parse().unwrap()];
        assert_eq!(Subject::server(&names).common_name.as_deref(), Some("localhost"));
        assert_eq!(Subject::server(&names[1..]).common_name.as_deref(), Some("127.0.0.1"));
        assert_eq!(Subject::server(&[]).common_name, None);
    }
}
