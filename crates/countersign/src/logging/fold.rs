//! Folding of lines: above a rate, lines of one kind are counted, and one line says how many there were and when. So a
//! caller cannot fill the disk with a line that it can cause at will (rule G20), whatever line it is.
//!
//! A kind is a place in the code together with the client or listener that the line names. The first lines of a kind are
//! written in full. Lines with a reference are never folded: they belong to audit records, which the audit log folds. DEBUG
//! lines are never folded either: an operator who enables them wants each.
//!
//! Memory is bounded: if there are too many kinds, lines of a new client or listener are counted by place alone.

use countersign_model::{Clock, Timestamp};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Maximum number of lines of a kind that are written in each [`PERIOD`]: more than one kind has around a failure.
const WRITTEN: u32 = 10;

/// How long lines are counted before the count is told.
const PERIOD: Duration = Duration::from_secs(10);

/// Maximum number of kinds that are distinguished by client or listener.
const KINDS: usize = 256;

/// The target of the lines that tell counts; they pass.
const TARGET: &str = "countersign::log";

/// The layer. Its clones are one.
#[derive(Clone)]
pub(super) struct Fold {
    kinds: Arc<Mutex<HashMap<Kind, Window>>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    place: Identifier,
    about: Option<String>,
}

/// One kind in one period.
struct Window {
    since: Timestamp,
    written: u32,
    folded: Option<Folded>,
}

/// What was not written.
struct Folded {
    level: Level,
    message: String,
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Fold {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { kinds: Arc::default(), clock }
    }

    /// Tells the counts of the periods that are over; of all when `all`.
    pub(super) fn tell(&self, now: Timestamp, all: bool) {
        let mut due = Vec::new();
        self.lock().retain(|kind, window| {
            let over = all || window.is_over(now);
            if let Some(folded) = window.folded.take_if(|_| over) {
                due.push((kind.about.clone(), folded));
            }
            !over
        });
        // Not under the lock: the lines come by here themselves.
        due.into_iter().for_each(|(about, folded)| folded.tell(about));
    }

    /// Whether a line is written now; it is counted otherwise.
    fn is_written(&self, level: Level, mut kind: Kind, message: impl FnOnce() -> String) -> bool {
        let now = self.clock.now();
        let mut kinds = self.lock();
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            kind.about = None; // the places are a closed set: these need no bound
        }
        let window = kinds.entry(kind).or_insert_with(|| Window { since: now, written: 0, folded: None });
        if window.is_over(now) {
            // Its count, if there is one, is told within a second.
            (window.since, window.written) = (now, 0);
        }
        if window.written < WRITTEN {
            window.written += 1;
            return true;
        }
        let none = || Folded { level, message: message(), count: 0, first: now, last: now };
        let folded = window.folded.get_or_insert_with(none);
        folded.count += 1;
        folded.last = now;
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Window>> {
        // A panic elsewhere leaves counts behind that are still true.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Fold {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == TARGET {
            return true;
        }
        let mut glance = Glance::default();
        event.record(&mut glance);
        let kind = Kind { place: metadata.callsite(), about: glance.about };
        glance.has_reference || self.is_written(*metadata.level(), kind, || glance.message)
    }
}

impl Window {
    /// Also when the clock was set back: what it counted is told, and nothing is folded for as long as the clock was ahead.
    fn is_over(&self, now: Timestamp) -> bool {
        now < self.since || now.since(self.since) >= PERIOD
    }
}

impl Folded {
    fn tell(self, about: Option<String>) {
        let Self { level, message, count, first, last } = self;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    {
                        "countersign.folded.about" = about,
                        "countersign.folded.count" = count,
                        "countersign.folded.first" = %first,
                        "countersign.folded.last" = %last,
                    },
                    "{count} more lines: {message}"
                )
            };
        }
        match level {
            Level::ERROR => line!(error),
            Level::WARN => line!(warn),
            _ => line!(info),
        }
    }
}

impl fmt::Debug for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold").finish_non_exhaustive()
    }
}

/// What folding needs to know of a line.
#[derive(Default)]
struct Glance {
    message: String,
    about: Option<String>,
    has_reference: bool,
}

impl Visit for Glance {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "countersign.ref" => self.has_reference = true,
            "countersign.client.id" | "countersign.listener" | "listener" => {
                self.about = Some(format!("{value:?}"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicI64, Ordering};
    use tracing_subscriber::layer::SubscriberExt;

    struct TestClock(AtomicI64);

    impl Clock for TestClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_s(self.0.load(Ordering::SeqCst))
        }
    }

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `test` has written.
    fn lines(test: impl FnOnce(&Fold, &TestClock)) -> Vec<String> {
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000)));
        let (fold, captured) = (Fold::new(clock.clone()), Captured::default());
        let writer = captured.clone();
        let to_memory =
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(fold.clone()).with(to_memory);
        tracing::subscriber::with_default(subscriber, || test(&fold, &clock));
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn about_client(client: &str) {
        tracing::warn!("countersign.client.id" = client, "a client calls with its secret");
    }

    #[test]
    fn rule_g20_a_flood_of_lines_is_a_few_lines_and_an_exact_count() {
        let lines = lines(|fold, clock| {
            for _ in 0..60_000 {
                about_client("acme-pay");
            }
            fold.tell(clock.now(), false);
            clock.0.fetch_add(10, Ordering::SeqCst);
            fold.tell(clock.now(), false);
            about_client("acme-pay");
        });
        assert_eq!(lines.len(), WRITTEN as usize + 2, "{lines:?}");
        let told: serde_json::Value = serde_json::from_str(&lines[WRITTEN as usize]).unwrap();
        assert_eq!(told["countersign.folded.count"], 59_990);
        assert_eq!((&told["level"], &told["countersign.folded.about"]), (&"WARN".into(), &"acme-pay".into()));
        assert_eq!(told["message"], "59990 more lines: a client calls with its secret");
    }

    #[test]
    fn rule_g20_the_flood_of_one_hides_no_other() {
        let lines = lines(|_, _| {
            (0..1000).for_each(|_| about_client("acme-pay"));
            about_client("other-bank");
            tracing::warn!(listener = "public", "accept failed");
        });
        assert_eq!(lines.len(), WRITTEN as usize + 2);
        assert!(lines.iter().any(|line| line.contains("other-bank")));
        assert!(lines.iter().any(|line| line.contains("accept failed")));
    }

    #[test]
    fn rule_g20_memory_is_bounded_when_everything_varies() {
        let lines = lines(|fold, clock| {
            (0..10_000).for_each(|i| about_client(&format!("client-{i}")));
            assert!(fold.lock().len() <= KINDS + 1);
            fold.tell(clock.now(), true);
            assert!(fold.lock().is_empty());
        });
        assert_eq!(lines.len(), KINDS + WRITTEN as usize + 1);
        let told: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        assert_eq!(told["countersign.folded.count"], 10_000 - KINDS - WRITTEN as usize);
    }

    #[test]
    fn lines_with_a_reference_and_debug_lines_pass() {
        let lines = lines(|_, _| {
            for _ in 0..50 {
                tracing::info!("countersign.ref" = "01JZ8Q0M3T4V6X8Z0A2C4E6G8J", "DENY");
                tracing::debug!("how it is decided");
            }
        });
        assert_eq!(lines.len(), 100);
    }

    #[test]
    fn a_clock_that_is_set_back_ends_the_period() {
        let lines = lines(|_, clock| {
            (0..20).for_each(|_| about_client("acme-pay"));
            clock.0.fetch_add(-3600, Ordering::SeqCst);
            (0..20).for_each(|_| about_client("acme-pay"));
        });
        assert_eq!(lines.len(), 2 * WRITTEN as usize);
    }
}
