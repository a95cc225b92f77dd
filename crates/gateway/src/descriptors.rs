//! How many descriptors callers may take (rule G20). What they may not take is a reserve: for operators, health checks,
//! storage and the audit log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many descriptors the data path may take, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// For connections of callers.
    pub callers: usize,
    /// For connections to upstreams.
    pub upstreams: usize,
}

/// Of the process itself: the database, the audit log, the operational log, the control runtime, files that are read
/// again, connections of operators.
const PROCESS: usize = 64;

/// Of each worker, beside its listening sockets: the event queue of its runtime and what wakes it.
const WORKER: usize = 5;

/// How many callers are to be served at least.
const LEAST: usize = 16;

impl Descriptors {
    /// No limit: in tests, and where the system has none.
    pub const UNLIMITED: Self = Self { callers: usize::MAX, upstreams: usize::MAX };

    /// What the limit of the process leaves to callers. Half of it is for their connections, the other half for the
    /// connections to upstreams that their requests need.
    ///
    /// # Errors
    /// How many the process needs at least, where the limit is lower.
    pub fn within(limit: usize, workers: usize, listeners: usize) -> Result<Self, TooFew> {
        let reserve = PROCESS + workers * (WORKER + listeners);
        let needed = reserve + 2 * LEAST;
        if limit < needed {
            return Err(TooFew { needed });
        }
        let callers = (limit - reserve) / 2;
        Ok(Self { callers, upstreams: limit - reserve - callers })
    }

    /// Maximum requests in flight of one client: `configured`, and at most a quarter of the connections to upstreams.
    pub(crate) fn requests_of_client(&self, configured: usize) -> Limit {
        Limit { value: configured.min(self.upstreams / 4), configured }
    }

    /// The requests in flight that one upstream may have: `configured`, and at most half of the connections.
    pub(crate) fn requests_of_upstream(&self, configured: usize) -> Limit {
        Limit { value: configured.min(self.upstreams / 2), configured }
    }

    /// How many unused connections each of the workers may keep: together half of them, so that the other half is free
    /// for the worker that needs it.
    pub(crate) fn idle_of_worker(&self, workers: usize) -> usize {
        self.upstreams / 2 / workers.max(1)
    }
}

/// A limit as it holds. The limit of open files may have lowered it; the text says so, because an operator who reads
/// a number that the configuration does not have looks for it in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// How many there may be.
    pub(crate) value: usize,
    configured: usize,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, configured } = self;
        write!(f, "{value}")?;
        if value < configured {
            write!(f, " (configured: {configured}, lowered by the limit of open files)")?;
        }
        Ok(())
    }
}

/// The limit of open files is too low to serve anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it needs {needed} open files at least")]
pub struct TooFew {
    /// How many it takes.
    pub needed: usize,
}

/// Descriptors of one kind, counted over all workers.
#[derive(Debug, Default)]
pub(crate) struct Share(AtomicUsize);

/// One descriptor of a share, until dropped.
#[derive(Debug)]
pub(crate) struct Taken(Arc<Share>);

impl Share {
    /// Takes one, unless `limit` are taken.
    pub(crate) fn take(self: &Arc<Self>, limit: usize) -> Option<Taken> {
        // Two changes instead of a loop: who finds it full gives back at once.
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let taken = Taken(self.clone());
        (before < limit).then_some(taken)
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g20_callers_never_take_the_reserve() {
        for workers in [1, 2, 64] {
            for listeners in [2, 4] {
                let TooFew { needed } = Descriptors::within(0, workers, listeners).unwrap_err();
                assert!(Descriptors::within(needed - 1, workers, listeners).is_err());
                for limit in [needed, needed + 1, 4096, 1_048_576, usize::MAX] {
                    let shares = Descriptors::within(limit, workers, listeners).unwrap();
                    let reserve = limit - shares.callers - shares.upstreams;
                    assert!(reserve >= PROCESS + workers * (WORKER + listeners), "{limit}: {shares:?}");
                    assert!(shares.callers >= LEAST && shares.upstreams >= LEAST, "{limit}: {shares:?}");
                    assert!(4 * shares.requests_of_client(usize::MAX).value <= shares.upstreams);
                    assert!(shares.requests_of_client(usize::MAX).value > 0);
                    let idle = shares.idle_of_worker(workers) * workers;
                    assert!(shares.requests_of_upstream(usize::MAX).value + idle <= shares.upstreams);
                }
            }
        }
    }

    #[test]
    fn a_limit_that_the_open_files_lowered_says_so() {
        let shares = Descriptors { callers: 100, upstreams: 100 };
        assert_eq!(shares.requests_of_client(10).to_string(), "10");
        assert_eq!(shares.requests_of_client(25).to_string(), "25");
        let lowered = "25 (configured: 26, lowered by the limit of open files)";
        assert_eq!(shares.requests_of_client(26).to_string(), lowered);
        let lowered = "50 (configured: 1024, lowered by the limit of open files)";
        assert_eq!(shares.requests_of_upstream(1024).to_string(), lowered);
    }

    #[test]
    fn a_share_is_given_back() {
        let share = Arc::new(Share::default());
        let first = share.take(2);
        let second = share.take(2);
        assert!(first.is_some() && second.is_some() && share.take(2).is_none());
        drop(first);
        assert!(share.take(2).is_some());
        drop(second);
        assert_eq!(share.taken(), 0);
    }
}
