//! ECDSA on P-256 with SHA-256 (`ES256`, RFC 7518 section 3.4), in this process.

use crate::signer::{SignError, Signer};
use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_model::{KeyId, Secret, key::KeyAlgorithm};
use countersign_token::Jwk;
use std::fmt;

/// aws-lc gave no key, no encoding or no signature: out of memory or a broken machine.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the cryptographic library failed")]
pub(crate) struct CryptoFailed;

/// A P-256 key pair in memory.
pub(crate) struct P256Key {
    id: KeyId,
    spki: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl P256Key {
    /// A new pair, from aws-lc's own randomness: no source that a caller could seed makes a private key.
    pub(crate) fn generate() -> Result<Self, CryptoFailed> {
        Self::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| CryptoFailed)?)
    }

    /// Reads PKCS#8 (RFC 5958) and checks that the pair belongs together.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, CryptoFailed> {
        Self::new(
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| CryptoFailed)?,
        )
    }

    fn new(pair: EcdsaKeyPair) -> Result<Self, CryptoFailed> {
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| CryptoFailed)?;
        let spki = spki.as_ref().to_vec();
        let id = Jwk::from_spki(&spki).map_err(|_| CryptoFailed)?.thumbprint();
        Ok(Self { id, spki, pair })
    }

    pub(crate) fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, CryptoFailed> {
        // `Document` wipes itself when dropped.
        let document = self.pair.to_pkcs8v1().map_err(|_| CryptoFailed)?;
        Ok(Secret::new(document.as_ref().to_vec()))
    }

    pub(crate) fn id(&self) -> &KeyId {
        &self.id
    }

    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(crate) fn sign_now(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| CryptoFailed)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for P256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("P256Key").field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Signer for P256Key {
    fn key_id(&self) -> &KeyId {
        &self.id
    }

    fn algorithm(&self) -> KeyAlgorithm {
        KeyAlgorithm::EcdsaP256
    }

    fn public_key(&self) -> &[u8] {
        &self.spki
    }

    // Measured 22 µs: less than handing it to another thread would cost.
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.sign_now(message).map_err(|error| SignError { key: self.id.clone(), why: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    #[tokio::test]
    async fn an_es256_signature_has_the_fixed_form_and_verifies() {
        let key = P256Key::generate().unwrap();
        let signature = key.sign(b"message").await.unwrap();
        assert_eq!(signature.len(), 64, "RFC 7518 section 3.4: R and S of 32 octets each");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref());
        public.verify(b"message", &signature).unwrap();
        assert!(public.verify(b"massage", &signature).is_err());
    }

    #[test]
    fn a_key_survives_pkcs8() {
        let key = P256Key::generate().unwrap();
        let again = P256Key::from_pkcs8(key.to_pkcs8().unwrap().expose()).unwrap();
        assert_eq!((again.id(), again.spki()), (key.id(), key.spki()));
        assert!(P256Key::from_pkcs8(b"no key").is_err());
    }

    #[test]
    fn invariant_4_a_key_prints_its_identifier_only() {
        let key = P256Key::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("P256Key {{ id: {:?}, .. }}", key.id()));
    }

    #[test]
    fn the_identifier_is_the_rfc_7638_thumbprint() {
        let key = P256Key::generate().unwrap();
        // Section 3: the required members in lexicographic order, without spaces.
        let (x, y) = key.pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, jwk.as_bytes());
        assert_eq!(key.id().0, URL_SAFE_NO_PAD.encode(digest));
    }
}
