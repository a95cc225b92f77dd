//! `countersign config`.

use super::config_file::ConfigFile;
use super::console::Console;
use super::human::counted;
use super::serve::runtime;
use crate::config::{self, ConfigError, Configuration, Present};
use crate::failure::{Exit, Failure};
use crate::system::{SystemClock, SystemEnvironment};
use crate::words::shown;
use clap::Subcommand;
use countersign_model::{ClientId, Clock};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a configuration file with the certificates that it names; needs no database and no server
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
}

impl Command {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        let Self::Check { file } = self;
        let path = file.path()?;
        let present = Present { now: SystemClock.now(), clients: &clients_in };
        let inspected = config::inspect(&path, &SystemEnvironment, present);
        let inspected = inspected.map_err(|error| failure(&error, console))?;
        let Configuration { listeners, upstreams, apis, routes, issuer, .. } = &inspected.configuration;
        let counts = json!({
            "file": shown(&path), "valid": true, "issuer": issuer, "listeners": listeners.len(),
            "upstreams": upstreams.len(), "apis": apis.len(), "routes": routes.len(),
            "warnings": inspected.located(),
        });
        let of = |number: usize, what| counted(u64::try_from(number).unwrap_or(u64::MAX), what);
        console.answer(&counts, || {
            let warnings =
                config::render(&path, &inspected.source_text, &inspected.warnings, console.output_colour());
            format!(
                "{warnings}{} is valid: {}, {}, {}, {}{}\n",
                path.display(),
                of(listeners.len(), "listener"),
                of(upstreams.len(), "upstream"),
                of(apis.len(), "API"),
                of(routes.len(), "route"),
                match inspected.warnings.len() {
                    0 => String::new(),
                    number => format!("; {}", of(number, "warning")),
                }
            )
        })
    }
}

/// Loads the configuration, or fails with every mistake as people or programs read it.
pub(crate) fn load(path: &Path, console: Console) -> Result<Configuration, Failure> {
    config::load(path, &SystemEnvironment).map_err(|error| failure(&error, console))
}

fn failure(error: &ConfigError, console: Console) -> Failure {
    if let ConfigError::Unreadable { path, reason } = error {
        return Failure::new(Exit::Refused, format!("{} cannot be read", path.display()))
            .why(reason.as_str())
            .action("name the file with --config, or its directory with --dir; a new installation is made by: countersign init");
    }
    let mut failure = Failure::new(Exit::Refused, error.to_string());
    failure.shown = Some(error.render(console.error_colour()).into());
    failure.mistakes = serde_json::to_value(error.located()).ok().map(Box::new);
    failure
}

/// The clients of a database that is there and can be read, also while a server uses it.
fn clients_in(database: &Path) -> Option<BTreeSet<ClientId>> {
    let read = async { countersign_storage_sql::client_ids(database).await.ok() };
    database.is_file().then(runtime)?.ok()?.block_on(read)
}
