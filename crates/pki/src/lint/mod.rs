//! Lints on the final to-be-signed bytes (rules P1–P6, R1): read again with another parser than wrote them, and held to
//! what is registered, not to the template they came from.
//!
//! A finding is a bug of ours or a wrong policy, never a caller's mistake: nothing is signed then.

mod certificate;
mod crl;
mod strict;

use std::fmt;

pub use certificate::CertificatePolicy;
pub use crl::CrlPolicy;

/// What a document has to be like before it is signed.
pub trait Policy {
    /// Checks the DER of a TBSCertificate or TBSCertList.
    ///
    /// # Errors
    /// Every finding.
    fn check(&self, der: &[u8]) -> Result<(), LintErrors>;
}

/// Everything that a lint found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintErrors(Vec<String>);

impl LintErrors {
    /// The findings, one sentence each.
    pub fn findings(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for LintErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not signed, because the lint found: {}", self.0.join("; "))
    }
}

impl std::error::Error for LintErrors {}

/// Collects findings.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn require(&mut self, holds: bool, otherwise: impl Into<String>) {
        if !holds {
            self.0.push(otherwise.into());
        }
    }

    fn into_result(self) -> Result<(), LintErrors> {
        if self.0.is_empty() { Ok(()) } else { Err(LintErrors(self.0)) }
    }
}

impl From<&str> for LintErrors {
    fn from(finding: &str) -> Self {
        Self(vec![finding.to_owned()])
    }
}

/// `ecdsa-with-SHA256` without parameters, as x509-parser reads it.
fn is_our_algorithm(algorithm: &x509_parser::x509::AlgorithmIdentifier<'_>) -> bool {
    algorithm.algorithm == x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256
        && algorithm.parameters.is_none()
}

/// RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050.
fn is_well_encoded(time: &x509_parser::time::ASN1Time) -> bool {
    const YEAR_2050: i64 = 2_524_608_000;
    time.is_generalizedtime() == (time.timestamp() >= YEAR_2050)
}

#[cfg(test)]
mod tests;
