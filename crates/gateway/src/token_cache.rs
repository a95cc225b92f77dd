//! Verified tokens, kept by each worker for itself (design, decision 3; docs/adr/0007): verifying an ES256 signature costs
//! 67 µs, finding a token that was verified before a tenth of one.
//!
//! It holds the result of validation, never of binding, audience or time (rule G13). Only tokens that verified are kept,
//! so nobody can fill it with rubbish; and it is emptied when the keys change.

use arc_swap::ArcSwap;
use countersign_policy::decision::TokenVerifier;
use countersign_token::{Limits, TokenError, VerificationKeys, VerifiedToken};
use foldhash::fast::RandomState;
use lru::LruCache;
use std::cell::RefCell;
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// How many tokens a worker remembers: some 20 MB with tokens of 1 KB, and more clients than one core serves at a time.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

pub(crate) struct TokenCache {
    keys: Arc<ArcSwap<VerificationKeys>>,
    limits: Limits,
    verified: RefCell<Verified>,
}

struct Verified {
    /// The keys that all of them were verified with.
    under: Arc<VerificationKeys>,
    /// Seeded for each worker: a token that is not kept meets one that is by chance only.
    hashes: RandomState,
    by_hash: LruCache<u64, Kept, RandomState>,
}

struct Kept {
    /// All of it: a hash finds a token and proves nothing.
    octets: Box<str>,
    token: Arc<VerifiedToken>,
}

impl TokenCache {
    pub(crate) fn new(keys: Arc<ArcSwap<VerificationKeys>>) -> Self {
        let by_hash = LruCache::with_hasher(CAPACITY, RandomState::default());
        let verified = Verified { under: keys.load_full(), hashes: RandomState::default(), by_hash };
        Self { keys, limits: Limits::default(), verified: RefCell::new(verified) }
    }
}

impl TokenVerifier for TokenCache {
    fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        let mut verified = self.verified.borrow_mut();
        let keys = self.keys.load();
        if !Arc::ptr_eq(&verified.under, &keys) {
            verified.by_hash.clear();
            verified.under = keys.clone();
        }
        // Hashed before it is looked at, so its size is bounded before it is hashed.
        if token.len() > self.limits.size_bytes {
            return countersign_token::verify(token, &keys, &self.limits).map(Arc::new);
        }
        let hash = verified.hashes.hash_one(token);
        // Octets are compared only where all 64 bits of a hash agree that nobody outside can work out, so how long that
        // takes tells nobody how much of somebody's token he has guessed.
        if let Some(kept) = verified.by_hash.get(&hash)
            && *kept.octets == *token
        {
            return Ok(kept.token.clone());
        }
        let fresh = Arc::new(countersign_token::verify(token, &keys, &self.limits)?);
        verified.by_hash.put(hash, Kept { octets: token.into(), token: fresh.clone() });
        Ok(fresh)
    }
}
