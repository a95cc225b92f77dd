//! Certificate signing requests (PKCS#10, RFC 2986): proof that the partner holds a key, and nothing more.
//!
//! Of a request only the public key is ever used (rule P5). The names in it are read for two reasons: the answer says which
//! of them the certificate will not have, and a request that bears another client's name is the wrong file. A request to
//! become a CA is refused outright: nothing of it would be copied, but whoever sends it expects a certificate that we do not
//! issue.

use crate::asn1::Signed;
use crate::key::{KeyError, PublicKey};
use crate::name::{Subject, SubjectAltName};
use crate::pem::{self, Label};
use crate::signature;
use countersign_model::{ClientId, ReasonCode};
use der::asn1::AnyRef;
use der::oid::ObjectIdentifier;
use der::{Class, Decode, Encode, Reader, SliceReader, Tag, Tagged};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use x509_parser::asn1_rs::{Any, Tag as StringType};
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// More is no request: an RSA-8192 key with a page of names has 4 KiB.
pub const MAX_BYTES: usize = 64 * 1024;
/// How many alternative names a request may ask for.
const MAX_NAMES: usize = 100;
/// The attributes that hold requested extensions: RFC 2985 section 5.4.2, and the one that Microsoft's tools wrote before
/// it. No other attribute is looked into: a challengePassword may be of any string type, or of none.
const EXTENSION_REQUESTS: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14"),
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.14"),
];

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Larger than [`MAX_BYTES`].
    #[error("the request is larger than 64 KiB")]
    TooLarge,
    /// Neither DER nor one PEM block of a PKCS#10 request.
    #[error("the request is not one PKCS#10 request in PEM or DER: {0}")]
    Malformed(&'static str),
    /// The requester does not hold the key, or the request was changed.
    #[error("the request's signature is not valid for its key")]
    SignatureInvalid,
    /// The signature may be valid; its algorithm is not accepted, so nobody has looked.
    #[error(
        "the request is signed with {0}; ECDSA, RSA PKCS#1 v1.5 and RSA-PSS (with a salt as long as the hash) are accepted \
         with SHA-256, SHA-384 and SHA-512, and Ed25519"
    )]
    SignatureAlgorithm(String),
    /// The key is too weak or of an unknown kind (rule P4).
    #[error("the key is refused: {0}")]
    Key(#[from] KeyError),
    /// The request asks for a certificate that signs others.
    #[error("the request asks for a CA certificate")]
    AsksForCa,
}

impl CsrError {
    /// The code that the caller sees. A request for CA:TRUE is well-formed and asks for a rank that is not the client's.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::TooLarge | Self::Malformed(_) => ReasonCode::CsrMalformed,
            Self::SignatureInvalid => ReasonCode::CsrSignatureInvalid,
            Self::SignatureAlgorithm(_) => ReasonCode::CsrSignatureAlgorithmRefused,
            Self::Key(KeyError::Malformed) => ReasonCode::CsrMalformed,
            Self::Key(_) => ReasonCode::CsrKeyRefused,
            Self::AsksForCa => ReasonCode::CsrNameRefused,
        }
    }
}

/// A request whose signature was verified and whose key is strong enough.
#[derive(Debug, Clone)]
pub struct Csr {
    public_key: PublicKey,
    subject: Vec<Attribute>,
    requested: Requested,
}

/// What the extension requests ask for.
#[derive(Debug, Clone, Default)]
struct Requested {
    /// The alternative names, as [`name_text`] writes them.
    names: Vec<String>,
    /// What stands in those that are directory names.
    directory: Vec<Attribute>,
}

/// An attribute of a subject, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    /// `CN`, `O`, or the digits of its type.
    kind: String,
    value: String,
}

impl Csr {
    /// Reads a request, PEM or DER, and verifies its signature and key.
    ///
    /// # Errors
    /// See [`CsrError`]. The key is checked before the signature, so that a weak key costs no verification.
    pub fn parse(pem_or_der: &[u8]) -> Result<Self, CsrError> {
        if pem_or_der.len() > MAX_BYTES {
            return Err(CsrError::TooLarge);
        }
        let der = der_of(pem_or_der)?;
        let outer = Signed::from_der(&der).map_err(|_| CsrError::Malformed("not a signed structure"))?;
        let info = RequestInfo::read(outer.to_be_signed)?;
        let public_key = PublicKey::from_spki_der(&info.public_key)?;
        public_key.check_strength()?;
        verify_signature(&outer, &public_key)?;
        let subject = subject(info.subject)?;
        let requested = requested(info.attributes)?;
        Ok(Self { public_key, subject, requested })
    }

    /// The key whose possession the request proves: the only thing that a certificate takes from it.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The alternative names that the request asks for, as `uri:…`, `dns:…`, `ip:…`, `email:…` or `other:…`.
    ///
    /// The requester wrote them: escape them wherever they are shown.
    pub fn requested_names(&self) -> &[String] {
        &self.requested.names
    }

    /// What the request asks for and a certificate with this subject and these names does not have: attributes of the
    /// subject as `CN=…`, names as [`Csr::requested_names`] has them.
    ///
    /// The requester wrote them: escape them wherever they are shown.
    pub fn not_granted(&self, subject: &Subject, names: &[SubjectAltName]) -> Vec<String> {
        let granted: Vec<String> = names.iter().map(ToString::to_string).collect();
        let has = |attribute: &Attribute| {
            let value = match attribute.kind.as_str() {
                "CN" => &subject.common_name,
                "O" => &subject.organization,
                _ => &None,
            };
            value.as_ref() == Some(&attribute.value)
        };
        let attributes = self.subject.iter().filter(|attribute| !has(attribute));
        let attributes = attributes.map(|Attribute { kind, value }| format!("{kind}={value}"));
        let names = self.requested.names.iter().filter(|name| !granted.contains(name)).cloned();
        attributes.chain(names).collect()
    }

    /// The clients that the request may speak of: common names, user identifiers and alternative names, whole, and the end of
    /// a client's URI ([`crate::client_uri`]), where they have the form of a `client_id`. Most of them are no client's. An
    /// organisation is not among them: it is a name for people, and several clients of one partner have it.
    pub fn clients_named(&self) -> BTreeSet<ClientId> {
        let attributes = self.subject.iter().chain(&self.requested.directory);
        let identifies = |attribute: &&Attribute| matches!(attribute.kind.as_str(), "CN" | "uid");
        let values = attributes.filter(identifies).map(|attribute| attribute.value.as_str());
        let names = self.requested.names.iter().filter_map(|name| name.split_once(':')).map(|(_, name)| name);
        let names = names.map(|name| name.rsplit_once("/clients/").map_or(name, |(_, client)| client));
        let names = names.map(|name| name.trim_end_matches('/'));
        // DNS names and people's fingers know no case; a client_id has lower case only.
        values.chain(names).filter_map(|name| name.trim().to_ascii_lowercase().parse().ok()).collect()
    }
}

/// `CertificationRequestInfo` (RFC 2986 section 4.1).
struct RequestInfo<'a> {
    subject: AnyRef<'a>,
    public_key: Vec<u8>,
    attributes: &'a [u8],
}

impl<'a> RequestInfo<'a> {
    fn read(info: AnyRef<'a>) -> Result<Self, CsrError> {
        let not_a_request = |_| CsrError::Malformed("not a request");
        if info.tag() != Tag::Sequence {
            return Err(CsrError::Malformed("not a request"));
        }
        let mut reader = SliceReader::new(info.value()).map_err(not_a_request)?;
        let version = reader.decode::<AnyRef<'_>>().map_err(not_a_request)?;
        let subject = reader.decode::<AnyRef<'_>>().map_err(not_a_request)?;
        let public_key = reader.decode::<AnyRef<'_>>().map_err(not_a_request)?;
        if version.tag() != Tag::Integer || subject.tag() != Tag::Sequence {
            return Err(CsrError::Malformed("not a request"));
        }
        if version.value() != [0] {
            return Err(CsrError::Malformed("not version 1"));
        }
        if reader.is_finished() {
            return Err(CsrError::Malformed(
                "its attributes are missing; RFC 2986 section 4.1 wants the field even when it is empty",
            ));
        }
        let attributes = reader.decode::<AnyRef<'_>>().map_err(not_a_request)?;
        let tag = attributes.tag();
        let zero = tag.class() == Class::ContextSpecific && tag.number().value() == 0 && tag.is_constructed();
        if !zero || !reader.is_finished() {
            return Err(CsrError::Malformed("its attributes are not a set with the tag [0]"));
        }
        let public_key = public_key.to_der().map_err(not_a_request)?;
        Ok(Self { subject, public_key, attributes: attributes.value() })
    }
}

/// DER as it is, PEM decoded: exactly one request.
fn der_of(pem_or_der: &[u8]) -> Result<Cow<'_, [u8]>, CsrError> {
    if pem_or_der.first() == Some(&0x30) && Signed::from_der(pem_or_der).is_ok() {
        return Ok(Cow::Borrowed(pem_or_der));
    }
    // RFC 7468 section 7: older tools (keytool) write the label with NEW.
    let text = text_of(pem_or_der).replace("NEW CERTIFICATE REQUEST-----", "CERTIFICATE REQUEST-----");
    let blocks = pem::decode_all(Label::CertificateRequest, text.as_bytes())
        .map_err(|_| CsrError::Malformed("broken PEM"))?;
    match <[Vec<u8>; 1]>::try_from(blocks) {
        Ok([der]) => Ok(Cow::Owned(der)),
        Err(blocks) if blocks.is_empty() => {
            Err(CsrError::Malformed("no CERTIFICATE REQUEST block and no DER"))
        }
        Err(_) => Err(CsrError::Malformed("more than one request")),
    }
}

/// The text around PEM is in any encoding (RFC 7468 section 2 gives it no meaning); PEM itself is ASCII. Editors on Windows
/// put a byte order mark before it, and PowerShell's `>` writes UTF-16.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.as_chunks().0.iter().map(|pair| unit(*pair)).collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        text => String::from_utf8_lossy(text),
    }
}

fn verify_signature(outer: &Signed<'_>, key: &PublicKey) -> Result<(), CsrError> {
    let malformed = |_| CsrError::Malformed("not a signed structure");
    let info = outer.to_be_signed.to_der().map_err(malformed)?;
    let algorithm = outer.algorithm.to_der().map_err(malformed)?;
    let signature = outer.signature.as_bytes().ok_or(CsrError::SignatureInvalid)?;
    if let Some(foreign) = signature::not_accepted(outer.algorithm) {
        return Err(CsrError::SignatureAlgorithm(foreign));
    }
    key.verify(&algorithm, &info, signature).map_err(|_| CsrError::SignatureInvalid)
}

/// The attributes of the subject that are text.
fn subject(name: AnyRef<'_>) -> Result<Vec<Attribute>, CsrError> {
    let der = name.to_der().map_err(|_| CsrError::Malformed("a broken subject"))?;
    let (_, name) = X509Name::from_der(&der).map_err(|_| CsrError::Malformed("a broken subject"))?;
    attributes_of(&name)
}

fn attributes_of(name: &X509Name<'_>) -> Result<Vec<Attribute>, CsrError> {
    // Rule T13: counted before they are copied.
    if name.iter_attributes().count() > MAX_NAMES {
        return Err(CsrError::Malformed("more than 100 names"));
    }
    let text = |attribute: &AttributeTypeAndValue<'_>| {
        let kind = oid2abbrev(attribute.attr_type(), oid_registry());
        let kind = kind.map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
        Attribute { kind, value: attribute_text(attribute.attr_value()) }
    };
    Ok(name.iter_attributes().map(text).collect())
}

/// The text of an attribute, in whichever string type it stands (X.520 section 2.6): a name must not escape the comparison
/// with those of other clients by being written in an old one.
fn attribute_text(value: &Any<'_>) -> String {
    match value.tag() {
        StringType::BmpString => {
            let units: Vec<u16> =
                value.data.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16_lossy(&units)
        }
        StringType::UniversalString => {
            let units = value.data.as_chunks().0.iter().map(|unit| u32::from_be_bytes(*unit));
            units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        // T.61 as everybody writes it: Latin-1.
        StringType::T61String => value.data.iter().map(|&octet| char::from(octet)).collect(),
        _ => String::from_utf8_lossy(value.data).into_owned(),
    }
}

/// Every name of every extension request.
fn requested(attributes: &[u8]) -> Result<Requested, CsrError> {
    let mut requested = Requested::default();
    let broken = |_| CsrError::Malformed("a broken attribute");
    let mut attributes = SliceReader::new(attributes).map_err(broken)?;
    while !attributes.is_finished() {
        let attribute = attributes.decode::<AnyRef<'_>>().map_err(broken)?;
        let mut fields = SliceReader::new(attribute.value()).map_err(broken)?;
        let kind = fields.decode::<ObjectIdentifier>().map_err(broken)?;
        if attribute.tag() != Tag::Sequence || !EXTENSION_REQUESTS.contains(&kind) {
            continue;
        }
        let values = fields.decode::<AnyRef<'_>>().map_err(broken)?;
        if values.tag() != Tag::Set || !fields.is_finished() {
            return Err(CsrError::Malformed("a broken attribute"));
        }
        let mut values = SliceReader::new(values.value()).map_err(broken)?;
        while !values.is_finished() {
            let extensions = values.decode::<AnyRef<'_>>().map_err(broken)?;
            if extensions.tag() != Tag::Sequence {
                return Err(CsrError::Malformed("a broken attribute"));
            }
            read_extensions(extensions.value(), &mut requested)?;
        }
    }
    Ok(requested)
}

fn read_extensions(mut extensions: &[u8], requested: &mut Requested) -> Result<(), CsrError> {
    while !extensions.is_empty() {
        let (rest, extension) =
            X509Extension::from_der(extensions).map_err(|_| CsrError::Malformed("a broken extension"))?;
        extensions = rest;
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                return Err(CsrError::AsksForCa);
            }
            ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => {
                return Err(CsrError::AsksForCa);
            }
            ParsedExtension::SubjectAlternativeName(san) => {
                // Rule T13: counted before they are copied.
                if requested.names.len() + san.general_names.len() > MAX_NAMES {
                    return Err(CsrError::Malformed("more than 100 names"));
                }
                for name in &san.general_names {
                    requested.names.push(name_text(name));
                    if let GeneralName::DirectoryName(name) = name {
                        requested.directory.extend(attributes_of(name)?);
                    }
                }
            }
            ParsedExtension::ParseError { .. } => return Err(CsrError::Malformed("a broken extension")),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn name_text(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => format!("uri:{uri}"),
        GeneralName::DNSName(name) => format!("dns:{name}"),
        GeneralName::RFC822Name(address) => format!("email:{address}"),
        GeneralName::IPAddress(octets) => match ip_address(octets) {
            Some(address) => format!("ip:{address}"),
            None => "other:iPAddress".to_owned(),
        },
        GeneralName::DirectoryName(_) => "other:directoryName".to_owned(),
        GeneralName::OtherName(oid, _) => format!("other:{oid}"),
        _ => "other".to_owned(),
    }
}

pub(crate) fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}
