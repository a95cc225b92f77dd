//! How long a peer that is still sending is listened to after its answer (rule G18).
//!
//! Closing at once would reset the connection, and the reset overtakes the answer (RFC 9112 section 9.6): an upload whose
//! token has expired would end in a broken pipe, and its sender would not learn why. Many clients read nothing until they
//! have sent everything. So what still comes is read and thrown away, with the bounds that nginx has for it.
//!
//! It costs us no more than the peer has already: the connection counts in every cap as before, makes room for others as
//! before, and nothing of what comes is parsed or kept.

use std::time::Duration;
use tokio::time::Instant;

/// How long in all.
pub(super) const LINGER: Duration = Duration::from_secs(30);

/// How long after the last byte.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// How long when the program stops.
pub(super) const HURRIED: Duration = Duration::from_secs(1);

/// One peer that is listened to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linger {
    began: Instant,
    /// When something came.
    last: Instant,
}

impl Linger {
    pub(super) fn begin(now: Instant) -> Self {
        Self { began: now, last: now }
    }

    /// Something came.
    pub(super) fn reads(&mut self, now: Instant) {
        self.last = now;
    }

    /// When the connection is closed, if nothing comes before.
    pub(super) fn until(&self, is_hurried: bool) -> Instant {
        if is_hurried {
            return self.began + HURRIED;
        }
        (self.began + LINGER).min(self.last + PAUSE)
    }
}
