//! `countersign serve`, and what `quickstart` shares with it: a server from its start to its orderly end.

use super::config::load;
use super::config_file::ConfigFile;
use super::console::Console;
use super::handover::Handover;
use crate::config::{self, Configuration};
use crate::failure::{Exit, Failure};
use crate::logging::{self, LogHandle};
use crate::process::{self, SAME_SIGNAL, Watchdog};
use crate::setup::master_key::{self, Founding};
use crate::setup::ports::LOW_PORT;
use crate::system::{SystemClock, SystemEnvironment};
use crate::wiring::{Installation, Older, OpenError, Server, StartError};
use crate::words::error_chain;
use clap::Args;
use countersign_gateway::StartError as GatewayError;
use countersign_keys::SystemRng;
use countersign_storage::StorageError;
use futures_util::FutureExt;
use serde_json::json;
use std::error::Error;
use std::io::{self, ErrorKind, IsTerminal, stderr};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// Start with a database that is older than its audit log: revocations and everything else that takes rights away are
    /// applied from the log first
    #[arg(long)]
    replay_audit: bool,
}

impl Serve {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        process::prepare()?;
        let file = self.file.path()?;
        run(async {
            let signals = Signals::new()?;
            let configuration = load(&file, console)?;
            let log = logging::init(&configuration.log);
            if let Some(path) = master_key::ensure(&configuration, Founding::FromNothing)? {
                let path = path.display();
                console.progress(&format!(
                    "a new master key is in {path}: keep it apart from the data and its backups"
                ));
            }
            let watchdog = Watchdog::start(configuration.limits.shutdown_timeout, console.is_json())?;
            let older = if self.replay_audit { Older::Replay } else { Older::Refuse };
            let installation = open_or(older, &configuration).await?;
            let handover = Handover::of(&configuration);
            let ready = json!({
                "issuer": configuration.issuer,
                "admin": format!("http://{}", configuration.admin.listen),
                "listeners": configuration.listeners.iter().map(|listener| json!({
                    "name": listener.name.as_str(), "address": listener.address,
                })).collect::<Vec<_>>(),
                "handover": handover.json(),
            });
            let issuer = configuration.issuer.clone();
            let server = start(configuration, installation).await?;
            if console.is_json() {
                console.answer(&ready, String::new)?;
            } else {
                console.progress(handover.listening().trim_end());
                console.progress(handover.for_partners().trim_end());
                console.progress(&format!("ready: {issuer}"));
            }
            until_stopped(server, signals, watchdog, &file, &log, Hangup::Reloads, console).await
        })
    }
}

/// The runtime of everything but the data path, which has its own (design, decision 2).
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| Failure::caused(Exit::Refused, "no runtime", &error))
}

/// Runs a server on a runtime of its own. What still blocks a thread of it at the end, such as a disk that hangs, does not
/// hold up the process.
pub(crate) fn run(server: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = runtime()?;
    let ended = runtime.block_on(server);
    runtime.shutdown_background();
    ended
}

/// Opens database, keys and authority.
pub(crate) async fn open(configuration: &Configuration) -> Result<Installation, Failure> {
    open_or(Older::Refuse, configuration).await
}

async fn open_or(older: Older, configuration: &Configuration) -> Result<Installation, Failure> {
    let (clock, rng) = (Arc::new(SystemClock), Arc::new(SystemRng));
    let opened = Installation::open_or(older, configuration, &SystemEnvironment, clock, rng).await;
    opened.map_err(|error| {
        let failure = Failure::caused(Exit::Refused, "the installation does not open", &error);
        match error {
            OpenError::DiskFull { .. } => failure.action(ROOM),
            OpenError::Behind(behind) => failure.action(match behind.is_new {
                true => "put the database of this log back, or move the log away if this is a new installation",
                false => {
                    "put the newest database back, or start with `countersign serve --replay-audit`: it applies only what \
                     takes rights away"
                }
            }),
            _ => failure,
        }
    })
}

/// Starts the server; every listener is bound when this returns.
pub(crate) async fn start(
    configuration: Configuration,
    installation: Installation,
) -> Result<Server, Failure> {
    let started = Server::start(configuration, installation).await;
    started.map_err(|error| {
        if let StartError::OpenFiles(too_few) = &error {
            return process::too_few_open_files(too_few);
        }
        let failure = Failure::caused(Exit::Refused, "the server does not start", &error);
        match error {
            StartError::Gateway(GatewayError::Bind { source, .. })
                if source.kind() == ErrorKind::AddrInUse =>
            {
                failure.action("stop what listens there, or choose another address in the configuration")
            }
            StartError::Gateway(GatewayError::Bind { source, .. })
                if source.kind() == ErrorKind::PermissionDenied =>
            {
                failure.action(LOW_PORT)
            }
            StartError::DiskFull { .. } => failure.action(ROOM),
            _ => failure,
        }
    })
}

/// What helps on a full disk.
const ROOM: &str = "make room on that disk and start again; nothing that was stored is lost";

/// The signals of a server, listened to before it starts: none may end it half-way.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::caused(Exit::Refused, "no signals", &error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

/// What SIGHUP means: a terminal sends it when it is closed, an operator when the configuration has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// Always the operator: a server outlives the terminal that it was started on.
    Reloads,
    /// Of a demo on a terminal: when that is gone, nobody is left who could end it.
    EndsWithTerminal,
}

impl Hangup {
    /// Of a demo that starts now.
    pub(crate) fn of_demo() -> Self {
        if stderr().is_terminal() { Self::EndsWithTerminal } else { Self::Reloads }
    }
}

/// Serves until Ctrl-C or SIGTERM, and reloads on SIGHUP. If an essential task ends unexpectedly, or this task panics, the
/// server shuts down as after a signal. A second signal stops it immediately.
pub(crate) async fn until_stopped(
    server: Server,
    mut signals: Signals,
    watchdog: Watchdog,
    config: &Path,
    log: &LogHandle,
    hangup: Hangup,
    console: Console,
) -> Result<(), Failure> {
    let told = until_told(&server, &mut signals, &watchdog, config, log, hangup);
    let lost =
        AssertUnwindSafe(told).catch_unwind().await.unwrap_or_else(|_| Some("the main task".to_owned()));
    watchdog.order();
    let lost = lost.map(|part| {
        tracing::error!(part, "{part} ended unexpectedly; the server is shutting down");
        let cut = if part.starts_with("worker ") { "; its connections were cut" } else { "" };
        Failure::new(Exit::Refused, "the server stopped by itself")
            .why(format!("{part} ended unexpectedly{cut}"))
            .action("look for a panic in the log, and please report it")
    });
    console.progress("stopping: requests in flight end first; press Ctrl-C again to stop immediately");
    tokio::select! {
        stopped = server.shutdown() => {
            stopped.map_err(|error| stopped_with_errors(error.as_ref()))?;
            lost.map_or(Ok(()), Err)
        }
        () = asked_again(&mut signals) => {
            Err(Failure::new(Exit::Refused, "stopped immediately")
                .why("a second signal came; requests in flight were cut")
                .action("nothing that was stored is lost; start it again when you like"))
        }
    }
}

/// What the audit log or the database could not write at the end.
fn stopped_with_errors(error: &(dyn Error + 'static)) -> Failure {
    let action = if is_disk_full(error) {
        "free disk space, start the server, then run `countersign audit verify`"
    } else {
        "look for the cause in the log; start the server, then run `countersign audit verify`"
    };
    Failure::new(Exit::Refused, "the server stopped with errors").why(error_chain(error)).action(action)
}

/// Whether the error, or one of its causes, is a full disk.
fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let of_system = error.downcast_ref::<io::Error>().map(io::Error::kind);
    of_system == Some(ErrorKind::StorageFull)
        || matches!(error.downcast_ref(), Some(StorageError::Full))
        || error.source().is_some_and(is_disk_full)
}

/// Serves and reloads until the server is to stop. Which part of it is lost, if that is why.
async fn until_told(
    server: &Server,
    signals: &mut Signals,
    watchdog: &Watchdog,
    config: &Path,
    log: &LogHandle,
    hangup: Hangup,
) -> Option<String> {
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => return None,
            _ = signals.terminate.recv() => return None,
            part = server.lost_task() => return Some(part),
            _ = signals.hangup.recv() => match hangup {
                Hangup::EndsWithTerminal if !stderr().is_terminal() => return None,
                Hangup::EndsWithTerminal | Hangup::Reloads => {
                    reload(server, config, log).await;
                    watchdog.set_patience(server.shutdown_timeout());
                }
            }
        }
    }
}

/// Waits for a second signal. One that comes with the first is the first: `timeout` and `cargo run` deliver two.
async fn asked_again(signals: &mut Signals) {
    let first = Instant::now();
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => {}
            _ = signals.terminate.recv() => {}
        }
        if first.elapsed() > SAME_SIGNAL {
            return;
        }
    }
}

/// Takes over the file, or keeps what runs and says why (design, decision 24).
async fn reload(server: &Server, path: &Path, log: &LogHandle) {
    match config::load(path, &SystemEnvironment) {
        Ok(configuration) => {
            let level = configuration.log.level;
            match server.reload(configuration).await {
                Ok(()) => {
                    log.set_level(level);
                    tracing::info!(file = %path.display(), "the configuration was reloaded");
                }
                Err(error) => {
                    tracing::error!(
                        error = error_chain(&error),
                        "the configuration was refused; the one from before keeps running"
                    );
                }
            }
        }
        Err(error) => {
            server.refuse_reload(error.to_string());
            let mistakes = error.lines().join("; ");
            tracing::error!(%error, mistakes, "the configuration was refused; the one from before keeps running");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_audit::AuditError;

    #[test]
    fn a_full_disk_is_named_only_if_it_is_the_cause() {
        let head = |source: StorageError| AuditError::HeadNotSaved { source: source.into() };
        let action = |error: &AuditError| stopped_with_errors(error).action.unwrap();
        assert!(action(&head(StorageError::Full)).contains("free disk space"));
        assert!(!action(&head(StorageError::Unavailable("locked".into()))).contains("free disk space"));
        assert!(is_disk_full(&io::Error::from(ErrorKind::StorageFull)));
        assert!(!is_disk_full(&io::Error::from(ErrorKind::NotFound)));
    }
}
