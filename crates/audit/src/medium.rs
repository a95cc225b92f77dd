//! What a segment is written to: a file, or in tests a disk that is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A segment open for appending.
pub(crate) trait SegmentFile: Send {
    /// Appends. May fail having written a part.
    fn append(&mut self, octets: &[u8]) -> io::Result<()>;
    /// Returns when everything appended is on disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `length`.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// The file's length now.
    fn length(&self) -> io::Result<u64>;
    /// Device and inode.
    fn identity(&self) -> io::Result<(u64, u64)>;
}

/// Where segments are made.
pub(crate) trait Medium: Send {
    /// Makes a new segment; its directory entry is on disk when this returns.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    /// Opens one to go on.
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
}

/// The file system.
pub(crate) struct Disk;

impl Medium for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        // For the owner alone: audit records name partners and addresses.
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        leave_to_owner_of_directory(&file, path)?;
        match path.parent().map_or(Ok(()), crate::segment::sync_directory) {
            Ok(()) => Ok(Box::new(file)),
            Err(error) => {
                let _ = std::fs::remove_file(path); // an empty segment that nobody writes to says nothing
                Err(error)
            }
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }
}

/// A segment that root makes in the directory of a service's user is that user's, who could not go on with it otherwise.
fn leave_to_owner_of_directory(file: &File, path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let (own, directory) = (file.metadata()?, directory.metadata()?);
    if own.uid() != 0 || directory.uid() == 0 {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(directory.uid()), Some(directory.gid()))
}

impl SegmentFile for File {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.write_all(octets)
    }

    fn sync(&mut self) -> io::Result<()> {
        // fdatasync: it also writes the file's new length, which is all of the metadata that reading needs.
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = self.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }
}
