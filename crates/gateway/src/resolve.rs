//! The addresses of upstreams (rule G20): one look-up in flight for each name, however many callers wait.
//!
//! The system's resolver blocks its thread, for seconds when it hears nothing. A look-up for every connection would be a
//! thread for every caller; and on the runtime's own threads for such work it would hold up the end of the process. So
//! each name has a thread of its own for as long as it is looked up, which nobody waits for at the end.

use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Finds the addresses of a name. May block: it runs on a thread of its own.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, with `port`.
    ///
    /// # Errors
    /// If the name is not known, or no server answers.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }
}

/// What is known of a name.
type Answer = Result<Arc<[SocketAddr]>, Unresolved>;

/// How long addresses are used without asking again.
const FRESH: Duration = Duration::from_secs(5);
/// How long a name that was not found is not asked for again.
const GONE: Duration = Duration::from_secs(1);
/// How long an old answer is given while a new one is on its way. Without it every caller of a name that is gone would
/// wait as long as the resolver takes to say so.
const STALE: Duration = Duration::from_secs(30);

/// The names of all upstreams, shared by the workers.
pub(crate) struct Names {
    resolver: Arc<dyn Resolve>,
    known: DashMap<(String, u16), Arc<Name>, RandomState>,
}

#[derive(Default)]
struct Name(Mutex<State>);

#[derive(Default)]
struct State {
    answer: Option<(Answer, Instant)>,
    /// Closed when the look-up is over.
    looking: Option<watch::Receiver<()>>,
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
        let name = self.name(host, port);
        loop {
            let mut looking = {
                let mut state = name.state();
                let now = Instant::now();
                let age = state.answer.as_ref().map(|(answer, at)| (answer.is_ok(), now - *at));
                let fresh = age.is_some_and(|(found, age)| age < if found { FRESH } else { GONE });
                if !fresh && state.looking.is_none() {
                    state.looking = Some(self.look_up(&name, host, port)?);
                }
                let usable = |at: Instant| state.looking.is_none() || now - at < STALE;
                match (&state.answer, &state.looking) {
                    (Some((answer, at)), _) if usable(*at) => return answer.clone(),
                    (_, Some(looking)) => looking.clone(),
                    (_, None) => return Err(Unresolved::new(&"no lookup is running")), // it was begun above
                }
            };
            let _ = looking.changed().await; // closed: the look-up is over
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
    fn look_up(&self, name: &Arc<Name>, host: &str, port: u16) -> Result<watch::Receiver<()>, Unresolved> {
        let (over, looking) = watch::channel(());
        let asked_at = (Instant::now(), std::time::Instant::now());
        let ends = Ends { name: name.clone(), asked_at, answer: None, _over: over };
        let (resolver, host) = (self.resolver.clone(), host.to_owned());
        let look = move || {
            ends.with(match resolver.resolve(&host, port) {
                Ok(addresses) if addresses.is_empty() => Err(Unresolved::new(&"the name has no address")),
                Ok(addresses) => Ok(addresses.into()),
                Err(error) => Err(Unresolved::new(&error)),
            });
        };
        let thread = std::thread::Builder::new().name("resolve".to_owned()).spawn(look);
        // Nobody joins it: one that hangs holds up nothing.
        thread.map(|_| looking).map_err(|error| Unresolved::new(&error))
    }
}

impl Name {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what a look-up found when it is over, also when it panics.
struct Ends {
    name: Arc<Name>,
    /// On the caller's clock, and on the clock of the look-up's thread.
    asked_at: (Instant, std::time::Instant),
    answer: Option<Answer>,
    /// Dropped last: who waits for it looks at the answer.
    _over: watch::Sender<()>,
}

impl Ends {
    fn with(mut self, answer: Answer) {
        self.answer = Some(answer);
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let answer = self.answer.take();
        let answer = answer.unwrap_or_else(|| Err(Unresolved::new(&"the look-up ended early")));
        let at = self.asked_at.0 + self.asked_at.1.elapsed();
        *self.name.state() = State { answer: Some((answer, at)), looking: None };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(names.addresses("api", 80).await.unwrap()[..], address(1), "no caller waits");
        tell.send(Ok(address(2))).unwrap();
        until(&names, &Ok(address(2).into())).await;
        assert_eq!(told.asked.load(Ordering::SeqCst), 2);
        // What was asked for long ago is not known any more.
        tokio::time::advance(STALE * 2).await;
        tell.send(Ok(address(3))).unwrap();
        assert_eq!(names.addresses("api", 80).await.unwrap()[..], address(3));
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
