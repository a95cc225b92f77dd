//! `[storage]`: where clients, credentials and certificates are kept.

use crate::config::reader::section;
use crate::config::values::DatabaseUrl;
use std::path::{Path, PathBuf};

section! {
    /// Where clients, credentials, certificates and sealed keys are kept. A change needs a restart.
    StorageSection = "[storage]" {
        /// The database: `sqlite:` and a path.
        url: DatabaseUrl = Required;
    }
}

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The SQLite file.
    pub database: PathBuf,
}

impl StorageSection {
    pub(crate) fn check(&self, base: &Path) -> Option<Storage> {
        Some(Storage { database: base.join(&self.url.value()?.0) })
    }
}
