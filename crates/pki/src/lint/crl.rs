//! The lint of a TBSCertList (rule R1).

use super::strict::is_strict_list;
use super::{Findings, LintErrors, Policy, is_our_algorithm, is_well_encoded};
use crate::certificate::IssuerIdentity;
use crate::crl::{CrlEntry, full_name_uri, read_entry};
use countersign_model::Timestamp;
use countersign_model::certificate::RevocationReason;
use x509_parser::extensions::{IssuingDistributionPoint, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::TbsCertList as ParsedList;
use x509_parser::x509::X509Version;

/// What a CRL may be.
#[derive(Debug, Clone)]
pub struct CrlPolicy<'a> {
    /// Who signs.
    pub issuer: &'a IssuerIdentity,
    /// The CRLNumber of the list before, for this issuer and shard.
    pub previous_number: Option<u64>,
    /// The address in the certificates of this shard; `None` for a list that is whole.
    pub distribution_point_url: Option<&'a str>,
    /// Rule R2: how far away nextUpdate may be.
    pub max_days: i64,
    /// The present.
    pub now: Timestamp,
}

impl CrlPolicy<'_> {
    /// Rule R2: the most for the CRL of an issuing CA.
    pub const ISSUING_CA_MAX_DAYS: i64 = 10;
    /// Rule R2: the most for the CRL of the root, 12 months.
    pub const ROOT_MAX_DAYS: i64 = 366;
}

impl Policy for CrlPolicy<'_> {
    fn check(&self, der: &[u8]) -> Result<(), LintErrors> {
        let (rest, list) = ParsedList::from_der(der).map_err(|_| LintErrors::from("unreadable"))?;
        let mut findings = Findings::default();
        findings.require(rest.is_empty(), "bytes after its end");
        findings.require(list.version == Some(X509Version::V2), "not version 2");
        findings.require(is_our_algorithm(&list.signature), "signature algorithm is not ecdsa-with-SHA256");
        findings.require(
            list.issuer.as_raw() == self.issuer.subject_der(),
            "issuer is not the CA's subject byte for byte",
        );
        self.check_dates(&list, &mut findings);
        let entries = check_entries(&list, &mut findings);
        findings.require(
            is_strict_list(der, &entries),
            "not strict DER, or an empty list of revoked certificates",
        );
        self.check_extensions(&list, &mut findings);
        findings.into_result()
    }
}

impl CrlPolicy<'_> {
    fn check_dates(&self, list: &ParsedList<'_>, findings: &mut Findings) {
        let Some(next_update) = &list.next_update else {
            return findings.require(false, "nextUpdate is missing");
        };
        findings.require(
            is_well_encoded(&list.this_update) && is_well_encoded(next_update),
            "UTCTime from 2050 or GeneralizedTime before",
        );
        findings.require(list.this_update.timestamp() <= self.now.unix_s(), "thisUpdate lies in the future");
        let ahead = next_update.timestamp().saturating_sub(list.this_update.timestamp());
        findings.require(
            (1..=self.max_days.saturating_mul(86_400)).contains(&ahead),
            "nextUpdate is not after thisUpdate, or too far away",
        );
    }

    /// AKI, CRLNumber and, of a shard alone, a critical IDP, each once, and no others.
    fn check_extensions(&self, list: &ParsedList<'_>, findings: &mut Findings) {
        let mut seen = Vec::new();
        for extension in list.extensions() {
            let (name, valid) = self.check_extension(extension);
            findings.require(valid, format!("{name} is not as it has to be"));
            seen.push(name);
        }
        seen.sort_unstable();
        let point = self.distribution_point_url.map(|_| "issuingDistributionPoint");
        findings.require(
            seen.into_iter().eq(["authorityKeyIdentifier", "cRLNumber"].into_iter().chain(point)),
            "extensions are not exactly AKI, CRLNumber and, of a shard, IDP",
        );
    }

    fn check_extension(&self, extension: &X509Extension<'_>) -> (&'static str, bool) {
        let critical = extension.critical;
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(aki) => {
                let identifier = aki.key_identifier.as_ref().map(|identifier| identifier.0);
                let only = aki.authority_cert_issuer.is_none() && aki.authority_cert_serial.is_none();
                (
                    "authorityKeyIdentifier",
                    !critical && only && identifier == Some(self.issuer.key_identifier()),
                )
            }
            ParsedExtension::CRLNumber(number) => {
                let increases = u64::try_from(number)
                    .is_ok_and(|number| self.previous_number.is_none_or(|previous| number > previous));
                ("cRLNumber", !critical && increases)
            }
            ParsedExtension::IssuingDistributionPoint(point) => {
                ("issuingDistributionPoint", critical && self.is_our_point(point))
            }
            _ => ("another extension", false),
        }
    }

    fn is_our_point(&self, point: &IssuingDistributionPoint<'_>) -> bool {
        let uri = point.distribution_point.as_ref().and_then(full_name_uri);
        let partial = point.only_contains_user_certs
            || point.only_contains_ca_certs
            || point.only_contains_attribute_certs
            || point.only_some_reasons.is_some();
        uri.is_some() && uri.as_deref() == self.distribution_point_url && !partial && !point.indirect_crl
    }
}

/// What is revoked, as far as it can be read.
fn check_entries(list: &ParsedList<'_>, findings: &mut Findings) -> Vec<CrlEntry> {
    let mut entries: Vec<CrlEntry> = Vec::with_capacity(list.revoked_certificates.len());
    for entry in &list.revoked_certificates {
        let Ok(read) = read_entry(entry) else {
            findings.require(false, "an entry with a bad serial number or a reason that we do not use");
            return entries;
        };
        if entries.last().is_some_and(|previous| previous.serial >= read.serial) {
            findings.require(false, format!("serial number {} is out of order or twice", read.serial));
        }
        findings.require(is_well_encoded(&entry.revocation_date), "a badly encoded revocation date");
        findings.require(
            entry.revocation_date.timestamp() <= list.this_update.timestamp(),
            "a revocation date after thisUpdate",
        );
        let extensions = usize::from(read.reason != RevocationReason::Unspecified);
        findings.require(
            entry.extensions().len() == extensions
                && entry.extensions().iter().all(|extension| !extension.critical),
            "an entry with an explicit unspecified or another extension",
        );
        entries.push(read);
    }
    entries
}
