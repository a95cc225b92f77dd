//! The lint of a TBSCertificate.

use super::strict::is_strict_certificate;
use super::{Findings, LintErrors, Policy, is_our_algorithm, is_well_encoded};
use crate::certificate::IssuerIdentity;
use crate::csr::name_text;
use crate::key::PublicKey;
use crate::name::{Subject, SubjectAltName};
use crate::profile;
use countersign_model::Timestamp;
use countersign_model::certificate::Profile;
use std::collections::BTreeSet;
use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::{
    AuthorityInfoAccess, CRLDistributionPoints, ExtendedKeyUsage, GeneralName, ParsedExtension, X509Extension,
};
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

/// What a certificate may be: from the ledger and the registration, not from the request (rule P5).
#[derive(Debug, Clone)]
pub struct CertificatePolicy<'a> {
    /// The shape.
    pub profile: Profile,
    /// Who signs.
    pub issuer: &'a IssuerIdentity,
    /// The subject that is registered.
    pub subject: &'a Subject,
    /// The names that are registered: the certificate has all of them, in this order, and no others.
    pub names: &'a [SubjectAltName],
    /// The key whose possession was proven.
    pub public_key: &'a PublicKey,
    /// The CRL address of the issuer and shard.
    pub crl_url: Option<&'a str>,
    /// The address of the issuer's certificate.
    pub issuer_url: Option<&'a str>,
    /// The present.
    pub now: Timestamp,
}

impl Policy for CertificatePolicy<'_> {
    fn check(&self, der: &[u8]) -> Result<(), LintErrors> {
        let (rest, tbs) = TbsCertificate::from_der(der).map_err(|_| LintErrors::from("unreadable"))?;
        let mut findings = Findings::default();
        findings.require(rest.is_empty(), "bytes after its end");
        let strict = self.subject.to_der().is_ok_and(|subject| is_strict_certificate(der, &subject));
        findings.require(strict, "not strict DER");
        self.check_fields(&tbs, &mut findings);
        self.check_validity(&tbs, &mut findings);
        self.check_subject(&tbs, &mut findings);
        self.check_key(&tbs, &mut findings);
        self.check_extensions(&tbs, &mut findings);
        findings.into_result()
    }
}

impl CertificatePolicy<'_> {
    /// Rule P1.
    fn check_fields(&self, tbs: &TbsCertificate<'_>, findings: &mut Findings) {
        findings.require(tbs.version() == X509Version::V3, "not version 3");
        let serial = tbs.raw_serial();
        findings.require(
            (8..=20).contains(&serial.len()),
            "serial number of less than 64 bits or more than 20 octets",
        );
        findings.require(serial.first().is_some_and(|first| first & 0x80 == 0), "negative serial number");
        findings.require(is_our_algorithm(&tbs.signature), "signature algorithm is not ecdsa-with-SHA256");
        findings.require(
            tbs.issuer().as_raw() == self.issuer.subject_der(),
            "issuer is not the CA's subject byte for byte",
        );
        findings.require(tbs.issuer_uid.is_none() && tbs.subject_uid.is_none(), "unique identifiers");
    }

    /// Rules P1, P3 and P9.
    fn check_validity(&self, tbs: &TbsCertificate<'_>, findings: &mut Findings) {
        let (not_before, not_after) = (&tbs.validity().not_before, &tbs.validity().not_after);
        findings.require(
            is_well_encoded(not_before) && is_well_encoded(not_after),
            "UTCTime from 2050 or GeneralizedTime before",
        );
        let now = self.now.unix_s();
        let age = now.saturating_sub(not_before.timestamp());
        findings
            .require((0..=profile::BACKDATE_MAX_S).contains(&age), "notBefore is not within the last hour");
        let rest = not_after.timestamp().saturating_sub(now);
        findings.require(rest > 0, "notAfter has passed");
        let longest = profile::lifetime_days(self.profile).saturating_mul(86_400);
        findings.require(rest <= longest, "lives longer than its profile allows");
        findings.require(
            not_after.timestamp() <= self.issuer.not_after().unix_s(),
            "lives longer than its issuer",
        );
    }

    /// Rule P5: organisation and common name as registered, nothing else.
    fn check_subject(&self, tbs: &TbsCertificate<'_>, findings: &mut Findings) {
        let single = tbs.subject().iter_rdn().all(|rdn| rdn.iter().count() == 1);
        findings.require(single, "a relative distinguished name with several attributes");
        let mut found = Vec::new();
        for attribute in tbs.subject().iter_attributes() {
            found.push((attribute.attr_type().clone(), attribute.as_str().ok()));
        }
        let mut expected = Vec::new();
        expected.extend(
            self.subject.organization.as_deref().map(|name| (OID_X509_ORGANIZATION_NAME, Some(name))),
        );
        expected.extend(self.subject.common_name.as_deref().map(|name| (OID_X509_COMMON_NAME, Some(name))));
        findings.require(found == expected, "subject is not the registered one");
        // Rule P3: a server's common name is one of its alternative names.
        if let (Profile::Server, Some(common_name)) = (self.profile, &self.subject.common_name) {
            let repeated = self.names.iter().any(|name| match name {
                SubjectAltName::Dns(name) => name == common_name,
                SubjectAltName::Ip(address) => address.to_string() == *common_name,
                SubjectAltName::Uri(_) => false,
            });
            findings.require(repeated, "common name is not among the alternative names");
        }
        if self.profile == Profile::RootCa {
            findings.require(tbs.subject().as_raw() == tbs.issuer().as_raw(), "a root with another issuer");
        }
    }

    /// Rule P4.
    fn check_key(&self, tbs: &TbsCertificate<'_>, findings: &mut Findings) {
        findings.require(
            tbs.public_key().raw == self.public_key.spki_der(),
            "key is not the one that was proven",
        );
        let strong = PublicKey::from_spki_der(tbs.public_key().raw).and_then(|key| key.check_strength());
        findings.require(strong.is_ok(), "key is too weak or of an unknown kind");
        let issuer_key = self.public_key == self.issuer.public_key();
        let root = self.profile == Profile::RootCa;
        findings.require(
            issuer_key == root,
            "key of its issuer on a certificate that is no root, or the reverse",
        );
    }

    /// Rules P2 and P3: each extension once, with the right criticality and content, and no others.
    fn check_extensions(&self, tbs: &TbsCertificate<'_>, findings: &mut Findings) {
        let mut seen = BTreeSet::new();
        for extension in tbs.extensions() {
            let (name, valid) = self.check_extension(tbs, extension);
            findings.require(valid, format!("{name} is not as the profile wants it"));
            findings.require(seen.insert(name), format!("{name} twice"));
        }
        let expected = self.expected_extensions();
        for missing in expected.difference(&seen) {
            findings.require(false, format!("{missing} is missing"));
        }
        for surplus in seen.difference(&expected) {
            findings.require(false, format!("{surplus} has no place in this profile"));
        }
    }

    fn expected_extensions(&self) -> BTreeSet<&'static str> {
        let mut expected = BTreeSet::from(["authorityKeyIdentifier", "subjectKeyIdentifier", "keyUsage"]);
        if profile::is_ca(self.profile) {
            expected.insert("basicConstraints");
        } else {
            expected.extend(["extKeyUsage", "subjectAltName"]);
        }
        if self.crl_url.is_some() {
            expected.insert("cRLDistributionPoints");
        }
        if self.issuer_url.is_some() {
            expected.insert("authorityInfoAccess");
        }
        expected
    }

    fn check_extension(
        &self,
        tbs: &TbsCertificate<'_>,
        extension: &X509Extension<'_>,
    ) -> (&'static str, bool) {
        let critical = extension.critical;
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(aki) => {
                let identifier = aki.key_identifier.as_ref().map(|identifier| identifier.0);
                let only = aki.authority_cert_issuer.is_none() && aki.authority_cert_serial.is_none();
                let same = identifier == Some(self.issuer.key_identifier());
                ("authorityKeyIdentifier", !critical && only && same)
            }
            ParsedExtension::SubjectKeyIdentifier(ski) => {
                ("subjectKeyIdentifier", !critical && ski.0 == self.public_key.ski())
            }
            ParsedExtension::BasicConstraints(constraints) => {
                let length = profile::path_length(self.profile).map(u32::from);
                let same = constraints.ca && constraints.path_len_constraint == length;
                ("basicConstraints", critical && same && profile::is_ca(self.profile))
            }
            ParsedExtension::KeyUsage(usage) => {
                const DIGITAL_SIGNATURE: u16 = 1;
                const KEY_CERT_SIGN_AND_CRL_SIGN: u16 = 0b110_0000;
                let wanted =
                    if profile::is_ca(self.profile) { KEY_CERT_SIGN_AND_CRL_SIGN } else { DIGITAL_SIGNATURE };
                ("keyUsage", critical && usage.flags == wanted)
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                ("extKeyUsage", !critical && self.is_single_purpose(usage))
            }
            ParsedExtension::SubjectAlternativeName(san) => {
                let empty_subject = tbs.subject().iter().next().is_none();
                let names = san.general_names.iter().map(name_text);
                let same = names.eq(self.names.iter().map(ToString::to_string));
                ("subjectAltName", critical == empty_subject && same && !self.names.is_empty())
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                ("cRLDistributionPoints", !critical && is_one_point(points, self.crl_url))
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                ("authorityInfoAccess", !critical && is_ca_issuers(access, self.issuer_url))
            }
            _ => ("another extension", false),
        }
    }

    fn is_single_purpose(&self, usage: &ExtendedKeyUsage<'_>) -> bool {
        let others = usage.any
            || usage.code_signing
            || usage.email_protection
            || usage.time_stamping
            || usage.ocsp_signing
            || !usage.other.is_empty();
        let (client, server) = match self.profile {
            Profile::Client => (true, false),
            Profile::Server => (false, true),
            Profile::RootCa | Profile::IssuingCa => return false,
        };
        usage.client_auth == client && usage.server_auth == server && !others
    }
}

/// One distribution point with one plain http URI, byte for byte the one of the CRL (rule R1).
fn is_one_point(points: &CRLDistributionPoints<'_>, url: Option<&str>) -> bool {
    let [point] = points.points.as_slice() else { return false };
    let uri = point.distribution_point.as_ref().and_then(crate::crl::full_name_uri);
    point.reasons.is_none() && point.crl_issuer.is_none() && is_http(uri.as_deref(), url)
}

/// Until there is OCSP, caIssuers only (design, decision 23).
fn is_ca_issuers(access: &AuthorityInfoAccess<'_>, url: Option<&str>) -> bool {
    let [description] = access.accessdescs.as_slice() else { return false };
    let uri = match description.access_location {
        GeneralName::URI(uri) => Some(uri),
        _ => None,
    };
    description.access_method == x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS
        && is_http(uri, url)
}

fn is_http(found: Option<&str>, expected: Option<&str>) -> bool {
    found.is_some_and(|found| found.starts_with("http://")) && found == expected
}
