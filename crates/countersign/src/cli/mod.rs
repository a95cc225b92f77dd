//! The command line: nouns, then verbs; a file for each subcommand.
//!
//! Tables for people, one JSON document for programs (`--json`), errors of three lines at most, the same exit codes
//! everywhere ([`Exit`](crate::failure::Exit)). Completions and man pages come from the same definitions.

mod admin_client;
mod audit;
mod audit_story;
mod cert;
mod cert_request;
mod client;
mod completions;
mod config;
mod config_file;
mod console;
mod duration;
mod explain;
mod handover;
mod human;
mod init;
mod listing;
mod man;
mod operator;
mod quickstart;
mod serve;
mod token_key;

pub use console::Console;

use crate::failure::{Exit, Failure};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Access control for APIs that are called by machines: mutual TLS, bound access tokens, and the CA behind both
#[derive(Debug, Parser)]
#[command(name = "countersign", version, propagate_version = true, after_help = crate::failure::EXIT_CODES)]
pub struct Cli {
    /// Print one JSON document instead of text for people
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make demo partners and a demo API, start everything, and print calls to paste
    Quickstart(quickstart::Quickstart),
    /// Make a directory with all that a server needs
    Init(init::Init),
    /// Run the server: gateway, authorization server, certificate authority
    Serve(serve::Serve),
    /// Check the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Explain a reason code: what it means, what the partner does, what the operator does
    Explain(explain::Explain),
    /// Manage clients: the partners' programs
    #[command(subcommand)]
    Client(client::Command),
    /// Manage certificates
    #[command(subcommand)]
    Cert(cert::Command),
    /// Read and verify the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Manage the keys that sign access tokens
    #[command(subcommand)]
    TokenKey(token_key::Command),
    /// Help an operator whose credential was lost
    #[command(subcommand)]
    Operator(operator::Command),
    /// Print the completions for a shell
    Completions(completions::Completions),
    /// Print the manual page, or write the pages of all commands
    Man(man::Man),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let failure = wrong_usage(&error, &help_of(std::env::args_os().skip(1)));
            Console::of_process(std::env::args_os().any(|argument| argument == "--json")).failure(&failure);
            return failure.exit.into();
        }
        Err(error) => error.exit(),
    };
    let console = Console::of_process(cli.json);
    match cli.command.run(console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.failure(&failure);
            failure.exit.into()
        }
    }
}

/// What shows the help of the command that was meant, as far as its name was right.
fn help_of(arguments: impl Iterator<Item = OsString>) -> String {
    let (mut command, mut words) = (Cli::command(), vec!["countersign".to_owned()]);
    for argument in arguments.filter(|argument| !argument.as_encoded_bytes().starts_with(b"-")) {
        let Some(next) = command.find_subcommand(&argument) else { break };
        words.push(next.get_name().to_owned());
        command = next.clone();
    }
    words.join(" ") + " --help"
}

/// What clap has to say, in the form of every other failure.
fn wrong_usage(error: &clap::Error, help: &str) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::new(Exit::Usage, "a command is missing").action(help);
    }
    let text = error.render().to_string();
    let mut paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let what = paragraphs.next().unwrap_or_default();
    let failure = Failure::new(Exit::Usage, what.trim_start_matches("error: "));
    match paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned)) {
        Some(tip) => failure.why(tip).action(help),
        None => failure.action(help),
    }
}

impl Command {
    fn run(self, console: Console) -> Result<(), Failure> {
        match self {
            Self::Quickstart(quickstart) => quickstart.run(console),
            Self::Init(init) => init.run(console),
            Self::Serve(serve) => serve.run(console),
            Self::Config(command) => command.run(console),
            Self::Explain(explain) => explain.run(console),
            Self::Client(command) => command.run(console),
            Self::Cert(command) => command.run(console),
            Self::Audit(command) => command.run(console),
            Self::TokenKey(command) => command.run(console),
            Self::Operator(command) => command.run(console),
            Self::Completions(completions) => completions.run(console),
            Self::Man(man) => man.run(console),
        }
    }
}

#[cfg(test)]
mod tests;
