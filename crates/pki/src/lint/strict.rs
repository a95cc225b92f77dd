//! Strict DER: x509-parser forgives wrong tag classes and the like, so the bytes are read once more by `der`, which forgives
//! nothing, and must come out again as they went in (X.690 section 10: one value, one encoding).

use crate::asn1::{Extension, TbsCertListFrame, TbsCertificate};
use crate::crl::{CrlEntry, ISSUING_DISTRIBUTION_POINT, encode_entries};
use der::asn1::OctetString;
use der::oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_CRL_NUMBER,
    ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
    ID_PE_AUTHORITY_INFO_ACCESS,
};
use der::{Decode, Encode};
use x509_cert::ext::pkix::crl::dp::IssuingDistributionPoint;
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints,
    ExtendedKeyUsage, KeyUsage, SubjectAltName,
};

pub(super) fn is_strict_certificate(der: &[u8], subject: &[u8]) -> bool {
    let Ok(tbs) = TbsCertificate::from_der(der) else { return false };
    let same_subject = tbs.subject.to_der().is_ok_and(|encoded| encoded == subject);
    round_trips::<TbsCertificate<'_>>(der) && same_subject && tbs.extensions.iter().all(is_strict_extension)
}

/// `entries` are those that another parser has read: written again they must be the bytes that they were read from.
pub(super) fn is_strict_list(der: &[u8], entries: &[CrlEntry]) -> bool {
    let Ok(list) = TbsCertListFrame::from_der(der) else { return false };
    let as_written = match list.revoked_certificates {
        None => entries.is_empty(),
        // RFC 5280 section 5.1.2.6: absent, not empty. x509-parser does not tell one from the other.
        Some(revoked) => {
            !entries.is_empty() && encode_entries(entries).is_ok_and(|encoded| encoded == revoked.0)
        }
    };
    as_written
        && list.to_der().is_ok_and(|encoded| encoded == der)
        && list.extensions.iter().all(is_strict_extension)
}

fn is_strict_extension(extension: &Extension) -> bool {
    let value = extension.value.as_bytes();
    match extension.oid {
        ID_CE_AUTHORITY_KEY_IDENTIFIER => round_trips::<AuthorityKeyIdentifier>(value),
        ID_CE_SUBJECT_KEY_IDENTIFIER => round_trips::<OctetString>(value),
        ID_CE_BASIC_CONSTRAINTS => round_trips::<BasicConstraints>(value),
        ID_CE_KEY_USAGE => round_trips::<KeyUsage>(value),
        ID_CE_EXT_KEY_USAGE => round_trips::<ExtendedKeyUsage>(value),
        ID_CE_SUBJECT_ALT_NAME => round_trips::<SubjectAltName>(value),
        ID_CE_CRL_DISTRIBUTION_POINTS => round_trips::<CrlDistributionPoints>(value),
        ID_PE_AUTHORITY_INFO_ACCESS => round_trips::<AuthorityInfoAccessSyntax>(value),
        ID_CE_CRL_NUMBER => round_trips::<u64>(value),
        ISSUING_DISTRIBUTION_POINT => round_trips::<IssuingDistributionPoint>(value),
        _ => false,
    }
}

fn round_trips<'a, T: Decode<'a> + Encode>(der: &'a [u8]) -> bool {
    T::from_der(der).ok().and_then(|value| value.to_der().ok()).is_some_and(|encoded| encoded == der)
}
