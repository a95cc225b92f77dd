//! A file that holds space back: given up when the disk is full, so that a revocation can be stored (rule G20).

use countersign_storage::essential::Reserve;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file beside the database.
pub(crate) struct ReserveFile {
    path: PathBuf,
    bytes: u64,
    held: Mutex<Held>,
}

/// What there is of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// The file is there, as an earlier start left it: perhaps shorter than it is to be.
    Found,
    Whole,
}

impl ReserveFile {
    /// That of this database. A file that is there is held from now on, however little space is left: on a full disk nobody
    /// could make another one. Without one, nothing is held before [`make`](Self::make).
    pub(crate) fn of(database: &Path, bytes: u64) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(".reserve");
        let path = PathBuf::from(path);
        let found = std::fs::symlink_metadata(&path).is_ok_and(|it| it.is_file() && it.blocks() > 0);
        let held = if found { Held::Found } else { Held::Nothing };
        Self { path, bytes, held: Mutex::new(held) }
    }

    /// How much it holds when it is whole.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is something to give up, or nothing was asked for.
    pub(crate) fn is_held(&self) -> bool {
        self.bytes == 0 || *self.held() != Held::Nothing
    }

    /// Whether it holds as much as it is to.
    pub(crate) fn is_whole(&self) -> bool {
        *self.held() == if self.bytes == 0 { Held::Nothing } else { Held::Whole }
    }

    /// Makes the file, with real blocks. One that is there already is kept, and made as long as it is to be; it is removed
    /// when none is asked for.
    ///
    /// # Errors
    /// Where there is no space for it, there is no part of it either; one that was there stays as it was.
    pub(crate) fn make(&self) -> io::Result<()> {
        let mut held = self.held();
        if self.bytes == 0 {
            if *held != Held::Nothing {
                std::fs::remove_file(&self.path)?;
            }
            *held = Held::Nothing;
        } else if *held != Held::Whole {
            let before = std::fs::symlink_metadata(&self.path).map_or(0, |it| it.len());
            let made = self.open().and_then(|file| {
                fill(&file, self.bytes).inspect_err(|_| drop(file.set_len(before.min(self.bytes))))
            });
            if let Err(error) = made {
                if *held == Held::Nothing {
                    let _ = std::fs::remove_file(&self.path);
                }
                return Err(error);
            }
            *held = Held::Whole;
        }
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link);
        options.open(&self.path)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserve for ReserveFile {
    fn give_up(&self) -> bool {
        let mut held = self.held();
        // The blocks are free when this returns: nobody else has the file open.
        let given_up = *held != Held::Nothing && std::fs::remove_file(&self.path).is_ok();
        if given_up {
            *held = Held::Nothing;
        }
        given_up
    }
}

/// Gives the file so many bytes with real blocks; those that it has it keeps.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.len() == bytes && metadata.blocks().saturating_mul(512) >= bytes {
        return Ok(());
    }
    file.set_len(metadata.len().min(bytes))?;
    let allocated = fallocate(file, FallocateFlags::empty(), 0, bytes);
    if allocated.is_err_and(|error| [Errno::OPNOTSUPP, Errno::NOSYS].contains(&error)) {
        // A file system that cannot promise blocks is written to.
        let zeros = [0; 1 << 16];
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).map_or(zeros.len(), |left| left.min(zeros.len()));
            file.write_all(&zeros[..now])?;
            left -= now as u64;
        }
    } else {
        allocated?;
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
    fn rule_g20_a_reserve_that_is_there_is_held_from_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("test.db");
        let path = directory.path().join("test.db.reserve");
        for present in [1_u64 << 12, 1 << 20, 1 << 22] {
            std::fs::write(&path, vec![0; usize::try_from(present).unwrap()]).unwrap();
            let reserve = ReserveFile::of(&database, 1 << 20);
            assert!(reserve.is_held(), "{present}: as it is, without space for more");
            assert!(!reserve.is_whole());
            reserve.make().unwrap();
            assert!(reserve.is_whole());
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20);
            std::fs::write(&path, vec![0; usize::try_from(present).unwrap()]).unwrap();
            let reserve = ReserveFile::of(&database, 1 << 20);
            assert!(reserve.give_up() && !path.exists() && !reserve.give_up());
            assert!(!ReserveFile::of(&database, 1 << 20).is_held());
        }
        // What does not fit is not made, and what is there stays.
        std::fs::write(&path, [0; 1 << 12]).unwrap();
        let reserve = ReserveFile::of(&database, u64::MAX);
        reserve.make().unwrap_err();
        assert!(reserve.is_held() && std::fs::metadata(&path).unwrap().len() == 1 << 12);
        // Nobody asks for one any more.
        let reserve = ReserveFile::of(&database, 0);
        assert!(!reserve.is_whole());
        reserve.make().unwrap();
        assert!(reserve.is_whole() && !path.exists());
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
