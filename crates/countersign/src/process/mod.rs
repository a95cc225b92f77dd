//! What the operating system gives this process: open files and threads. Too few are an error at the start, with what to
//! do, and not a server that stops to answer later (rule G20). And how the process ends.

mod watchdog;

pub(crate) use watchdog::{SAME_SIGNAL, Watchdog};

use crate::failure::{Exit, Failure};
use crate::words::RAISE_OPEN_FILES;
use countersign_gateway::descriptors::TooFew;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{Builder, JoinHandle};

/// Threads beside the workers: the control runtime and what it does without waiting, the database, the audit log, the
/// operational log, the watchdog.
const THREADS: usize = 20;

/// The database, the logs and the runtimes open so many files before the limit is asked for connections. With fewer, the
/// database says "unable to open database file" and not why.
const FILES_TO_START: usize = 64;

/// Raises the limit of open files as far as it goes, and sees to it that there are threads enough.
///
/// # Errors
/// When the system does not give the files and threads that a server needs.
pub(crate) fn prepare() -> Result<(), Failure> {
    raise_open_files();
    if open_files() < FILES_TO_START {
        return Err(open_files_too_low(format!("a start needs {FILES_TO_START}, before any connection")));
    }
    expect_threads(workers() + THREADS, |thread| Builder::new().name("trial".to_owned()).spawn(thread))
}

/// How many workers the data path has: one for each core.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many files the process may have open.
pub fn open_files() -> usize {
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The soft limit is 1024 in most places, for programs that use select(2); the hard one is what the operator grants.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused the old one holds: whether it is enough is asked later.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The failure that says what to do.
pub(crate) fn too_few_open_files(too_few: &TooFew) -> Failure {
    open_files_too_low(too_few.to_string())
}

fn open_files_too_low(needed: String) -> Failure {
    Failure::new(Exit::Refused, "the limit of open files is too low")
        .why(format!("this process may have {} open files, and {needed}", open_files()))
        .action(RAISE_OPEN_FILES)
}

/// Starts as many threads as are needed, all at once, and lets them go. Whatever the limit is (of the user, of the
/// control group, of memory), it shows here; later it would show as a panic in the middle of something.
fn expect_threads(
    needed: usize,
    mut spawn: impl FnMut(Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>,
) -> Result<(), Failure> {
    let (hold, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let mut threads = Vec::with_capacity(needed);
    let mut refused = None;
    for _ in 0..needed {
        let held = held.clone();
        // Each waits for the one before, which waits until the sender is gone.
        match spawn(Box::new(move || drop(held.lock().map(|held| held.recv())))) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let given = threads.len();
    drop(hold);
    for thread in threads {
        let _ = thread.join(); // it cannot panic
    }
    match refused {
        None => Ok(()),
        Some(error) => Err(Failure::new(Exit::Refused, "the system gives too few threads")
            .why(format!("{needed} are needed at least, and after {given}: {error}"))
            .action(
                "raise the limit: `ulimit -u`, TasksMax= of a systemd unit, --pids-limit of a container",
            )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g20_the_soft_limit_of_open_files_becomes_the_hard_one() {
        raise_open_files();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }

    #[test]
    fn rule_g20_too_few_threads_are_an_error_that_says_what_to_do() {
        expect_threads(30, |thread| Builder::new().spawn(thread)).unwrap();
        let mut given = 0;
        let failure = expect_threads(30, |thread| {
            given += 1;
            if given > 7 { Err(io::Error::from_raw_os_error(11)) } else { Builder::new().spawn(thread) }
        });
        let text = failure.unwrap_err().human();
        assert!(text.contains("30 are needed at least, and after 7:"), "{text}");
        assert!(text.contains("TasksMax=") && text.lines().count() <= 3, "{text}");
    }
}
