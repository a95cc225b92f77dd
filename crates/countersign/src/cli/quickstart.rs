//! `countersign quickstart`: the whole product on one's own machine in a minute.

use super::config::load;
use super::console::Console;
use super::serve::{Hangup, Signals, open, run, start, until_stopped};
use crate::failure::{Exit, Failure};
use crate::logging;
use crate::process::{self, Watchdog};
use crate::quickstart::printed::Printed;
use crate::quickstart::{demo_api, partners};
use crate::setup::directory::{DEFAULT_DIR, write_new};
use crate::setup::master_key::Founding;
use crate::setup::ports::Chosen;
use crate::setup::template::{self, DEFAULT_PORT, HIGHEST_PORT, Ports};
use crate::setup::{Directory, Made, master_key, operator, ports};
use crate::words::{in_words, shown};
use clap::Args;
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::net::TcpListener;

#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// The directory for everything that is made
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR, env = "COUNTERSIGN_DIR", hide_env_values = true)]
    dir: PathBuf,
    /// The gateway's port P; admin API, public CA documents and demo API get P+1 to P+3. Default: 8443, or that of the directory
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..=i64::from(HIGHEST_PORT)))]
    port: Option<u16>,
    /// Remove what quickstart made in the directory, and nothing else
    #[arg(long, conflicts_with = "port")]
    clean: bool,
}

impl Quickstart {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        if self.clean {
            return clean(&self.dir, console);
        }
        let begun = Instant::now();
        // Before anything is made: a new directory is not left behind for a port that is taken.
        if !self.dir.join("made.json").exists() {
            ports::expect_free(Ports(self.port.unwrap_or(DEFAULT_PORT)), Chosen::Now)?;
        }
        let directory = Directory::open(&self.dir)?;
        let (made, again) = self.announce(&directory)?;
        let ports = Ports(made.port);
        if again {
            ports::expect_free(ports, Chosen::Before)?;
        }
        let config = directory.file("countersign.toml");
        if !config.exists() {
            write_new(&config, template::demo(ports, &made.master_key).as_bytes())?;
        }
        process::prepare()?;
        run(async {
            let (signals, hangup) = (Signals::new()?, Hangup::of_demo());
            let configuration = load(&config, console)?;
            master_key::ensure(&configuration, Founding::GoesOn)?;
            let watchdog = Watchdog::start(configuration.limits.shutdown_timeout, console.is_json())?;
            let log = configuration.log;
            let installation = open(&configuration).await?;
            operator::first_operator(&installation, &directory.file("admin.token")).await?;
            let partners = partners::provision(&installation, &directory).await?;
            serve_demo_api(ports, again).await?;
            let server = start(configuration, installation).await?;
            let program = std::env::current_exe().unwrap_or_else(|_| "countersign".into());
            let ready_after = begun.elapsed();
            let printed =
                Printed { directory: &directory, ports, partners: &partners, program, again, ready_after };
            if console.is_json() {
                console.print(&format!("{}\n", printed.json()))?;
            } else {
                console.print(&printed.text())?;
            }
            // Only now: nothing scrolls before the block.
            let log = logging::init(&log);
            until_stopped(server, signals, watchdog, &config, &log, hangup, console).await
        })
    }

    /// What was made before, or the announcement of what will be; and whether it was there before.
    fn announce(&self, directory: &Directory) -> Result<(Made, bool), Failure> {
        let Some(made) = directory.made()? else {
            let port = self.port.unwrap_or(DEFAULT_PORT);
            return Ok((directory.announce("quickstart", port, &partners::files())?, false));
        };
        let path = directory.path().display();
        if made.command != "quickstart" {
            let failure = Failure::new(Exit::Refused, format!("{path} was not made by quickstart"));
            return Err(failure.why("it has no demo in it").action("choose another directory with --dir"));
        }
        made.expect_port(directory, self.port)?;
        // A first start that was cut short goes on as the first start.
        let complete = partners::OTHER.certificate_file(directory).exists();
        Ok((made, complete))
    }
}

async fn serve_demo_api(ports: Ports, again: bool) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.demo())).await.map_err(|error| {
        Failure::new(Exit::Refused, format!("the demo API cannot listen on port {}", ports.demo()))
            .why(in_words(&error))
            .action(Chosen::of(again).remedy())
    })?;
    tokio::spawn(async move {
        // It ends with the process.
        if let Err(error) = axum::serve(listener, demo_api::router()).await {
            tracing::error!(%error, "the demo API has stopped");
        }
    });
    Ok(())
}

fn clean(path: &Path, console: Console) -> Result<(), Failure> {
    let left = Directory::clean(path, "quickstart")?;
    let shown_left: Vec<String> = left.iter().map(|path| shown(path)).collect();
    console.answer(&json!({ "dir": shown(path), "left": shown_left }), || {
        if left.is_empty() {
            format!("{} and its master key are removed\n", path.display())
        } else {
            let names: Vec<String> = left.iter().map(|path| format!("  {}\n", path.display())).collect();
            format!("removed what was made; this is of others and stays:\n{}", names.concat())
        }
    })
}
