//! Files that hold something private: made for the owner alone, refused when anybody else may read them.
//!
//! A file is written beside its place and then put there as a whole: whatever happens meanwhile, under its name is all of
//! it or nothing.

use countersign_model::Secret;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What is wrong with a private file. Never says anything of its content.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is there already; nothing is overwritten.
    #[error("{} exists already and is not overwritten", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// Somebody else than its owner may read or change it.
    #[error("{} is open to others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    OpenToOthers {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else, who reads it, and changes it as he likes.
    #[error(
        "{} belongs to another user (uid {owner}, this process has uid {us}); run this as that user, or use a file of its own",
        path.display()
    )]
    BelongsToOthers {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// A directory, a device or a pipe.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// Which path.
        path: PathBuf,
    },
    /// Larger than anything that belongs there.
    #[error("{} is larger than {limit_bytes} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The most that is read.
        limit_bytes: u64,
    },
}

/// Reads a private file of at most `limit_bytes`.
///
/// # Errors
/// Refuses a file that its group or others may read, write or execute, one that belongs to somebody else, what is no
/// regular file, and a larger one. Root may also read a file of the owner of the directory that holds it: so it can
/// administer what belongs to a service's user.
pub fn read_private(path: &Path, limit_bytes: u64) -> Result<Secret<Vec<u8>>, PrivateFileError> {
    read(path, limit_bytes, is_of_other_user(path))
}

fn is_of_other_user(path: &Path) -> impl FnOnce(u32, u32) -> bool {
    |owner, us| is_anothers(owner, us) && !(us == 0 && holds_directory(owner, path))
}

/// As [`read_private`], for the master key: a group of this process may read the file too. Kubernetes mounts secrets so: the
/// file is root's, and the pod's `fsGroup` reads it. Says whether a group may.
///
/// # Errors
/// As [`read_private`].
pub(crate) fn read_master(
    path: &Path,
    limit_bytes: u64,
) -> Result<(Secret<Vec<u8>>, bool), PrivateFileError> {
    let mut is_open_to_group = false;
    let admits = |metadata: &Metadata| {
        is_open_to_group = metadata.mode() & 0o077 == 0o040 && is_own_group(metadata.gid());
        is_open_to_group
    };
    let content = read_admitting(path, limit_bytes, is_of_other_user(path), admits)?;
    Ok((content, is_open_to_group))
}

/// Whether this process belongs to the group, by its own identity or as one of more.
fn is_own_group(group: u32) -> bool {
    let others = rustix::process::getgroups().unwrap_or_default();
    rustix::process::getegid().as_raw() == group || others.iter().any(|other| other.as_raw() == group)
}

/// As [`read_private`], for an operator's credential: root may use a credential that another user owns.
///
/// # Errors
/// As [`read_private`].
pub fn read_credential(path: &Path, limit_bytes: u64) -> Result<Secret<Vec<u8>>, PrivateFileError> {
    read(path, limit_bytes, |owner, us| us != 0 && is_anothers(owner, us))
}

/// Whether somebody else owns a file. Root reads and changes everything anyway.
///
/// The check uses the opened file, behind any links and directories. An attacker who may write to such a directory can put
/// another file there, but cannot make a file that we or root own. So directories are not checked.
fn is_anothers(owner: u32, us: u32) -> bool {
    owner != us && owner != 0
}

/// Whether the directory that holds the file, behind all links, is this user's: who owns it puts into it what he likes.
fn holds_directory(owner: u32, path: &Path) -> bool {
    let directory = path.canonicalize().ok().and_then(|path| path.parent()?.metadata().ok());
    directory.is_some_and(|directory| directory.uid() == owner)
}

fn read(
    path: &Path,
    limit_bytes: u64,
    is_refused: impl FnOnce(u32, u32) -> bool,
) -> Result<Secret<Vec<u8>>, PrivateFileError> {
    read_admitting(path, limit_bytes, is_refused, |_| false)
}

/// `admits` may let pass what others than the owner may do.
fn read_admitting(
    path: &Path,
    limit_bytes: u64,
    is_refused: impl FnOnce(u32, u32) -> bool,
    admits: impl FnOnce(&Metadata) -> bool,
) -> Result<Secret<Vec<u8>>, PrivateFileError> {
    let read_error = |source| PrivateFileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read_error)?;
    // Asked of the open file, not of the path: the path may be another file by now.
    let metadata = file.metadata().map_err(read_error)?;
    if !metadata.is_file() {
        return Err(PrivateFileError::NotAFile { path: path.to_owned() });
    }
    if metadata.mode() & 0o077 != 0 && !admits(&metadata) {
        return Err(PrivateFileError::OpenToOthers { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if is_refused(owner, us) {
        return Err(PrivateFileError::BelongsToOthers { path: path.to_owned(), owner, us });
    }
    if metadata.len() > limit_bytes {
        return Err(PrivateFileError::TooLarge { path: path.to_owned(), limit_bytes });
    }
    // Room from the start: a growing buffer would leave unwiped copies behind.
    let mut content = Vec::with_capacity(usize::try_from(limit_bytes).unwrap_or(0) + 1);
    file.take(limit_bytes + 1).read_to_end(&mut content).map_err(read_error)?;
    let content = Secret::new(content);
    match u64::try_from(content.expose().len()) {
        Ok(length) if length <= limit_bytes => Ok(content),
        _ => Err(PrivateFileError::TooLarge { path: path.to_owned(), limit_bytes }),
    }
}

/// Makes a private file: mode 0600 from its first moment, on disk (file and directory entry) when this returns.
///
/// # Errors
/// Refuses to overwrite; what was written in part is removed.
pub fn create_private(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    create(path, content, 0o600, put_where_nothing_is)
}

/// Makes a file that others may read, in the same way.
///
/// # Errors
/// As [`create_private`].
pub fn create_readable(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    create(path, content, 0o644, put_where_nothing_is)
}

/// Makes a private file in the place of the one that is there, if one is.
///
/// # Errors
/// As [`create_private`]; the file from before stays then.
pub fn replace_private(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    create(path, content, 0o600, |from, to| std::fs::rename(from, to))
}

/// Where the file of this path is while it is written: what a crash may leave behind.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    path.with_file_name(name)
}

fn create(
    path: &Path,
    content: &[u8],
    mode: u32,
    put: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), PrivateFileError> {
    let partial = partial(path);
    let write = || {
        // Of a start that was cut short.
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // O_EXCL also refuses a symbolic link that somebody planted to have the secret written elsewhere.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
        file.write_all(content)?;
        give_to_owner_of_directory(&file, path)?;
        file.sync_all()?;
        put(&partial, path)?;
        sync_parent(path)
    };
    let written = write();
    if written.is_err() {
        // Best effort: the error that matters is the one that is returned.
        let _ = std::fs::remove_file(&partial);
    }
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => PrivateFileError::Exists { path: path.to_owned() },
        _ => PrivateFileError::Write { path: path.to_owned(), source },
    })
}

/// A hard link never replaces a file that another process makes at the same moment; a rename would.
fn put_where_nothing_is(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::hard_link(from, to) {
        // A file system without links.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) =>
        {
            match to.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::rename(from, to),
                Err(error) => Err(error),
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            }
        }
        linked => linked.and_then(|()| std::fs::remove_file(from)),
    }
}

/// What root makes in the directory of a service's user is that user's, who could not read it otherwise.
fn give_to_owner_of_directory(file: &File, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let directory = parent(path).metadata()?;
    if directory.uid() == 0 {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(directory.uid()), Some(directory.gid()))
}

/// A new file survives a power cut only when its directory was synced too.
fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_private_file_is_for_its_owner_alone_and_never_overwritten() {
        let directory = directory();
        let path = directory.path().join("secret");
        create_private(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(matches!(create_private(&path, b"two"), Err(PrivateFileError::Exists { .. })));
        assert_eq!(read_private(&path, 16).unwrap().expose(), b"one");
    }

    #[test]
    fn a_file_is_there_as_a_whole_and_what_a_crash_left_is_in_nobodys_way() {
        let directory = directory();
        let path = directory.path().join("secret");
        fs::write(partial(&path), b"ha").unwrap(); // Killed in the middle of writing.
        assert!(!path.exists());
        create_private(&path, b"half and half").unwrap();
        assert_eq!(read_private(&path, 16).unwrap().expose(), b"half and half");
        replace_private(&path, b"another").unwrap();
        assert_eq!(read_private(&path, 16).unwrap().expose(), b"another");
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
    }

    #[test]
    fn a_planted_symbolic_link_is_not_written_through() {
        let directory = directory();
        let link = directory.path().join("link");
        symlink(directory.path().join("elsewhere"), &link).unwrap();
        assert!(matches!(create_private(&link, b"one"), Err(PrivateFileError::Exists { .. })));
        assert!(!directory.path().join("elsewhere").exists());
    }

    #[test]
    fn a_file_open_to_others_is_refused_and_the_error_says_what_to_do() {
        let directory = directory();
        let path = directory.path().join("secret");
        create_private(&path, b"one").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o660, 0o644] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_private(&path, 16).unwrap_err();
            assert!(matches!(error, PrivateFileError::OpenToOthers { .. }), "{mode:o}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(read_private(&path, 16).is_ok(), "{mode:o}");
        }
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a skipped test says what it needs")]
    fn rule_t12_a_file_of_another_user_is_refused_as_one_that_others_may_read() {
        for (owner, us, refused) in
            [(0, 0, false), (1000, 1000, false), (0, 1000, false), (1000, 0, true), (1001, 1000, true)]
        {
            assert_eq!(is_anothers(owner, us), refused, "{owner} {us}");
        }
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: giving a file away needs root");
            return;
        }
        let directory = directory();
        let (path, link) = (directory.path().join("secret"), directory.path().join("link"));
        create_private(&path, b"one").unwrap();
        symlink(&path, &link).unwrap();
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        for path in [&path, &link] {
            let error = read_private(path, 16).unwrap_err();
            assert!(
                matches!(error, PrivateFileError::BelongsToOthers { owner: 65_534, us: 0, .. }),
                "{error}"
            );
            assert!(!error.to_string().contains("chown"), "no advice that breaks a service: {error}");
        }
        assert_eq!(read_credential(&path, 16).unwrap().expose(), b"one", "root administers for others");
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        assert!(read_private(&path, 16).is_ok());
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a skipped test says what it needs")]
    fn rule_t12_root_administers_the_directory_of_another_user_and_leaves_its_files_to_that_user() {
        const SERVICE: u32 = 65_534;
        const STRANGER: u32 = 65_533;
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: giving a file away needs root");
            return;
        }
        let directory = directory();
        let give = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
        let (secret, link) = (directory.path().join("secret"), directory.path().join("link"));
        create_private(&secret, b"one").unwrap();
        symlink("secret", &link).unwrap();
        give(directory.path(), SERVICE);
        give(&secret, SERVICE);
        assert_eq!(read_private(&secret, 16).unwrap().expose(), b"one");
        assert_eq!(read_private(&link, 16).unwrap().expose(), b"one");
        for write in [create_private, create_readable, replace_private] {
            let path = directory.path().join("written");
            let _ = fs::remove_file(&path);
            write(&path, b"two").unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (SERVICE, SERVICE), "the service still starts");
        }
        // A third user's file is no service's, also behind a link.
        give(&secret, STRANGER);
        for path in [&secret, &link] {
            let error = read_private(path, 16).unwrap_err();
            assert!(matches!(error, PrivateFileError::BelongsToOthers { owner: STRANGER, .. }), "{error}");
        }
    }

    #[test]
    fn what_is_no_small_regular_file_is_refused() {
        let directory = directory();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(read_private(directory.path(), 16), Err(PrivateFileError::NotAFile { .. })));
        let path = directory.path().join("large");
        create_private(&path, &[b'x'; 17]).unwrap();
        assert!(matches!(read_private(&path, 16), Err(PrivateFileError::TooLarge { .. })));
        let missing = directory.path().join("missing");
        assert!(matches!(read_private(&missing, 16), Err(PrivateFileError::Read { .. })));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let error = create_private(Path::new("/proc/no-such-place/secret"), b"one").unwrap_err();
        assert!(matches!(error, PrivateFileError::Write { .. }), "{error}");
    }
}
