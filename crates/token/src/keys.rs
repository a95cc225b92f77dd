//! The keys that tokens are verified with: trusted because somebody put them here, and looked up by `kid` only
//! (rule C8). Nothing that a token carries (`jwk`, `x5c`, `jku`, `x5u`) ever becomes a key.

use crate::{Algorithm, JwkSet, KeyError};
use aws_lc_rs::signature::ParsedPublicKey;
use countersign_model::KeyId;

/// A set of verification keys, parsed once. Cheap to search, shared by reference.
#[derive(Debug, Default)]
pub struct VerificationKeys {
    keys: Vec<VerificationKey>,
}

/// One key for one algorithm.
#[derive(Debug)]
pub(crate) struct VerificationKey {
    pub(crate) id: KeyId,
    pub(crate) algorithm: Algorithm,
    parsed: ParsedPublicKey,
}

impl VerificationKeys {
    /// The keys of a set. Those without a `kid` are passed over, since no token can name them.
    ///
    /// # Errors
    /// [`KeyError::Ambiguous`] when two keys have the same `kid` and algorithm.
    pub fn from_jwks(set: &JwkSet) -> Result<Self, KeyError> {
        let mut keys: Vec<VerificationKey> = Vec::with_capacity(set.keys().len());
        for jwk in set.keys() {
            let Some(id) = jwk.key_id() else { continue };
            for &algorithm in jwk.algorithms() {
                if keys.iter().any(|key| key.id.0 == id && key.algorithm == algorithm) {
                    return Err(KeyError::Ambiguous);
                }
                keys.push(VerificationKey {
                    id: KeyId(id.to_owned()),
                    algorithm,
                    parsed: jwk.parse_for(algorithm)?,
                });
            }
        }
        Ok(Self { keys })
    }

    /// The key of that name for that algorithm. A few keys at most, so a scan is the fastest search.
    pub(crate) fn find(&self, key_id: &str, algorithm: Algorithm) -> Option<&VerificationKey> {
        self.keys.iter().find(|key| key.algorithm == algorithm && key.id.0 == key_id)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl VerificationKey {
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}
