//! `[keys]`: the custody of private keys.

use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::section;
use crate::config::secret_ref::SecretRef;
use crate::config::surroundings::Surroundings;

section! {
    /// The custody of private keys: all are sealed under one master key. A change needs a restart.
    KeysSection = "[keys]" {
        /// The master key, by reference. Keep it apart from the data: a backup of the data alone must open nothing. A file that
        /// does not exist is made at the first start, with mode 0600. Its group may read the file if the process belongs to
        /// that group (Kubernetes' `fsGroup`); a warning says so.
        master: SecretRef = Required;
    }
}

/// How keys are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Where the master key is.
    pub master: SecretRef,
}

impl KeysSection {
    pub(crate) fn check(&self, around: &Surroundings<'_>, out: &mut Mistakes) -> Option<Keys> {
        let master = self.master.get()?;
        let reference = master.value.clone().relative_to(&around.base);
        let reason = match &reference {
            // The file itself may be made at the first start; the directory it lies in must be there.
            SecretRef::File(path) => match path.parent() {
                Some(directory) if !directory.is_dir() => {
                    Some(format!("{} does not exist", directory.display()))
                }
                _ => None,
            },
            SecretRef::Environment(name) => around
                .environment
                .variable(name)
                .is_none()
                .then(|| format!("the environment variable {name} is not set")),
            SecretRef::Credential(_) => match reference.path(around.environment) {
                Err(error) => Some(error.to_string()),
                Ok(Some(path)) if !path.is_file() => Some(format!("{} does not exist", path.display())),
                Ok(_) => None,
            },
        };
        if let Some(reason) = reason {
            out.add(Mistake::new(master.span.clone(), "the master key is not there", reason));
            return None;
        }
        Some(Keys { master: reference })
    }
}
