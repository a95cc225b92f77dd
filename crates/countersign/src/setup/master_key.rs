//! The master key of a new installation (design, decision 12): made at the first start, apart from the data, and said so.

use crate::config::Configuration;
use crate::config::secret_ref::SecretRef;
use crate::failure::{Exit, Failure};
use countersign_keys::{MasterKey, SystemRng};
use std::path::{Path, PathBuf};

/// Who wants a master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Founding {
    /// A command that makes an installation. One that was cut short between the key and the database goes on.
    GoesOn,
    /// A server that may be new. The key without its database is no beginning: the database was lost or is elsewhere.
    FromNothing,
}

/// Makes the master key's file when there is neither a key nor data. Returns where it was made.
///
/// # Errors
/// When one of an installation's parts is there without the others: a new key would not open the data, and a new
/// database would found new authorities, which nobody who trusts the old ones accepts.
pub fn ensure(configuration: &Configuration, founding: Founding) -> Result<Option<PathBuf>, Failure> {
    let database = &configuration.storage.database;
    let audit = &configuration.audit.directory;
    if !database.exists() && has_segments(audit) {
        return Err(lost(database, &format!("{} holds the audit log of an installation", audit.display())));
    }
    let SecretRef::File(path) = &configuration.keys.master else { return Ok(None) };
    match (path.exists(), database.exists()) {
        (true, false) if founding == Founding::FromNothing => {
            Err(lost(database, &format!("the master key {} is there, and was made with it", path.display())))
        }
        (true, _) => Ok(None),
        (false, true) => {
            let failure =
                Failure::new(Exit::Refused, format!("the master key {} is not there", path.display()));
            let why = format!("{} was made with it and does not open without it", database.display());
            Err(failure.why(why).action("put the key back where it was"))
        }
        (false, false) => {
            let made = MasterKey::generate(&SystemRng).create_file(path);
            made.map_err(|error| Failure::caused(Exit::Refused, "the master key cannot be made", &error))?;
            Ok(Some(path.clone()))
        }
    }
}

fn lost(database: &Path, why: &str) -> Failure {
    Failure::new(Exit::Refused, format!("the database {} is not there", database.display())).why(why).action(
        "put the database back where it was; to begin anew, move what is left of the old installation away",
    )
}

fn has_segments(audit: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(audit) else { return false };
    entries.flatten().any(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with("audit-") && name.ends_with(".jsonl"))
    })
}
