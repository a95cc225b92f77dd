//! What the meaning of a file depends on beside its text.

use super::secret_ref::ProcessEnvironment;
use countersign_model::{ClientId, Timestamp};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the check looks at outside the file.
pub struct Surroundings<'a> {
    /// The directory of the file: relative paths begin here.
    pub base: PathBuf,
    /// For references to secrets.
    pub environment: &'a dyn ProcessEnvironment,
    /// What only a check of a running installation's file looks at; a start needs none of it.
    pub installation: Option<Present<'a>>,
}

/// An installation at the moment of a check.
pub struct Present<'a> {
    /// A certificate that has expired by then is a mistake: a reload refuses it. A start serves it, and is not ready.
    pub now: Timestamp,
    /// The clients in a database; `None` where it is not at hand.
    pub clients: &'a dyn Fn(&Path) -> Option<BTreeSet<ClientId>>,
}

impl<'a> Surroundings<'a> {
    /// Those of a start.
    pub fn new(base: impl Into<PathBuf>, environment: &'a dyn ProcessEnvironment) -> Self {
        Self { base: base.into(), environment, installation: None }
    }
}
