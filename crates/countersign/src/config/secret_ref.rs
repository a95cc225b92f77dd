//! Secrets stand in the configuration by reference only: `file:PATH`, `env:NAME`, `cred:NAME` (design, decision 16).

use super::mistake::{Hidden, Mistake, Mistakes};
use super::reader::Value;
use super::values::{NotUnderstood, text_of};
use countersign_model::Secret;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::Spanned;
use toml::de::DeValue;

/// Where a secret is; never the secret itself, so that it may be printed and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// A file; a relative path is relative to the configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A systemd credential: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretRefError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {}", crate::words::in_words(source))]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The environment variable is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// The program was not started by systemd with credentials.
    #[error("there is no CREDENTIALS_DIRECTORY: the program was not started by systemd with LoadCredential=")]
    NoCredentials,
}

/// The environment as the program sees it; handed in, so that only the binary's outermost layer reads it.
pub trait ProcessEnvironment {
    /// The variable `name`, if it is set and is text.
    fn variable(&self, name: &str) -> Option<String>;
}

impl SecretRef {
    /// Reads the secret. The newline that editors put at the end of a file does not belong to it.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn read(&self, environment: &dyn ProcessEnvironment) -> Result<Secret<String>, SecretRefError> {
        let text = match self {
            Self::File(path) => read_file(path)?,
            Self::Environment(name) => {
                environment.variable(name).ok_or_else(|| SecretRefError::Unset(name.clone()))?
            }
            Self::Credential(_) => read_file(&self.path(environment)?.ok_or(SecretRefError::NoCredentials)?)?,
        };
        Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// The file it is in, if it is in one.
    ///
    /// # Errors
    /// When a systemd credential is asked for outside systemd.
    pub fn path(&self, environment: &dyn ProcessEnvironment) -> Result<Option<PathBuf>, SecretRefError> {
        match self {
            Self::File(path) => Ok(Some(path.clone())),
            Self::Environment(_) => Ok(None),
            Self::Credential(name) => {
                let directory =
                    environment.variable("CREDENTIALS_DIRECTORY").ok_or(SecretRefError::NoCredentials)?;
                Ok(Some(Path::new(&directory).join(name)))
            }
        }
    }

    /// The same reference with its file seen from `base`.
    #[must_use]
    pub fn relative_to(self, base: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(base.join(path)),
            other => other,
        }
    }
}

fn read_file(path: &Path) -> Result<String, SecretRefError> {
    std::fs::read_to_string(path).map_err(|source| SecretRefError::File { path: path.to_owned(), source })
}

impl FromStr for SecretRef {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        // The text is not shown in the mistake's reason: it may be the secret that somebody wrote here by error.
        const SHAPE: NotUnderstood =
            NotUnderstood("a secret stands here by reference only: file:PATH, env:NAME or cred:NAME");
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c))
        };
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if word(name) => Ok(Self::Environment(name.to_owned())),
            Some(("cred", name)) if word(name) && name != ".." && name != "." => {
                Ok(Self::Credential(name.to_owned()))
            }
            _ => Err(SHAPE),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::Credential(name) => write!(f, "cred:{name}"),
        }
    }
}

impl Value for SecretRef {
    fn kind() -> String {
        "`file:PATH`, `env:NAME` or `cred:NAME`".to_owned()
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        let text = text_of(value, "a reference to a secret", out)?;
        // What stands here wrongly may be the secret itself: it is not repeated.
        let refused =
            |error: NotUnderstood| Mistake::new(value.span(), "this is no reference to a secret", error.0);
        text.parse().map_err(|error| out.add(refused(error).hide(Hidden::Marked))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    impl ProcessEnvironment for BTreeMap<&str, String> {
        fn variable(&self, name: &str) -> Option<String> {
            self.get(name).cloned()
        }
    }

    #[test]
    fn a_secret_is_read_from_where_the_reference_points() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("master"), "s3cret\n").unwrap();
        let environment = BTreeMap::from([
            ("MASTER", "s3cret".to_owned()),
            ("CREDENTIALS_DIRECTORY", directory.path().display().to_string()),
        ]);
        for reference in ["file:master", "env:MASTER", "cred:master"] {
            let reference = reference.parse::<SecretRef>().unwrap().relative_to(directory.path());
            assert_eq!(reference.read(&environment).unwrap().expose(), "s3cret", "{reference}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let nothing = BTreeMap::new();
        let error = |text: &str| text.parse::<SecretRef>().unwrap().read(&nothing).unwrap_err().to_string();
        assert!(error("file:/nowhere/master").starts_with("/nowhere/master cannot be read"));
        assert_eq!(error("env:MASTER"), "the environment variable MASTER is not set");
        assert!(error("cred:master").contains("CREDENTIALS_DIRECTORY"));
    }

    #[test]
    fn a_secret_itself_is_no_reference() {
        for text in ["hunter2", "", "file:", "env:", "env:a b", "cred:../x", "cred:..", "vault:x"] {
            assert!(text.parse::<SecretRef>().is_err(), "{text:?}");
        }
    }
}
