//! A disk whose free space the test says.

use countersign::wiring::Disk;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// A disk with plenty of space, until the test says otherwise.
#[derive(Debug)]
pub struct TestDisk(AtomicU64);

impl Default for TestDisk {
    fn default() -> Self {
        Self(AtomicU64::new(1 << 40))
    }
}

impl TestDisk {
    /// From now on `bytes` are free.
    pub fn has_free(&self, bytes: u64) {
        self.0.store(bytes, Ordering::SeqCst);
    }
}

impl Disk for TestDisk {
    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}
