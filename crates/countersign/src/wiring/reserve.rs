//! A file that holds space back: given up when the disk is full, so that a revocation can be stored (rule G20).

use countersign_storage::essential::Reserve;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file beside the database.
pub(crate) struct ReserveFile {
    path: PathBuf,
    bytes: u64,
    held: Mutex<bool>,
}

impl ReserveFile {
    /// That of this database. Nothing is held before [`make`](Self::make).
    pub(crate) fn of(database: &Path, bytes: u64) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(".reserve");
        Self { path: path.into(), bytes, held: Mutex::new(false) }
    }

    /// How much it holds when it is held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is something to give up, or nothing was asked for.
    pub(crate) fn is_held(&self) -> bool {
        self.bytes == 0 || *self.held()
    }

    /// Makes the file, with real blocks; one that is there already is kept.
    ///
    /// # Errors
    /// Where there is no space for it, there is no part of it either.
    pub(crate) fn make(&self) -> io::Result<()> {
        let mut held = self.held();
        if self.bytes > 0 && !*held {
            let made = self.open().and_then(|file| fill(&file, self.bytes));
            if let Err(error) = made {
                let _ = std::fs::remove_file(&self.path);
                return Err(error);
            }
            *held = true;
        }
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link);
        options.open(&self.path)
    }

    fn held(&self) -> MutexGuard<'_, bool> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserve for ReserveFile {
    fn give_up(&self) -> bool {
        let mut held = self.held();
        // The blocks are free when this returns: nobody else has the file open.
        *held && std::fs::remove_file(&self.path).is_ok() && std::mem::replace(&mut *held, false)
    }
}

fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.len() == bytes && metadata.blocks().saturating_mul(512) >= bytes {
        return Ok(());
    }
    file.set_len(0)?;
    if fallocate(file, FallocateFlags::empty(), 0, bytes).is_err() {
        // A file system that cannot promise blocks is written to.
        let zeros = [0; 1 << 16];
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).map_or(zeros.len(), |left| left.min(zeros.len()));
            file.write_all(&zeros[..now])?;
            left -= now as u64;
        }
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g20_the_reserve_has_real_blocks_and_is_given_up_once() {
        let directory = tempfile::tempdir().unwrap();
        let reserve = ReserveFile::of(&directory.path().join("test.db"), 1 << 20);
        assert!(!reserve.give_up() && !reserve.is_held());
        reserve.make().unwrap();
        let path = directory.path().join("test.db.reserve");
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.mode() & 0o777), (1 << 20, 0o600));
        assert!(metadata.blocks() * 512 >= 1 << 20, "{}", metadata.blocks());
        // The next start finds it.
        ReserveFile::of(&directory.path().join("test.db"), 1 << 20).make().unwrap();
        assert!(reserve.give_up() && !path.exists());
        assert!(!reserve.give_up());
        reserve.make().unwrap();
        assert!(reserve.is_held() && path.exists());
    }

    #[test]
    fn a_reserve_follows_no_link() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "theirs").unwrap();
        std::os::unix::fs::symlink(&victim, directory.path().join("test.db.reserve")).unwrap();
        ReserveFile::of(&directory.path().join("test.db"), 1 << 20).make().unwrap_err();
        assert_eq!(std::fs::read(&victim).unwrap(), b"theirs");
    }
}
