//! The program itself, as a process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

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
    /// What it printed on standard output until it was ready.
    pub(crate) printed: String,
}

impl Running {
    /// Starts one and reads until `last_line` of what it prints. Its log is read all the time, so that it never waits for
    /// us, and shown when it ends before it is ready.
    pub(crate) fn start(arguments: &[&str], last_line: fn(&str) -> bool) -> Self {
        let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let log = std::thread::spawn(move || log.lines().map_while(Result::ok).collect::<Vec<_>>());
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, output, printed: String::new() };
        loop {
            let before = running.printed.len();
            if running.output.read_line(&mut running.printed).unwrap() == 0 {
                let _ = running.child.wait();
                panic!("it ended before it was ready:\n{}{:#?}", running.printed, log.join().unwrap());
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

    /// Ends it as Ctrl-C does, waits for its orderly end, and gives all that it printed.
    pub(crate) fn stop(mut self) -> String {
        self.signal("-INT");
        let mut printed = std::mem::take(&mut self.printed);
        self.output.read_to_string(&mut printed).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        printed
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
