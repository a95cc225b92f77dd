//! Randomness that repeats: SHA-256 of a seed and a counter.

use aws_lc_rs::digest::{SHA256, digest};
use countersign_model::Rng;
use std::sync::atomic::{AtomicU64, Ordering};

/// The same seed gives the same bytes, in the order in which they are asked for.
#[derive(Debug)]
pub struct SeededRng {
    seed: u64,
    counter: AtomicU64,
}

impl SeededRng {
    /// A source that repeats for `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: AtomicU64::new(0) }
    }
}

impl Rng for SeededRng {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let counter = self.counter.fetch_add(1, Ordering::SeqCst);
            let block = digest(&SHA256, &[self.seed.to_be_bytes(), counter.to_be_bytes()].concat());
            chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
        }
    }
}
