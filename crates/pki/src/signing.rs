//! From a template to a signed document: [`ToBeSigned`] → [`Linted`] → DER. Each step takes the one before by value.
//!
//! A signer is handed [`Linted::message`] only, and [`Linted::assemble`] ends the value: what was not linted cannot be
//! signed into a certificate, and what was linted is signed once (rule P6).

use crate::asn1;
use crate::lint::{LintErrors, Policy};
use crate::signature::{SignatureInvalid, ecdsa_p256_to_der};

/// A TBSCertificate or TBSCertList in DER that nobody has looked at yet.
#[derive(Debug)]
pub struct ToBeSigned {
    der: Vec<u8>,
}

impl ToBeSigned {
    pub(crate) fn new(der: Vec<u8>) -> Self {
        Self { der }
    }

    /// Reads the bytes again, with another parser than wrote them, and holds them to `policy` (rules P5, P6).
    ///
    /// # Errors
    /// Everything that is wrong with it, not the first finding only. It is a bug or a wrong policy, never the caller's fault.
    pub fn lint(self, policy: &impl Policy) -> Result<Linted, LintErrors> {
        policy.check(&self.der)?;
        Ok(Linted { der: self.der })
    }
}

/// The bytes to be signed, linted. Signed once: [`Linted::assemble`] takes it.
#[derive(Debug)]
pub struct Linted {
    der: Vec<u8>,
}

impl Linted {
    /// What the issuer signs with ECDSA P-256 and SHA-256.
    pub fn message(&self) -> &[u8] {
        &self.der
    }

    /// The signed certificate or CRL, DER. `signature` is `r || s`, 64 octets.
    ///
    /// # Errors
    /// When the signature has another form.
    pub fn assemble(self, signature: &[u8]) -> Result<Vec<u8>, SignatureInvalid> {
        asn1::signed(&self.der, &ecdsa_p256_to_der(signature)?).map_err(|_| SignatureInvalid)
    }
}
