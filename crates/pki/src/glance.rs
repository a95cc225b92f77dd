//! What is read of a certificate without asking whether to trust it.

use crate::crl::full_name_uri;
use crate::key::sha256;
use crate::profile::Validity;
use countersign_model::{Thumbprint, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// SHA-256 over the DER of a certificate: `x5t#S256` (RFC 8705 section 3.1).
pub fn thumbprint(certificate: &[u8]) -> Thumbprint {
    Thumbprint(sha256(certificate))
}

/// The last moment of a certificate's validity; `None` when it is none.
pub fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(Timestamp::from_unix_s(certificate.validity().not_after.timestamp()))
}

/// The time in which every certificate of a server's chain is valid; `None` unless each is a certificate. A root that came
/// along does not count: clients use their own copy.
pub fn chain_validity<C: AsRef<[u8]>>(chain: &[C]) -> Option<Validity> {
    let mut common: Option<Validity> = None;
    for certificate in chain {
        let (_, certificate) = X509Certificate::from_der(certificate.as_ref()).ok()?;
        let moment = |time: ASN1Time| Timestamp::from_unix_s(time.timestamp());
        let times = certificate.validity();
        let (not_before, not_after) = (moment(times.not_before), moment(times.not_after));
        let is_root = certificate.subject().as_raw() == certificate.issuer().as_raw();
        common = match common {
            None => Some(Validity { not_before, not_after }),
            Some(common) if is_root => Some(common),
            Some(common) => Some(Validity {
                not_before: common.not_before.max(not_before),
                not_after: common.not_after.min(not_after),
            }),
        };
    }
    common
}

/// Where the CRL that speaks of a certificate is (RFC 5280 section 4.2.1.13); `None` unless it is in one place, as in each
/// of ours but the root's.
pub fn distribution_point_url(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CRLDistributionPoints(points) => match points.points.as_slice() {
            [point] => full_name_uri(point.distribution_point.as_ref()?),
            _ => None,
        },
        _ => None,
    })
}
