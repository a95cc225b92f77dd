//! Signatures: the two forms of an ECDSA signature, and which algorithms we verify.
//!
//! A signer hands out `r || s` (RFC 7518 section 3.4); X.509 wants `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3).

use crate::asn1::EcdsaSignature;
use der::asn1::{AnyRef, UintRef};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
use webpki::aws_lc_rs as algorithms;

/// A signature that does not verify, or is not even one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid")]
pub struct SignatureInvalid;

/// What we verify in certificates, requests and CRLs: SHA-2 with the kinds of keys of rule P4, and nothing else.
pub(crate) const ACCEPTED: [&dyn SignatureVerificationAlgorithm; 13] = [
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P256_SHA512,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P384_SHA512,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

pub(crate) fn verify(
    key_algorithm: AlgorithmIdentifier,
    key: &[u8],
    signature_algorithm: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureInvalid> {
    let identifier = AnyRef::from_der(signature_algorithm).map_err(|_| SignatureInvalid)?;
    // What is compared below are its contents.
    if identifier.tag() != Tag::Sequence {
        return Err(SignatureInvalid);
    }
    let algorithm = ACCEPTED
        .iter()
        .find(|known| is_named_by(**known, identifier.value()) && known.public_key_alg_id() == key_algorithm)
        .ok_or(SignatureInvalid)?;
    algorithm.verify_signature(key, message, signature).map_err(|_| SignatureInvalid)
}

/// Whether the content of an AlgorithmIdentifier names this algorithm. RFC 4055 section 5: of RSA with PKCS#1 v1.5 the NULL
/// parameters may be absent, and must be accepted so.
fn is_named_by(known: &dyn SignatureVerificationAlgorithm, content: &[u8]) -> bool {
    const NULL: &[u8] = &[5, 0];
    let identifier = known.signature_alg_id();
    identifier.as_ref() == content
        || (known.public_key_alg_id() == alg_id::RSA_ENCRYPTION
            && identifier.as_ref().strip_suffix(NULL) == Some(content))
}

/// The name of an algorithm that is not one of [`ACCEPTED`]; what is not an AlgorithmIdentifier has none, and verifies
/// nothing either.
pub(crate) fn not_accepted(algorithm: AnyRef<'_>) -> Option<String> {
    let content = algorithm.value();
    if algorithm.tag() != Tag::Sequence || ACCEPTED.iter().any(|known| is_named_by(*known, content)) {
        return None;
    }
    let oid = SliceReader::new(content).ok()?.decode::<ObjectIdentifier>().ok()?.to_string();
    // Those that tools still write.
    let name = match oid.as_str() {
        "1.2.840.113549.1.1.4" => "RSA and MD5",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "RSA and SHA-1",
        "1.2.840.113549.1.1.14" => "RSA and SHA-224",
        "1.2.840.113549.1.1.10" => "RSA-PSS with other parameters than ours",
        "1.2.840.113549.1.1.11" | "1.2.840.113549.1.1.12" | "1.2.840.113549.1.1.13" => {
            "RSA PKCS#1 v1.5 with parameters that are not NULL"
        }
        "1.2.840.10045.4.1" => "ECDSA and SHA-1",
        "1.2.840.10045.4.3.1" => "ECDSA and SHA-224",
        "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3" | "1.2.840.10045.4.3.4" => "ECDSA with parameters",
        "1.3.101.112" => "Ed25519 with parameters",
        "1.3.101.113" => "Ed448",
        _ => "an algorithm",
    };
    Some(format!("{name} ({oid})"))
}

/// `r || s` of an ECDSA P-256 signature as DER.
///
/// # Errors
/// When it is not 64 octets, or one of the numbers is zero.
pub fn ecdsa_p256_to_der(raw: &[u8]) -> Result<Vec<u8>, SignatureInvalid> {
    let raw: &[u8; 64] = raw.try_into().map_err(|_| SignatureInvalid)?;
    let (r, s) = raw.split_at(32);
    if r.iter().all(|&octet| octet == 0) || s.iter().all(|&octet| octet == 0) {
        return Err(SignatureInvalid); // SEC 1 section 4.1.4: both are in 1..n
    }
    let signature = EcdsaSignature {
        r: UintRef::new(r).map_err(|_| SignatureInvalid)?,
        s: UintRef::new(s).map_err(|_| SignatureInvalid)?,
    };
    signature.to_der().map_err(|_| SignatureInvalid)
}

/// A DER signature of ECDSA P-256 as `r || s`.
///
/// # Errors
/// When it is not strict DER, or one of the numbers is longer than 32 octets.
pub fn ecdsa_p256_from_der(signature: &[u8]) -> Result<[u8; 64], SignatureInvalid> {
    let parsed = EcdsaSignature::from_der(signature).map_err(|_| SignatureInvalid)?;
    let mut raw = [0; 64];
    let (r, s) = raw.split_at_mut(32);
    for (place, number) in [(r, parsed.r), (s, parsed.s)] {
        let octets = number.as_bytes();
        let start = place.len().checked_sub(octets.len()).ok_or(SignatureInvalid)?;
        place[start..].copy_from_slice(octets);
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_and_der_signatures_round_trip() {
        let mut small = [0; 64];
        small[31] = 1;
        small[63] = 0x80;
        for raw in [[0xff; 64], [0x7f; 64], small] {
            assert_eq!(ecdsa_p256_from_der(&ecdsa_p256_to_der(&raw).unwrap()), Ok(raw));
        }
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        assert!(ecdsa_p256_to_der(&[1; 63]).is_err());
        assert!(ecdsa_p256_to_der(&[0; 64]).is_err());
        let der = ecdsa_p256_to_der(&[0xff; 64]).unwrap();
        for end in 0..der.len() {
            assert!(ecdsa_p256_from_der(&der[..end]).is_err(), "truncated at {end}");
        }
        let trailing = [der.as_slice(), &[0]].concat();
        assert!(ecdsa_p256_from_der(&trailing).is_err());
    }
}
