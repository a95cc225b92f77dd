//! Certificate signing requests (PKCS#10, RFC 2986): proof that the partner holds a key, and nothing more.
//!
//! Of a request only the public key is ever used (rule P5). Its subject is ignored. Alternative names that it asks for are
//! read so that [`Csr::check_names`] can refuse what the partner will not get, and a request to become a CA is refused
//! outright: nothing of it would be copied, but whoever sends it expects a certificate that we do not issue.

use crate::asn1::Signed;
use crate::key::{KeyError, PublicKey};
use crate::name::SubjectAltName;
use crate::pem::{self, Label};
use countersign_model::ReasonCode;
use der::{Decode, Encode};
use std::borrow::Cow;
use std::net::IpAddr;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// More is no request: an RSA-8192 key with a page of names has 4 KiB.
pub const MAX_BYTES: usize = 64 * 1024;
/// How many alternative names a request may ask for.
const MAX_NAMES: usize = 100;

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
    #[error("the request's signature is not valid for its key, or of an algorithm that is not accepted")]
    SignatureInvalid,
    /// The key is too weak or of an unknown kind (rule P4).
    #[error("the key is refused: {0}")]
    Key(#[from] KeyError),
    /// The request asks for a certificate that signs others.
    #[error("the request asks for a CA certificate")]
    AsksForCa,
    /// The request asks for a name that is not the client's.
    #[error("the request asks for a name that is not registered: {0:?}")]
    Name(String),
}

impl CsrError {
    /// The code that the caller sees. A request for CA:TRUE is well-formed and asks for a rank that is not the client's.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::TooLarge | Self::Malformed(_) => ReasonCode::CsrMalformed,
            Self::SignatureInvalid => ReasonCode::CsrSignatureInvalid,
            Self::Key(KeyError::Malformed) => ReasonCode::CsrMalformed,
            Self::Key(_) => ReasonCode::CsrKeyRefused,
            Self::AsksForCa | Self::Name(_) => ReasonCode::CsrNameRefused,
        }
    }
}

/// A request whose signature was verified and whose key is strong enough.
#[derive(Debug, Clone)]
pub struct Csr {
    public_key: PublicKey,
    requested_names: Vec<String>,
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
        let (rest, request) =
            X509CertificationRequest::from_der(&der).map_err(|_| CsrError::Malformed("not a request"))?;
        let info = &request.certification_request_info;
        if !rest.is_empty() {
            return Err(CsrError::Malformed("bytes after its end"));
        }
        if info.version.0 != 0 {
            return Err(CsrError::Malformed("not version 1"));
        }
        let public_key = PublicKey::from_spki_der(info.subject_pki.raw)?;
        public_key.check_strength()?;
        verify_signature(&outer, &public_key)?;
        let requested_names = requested_names(&request)?;
        Ok(Self { public_key, requested_names })
    }

    /// The key whose possession the request proves: the only thing that a certificate takes from it.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The alternative names that the request asks for, as `uri:…`, `dns:…`, `ip:…`, `email:…` or `other:…`.
    ///
    /// The requester wrote them: escape them wherever they are shown.
    pub fn requested_names(&self) -> &[String] {
        &self.requested_names
    }

    /// Whether every name asked for is one of `allowed`. Nothing asked for is fine: the profile gives what it gives.
    ///
    /// # Errors
    /// The first name that is not allowed.
    pub fn check_names(&self, allowed: &[SubjectAltName]) -> Result<(), CsrError> {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        match self.requested_names.iter().find(|name| !allowed.contains(name)) {
            Some(foreign) => Err(CsrError::Name(foreign.clone())),
            None => Ok(()),
        }
    }
}

/// DER as it is, PEM decoded: exactly one request.
fn der_of(pem_or_der: &[u8]) -> Result<Cow<'_, [u8]>, CsrError> {
    if pem_or_der.first() == Some(&0x30) && Signed::from_der(pem_or_der).is_ok() {
        return Ok(Cow::Borrowed(pem_or_der));
    }
    let text = std::str::from_utf8(pem_or_der).map_err(|_| CsrError::Malformed("neither DER nor PEM"))?;
    // RFC 7468 section 7: older tools (keytool) write the label with NEW.
    let text = text.replace("NEW CERTIFICATE REQUEST-----", "CERTIFICATE REQUEST-----");
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

fn verify_signature(outer: &Signed<'_>, key: &PublicKey) -> Result<(), CsrError> {
    let malformed = |_| CsrError::Malformed("not a signed structure");
    let info = outer.to_be_signed.to_der().map_err(malformed)?;
    let algorithm = outer.algorithm.to_der().map_err(malformed)?;
    let signature = outer.signature.as_bytes().ok_or(CsrError::SignatureInvalid)?;
    key.verify(&algorithm, &info, signature).map_err(|_| CsrError::SignatureInvalid)
}

/// RFC 2985 section 5.4.2: every name of every extensionRequest.
fn requested_names(request: &X509CertificationRequest<'_>) -> Result<Vec<String>, CsrError> {
    let mut names = Vec::new();
    for attribute in request.certification_request_info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(requested) = attribute.parsed_attribute() else { continue };
        for extension in &requested.extensions {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                    return Err(CsrError::AsksForCa);
                }
                ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => {
                    return Err(CsrError::AsksForCa);
                }
                ParsedExtension::SubjectAlternativeName(san) => {
                    // Rule T13: counted before they are copied.
                    if names.len() + san.general_names.len() > MAX_NAMES {
                        return Err(CsrError::Malformed("more than 100 names"));
                    }
                    names.extend(san.general_names.iter().map(name_text));
                }
                ParsedExtension::ParseError { .. } => return Err(CsrError::Malformed("a broken extension")),
                _ => {}
            }
        }
    }
    Ok(names)
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
