//! Public keys (`SubjectPublicKeyInfo`, RFC 5280 section 4.1.2.7) and which of them are strong enough (rule P4).

use crate::asn1::{RsaPublicKey, SubjectPublicKeyInfo};
use crate::ed25519;
use crate::signature::{self, SignatureInvalid};
use aws_lc_rs::digest;
use der::{Decode, Tag, Tagged};
use rustls_pki_types::{AlgorithmIdentifier, alg_id};
use std::fmt;

/// RSA keys beyond this cost more to verify than a peer may make us spend; aws-lc verifies no larger ones either.
const RSA_MAX_BITS: usize = 8192;
const RSA_MIN_BITS: usize = 2048;
const RSA_MIN_EXPONENT: u64 = 65_537;

/// Why a public key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not one strict DER SubjectPublicKeyInfo.
    #[error("the public key is not a well-formed SubjectPublicKeyInfo")]
    Malformed,
    /// Another algorithm or curve.
    #[error("the public key is none of RSA, ECDSA P-256, ECDSA P-384, Ed25519")]
    Algorithm,
    /// An RSA modulus of the wrong size.
    #[error("the RSA modulus has {bits} bits; 2048 to 8192, divisible by 8, are accepted")]
    RsaModulus {
        /// How many bits it has.
        bits: usize,
    },
    /// An RSA modulus that is even, or an exponent that is even, small or huge.
    #[error(
        "the RSA exponent is not an odd number of at least 65537 that fits 32 bits, or the modulus is even"
    )]
    RsaExponent,
    /// An Ed25519 key that anybody can sign with, or that is written in another way than RFC 8032 allows.
    #[error("the Ed25519 key is of small order, so that everybody can sign with it, or no canonical point")]
    Ed25519Point,
}

/// What a key is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with that many bits.
    Rsa {
        /// The size of the modulus.
        bits: usize,
    },
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// EdDSA on edwards25519.
    Ed25519,
}

/// A parsed public key. It is of a known kind; whether it is strong enough says [`PublicKey::check_strength`].
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    kind: KeyKind,
    /// The content of the BIT STRING.
    key: Vec<u8>,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// When it is not strict DER, bears trailing bytes, or is of a kind that we do not know.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        let parsed = SubjectPublicKeyInfo::from_der(spki).map_err(|_| KeyError::Malformed)?;
        // RFC 5280 section 4.1.2.7: every key of ours fills whole octets.
        let key = parsed.subject_public_key.as_bytes().ok_or(KeyError::Malformed)?;
        // What is compared below are its contents.
        if parsed.algorithm.tag() != Tag::Sequence {
            return Err(KeyError::Malformed);
        }
        let kind = match AlgorithmBytes(parsed.algorithm.value()) {
            algorithm if algorithm == alg_id::ECDSA_P256 => uncompressed_point(key, 32, KeyKind::P256)?,
            algorithm if algorithm == alg_id::ECDSA_P384 => uncompressed_point(key, 48, KeyKind::P384)?,
            algorithm if algorithm == alg_id::ED25519 && key.len() == 32 => KeyKind::Ed25519,
            algorithm if algorithm == alg_id::RSA_ENCRYPTION => KeyKind::Rsa { bits: rsa(key)?.0 },
            _ => return Err(KeyError::Algorithm),
        };
        Ok(Self { spki: spki.to_vec(), kind, key: key.to_vec() })
    }

    /// The key of an ECDSA P-256 signer, from its uncompressed point (`04 || x || y`).
    ///
    /// # Errors
    /// When it is not 65 octets that begin with 4.
    pub fn from_p256_point(point: &[u8]) -> Result<Self, KeyError> {
        Self::from_spki_der(&spki_p256_from_point(point)?)
    }

    /// The SubjectPublicKeyInfo, DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// What it is used with.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// SHA-256 of the SubjectPublicKeyInfo: finds a key again (rule R6), pins an issuer (rule T7).
    pub fn key_hash(&self) -> [u8; 32] {
        sha256(&self.spki)
    }

    /// The subject key identifier: RFC 7093 section 2 method 1, the leftmost 160 bits of SHA-256 over the BIT STRING.
    pub fn ski(&self) -> [u8; 20] {
        let mut ski = [0; 20];
        ski.copy_from_slice(&sha256(&self.key)[..20]);
        ski
    }

    /// Rule P4: RSA with 2048 to 8192 bits divisible by 8 and an odd exponent of at least 65537, P-256, P-384, Ed25519 but
    /// for its points of small order.
    ///
    /// # Errors
    /// When the key is weaker than that.
    pub fn check_strength(&self) -> Result<(), KeyError> {
        match self.kind {
            KeyKind::Rsa { bits } => self.check_rsa(bits),
            KeyKind::Ed25519 if !ed25519::is_strong(&self.key) => Err(KeyError::Ed25519Point),
            // The NIST curves have no points of small order.
            KeyKind::Ed25519 | KeyKind::P256 | KeyKind::P384 => Ok(()),
        }
    }

    fn check_rsa(&self, bits: usize) -> Result<(), KeyError> {
        if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) || !bits.is_multiple_of(8) {
            return Err(KeyError::RsaModulus { bits });
        }
        let (_, modulus_odd, exponent) = rsa(&self.key)?;
        match exponent {
            Some(exponent) if modulus_odd && exponent % 2 == 1 && exponent >= RSA_MIN_EXPONENT => Ok(()),
            _ => Err(KeyError::RsaExponent),
        }
    }

    /// Verifies a signature of this key.
    ///
    /// `algorithm` is the DER of the AlgorithmIdentifier, with its SEQUENCE header. SHA-1 and older are not known.
    ///
    /// # Errors
    /// When the algorithm is not known or not one of this key, or the signature is not this key's over `message`.
    pub fn verify(&self, algorithm: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureInvalid> {
        signature::verify(self.algorithm_identifier(), &self.key, algorithm, message, signature)
    }

    fn algorithm_identifier(&self) -> AlgorithmIdentifier {
        match self.kind {
            KeyKind::Rsa { .. } => alg_id::RSA_ENCRYPTION,
            KeyKind::P256 => alg_id::ECDSA_P256,
            KeyKind::P384 => alg_id::ECDSA_P384,
            KeyKind::Ed25519 => alg_id::ED25519,
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The content octets of an AlgorithmIdentifier, compared byte for byte: parameters count (RFC 3279 section 2.3).
struct AlgorithmBytes<'a>(&'a [u8]);

impl PartialEq<AlgorithmIdentifier> for AlgorithmBytes<'_> {
    fn eq(&self, known: &AlgorithmIdentifier) -> bool {
        self.0 == known.as_ref()
    }
}

/// RFC 5480 section 2.2: only the uncompressed form. Whether the point is on the curve shows when it verifies something.
fn uncompressed_point(key: &[u8], coordinate: usize, kind: KeyKind) -> Result<KeyKind, KeyError> {
    let well_formed = key.len() == 1 + 2 * coordinate && key.first() == Some(&4);
    well_formed.then_some(kind).ok_or(KeyError::Malformed)
}

/// Bits of the modulus, whether it is odd, and the exponent when it fits 32 bits.
fn rsa(key: &[u8]) -> Result<(usize, bool, Option<u64>), KeyError> {
    let key = RsaPublicKey::from_der(key).map_err(|_| KeyError::Malformed)?;
    let modulus = key.modulus.as_bytes();
    let Some((&first, _)) = modulus.split_first() else { return Err(KeyError::Malformed) };
    let bits = modulus.len() * 8 - first.leading_zeros() as usize;
    let odd = modulus.last().is_some_and(|last| last % 2 == 1);
    let exponent = key.public_exponent.as_bytes();
    let exponent = (exponent.len() <= 4)
        .then(|| exponent.iter().fold(0, |value: u64, &octet| value << 8 | u64::from(octet)));
    Ok((bits, odd, exponent))
}

/// SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480 section 2).
///
/// # Errors
/// When it is not 65 octets that begin with 4.
pub fn spki_p256_from_point(point: &[u8]) -> Result<Vec<u8>, KeyError> {
    uncompressed_point(point, 32, KeyKind::P256)?;
    // SEQUENCE { SEQUENCE { ecPublicKey, prime256v1 }, BIT STRING }: every length is fixed by the curve.
    let mut spki = vec![0x30, 0x59, 0x30, 0x13];
    spki.extend_from_slice(alg_id::ECDSA_P256.as_ref());
    spki.extend_from_slice(&[0x03, 0x42, 0x00]);
    spki.extend_from_slice(point);
    Ok(spki)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p256() -> Vec<u8> {
        spki_p256_from_point(&[&[4][..], &[7; 64]].concat()).unwrap()
    }

    /// SubjectPublicKeyInfo of an RSA key with these integers, short or long form of lengths as DER wants.
    fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let key = tlv(0x30, &[tlv(2, modulus), tlv(2, exponent)].concat());
        let algorithm = tlv(0x30, alg_id::RSA_ENCRYPTION.as_ref());
        tlv(0x30, &[algorithm, tlv(3, &[&[0][..], &key].concat())].concat())
    }

    fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        let header = match value.len() {
            0..0x80 => vec![tag, length[1]],
            0x80..0x100 => vec![tag, 0x81, length[1]],
            _ => vec![tag, 0x82, length[0], length[1]],
        };
        [header, value.to_vec()].concat()
    }

    fn strength(modulus: &[u8], exponent: &[u8]) -> Result<(), KeyError> {
        PublicKey::from_spki_der(&rsa_spki(modulus, exponent)).and_then(|key| key.check_strength())
    }

    #[test]
    fn rule_p4_the_bounds_of_rsa_keys() {
        let modulus = |bytes: usize| [&[0, 0x80][..], &vec![1; bytes - 1]].concat();
        let f4 = [1, 0, 1];
        for bytes in [256, 257, 384, 512, 1024] {
            assert_eq!(strength(&modulus(bytes), &f4), Ok(()), "{bytes}");
        }
        for bytes in [128, 255, 1025] {
            assert_eq!(strength(&modulus(bytes), &f4), Err(KeyError::RsaModulus { bits: bytes * 8 }));
        }
        let odd_size = [&[0x40][..], &[1; 256]].concat();
        assert_eq!(strength(&odd_size, &f4), Err(KeyError::RsaModulus { bits: 2055 }));
        let even_modulus = [&[0, 0x80][..], &[2; 255]].concat();
        assert_eq!(strength(&even_modulus, &f4), Err(KeyError::RsaExponent));
        for exponent in [&[3][..], &[1, 0, 0], &[0, 0xff, 0xff], &[1, 0, 2], &[1, 0, 0, 0, 1], &[1]] {
            assert_eq!(strength(&modulus(256), exponent), Err(KeyError::RsaExponent), "{exponent:?}");
        }
        assert_eq!(strength(&modulus(256), &[0x7f, 0xff, 0xff, 0xff]), Ok(()));
    }

    #[test]
    fn integers_that_are_negative_or_padded_are_malformed() {
        for modulus in [&[0x80; 256][..], &[0; 257], &[]] {
            assert!(strength(modulus, &[1, 0, 1]).is_err());
        }
        let padded = [&[0, 0][..], &[0x81; 256]].concat();
        assert_eq!(strength(&padded, &[1, 0, 1]), Err(KeyError::Malformed));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let spki = p256();
        assert!(PublicKey::from_spki_der(&spki).is_ok());
        for end in 0..spki.len() {
            assert_eq!(
                PublicKey::from_spki_der(&spki[..end]),
                Err(KeyError::Malformed),
                "truncated at {end}"
            );
        }
        assert_eq!(PublicKey::from_spki_der(&[spki.as_slice(), &[0]].concat()), Err(KeyError::Malformed));
        // The algorithm is a SEQUENCE, and not [16] of another class: openssl reads no such key, and it would be a second
        // key hash of the first.
        for tag in [0x70, 0xb0, 0xf0, 0x31, 0x10] {
            let mut retagged = spki.clone();
            retagged[2] = tag;
            assert_eq!(PublicKey::from_spki_der(&retagged), Err(KeyError::Malformed), "{tag:#x}");
        }
        let mut compressed = spki.clone();
        compressed[26] = 2;
        assert_eq!(PublicKey::from_spki_der(&compressed), Err(KeyError::Malformed));
        assert!(spki_p256_from_point(&[4; 64]).is_err());
    }

    #[test]
    fn rule_p3_the_key_identifier_is_the_truncated_sha256_of_the_bit_string() {
        // RFC 7093 section 2 method 1.
        let point = [&[4][..], &[7; 64]].concat();
        let key = PublicKey::from_p256_point(&point).unwrap();
        assert_eq!(key.ski(), sha256(&point)[..20]);
        assert_eq!(key.key_hash(), sha256(&p256()));
    }

    #[test]
    fn a_signature_counts_only_with_an_algorithm_of_its_key() {
        let key = PublicKey::from_spki_der(&p256()).unwrap();
        for algorithm in [&b""[..], b"\x30\x00", b"\x05\x00", &tlv(0x30, alg_id::ED25519.as_ref())] {
            assert!(key.verify(algorithm, b"message", &[0; 64]).is_err());
        }
    }
}
