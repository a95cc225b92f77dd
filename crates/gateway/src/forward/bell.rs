//! Whom a connection to an upstream wakes: the task that uses it, which is the one that polls it too.

use futures_util::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

/// A connection's waker, the same for all who use it in turn. It passes on what comes from outside and keeps back what its
/// user does to it himself: taking a piece of an answer wakes the side that brought it, which here is the very task that
/// took it, and would be run once more for nothing with each request.
#[derive(Debug, Default)]
pub(super) struct Bell {
    user: AtomicWaker,
    muffled: AtomicBool,
}

impl Bell {
    /// From now on it calls this one.
    pub(super) fn calls(&self, user: &Waker) {
        self.user.register(user);
    }

    /// Nobody is called until somebody uses the connection again.
    pub(super) fn calls_nobody(&self) {
        self.user.take();
    }

    /// Calls nobody for what `act` does. What comes from the network waits meanwhile: connection, driver of the sockets
    /// and user share a thread.
    pub(super) fn muffled<T>(&self, act: impl FnOnce() -> T) -> T {
        self.muffled.store(true, Ordering::Relaxed);
        let done = act();
        self.muffled.store(false, Ordering::Relaxed);
        done
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.muffled.load(Ordering::Relaxed) {
            self.user.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_user_is_called_for_what_comes_from_outside_only() {
        let (bell, calls) = (Arc::<Bell>::default(), Arc::<Count>::default());
        let (waker, user) = (Waker::from(bell.clone()), Waker::from(calls.clone()));
        let called = || calls.0.swap(0, Ordering::Relaxed);
        waker.wake_by_ref();
        assert_eq!(called(), 0, "nobody uses it yet");
        bell.calls(&user);
        bell.muffled(|| waker.wake_by_ref());
        assert_eq!(called(), 0, "its own doing");
        waker.wake_by_ref();
        assert_eq!(called(), 1, "kept back was not forgotten");
        bell.calls(&user);
        bell.calls_nobody();
        waker.wake();
        assert_eq!(called(), 0, "put away");
    }
}
