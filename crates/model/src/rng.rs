//! The port that gives random bytes.

/// A cryptographically secure source of random bytes. Handed in, so that a test can seed it.
pub trait Rng: Send + Sync {
    /// Fills `bytes` with random bytes.
    ///
    /// # Panics
    /// When the operating system gives no randomness: nothing secure can be done then.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes from `rng`.
pub fn random<const N: usize>(rng: &dyn Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes);
    bytes
}
