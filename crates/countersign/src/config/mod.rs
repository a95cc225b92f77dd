//! `countersign.toml`: read, checked as a whole, and shown with every mistake at once.
//!
//! Text becomes [`sections`] key by key, sections become checked types, and only a file without a mistake becomes a
//! [`Configuration`]. `config check` runs anywhere; where the database is at hand, it warns of clients that do not exist.
//! Secrets stand in the file by reference only ([`secret_ref`]). A key that is not enforced does not exist.

pub mod certificate_files;
mod configuration;
mod mistake;
mod reader;
pub mod reference;
pub mod reload;
pub mod secret_ref;
pub mod sections;
mod surroundings;
mod values;
mod warnings;

use crate::words::in_words;
use mistake::Mistakes;
use reader::Section as _;
use secret_ref::ProcessEnvironment;
use sections::Document;
use sections::routes::Referents;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

pub use configuration::Configuration;
pub use mistake::{Colour, Hidden, Located, Mistake, Severity, render};
pub use surroundings::{Present, Surroundings};
pub(crate) use values::{HostName, LOCAL_NAMES, Period};
pub use values::{Name, NotUnderstood, Origin};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why, in words.
        reason: String,
    },
    /// The file has mistakes: all of them.
    #[error("{} has {}", path.display(), count(mistakes.len()))]
    Mistakes {
        /// Which file.
        path: PathBuf,
        /// Its text, to show them in.
        source_text: String,
        /// In the order of the file.
        mistakes: Vec<Mistake>,
    },
}

impl ConfigError {
    /// The mistakes with their places, for programs.
    pub fn located(&self) -> Vec<Located<'_>> {
        match self {
            Self::Unreadable { .. } => Vec::new(),
            Self::Mistakes { source_text, mistakes, .. } => {
                mistakes.iter().map(|mistake| Located::of(source_text, mistake)).collect()
            }
        }
    }

    /// One line for each mistake, for logs.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } => vec![self.to_string()],
            Self::Mistakes { .. } => {
                let one = |it: Located<'_>| format!("line {}: {}: {}", it.line, it.message, it.reason);
                self.located().into_iter().map(one).collect()
            }
        }
    }

    /// The error as people read it: each mistake as a compiler would show it, and their number.
    pub fn render(&self, colour: Colour) -> String {
        match self {
            Self::Unreadable { .. } => format!("error[config]: {self}\n"),
            Self::Mistakes { path, source_text, mistakes } => {
                format!("{}error[config]: {self}\n", mistake::render(path, source_text, mistakes, colour))
            }
        }
    }
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 { "1 mistake".to_owned() } else { format!("{mistakes} mistakes") }
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// When it cannot be read, and with all of its mistakes when it has some.
pub fn load(path: &Path, environment: &dyn ProcessEnvironment) -> Result<Configuration, ConfigError> {
    Ok(read(path, environment, None)?.configuration)
}

/// Reads and checks the file at `path` with what an installation knows, and collects warnings.
///
/// # Errors
/// As [`load`], and when a certificate in a file has expired.
pub fn inspect(
    path: &Path,
    environment: &dyn ProcessEnvironment,
    installation: Present<'_>,
) -> Result<Inspected, ConfigError> {
    read(path, environment, Some(installation))
}

/// A file that is accepted, with what its author may want to know.
#[derive(Debug)]
pub struct Inspected {
    /// What it says.
    pub configuration: Configuration,
    /// Its text, to show the warnings in.
    pub source_text: String,
    /// In the order of the file.
    pub warnings: Vec<Mistake>,
}

impl Inspected {
    /// The warnings with their places, for programs.
    pub fn located(&self) -> Vec<Located<'_>> {
        self.warnings.iter().map(|warning| Located::of(&self.source_text, warning)).collect()
    }
}

fn read(
    path: &Path,
    environment: &dyn ProcessEnvironment,
    installation: Option<Present<'_>>,
) -> Result<Inspected, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
    let source_text = std::fs::read_to_string(path).map_err(|error| unreadable(in_words(&error)))?;
    // Absolute, so that it stays right when something changes the working directory.
    let absolute = std::path::absolute(path).map_err(|error| unreadable(in_words(&error)))?;
    let base = absolute.parent().map(Path::to_owned).unwrap_or_default();
    match check_with_warnings(&source_text, &Surroundings { base, environment, installation }) {
        Ok((configuration, warnings)) => Ok(Inspected { configuration, source_text, warnings }),
        Err(mistakes) => Err(ConfigError::Mistakes { path: path.to_owned(), source_text, mistakes }),
    }
}

/// Checks the text of a configuration.
///
/// # Errors
/// With all of its mistakes, in the order of the file.
pub fn check(source: &str, around: &Surroundings<'_>) -> Result<Configuration, Vec<Mistake>> {
    check_with_warnings(source, around).map(|(configuration, _)| configuration)
}

fn check_with_warnings(
    source: &str,
    around: &Surroundings<'_>,
) -> Result<(Configuration, Vec<Mistake>), Vec<Mistake>> {
    let mut out = Mistakes::default();
    let (table, errors) = DeTable::parse_recoverable(source);
    for error in &errors {
        let end = source.len();
        let reason = error.message().lines().collect::<Vec<_>>().join("; ");
        let mistake = Mistake::new(error.span().unwrap_or(end..end), "this is no TOML", reason);
        out.add(mistake.hide(Hidden::Values));
    }
    // After a slip of the pen the rest of the text may be read wrongly: what follows from it would mislead.
    if !out.has_none() {
        return Err(out.into_sorted(Severity::Error));
    }
    let document = Document::read_table(table.get_ref(), 0..0, &mut out);
    let configuration = document.check(around, &mut out);
    match configuration {
        Some(configuration) if out.has_none() => {
            document.warn(&configuration, around, &mut out);
            Ok((configuration, out.into_sorted(Severity::Warning)))
        }
        _ => Err(out.into_sorted(Severity::Error)),
    }
}

impl Document {
    /// Every section is checked, whatever is wrong with the others.
    fn check(&self, around: &Surroundings<'_>, out: &mut Mistakes) -> Option<Configuration> {
        let issuer = self.check_issuer(out);
        let storage = self.storage.value().and_then(|section| section.check(&around.base, out));
        let keys = self.keys.value().and_then(|section| section.check(around, out));
        let admin = self.admin.value().and_then(|section| section.check(out));
        let listeners = sections::listeners::check(&self.listeners, admin.as_ref(), around, out);
        let upstreams = sections::upstreams::check(all(self.upstreams.value()), out);
        let apis = sections::apis::check(all(self.apis.value()), out);
        let upstream_names: BTreeSet<&str> =
            names(all(self.upstreams.value()).iter().map(|at| &at.value.name));
        let api_names: BTreeSet<&str> = names(all(self.apis.value()).iter().map(|at| &at.value.name));
        let known = Referents {
            issuer: issuer.as_deref(),
            upstream_names: &upstream_names,
            api_names: &api_names,
            apis: &apis,
            listeners: (listeners.len() == all(self.listeners.value()).len()).then_some(listeners.as_slice()),
        };
        let routes = sections::routes::check(all(self.routes.value()), &known, out);
        let oauth = self.oauth.value().and_then(|section| section.check(known.listeners, out));
        let internal = self.internal.value().and_then(|section| section.check(out));
        let limits = self.limits.value().and_then(|section| section.check(out));
        let audit = self.audit.value().and_then(|section| section.check(&around.base));
        let log = self.log.value().and_then(sections::log::LogSection::check);
        Some(Configuration {
            issuer: issuer?,
            storage: storage?,
            keys: keys?,
            admin: admin?,
            listeners,
            upstreams,
            apis,
            routes,
            oauth: oauth?,
            internal: internal?,
            limits: limits?,
            audit: audit?,
            log: log?,
        })
    }

    fn check_issuer(&self, out: &mut Mistakes) -> Option<String> {
        let issuer = self.issuer.get()?;
        if issuer.value.scheme() != "https" {
            let reason = "an issuer is an https URL (RFC 8414 section 2)";
            out.add(Mistake::new(issuer.entry.clone(), "the issuer is not https", reason));
            return None;
        }
        Some(issuer.value.as_str().to_owned())
    }
}

fn all<T>(list: Option<&Vec<T>>) -> &[T] {
    list.map_or(&[], Vec::as_slice)
}

fn names<'a>(names: impl Iterator<Item = &'a reader::Given<Name>>) -> BTreeSet<&'a str> {
    names.filter_map(|name| name.value()).map(Name::as_str).collect()
}

#[cfg(test)]
mod tests;
