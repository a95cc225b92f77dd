//! Why storage did not do what it was asked.

use countersign_model::{Environment, ReasonCode};

/// A failed read or commit. Nothing of a failed transaction was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// A precondition did not hold: the object is there already, or is in another state.
    #[error("{0} is there already, or is in another state")]
    Conflict(&'static str),
    /// The ledger has a certificate for this public key, and it is not this client's (rule P10). Only the environment is
    /// told: who else uses a key is nobody's business but the other's.
    #[error("the key belongs to {}", match .0 {
        Some(environment) => format!("a client of the environment {environment}"),
        None => "this installation itself".to_owned(),
    })]
    KeyTaken(Option<Environment>),
    /// The transaction names an object that does not exist.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// The disk, or the size that the operator allowed, is full.
    #[error("the storage is full")]
    Full,
    /// The backend does not take it, and this node enforces it all the same until it restarts
    /// ([`crate::essential::EssentialStore`]): what was to be refused is refused, nothing is stored yet.
    #[error("this node enforces it from now on, until it restarts; it is not stored yet: {0}")]
    NotStored(String),
    /// The backend could not be reached or did not answer in time; the text is for the log.
    #[error("the storage is not available: {0}")]
    Unavailable(String),
    /// What was read does not have the expected form; the text is for the log.
    #[error("the storage holds what cannot be read: {0}")]
    Corrupt(String),
    /// The database was written by a newer version of the program.
    #[error(
        "the database has schema version {found}, this program knows up to {known}: use the newer program"
    )]
    NewerSchema {
        /// The version in the database.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
}

impl StorageError {
    /// What a caller of an endpoint is told.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Conflict(_) => ReasonCode::ObjectConflict,
            Self::KeyTaken(_) => ReasonCode::CsrKeyOfAnother,
            Self::Missing(_) => ReasonCode::ObjectNotFound,
            Self::NotStored(_) => ReasonCode::NotStored,
            Self::Full | Self::Unavailable(_) | Self::Corrupt(_) | Self::NewerSchema { .. } => {
                ReasonCode::StorageUnavailable
            }
        }
    }
}
