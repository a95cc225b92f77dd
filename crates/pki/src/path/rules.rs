//! What RFC 5280 section 4.2 and rules P1–P4 ask of a certificate and webpki does not look at.

use super::{ChainError, Purpose};
use crate::csr::ip_address;
use crate::key::{PublicKey, sha256};
use countersign_model::Timestamp;
use std::collections::HashSet;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Version;

/// Most alternative names of an end entity. Public authorities stop at 100 to 250.
const MAX_ALTERNATIVE_NAMES: usize = 250;
/// Most common names of a server, each of which is looked for among the alternative names.
const MAX_COMMON_NAMES: usize = 4;

/// What is remembered of an anchor: the certificate was checked when it was taken.
#[derive(Debug, Clone)]
pub(crate) struct AnchorFacts {
    pub(crate) key_hash: [u8; 32],
    pub(crate) subject_der: Vec<u8>,
    pub(crate) signs_crls: bool,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl AnchorFacts {
    /// An anchor's dates count: an issuer that is over vouches for nobody.
    pub(crate) fn check_at(&self, now: Timestamp) -> Result<(), ChainError> {
        match now.whole_second() {
            now if now < self.not_before => Err(ChainError::NotYetValid),
            now if now > self.not_after => Err(ChainError::Expired),
            _ => Ok(()),
        }
    }
}

pub(crate) fn check_anchor(der: &[u8]) -> Result<AnchorFacts, ChainError> {
    let certificate = super::parse(der)?;
    let extensions = Extensions::read(&certificate)?;
    check_ca(&extensions)?;
    let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
    match extensions.authority_key_identifier {
        // RFC 5280 section 4.2.1.1: only a self-signed certificate may leave it out.
        None if !self_issued => {
            return Err(ChainError::Unfit("an issuer without authority key identifier"));
        }
        Some(KeyIdentifierOnly(false)) if self_issued => {
            return Err(ChainError::Unfit("a root names its issuer in the authority key identifier"));
        }
        _ => {}
    }
    let validity = certificate.validity();
    Ok(AnchorFacts {
        key_hash: sha256(certificate.public_key().raw),
        subject_der: certificate.subject().as_raw().to_vec(),
        signs_crls: extensions.key_usage.is_none_or(|usage| usage & KEY_USAGE_CRL_SIGN != 0),
        not_before: Timestamp::from_unix_s(validity.not_before.timestamp()),
        not_after: Timestamp::from_unix_s(validity.not_after.timestamp()),
    })
}

pub(crate) fn check_intermediate(certificate: &X509Certificate<'_>) -> Result<(), ChainError> {
    let extensions = Extensions::read(certificate)?;
    check_ca(&extensions)?;
    if !extensions.subject_key_identifier {
        return Err(ChainError::Unfit("a CA without subject key identifier")); // RFC 5280 section 4.2.1.2
    }
    Ok(())
}

/// RFC 5280 sections 4.2.1.3 and 4.2.1.9.
fn check_ca(extensions: &Extensions<'_>) -> Result<(), ChainError> {
    match extensions.basic_constraints {
        Some(BasicConstraints { ca: true, critical: true }) => {}
        Some(BasicConstraints { ca: true, critical: false }) => {
            return Err(ChainError::Unfit("basic constraints of a CA are not critical"));
        }
        _ => return Err(ChainError::Unfit("an issuer is no CA")),
    }
    if extensions.key_usage.is_some_and(|usage| usage & KEY_USAGE_KEY_CERT_SIGN == 0) {
        return Err(ChainError::Unfit("an issuer may not sign certificates"));
    }
    Ok(())
}

pub(crate) fn check_end_entity(
    certificate: &X509Certificate<'_>,
    purpose: Purpose<'_>,
) -> Result<(), ChainError> {
    let extensions = Extensions::read(certificate)?;
    if extensions.name_constraints {
        return Err(ChainError::Unfit("name constraints on an end entity")); // RFC 5280 section 4.2.1.10
    }
    if let Some(usage) = extensions.key_usage {
        if usage & KEY_USAGE_KEY_CERT_SIGN != 0 {
            return Err(ChainError::Unfit("an end entity that signs certificates"));
        }
        // RFC 8446 section 4.4.2.2: a certificate that proves somebody in TLS 1.3 may sign.
        if usage & KEY_USAGE_DIGITAL_SIGNATURE == 0 {
            return Err(ChainError::Unfit("its key usage has no digitalSignature"));
        }
    }
    // webpki takes a certificate without EKU for one of every purpose, and anyExtendedKeyUsage is as good as none.
    if !extensions.extended_key_usage {
        return Err(ChainError::Unfit("it has no extended key usage"));
    }
    if certificate.subject().iter().next().is_none() && !extensions.alternative_names_critical {
        // RFC 5280 section 4.1.2.6: with an empty subject they are all there is.
        return Err(ChainError::Unfit("an empty subject without critical alternative names"));
    }
    // Each of them is compared, copied or looked up later.
    if extensions.alternative_names.is_some_and(|names| names.len() > MAX_ALTERNATIVE_NAMES) {
        return Err(ChainError::Unfit("more than 250 alternative names"));
    }
    match (purpose, extensions.alternative_names) {
        (Purpose::Client, _) => Ok(()),
        // RFC 9525 section 6.3: a server's name is looked for among the alternative names only.
        (Purpose::Server(_), None) => Err(ChainError::Unfit("a server without alternative names")),
        (Purpose::Server(_), Some(names)) => check_common_name(certificate, names),
    }
}

/// Rule P3 and CA/Browser Forum BR 7.1.4.3: a common name repeats one of the alternative names, character by character.
fn check_common_name(certificate: &X509Certificate<'_>, names: &[GeneralName<'_>]) -> Result<(), ChainError> {
    for (number, common_name) in certificate.subject().iter_common_name().enumerate() {
        if number >= MAX_COMMON_NAMES {
            return Err(ChainError::Unfit("more than 4 common names"));
        }
        let common_name = common_name.as_str().map_err(|_| ChainError::Unfit("common name"))?;
        let repeated = names.iter().any(|name| match name {
            GeneralName::DNSName(name) => *name == common_name,
            GeneralName::IPAddress(octets) => {
                ip_address(octets).is_some_and(|ip| ip.to_string() == common_name)
            }
            _ => false,
        });
        if !repeated {
            return Err(ChainError::Unfit("the common name is not among the alternative names"));
        }
    }
    Ok(())
}

/// RFC 5280 section 5.2.3: CRLNumber is there and not critical.
pub(crate) fn check_crl(der: &[u8]) -> Result<(), ChainError> {
    let (_, list) = CertificateRevocationList::from_der(der).map_err(|_| ChainError::Malformed("CRL"))?;
    let mut numbers = list.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CRLNumber(_) => Some(extension.critical),
        _ => None,
    });
    match (numbers.next(), numbers.next()) {
        (Some(false), None) => Ok(()),
        _ => Err(ChainError::Unfit("a CRL without CRLNumber, or with a critical one")),
    }
}

const KEY_USAGE_DIGITAL_SIGNATURE: u16 = 1;
const KEY_USAGE_KEY_CERT_SIGN: u16 = 1 << 5;
const KEY_USAGE_CRL_SIGN: u16 = 1 << 6;

#[derive(Clone, Copy)]
struct BasicConstraints {
    ca: bool,
    critical: bool,
}

#[derive(Clone, Copy)]
struct KeyIdentifierOnly(bool);

/// The extensions of a certificate that passed the checks that hold for every certificate of a path.
#[derive(Default)]
struct Extensions<'a> {
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<u16>,
    extended_key_usage: bool,
    subject_key_identifier: bool,
    authority_key_identifier: Option<KeyIdentifierOnly>,
    name_constraints: bool,
    alternative_names: Option<&'a [GeneralName<'a>]>,
    alternative_names_critical: bool,
}

impl<'a> Extensions<'a> {
    fn read(certificate: &'a X509Certificate<'a>) -> Result<Self, ChainError> {
        if certificate.version() != X509Version::V3 {
            return Err(ChainError::Unfit("not version 3"));
        }
        check_serial(certificate.raw_serial())?;
        let key = PublicKey::from_spki_der(certificate.public_key().raw).map_err(|_| ChainError::KeyWeak)?;
        key.check_strength().map_err(|_| ChainError::KeyWeak)?;
        let mut extensions = Self::default();
        let mut seen = HashSet::new();
        for extension in certificate.extensions() {
            if !seen.insert(&extension.oid) {
                return Err(ChainError::Unfit("an extension twice")); // RFC 5280 section 4.2
            }
            extensions.take(extension)?;
        }
        Ok(extensions)
    }

    fn take(&mut self, extension: &'a X509Extension<'a>) -> Result<(), ChainError> {
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => {
                return Err(ChainError::Unfit("an unreadable extension"));
            }
            ParsedExtension::BasicConstraints(constraints) => {
                self.basic_constraints =
                    Some(BasicConstraints { ca: constraints.ca, critical: extension.critical });
            }
            ParsedExtension::KeyUsage(usage) => self.key_usage = Some(usage.flags),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                if usage.any {
                    return Err(ChainError::Unfit("its extended key usage is any"));
                }
                self.extended_key_usage = true;
            }
            ParsedExtension::SubjectKeyIdentifier(_) => self.subject_key_identifier = true,
            ParsedExtension::AuthorityKeyIdentifier(identifier) => {
                if extension.critical {
                    return Err(ChainError::Unfit("a critical authority key identifier"));
                }
                let only =
                    identifier.authority_cert_issuer.is_none() && identifier.authority_cert_serial.is_none();
                self.authority_key_identifier = Some(KeyIdentifierOnly(only));
            }
            ParsedExtension::NameConstraints(constraints) => {
                let subtrees = [&constraints.permitted_subtrees, &constraints.excluded_subtrees];
                let empty = subtrees.iter().all(|list| list.as_ref().is_none_or(Vec::is_empty));
                if empty {
                    return Err(ChainError::Unfit("empty name constraints")); // RFC 5280 section 4.2.1.10
                }
                self.name_constraints = true;
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.alternative_names = Some(&names.general_names);
                self.alternative_names_critical = extension.critical;
            }
            ParsedExtension::UnsupportedExtension { .. } if extension.critical => {
                return Err(ChainError::Unfit("an unknown critical extension"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// RFC 5280 section 4.1.2.2: positive, at most 20 octets (a leading zero octet of a large number is one of them).
fn check_serial(octets: &[u8]) -> Result<(), ChainError> {
    let positive =
        octets.first().is_some_and(|first| first & 0x80 == 0) && octets.iter().any(|&octet| octet != 0);
    if positive && octets.len() <= 20 { Ok(()) } else { Err(ChainError::Unfit("serial number")) }
}
