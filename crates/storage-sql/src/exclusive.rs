//! One process at a time: the writer numbers changes in memory, and a follower hears of them in process, so a second
//! writer on the same file would be silently wrong. A lock file beside the database keeps it out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Held as long as the database is in use; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Exclusive {
    file: File,
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is between fork and exec has the descriptor too, and with it the
        // lock. That it is closed next makes an error here harmless.
        let _ = self.file.unlock();
    }
}

/// Why there is no exclusive use.
pub(crate) enum Refusal {
    /// Somebody else has it.
    InUse(PathBuf),
    /// The lock file cannot be opened or locked.
    File(PathBuf, io::Error),
}

impl Exclusive {
    /// Takes `<database>.lock`. The file stays where it is afterwards: deleting it would let two in.
    pub(crate) fn acquire(database: &Path) -> Result<Self, Refusal> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let file = match private_file(&path) {
            Ok(file) => file,
            Err(error) => return Err(Refusal::File(path, error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(Refusal::InUse(path)),
            Err(TryLockError::Error(error)) => Err(Refusal::File(path, error)),
        }
    }
}

/// Opens a file for writing, and makes it with mode 0600 if it is not there.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
