//! What the meaning of a file depends on beside its text.

use super::secret_ref::ProcessEnvironment;
use std::path::PathBuf;

/// What the check looks at outside the file.
pub struct Surroundings<'a> {
    /// The directory of the file: relative paths begin here.
    pub base: PathBuf,
    /// For references to secrets.
    pub environment: &'a dyn ProcessEnvironment,
}
