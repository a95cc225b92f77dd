//! `countersign init`: a directory with everything a server needs, and nothing of a demo.

use super::config::load;
use super::console::Console;
use super::handover::Handover;
use super::serve::{open, runtime};
use crate::config::{HostName, NotUnderstood, Origin};
use crate::failure::{Exit, Failure};
use crate::setup::directory::{DEFAULT_DIR, write_new};
use crate::setup::master_key::Founding;
use crate::setup::root::write_root;
use crate::setup::template::{self, DEFAULT_PORT, HIGHEST_PORT, Ports, Public};
use crate::setup::{Directory, master_key, operator};
use crate::words::shown;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The directory to make
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR, env = "COUNTERSIGN_DIR", hide_env_values = true)]
    dir: PathBuf,
    /// The gateway's port P; the admin API gets P+1, the public CA documents P+2. Default: 8443, or that of a directory that was cut short
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..=i64::from(HIGHEST_PORT)))]
    port: Option<u16>,
    /// The issuer: what clients see, in metadata and in every token. Default: https://localhost:P
    #[arg(long, value_name = "URL", value_parser = issuer)]
    issuer: Option<Origin>,
    /// How others reach the CRLs and CA certificates: it stands in every certificate, also in those of the CAs, which are
    /// made now and live for years. Default: http://127.0.0.1:P+2, which only this machine reaches
    #[arg(long, value_name = "URL", value_parser = documents_url)]
    documents_url: Option<Origin>,
}

/// RFC 8414 section 2, and a name that a listener's certificate can have.
fn issuer(text: &str) -> Result<Origin, String> {
    let url: Origin = text.parse().map_err(|error: NotUnderstood| error.to_string())?;
    if url.scheme() != "https" {
        return Err("an issuer is an https URL".to_owned());
    }
    url.host().parse::<HostName>().map_err(|error| error.to_string())?;
    Ok(url)
}

/// RFC 5280 section 8: over plain http, or a certificate would be needed to check a certificate.
fn documents_url(text: &str) -> Result<Origin, String> {
    let url: Origin = text.parse().map_err(|error: NotUnderstood| error.to_string())?;
    if url.scheme() == "http" { Ok(url) } else { Err("CRLs are fetched over plain http".to_owned()) }
}

impl Init {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        let directory = Directory::open(&self.dir)?;
        let config = directory.file("countersign.toml");
        let made = directory.announce("init", self.port.unwrap_or(DEFAULT_PORT), &[])?;
        // The root's certificate is what is made last: without it, a start that was cut short goes on.
        if made.command != "init" || directory.file("ca.crt").exists() {
            let failure = Failure::new(Exit::Refused, format!("{} is there already", config.display()));
            return Err(failure.why("nothing is overwritten").action("choose another directory with --dir"));
        }
        made.expect_port(&directory, self.port)?;
        let public = Public { issuer: self.issuer, documents_url: self.documents_url };
        if !config.exists() {
            let text = template::empty(Ports(made.port), &public, &made.master_key);
            write_new(&config, text.as_bytes())?;
        }
        let configuration = load(&config, console)?;
        // Of a start that was cut short the file was there already.
        for (option, asked, written) in [
            ("--issuer", &public.issuer, configuration.issuer.clone()),
            ("--documents-url", &public.documents_url, configuration.pki_url()),
        ] {
            if asked.as_ref().is_some_and(|asked| asked.as_str() != written) {
                let what = format!("{} has {written} already, which is not {option}", config.display());
                return Err(Failure::new(Exit::Refused, what)
                    .why("an init that was cut short wrote it")
                    .action(format!("leave {option} out, or change the file")));
            }
        }
        master_key::ensure(&configuration, Founding::GoesOn)?;
        let handover = Handover::of(&configuration);
        runtime()?.block_on(async {
            let installation = open(&configuration).await?;
            operator::first_operator(&installation, &directory.file("admin.token")).await?;
            write_root(&installation, &directory)?;
            let closed = installation.database.close().await;
            closed.map_err(|error| Failure::caused(Exit::Refused, "the database does not close", &error))
        })?;
        let document = json!({
            "handover": handover.json(),
            "dir": shown(directory.path()), "config_file": shown(&config),
            "master_key_file": shown(&made.master_key),
            "admin_token_file": shown(&directory.file("admin.token")),
            "ca_file": shown(&directory.file("ca.crt")),
        });
        console.answer(&document, || {
            format!(
                "made        {}\nmaster key  {} (keep it apart from the data)\nadmin       {} (the credential of the operator `admin`)\n\
                 root        {} (what partners trust)\n{}{}next: fill in what is behind it and what is protected: {}\n      countersign serve --config {}\n",
                directory.path().display(),
                made.master_key.display(),
                directory.file("admin.token").display(),
                directory.file("ca.crt").display(),
                handover.listening(),
                handover.for_partners(),
                config.display(),
                config.display()
            )
        })
    }
}
