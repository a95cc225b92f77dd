//! The master key of a new installation (design, decision 12): made at the first start, apart from the data, and said so.

use crate::cli::{Exit, Failure};
use crate::config::Configuration;
use crate::config::secret_ref::SecretRef;
use countersign_keys::{MasterKey, SystemRng};
use std::path::PathBuf;

/// Makes the master key's file when there is none and no data either. Returns where it was made.
///
/// # Errors
/// When there is data without its key: a new key would not open it, and would hide that the old one is lost.
pub fn ensure(configuration: &Configuration) -> Result<Option<PathBuf>, Failure> {
    let SecretRef::File(path) = &configuration.keys.master else { return Ok(None) };
    if path.exists() {
        return Ok(None);
    }
    let database = &configuration.storage.database;
    if database.exists() {
        let failure = Failure::new(Exit::Refused, format!("the master key {} is not there", path.display()));
        let why = format!("{} was made with it and does not open without it", database.display());
        return Err(failure.why(why).action("put the key back where it was"));
    }
    let made = MasterKey::generate(&SystemRng).create_file(path);
    made.map_err(|error| {
        Failure::new(Exit::Refused, "the master key cannot be made").why(crate::cli::error_chain(&error))
    })?;
    Ok(Some(path.clone()))
}
