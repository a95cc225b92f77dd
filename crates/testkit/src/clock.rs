//! A clock that stands still until the test moves it.

use countersign_model::{Clock, Timestamp};
use std::sync::atomic::{AtomicI64, Ordering};

/// A clock that stands still until the test moves it.
#[derive(Debug)]
pub struct TestClock {
    unix_ms: AtomicI64,
}

impl TestClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { unix_ms: AtomicI64::new(now.unix_ms()) }
    }

    /// Moves it by so many seconds.
    pub fn advance_s(&self, seconds: i64) {
        self.unix_ms.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.unix_ms.load(Ordering::SeqCst))
    }
}

/// The same clock for rustls, so that certificates made at the test's time are valid at the test's time.
impl rustls::time_provider::TimeProvider for TestClock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let seconds = u64::try_from(self.now().unix_s()).ok()?;
        Some(rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}
