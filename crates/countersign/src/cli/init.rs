//! `countersign init`: a directory with everything a server needs, and nothing of a demo.

use super::config::load;
use super::console::Console;
use super::serve::{open, runtime};
use crate::failure::{Exit, Failure};
use crate::quickstart::partners::write_root;
use crate::setup::directory::write_new;
use crate::setup::master_key::Founding;
use crate::setup::template::{self, HIGHEST_PORT, Ports};
use crate::setup::{Directory, master_key, operator};
use crate::words::{error_chain, shown};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The directory to make
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_DIR)]
    dir: PathBuf,
    /// The gateway's port P; the admin API gets P+1, the public CA documents P+2
    #[arg(long, value_name = "P", default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..=i64::from(HIGHEST_PORT)))]
    port: u16,
}

impl Init {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        let directory = Directory::open(&self.dir)?;
        let config = directory.file("countersign.toml");
        let made = directory.announce("init", self.port, &[])?;
        // The root's certificate is what is made last: without it, a start that was cut short goes on.
        if made.command != "init" || directory.file("ca.crt").exists() {
            let failure = Failure::new(Exit::Refused, format!("{} is there already", config.display()));
            return Err(failure.why("nothing is overwritten").action("choose another directory with --dir"));
        }
        if !config.exists() {
            write_new(&config, template::empty(Ports(made.port), &made.master_key).as_bytes())?;
        }
        let configuration = load(&config, console)?;
        master_key::ensure(&configuration, Founding::GoesOn)?;
        runtime()?.block_on(async {
            let installation = open(&configuration).await?;
            operator::first_operator(&installation, &directory.file("admin.token")).await?;
            write_root(&installation, &directory)?;
            let closed = installation.database.close().await;
            closed.map_err(|error| {
                Failure::new(Exit::Refused, "the database does not close").why(error_chain(&error))
            })
        })?;
        let document = json!({
            "dir": shown(directory.path()), "config_file": shown(&config),
            "master_key_file": shown(&made.master_key),
            "admin_token_file": shown(&directory.file("admin.token")),
            "ca_file": shown(&directory.file("ca.crt")),
        });
        console.answer(&document, || {
            format!(
                "made        {}\nmaster key  {} (keep it apart from the data)\nadmin       {} (the credential of the operator `admin`)\n\
                 next: fill in what is behind it and what is protected: {}\n      countersign serve --config {}\n",
                directory.path().display(),
                made.master_key.display(),
                directory.file("admin.token").display(),
                config.display(),
                config.display()
            )
        })
    }
}
