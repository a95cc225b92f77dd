//! The port that everything else signs through. Today the key is in this process; a KMS or an HSM answers over a
//! network, which is why signing is asynchronous.

use async_trait::async_trait;
use countersign_model::{KeyId, key::KeyAlgorithm};

/// The ability to sign with one private key, without seeing it.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The key's identifier: the RFC 7638 thumbprint of its public JWK, and the `kid` of what it signs.
    fn key_id(&self) -> &KeyId;

    /// What it signs with.
    fn algorithm(&self) -> KeyAlgorithm;

    /// The public key: SubjectPublicKeyInfo, DER.
    fn public_key(&self) -> &[u8];

    /// Signs `message` (hashing is part of it). ECDSA gives `r || s` in fixed length, 64 octets for P-256, as RFC 7518
    /// section 3.4 wants it; X.509 wraps the two numbers in DER itself.
    ///
    /// # Errors
    /// [`SignError`] when whoever holds the key did not sign; nothing was signed then.
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// The holder of the key did not sign.
#[derive(Debug, thiserror::Error)]
#[error("key {key} did not sign: {why}")]
pub struct SignError {
    /// Which key.
    pub key: KeyId,
    /// Why, for the operator; never key material.
    pub why: String,
}
