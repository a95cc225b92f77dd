//! Whether the database is still where the next start looks for it.
//!
//! The operating system lets a process go on writing into a file that was deleted, moved or replaced. Every commit
//! succeeds, and the restart that follows knows of none of them: a revocation that was acknowledged would be undone.

use countersign_storage::StorageError;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of an open database, by name and identity. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DatabaseFiles(Arc<[(PathBuf, Identity)]>);

/// Device and inode.
type Identity = (u64, u64);

impl DatabaseFiles {
    /// Takes note of the database at `path` and of its write-ahead log, which must be open.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let noted = |path: PathBuf| identity(&path).map(|noted| (path, noted));
        Ok(Self([noted(path.to_owned())?, noted(log.into())?].into()))
    }

    /// The first file that is not in its place any more; `None` while all are.
    pub fn displaced(&self) -> Option<&Path> {
        let is_displaced = |(path, noted): &&(PathBuf, Identity)| match identity(path) {
            Ok(found) => found != *noted,
            // Other errors, as a directory that may not be searched now, prove nothing.
            Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        };
        self.0.iter().find(is_displaced).map(|(path, _)| path.as_path())
    }

    /// Refuses to write where nothing would be found again.
    pub(crate) fn require_in_place(&self) -> Result<(), StorageError> {
        let Some(path) = self.displaced() else { return Ok(()) };
        Err(StorageError::Unavailable(format!(
            "{} was deleted, moved or replaced while the server runs, and a restart would not find what is written now",
            path.display()
        )))
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    let found = std::fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}
