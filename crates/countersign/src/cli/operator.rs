//! `countersign operator`: what is done at the data itself, where no credential helps any more.

use super::config::load;
use super::console::Console;
use super::serve::{open, runtime};
use crate::failure::{Exit, Failure};
use crate::setup::directory::DEFAULT_DIR;
use crate::setup::master_key::{self, Founding};
use crate::setup::{Directory, operator};
use crate::words::{printable, shown};
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give an operator a new token, because it was lost or is in other hands; the server must be stopped
    ResetToken {
        /// The directory of the installation
        #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR, env = "COUNTERSIGN_DIR", hide_env_values = true)]
        dir: PathBuf,
        /// Whose token
        #[arg(long, default_value = "admin")]
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl Command {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        let Self::ResetToken { dir, name, yes } = self;
        if !dir.join("countersign.toml").exists() {
            let failure =
                Failure::new(Exit::NotFound, format!("there is no installation in {}", dir.display()));
            return Err(failure.action("name the directory that init made with --dir"));
        }
        let directory = Directory::open(&dir)?;
        let configuration = load(&directory.file("countersign.toml"), console)?;
        // Never founds anything.
        if !configuration.storage.database.exists() {
            let database = configuration.storage.database.display();
            return Err(Failure::new(Exit::NotFound, format!("the database {database} is not there"))
                .action("put it back where it was, or name another directory with --dir"));
        }
        master_key::ensure(&configuration, Founding::FromNothing)?;
        console.confirm(
            yes,
            &format!("Make a new token for `{}`? The one before is refused.", printable(&name)),
        )?;
        let file = directory.file("admin.token");
        runtime()?.block_on(async {
            let installation = open(&configuration).await?;
            operator::reset_token(&installation, &name, &file).await?;
            let closed = installation.database.close().await;
            closed.map_err(|error| Failure::caused(Exit::Refused, "the database does not close", &error))
        })?;
        console.answer(&json!({ "operator": name, "admin_token_file": shown(&file) }), || {
            format!("the new token of `{}` is in {}\n", printable(&name), file.display())
        })
    }
}
