//! Verified tokens, kept by each worker for itself (design, decision 3): verifying an ES256 signature costs 67 µs, hashing
//! a token less than one.
//!
//! It holds the result of validation, never of binding, audience or time (rule G13). Only tokens that verified are kept,
//! so nobody can fill it with rubbish; and it is emptied when the keys change.

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use countersign_policy::decision::TokenVerifier;
use countersign_token::{Limits, TokenError, VerificationKeys, VerifiedToken};
use lru::LruCache;
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// How many tokens a worker remembers: some 8 MB at most, and more clients than one core serves at a time.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

pub(crate) struct TokenCache {
    keys: Arc<ArcSwap<VerificationKeys>>,
    limits: Limits,
    verified: RefCell<Verified>,
}

struct Verified {
    /// The keys that all of them were verified with.
    under: Arc<VerificationKeys>,
    tokens: LruCache<[u8; 32], Arc<VerifiedToken>>,
}

impl TokenCache {
    pub(crate) fn new(keys: Arc<ArcSwap<VerificationKeys>>) -> Self {
        let under = keys.load_full();
        let verified = RefCell::new(Verified { under, tokens: LruCache::new(CAPACITY) });
        Self { keys, limits: Limits::default(), verified }
    }
}

impl TokenVerifier for TokenCache {
    fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        let mut verified = self.verified.borrow_mut();
        let keys = self.keys.load();
        if !Arc::ptr_eq(&verified.under, &keys) {
            verified.tokens.clear();
            verified.under = keys.clone();
        }
        // Hashed before it is looked at, so its size is bounded before it is hashed.
        if token.len() > self.limits.size_bytes {
            return countersign_token::verify(token, &keys, &self.limits).map(Arc::new);
        }
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(token) = verified.tokens.get(&key) {
            return Ok(token.clone());
        }
        let token = Arc::new(countersign_token::verify(token, &keys, &self.limits)?);
        verified.tokens.put(key, token.clone());
        Ok(token)
    }
}
