//! The public halves of the token keys: the JWKS document (RFC 7517 section 5) and what the gateway verifies with.
//!
//! Made from rows alone, so that a node that holds no master key can make it.

use super::TokenKeyError;
use crate::settings::MAX_TOKEN_LIFETIME_S;
use countersign_model::Timestamp;
use countersign_model::key::KeyRecord;
use countersign_token::verified::MAX_SKEW_S;
use countersign_token::{Algorithm, Jwk, JwkSet, KeyError, VerificationKeys};
use std::sync::Arc;

/// How long others may keep the JWKS, in seconds.
pub const JWKS_MAX_AGE_S: i64 = 600;

/// How long before it signs a new key is published, in seconds, counted from when its rotation was ordered: for as long as
/// others keep a JWKS without it, and a minute for the time until ours has it. A commit takes its time, and so does the
/// change feed.
pub(super) const PUBLISHED_BEFORE_S: i64 = JWKS_MAX_AGE_S + 60;

/// How long a key stays published after it stopped to sign: until the longest-lived of its tokens is refused everywhere,
/// clocks that differ included.
pub(super) const KEPT_AFTER_RETIREMENT_S: i64 = MAX_TOKEN_LIFETIME_S as i64 + MAX_SKEW_S;

/// What others need to verify our tokens.
#[derive(Debug)]
pub struct PublishedKeys {
    jwks: JwkSet,
    document: Vec<u8>,
    verification: Arc<VerificationKeys>,
}

impl PublishedKeys {
    /// The token keys among `records` that somebody may still need.
    ///
    /// # Errors
    /// When a stored public key cannot be read: the database was changed.
    pub fn from_records(records: &[KeyRecord], now: Timestamp) -> Result<Self, TokenKeyError> {
        let mut keys = Vec::new();
        for record in records.iter().filter(|record| !is_forgotten(record, now)) {
            let refused = |error| TokenKeyError::PublicKey(record.id.clone(), error);
            let jwk = Jwk::from_spki(&record.public_key)
                .and_then(|jwk| jwk.with_algorithm(Algorithm::from(record.algorithm)))
                .map_err(refused)?;
            // The id is the key's own thumbprint; a row where it is not was put together from two.
            if jwk.thumbprint() != record.id {
                return Err(refused(KeyError::Malformed("kid")));
            }
            keys.push(jwk);
        }
        let jwks = JwkSet::new(keys);
        let verification = VerificationKeys::from_jwks(&jwks).map_err(TokenKeyError::KeySet)?;
        Ok(Self {
            document: jwks.to_json().to_string().into_bytes(),
            verification: Arc::new(verification),
            jwks,
        })
    }

    /// The keys.
    pub fn jwks(&self) -> &JwkSet {
        &self.jwks
    }

    /// The JWKS as `jwks_uri` answers it.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The keys as the gateway takes them.
    pub fn verification(&self) -> &Arc<VerificationKeys> {
        &self.verification
    }
}

/// Whether nobody needs the key any more.
pub(super) fn is_forgotten(record: &KeyRecord, now: Timestamp) -> bool {
    is_over(record.retired_at, now)
}

/// Whether the last token of a key that retired at this time has expired.
pub(super) fn is_over(retired_at: Option<Timestamp>, now: Timestamp) -> bool {
    retired_at.is_some_and(|retired_at| retired_at.plus_s(KEPT_AFTER_RETIREMENT_S) <= now)
}
