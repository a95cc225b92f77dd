//! `countersign-bench`: drives a server with a closed loop of requests, and is the upstream behind it.
//!
//! Both halves are written by hand on httparse and tokio instead of on hyper: they share a core, and the less they
//! take of it, the nearer the server under test comes to its own limit. Neither is a general HTTP implementation.
//! Each run is bounded in requests and in time.

mod calibrate;
mod connection;
mod hold;
mod load;
mod measure;
mod tls;
mod upstream;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "countersign-bench", about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send requests in a closed loop and print what was measured as one JSON object
    Load(Box<load::Options>),
    /// Hold idle connections, and print what they take of the server's memory as one JSON object
    Hold(Box<load::Options>),
    /// Answer every request with the same 300 bytes of JSON
    Upstream(upstream::Options),
    /// Print what one ES256 signature costs on this core
    Calibrate,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // One thread: it is pinned to one core by bench/run, and wake-ups between threads would cost more than they bring.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Calibrate => {
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&calibrate::run()?)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Upstream(options) => runtime.block_on(upstream::serve(options)).map(|()| ExitCode::SUCCESS),
        Command::Hold(options) => {
            let report = runtime.block_on(hold::run(*options))?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Load(options) => {
            let report = runtime.block_on(load::run(*options))?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
            Ok(if report.as_expected() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
