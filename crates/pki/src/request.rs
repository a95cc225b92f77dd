//! Writing a certificate signing request (RFC 2986): the partner's side, for `countersign cert request`.
//!
//! Two steps, because the key that signs is somewhere else: [`csr_info_to_sign`], then [`assemble_csr`].

use crate::asn1::{self, CertificationRequestInfo};
use crate::certificate::BuildError;
use crate::name::Subject;
use crate::pem::{self, Label};
use crate::signature::{SignatureInvalid, ecdsa_p256_to_der};
use der::asn1::{AnyRef, SetOfVec};
use der::{Decode, Encode};

/// The CertificationRequestInfo that the key must sign with ECDSA P-256 and SHA-256. It asks for nothing but a subject.
///
/// # Errors
/// When the common name does not fit, or `spki` is not a SubjectPublicKeyInfo.
pub fn csr_info_to_sign(common_name: &str, spki: &[u8]) -> Result<Vec<u8>, BuildError> {
    let subject = Subject { organization: None, common_name: Some(common_name.to_owned()) }.to_der()?;
    let info = CertificationRequestInfo {
        version: 0, // v1
        subject: AnyRef::from_der(&subject)?,
        subject_public_key_info: AnyRef::from_der(spki)?,
        attributes: SetOfVec::new(),
    };
    Ok(info.to_der()?)
}

/// The request as PEM, from [`csr_info_to_sign`] and its signature `r || s`.
///
/// # Errors
/// When the signature has another form.
pub fn assemble_csr(info: &[u8], ecdsa_p256_raw_signature: &[u8]) -> Result<String, SignatureInvalid> {
    let signature = ecdsa_p256_to_der(ecdsa_p256_raw_signature)?;
    let der = asn1::signed(info, &signature).map_err(|_| SignatureInvalid)?;
    Ok(pem::encode(Label::CertificateRequest, &der))
}
