//! The end of the process within its time, whatever state it is in: out of memory, with a runtime that hangs, with a
//! main thread that has panicked or waits for a pipe that nobody reads.
//!
//! A thread of its own knows when the process was told to stop: it listens to the signals itself. What it needs is made
//! at the start.

use crate::failure::{Exit, Failure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Builder;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// What an orderly end may take behind the requests in flight: the last records, the last commit.
const MARGIN: Duration = Duration::from_secs(5);

/// Signals within this time of each other are one: `timeout` and `cargo run` deliver two.
pub(crate) const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// What the end may take once it was asked for twice.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Ends the process when an orderly end takes too long. Its drop orders the end too: however a server is left, nothing
/// keeps the process.
#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Orders>);

#[derive(Debug, Default)]
struct Orders {
    /// What requests in flight may take, in milliseconds.
    patience_ms: AtomicU64,
    stop: Notify,
}

impl Watchdog {
    /// Begins to watch. Call it on the main thread: a panic there orders the end.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(patience: Duration, json: bool) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::caused(Exit::Refused, "no watchdog", &error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let signals = {
            let _inside = runtime.enter();
            let listen = |kind| signal(kind).map_err(failed);
            [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?]
        };
        let orders = Arc::new(Orders::default());
        let watchdog = Self(orders.clone());
        watchdog.set_patience(patience);
        watchdog.order_when_this_thread_panics();
        let last_words = last_words(json);
        let watch = move || {
            runtime.block_on(overdue(&orders, signals));
            end(&last_words);
        };
        Builder::new().name("watchdog".to_owned()).spawn(watch).map_err(failed)?;
        Ok(watchdog)
    }

    /// What requests in flight may take from now on.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.0.patience_ms.store(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The server stops: its time runs from now.
    pub(crate) fn order(&self) {
        self.0.stop.notify_one();
    }

    /// Before the panic is told: standard error may be a pipe that nobody reads.
    fn order_when_this_thread_panics(&self) {
        let (orders, this) = (self.0.clone(), std::thread::current().id());
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == this {
                orders.stop.notify_one();
            }
            tell(panic);
        }));
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.order();
    }
}

/// Returns when the process was told to stop and its time is over.
async fn overdue(orders: &Orders, [mut interrupt, mut terminate]: [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = orders.stop.notified() => {}
    }
    let told = Instant::now();
    let patience = Duration::from_millis(orders.patience_ms.load(Ordering::Relaxed));
    let again = async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if told.elapsed() > SAME_SIGNAL {
                return sleep(AT_ONCE).await;
            }
        }
    };
    tokio::select! {
        () = sleep_until(told + patience + MARGIN) => {}
        () = again => {}
    }
}

fn last_words(json: bool) -> Vec<u8> {
    let failure =
        Failure::new(Exit::Refused, "the server did not stop within shutdown_timeout and was terminated")
            .why("requests in flight were cut; records that were not written yet are lost")
            .action("look for the cause in the log; if the log does not say, please report it");
    if json { format!("{}\n", failure.json()).into_bytes() } else { failure.human().into_bytes() }
}

/// Ends the process. Nothing is waited for: no lock of standard error, and no pipe that is full.
fn end(last_words: &[u8]) -> ! {
    let stderr = rustix::stdio::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    if poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0) {
        let _ = rustix::io::write(stderr, last_words);
    }
    std::process::exit(Exit::Refused as i32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::sync::mpsc;

    #[test]
    #[ignore = "a process of its own: the next test starts it"]
    fn a_main_thread_that_panics() {
        let _watchdog = Watchdog::start(Duration::ZERO, false).unwrap();
        let panicked = std::panic::catch_unwind(|| panic!("on purpose"));
        assert!(panicked.is_err());
        loop {
            std::thread::park(); // as one that waits for what never comes while it is unwound
        }
    }

    #[test]
    fn a_main_thread_that_panics_ends_the_process() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "process::watchdog::tests::a_main_thread_that_panics",
                "--ignored",
                "--nocapture",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            tell.send(text)
        });
        // The margin; the rest is for a busy machine.
        let text = told.recv_timeout(Duration::from_secs(60));
        let _ = child.kill(); // one that has ended is not there any more
        let status = child.wait().unwrap();
        let text = text.expect("the process stands");
        assert!(text.contains("did not stop within shutdown_timeout"), "{text}");
        assert_eq!(status.code(), Some(1), "{text}");
    }

    #[test]
    fn its_last_words_are_three_lines_or_one_document() {
        let text = String::from_utf8(last_words(false)).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        let document: serde_json::Value = serde_json::from_slice(&last_words(true)).unwrap();
        assert_eq!(document["error"]["exit"], 1);
    }
}
