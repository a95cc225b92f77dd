//! The program itself, as a process, and where it keeps its things.

use countersign::system::SystemClock;
use countersign_model::Clock;
use countersign_testkit::{Client, Ports, TestClock};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The program, which reads nothing: a prompt would wait for ever.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn countersign(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// A server that is ready; it ends with the value.
pub(crate) struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    log: Option<JoinHandle<Vec<String>>>,
    /// What it printed on standard output until it was ready.
    pub(crate) printed: String,
}

/// What a server has left behind.
pub(crate) struct Ended {
    /// On standard output.
    pub(crate) printed: String,
    /// On standard error.
    pub(crate) log: Vec<String>,
}

impl Running {
    /// Starts one and reads until `last_line` of what it prints. Its log is read all the time, so that it never waits for
    /// us, and shown when it ends before it is ready.
    pub(crate) fn start(arguments: &[&str], last_line: fn(&str) -> bool) -> Self {
        let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let log = std::thread::spawn(move || log.lines().map_while(Result::ok).collect::<Vec<_>>());
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, output, log: Some(log), printed: String::new() };
        loop {
            let before = running.printed.len();
            if running.output.read_line(&mut running.printed).unwrap() == 0 {
                let _ = running.child.wait();
                let log = running.log();
                panic!("it ended before it was ready:\n{}{log:#?}", running.printed);
            }
            if last_line(&running.printed[before..]) {
                return running;
            }
        }
    }

    /// Starts one that prints one JSON document when it is ready.
    pub(crate) fn start_json(arguments: &[&str]) -> Self {
        Self::start(&[arguments, &["--json"]].concat(), |line| line.ends_with("}\n"))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Ends it as Ctrl-C does, and waits for its orderly end.
    pub(crate) fn stop(mut self) -> Ended {
        self.signal("-INT");
        let mut printed = std::mem::take(&mut self.printed);
        self.output.read_to_string(&mut printed).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        Ended { printed, log: self.log() }
    }

    /// What it has logged until its end.
    fn log(&mut self) -> Vec<String> {
        self.log.take().unwrap().join().unwrap()
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(&mut self) {
        // After an orderly end there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where an installation is, or will be.
pub(crate) struct Place {
    _parent: tempfile::TempDir,
    pub(crate) directory: PathBuf,
    pub(crate) ports: Ports,
}

impl Place {
    pub(crate) fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("data");
        Self { _parent: parent, directory, ports: Ports::claim() }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        countersign(&[arguments, &["--dir", self.directory.to_str().unwrap()]].concat())
    }

    pub(crate) fn init(&self) -> Output {
        self.run(&["init", "--port", &self.ports.first().to_string()])
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.file("admin.token")).unwrap().trim().to_owned()
    }

    pub(crate) fn serve(&self) -> Output {
        self.run(&["serve"])
    }

    /// The status of a call of the admin API.
    pub(crate) async fn status(&self, token: &str) -> u16 {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.first() + 1));
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        Client::plain(admin).get("/admin/v1/clients", &headers).await.unwrap().status
    }
}

/// The text of a command that failed.
pub(crate) fn error(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{error}");
    assert!(error.lines().count() <= 3, "three lines at most: {error}");
    error
}

/// A clock that shows what the program's own does.
pub(crate) fn now() -> Arc<TestClock> {
    Arc::new(TestClock::at(SystemClock.now()))
}
