//! The addresses of upstreams (rule G20): one look-up in flight for each name, however many callers wait.
//!
//! The system's resolver blocks its thread, for seconds when it hears nothing. A look-up for every connection would be a
//! thread for every caller; and on the runtime's own threads for such work it would hold up the end of the process. So
//! each name has a thread of its own for as long as it is looked up, which nobody waits for at the end.

mod system;

pub use system::{Resolve, SystemResolver};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What is known of a name.
type Answer = Result<Arc<[SocketAddr]>, Unresolved>;

/// How long addresses are used without asking again.
const FRESH: Duration = Duration::from_secs(5);
/// How long a name that was not found is not asked for again.
const GONE: Duration = Duration::from_secs(1);
/// How long an old answer is given while a new one is on its way, or while nobody answers. Without it every caller of a name
/// that is gone would wait as long as the resolver takes to say so.
const STALE: Duration = Duration::from_secs(30);
/// How long a look-up is waited for before old addresses are given, and how long after a look-up for addresses that take no
/// connection there is no other: an upstream that is down costs ten look-ups a second, however many callers it has.
const MOMENT: Duration = Duration::from_millis(100);

/// The names of all upstreams, shared by the workers.
pub(crate) struct Names {
    resolver: Arc<dyn Resolve>,
    known: DashMap<(String, u16), Arc<Name>, RandomState>,
}

#[derive(Default)]
struct Name(Mutex<State>);

#[derive(Default)]
struct State {
    /// The last addresses, and when they were asked for.
    found: Option<(Arc<[SocketAddr]>, Instant)>,
    /// Why the last look-up found none, and when.
    failed: Option<(Unresolved, Instant)>,
    looking: Option<Looking>,
    /// When a look-up began because addresses took no connection.
    retried: Option<Instant>,
}

/// A look-up on its way.
#[derive(Clone)]
struct Looking {
    /// Closed when it is over.
    over: watch::Receiver<()>,
    since: Instant,
}

/// Why there is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unresolved(Arc<str>);

impl Unresolved {
    fn new(error: &impl fmt::Display) -> Self {
        Self(error.to_string().into())
    }
}

impl Names {
    /// No name is known yet.
    pub(crate) fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, known: DashMap::default() }
    }

    /// The addresses of a name: those that are known, or the result of the look-up in flight. The caller limits the time.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> Answer {
        self.wait(host, port, None).await
    }

    /// The addresses of a name when these take no connection: what the next look-up says, or the same ones when there was
    /// one a moment ago. The caller limits the time.
    pub(crate) async fn addresses_instead_of(
        &self,
        refused: &Arc<[SocketAddr]>,
        host: &str,
        port: u16,
    ) -> Answer {
        self.renew(refused, host, port);
        self.wait(host, port, Some(refused)).await
    }

    /// Has a name looked up again whose addresses take no connection, and waits for nothing.
    pub(crate) fn renew(&self, refused: &Arc<[SocketAddr]>, host: &str, port: u16) {
        let name = self.name(host, port);
        let mut state = name.state();
        let now = Instant::now();
        let is_due = state.retried.is_none_or(|at| now - at >= MOMENT);
        if state.knows(refused) && state.looking.is_none() && is_due {
            state.retried = Some(now);
            self.look_up(&mut state, &name, host, port);
        }
    }

    async fn wait(&self, host: &str, port: u16, refused: Option<&Arc<[SocketAddr]>>) -> Answer {
        let name = self.name(host, port);
        loop {
            let (mut over, until) = {
                let mut state = name.state();
                let now = Instant::now();
                if state.is_due(now) && state.looking.is_none() {
                    self.look_up(&mut state, &name, host, port);
                }
                let enough = state.looking.as_ref().map(|looking| looking.since + MOMENT);
                match (state.known(now), &state.looking) {
                    (Some(answer), None) => return answer,
                    (Some(answer), Some(looking)) => {
                        let until = match refused {
                            Some(refused) if state.knows(refused) => None,
                            _ => enough,
                        };
                        // A look-up that failed a moment ago will take its time again.
                        let waits = state.failed.is_none() && (until.is_none() || !state.is_fresh(now));
                        if !waits || until.is_some_and(|until| now >= until) {
                            return answer;
                        }
                        (looking.over.clone(), until)
                    }
                    (None, Some(looking)) => (looking.over.clone(), None),
                    (None, None) => return Err(Unresolved::new(&"no look-up is running")), // it was begun above
                }
            };
            // Closed: the look-up is over.
            match until {
                Some(until) => _ = tokio::time::timeout_at(until, over.changed()).await,
                None => _ = over.changed().await,
            }
        }
    }

    fn name(&self, host: &str, port: u16) -> Arc<Name> {
        let key = (host.to_owned(), port);
        if let Some(name) = self.known.get(&key) {
            return name.clone();
        }
        self.known.entry(key).or_default().clone()
    }

    /// Asks the resolver, on a thread of its own.
    fn look_up(&self, state: &mut State, name: &Arc<Name>, host: &str, port: u16) {
        let (over, looking) = watch::channel(());
        let since = Instant::now();
        let asked_at = (since, std::time::Instant::now());
        let (resolver, name, host) = (self.resolver.clone(), name.clone(), host.to_owned());
        let look = move || {
            // Not before: where there is no thread, its drop would wait for the lock that is held here.
            let ends = Ends { name, asked_at, answer: None, _over: over };
            ends.with(resolver.resolve(&host, port));
        };
        // Nobody joins it: one that hangs holds up nothing.
        match std::thread::Builder::new().name("resolve".to_owned()).spawn(look) {
            Ok(_) => state.looking = Some(Looking { over: looking, since }),
            Err(error) => state.failed = Some((Unresolved::new(&error), since)),
        }
    }
}

impl Name {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether these are the addresses that are known.
    fn knows(&self, addresses: &Arc<[SocketAddr]>) -> bool {
        self.found.as_ref().is_some_and(|(found, _)| Arc::ptr_eq(found, addresses))
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.found.as_ref().is_some_and(|(_, at)| now - *at < FRESH)
    }

    /// Whether the name is to be looked up.
    fn is_due(&self, now: Instant) -> bool {
        match &self.failed {
            Some((_, at)) => now - *at >= GONE,
            None => !self.is_fresh(now),
        }
    }

    /// The addresses, though the last look-up may have failed; else why there are none.
    fn known(&self, now: Instant) -> Option<Answer> {
        let failed = self.failed.as_ref();
        match &self.found {
            Some((found, at)) if now - *at < STALE => Some(Ok(found.clone())),
            _ => failed.filter(|(_, at)| now - *at < STALE).map(|(error, _)| Err(error.clone())),
        }
    }
}

/// Says what a look-up found when it is over, also when it panics.
struct Ends {
    name: Arc<Name>,
    /// On the caller's clock, and on the clock of the look-up's thread.
    asked_at: (Instant, std::time::Instant),
    answer: Option<io::Result<Vec<SocketAddr>>>,
    /// Dropped last: who waits for it looks at the answer.
    _over: watch::Sender<()>,
}

impl Ends {
    fn with(mut self, answer: io::Result<Vec<SocketAddr>>) {
        self.answer = Some(answer);
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let answer = self.answer.take().unwrap_or_else(|| Err(io::Error::other("the look-up ended early")));
        let at = self.asked_at.0 + self.asked_at.1.elapsed();
        let mut state = self.name.state();
        state.looking = None;
        match answer {
            Ok(addresses) if !addresses.is_empty() => {
                (state.found, state.failed) = (Some((addresses.into(), at)), None);
            }
            Ok(_) => state.failed = Some((Unresolved::new(&"the name has no address"), at)),
            Err(error) => {
                // That nobody answers says nothing about the addresses that were good a moment ago.
                if error.kind() == io::ErrorKind::NotFound {
                    state.found = None;
                }
                state.failed = Some((Unresolved::new(&error), at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    /// Answers what the test sends, and counts how often it was asked.
    struct Told {
        answers: Mutex<mpsc::Receiver<io::Result<Vec<SocketAddr>>>>,
        asked: AtomicUsize,
    }

    impl Resolve for Told {
        fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.answers.lock().unwrap().recv().unwrap_or_else(|_| Err(io::Error::other("nobody tells")))
        }
    }

    fn names() -> (Arc<Names>, Arc<Told>, mpsc::Sender<io::Result<Vec<SocketAddr>>>) {
        let (tell, answers) = mpsc::channel();
        let told = Arc::new(Told { answers: Mutex::new(answers), asked: AtomicUsize::new(0) });
        (Arc::new(Names::new(told.clone())), told, tell)
    }

    fn address(last: u8) -> Vec<SocketAddr> {
        vec![([192, 0, 2, last], 80).into()]
    }

    /// Asks until so many look-ups have begun, and none is on its way.
    async fn until_asked(names: &Names, told: &Told, times: usize) {
        let name = names.name("api", 80);
        while told.asked.load(Ordering::SeqCst) < times || name.state().looking.is_some() {
            let _ = names.addresses("api", 80).now_or_never();
            tokio::task::yield_now().await;
        }
    }

    /// Asks until the look-up that is on its way has been answered.
    async fn until(names: &Names, expected: &Answer) {
        while names.addresses("api", 80).await != *expected {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn rule_g20_callers_of_one_name_share_one_look_up() {
        let (names, told, tell) = names();
        let callers: Vec<_> = (0..600)
            .map(|_| {
                let names = names.clone();
                tokio::spawn(async move { names.addresses("api", 80).await })
            })
            .collect();
        tokio::task::yield_now().await;
        tell.send(Ok(address(1))).unwrap();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap()[..], address(1));
        }
        assert_eq!(told.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn rule_g20_a_name_that_is_gone_is_answered_at_once_while_it_is_looked_up_again() {
        let (names, told, tell) = names();
        tell.send(Err(io::Error::other("gone"))).unwrap();
        let gone = names.addresses("api", 80).await;
        assert_eq!(gone, Err(Unresolved::new(&"gone")));
        for _ in 0..100 {
            assert_eq!(names.addresses("api", 80).await, gone);
        }
        assert_eq!(told.asked.load(Ordering::SeqCst), 1, "asked a moment ago");
        tokio::time::advance(GONE * 10).await;
        for _ in 0..100 {
            assert_eq!(names.addresses("api", 80).await, gone, "the resolver is silent, the callers are not");
        }
        tell.send(Ok(address(1))).unwrap();
        until(&names, &Ok(address(1).into())).await;
        assert_eq!(told.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_asked_for_again_and_the_old_ones_used_meanwhile() {
        let (names, told, tell) = names();
        tell.send(Ok(address(1))).unwrap();
        assert_eq!(names.addresses("api", 80).await.unwrap()[..], address(1));
        tokio::time::advance(FRESH * 2).await;
        assert_eq!(
            names.addresses("api", 80).await.unwrap()[..],
            address(1),
            "no caller waits for longer than a moment"
        );
        tell.send(Ok(address(2))).unwrap();
        until(&names, &Ok(address(2).into())).await;
        assert_eq!(told.asked.load(Ordering::SeqCst), 2);
        // What was asked for long ago is not known any more.
        tokio::time::advance(STALE * 2).await;
        tell.send(Ok(address(3))).unwrap();
        assert_eq!(names.addresses("api", 80).await.unwrap()[..], address(3));
    }

    #[tokio::test(start_paused = true)]
    async fn old_addresses_are_not_given_where_the_look_up_answers_within_a_moment() {
        let (names, _, tell) = names();
        tell.send(Ok(address(1))).unwrap();
        assert_eq!(names.addresses("api", 80).await.unwrap()[..], address(1));
        tokio::time::advance(FRESH * 2).await;
        let mut asked = pin!(names.addresses("api", 80));
        assert_eq!(asked.as_mut().now_or_never(), None);
        tell.send(Ok(address(2))).unwrap();
        // The clock stands while there is something to do.
        let answer = loop {
            match asked.as_mut().now_or_never() {
                Some(answer) => break answer,
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(answer.unwrap()[..], address(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_passes_ends_no_good_addresses_and_a_name_that_is_gone_does() {
        for (kind, stays) in
            [(io::ErrorKind::Other, true), (io::ErrorKind::TimedOut, true), (io::ErrorKind::NotFound, false)]
        {
            let (names, told, tell) = names();
            let good: Answer = Ok(address(1).into());
            tell.send(Ok(address(1))).unwrap();
            assert_eq!(names.addresses("api", 80).await, good);
            tokio::time::advance(FRESH * 2).await;
            tell.send(Err(kind.into())).unwrap();
            until_asked(&names, &told, 2).await;
            let then = names.addresses("api", 80).await;
            assert_eq!(then.is_ok(), stays, "{kind}");
            assert!(!stays || then == good, "{kind}");
            tokio::time::advance(STALE).await;
            tell.send(Err(kind.into())).unwrap();
            until_asked(&names, &told, 3).await;
            assert!(names.addresses("api", 80).await.is_err(), "{kind}: too old");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rule_g20_callers_whose_addresses_take_no_connection_share_one_look_up() {
        let (names, told, tell) = names();
        tell.send(Ok(address(1))).unwrap();
        let refused = names.addresses("api", 80).await.unwrap();
        let mut callers: Vec<_> =
            (0..600).map(|_| Box::pin(names.addresses_instead_of(&refused, "api", 80))).collect();
        for caller in &mut callers {
            assert_eq!(caller.now_or_never(), None, "it waits for the look-up");
        }
        tell.send(Ok(address(2))).unwrap();
        for caller in callers {
            assert_eq!(caller.await.unwrap()[..], address(2));
        }
        assert_eq!(told.asked.load(Ordering::SeqCst), 2);
        // The next ones, at once, and later.
        let refused = names.addresses("api", 80).await.unwrap();
        for _ in 0..600 {
            assert_eq!(names.addresses_instead_of(&refused, "api", 80).await, Ok(refused.clone()));
        }
        assert_eq!(told.asked.load(Ordering::SeqCst), 2, "asked a moment ago");
        tokio::time::advance(MOMENT).await;
        tell.send(Ok(address(3))).unwrap();
        assert_eq!(names.addresses_instead_of(&refused, "api", 80).await.unwrap()[..], address(3));
    }

    #[tokio::test]
    async fn a_look_up_that_finds_nothing_or_panics_is_over() {
        struct Panics;
        impl Resolve for Panics {
            fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
                panic!("on purpose")
            }
        }
        assert!(Names::new(Arc::new(Panics)).addresses("api", 80).await.is_err());
        let (names, _, tell) = names();
        tell.send(Ok(Vec::new())).unwrap();
        assert_eq!(names.addresses("api", 80).await, Err(Unresolved::new(&"the name has no address")));
    }

    /// Also while the resolver hangs: this test would not end.
    #[test]
    fn rule_g20_a_resolver_that_hangs_holds_up_no_runtime() {
        struct Hangs;
        impl Resolve for Hangs {
            fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
                loop {
                    std::thread::park();
                }
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let names = Names::new(Arc::new(Hangs));
            let asked = names.addresses("api", 80);
            let waited = tokio::time::timeout(Duration::from_millis(10), asked).await;
            assert!(waited.is_err());
        });
        drop(runtime);
    }
}
