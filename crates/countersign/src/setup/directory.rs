//! The directory of an installation: private, locked while it is used, and removable without a trace of it or a scratch
//! on anything else.

use crate::failure::{Exit, Failure};
use countersign_keys::PrivateFileError;
use countersign_keys::file::{create_readable, partial};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where `quickstart` and `init` put their files, and commands look for them.
pub const DEFAULT_DIR: &str = "countersign-data";

/// The file that says what was made.
const MADE: &str = "made.json";
/// The database's lock (`storage-sql`): whoever serves from the directory holds it.
const DATABASE_LOCK: &str = "countersign.db.lock";
/// Directories that we make files in.
const DIRECTORIES: [&str; 1] = ["audit"];

/// A directory that is ours alone while this value lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

/// What was made, and for which port: written before anything else, so that also a start that was cut short is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The command that made it: `quickstart` or `init`.
    pub command: String,
    /// The gateway's port. Issuer, certificates and CRL addresses carry it, so it never changes.
    pub port: u16,
    /// Names of files in the directory.
    pub files: Vec<String>,
    /// Names of directories in it; of their content only what bears the names that we give is removed.
    pub directories: Vec<String>,
    /// The master key, which is kept apart from the data.
    pub master_key: PathBuf,
}

impl Made {
    /// Sees that it was made for the port that is asked for, if one is.
    ///
    /// # Errors
    /// When it was made for another one.
    pub fn expect_port(&self, directory: &Directory, port: Option<u16>) -> Result<(), Failure> {
        let Some(port) = port.filter(|port| *port != self.port) else { return Ok(()) };
        let path = directory.path().display();
        let what = format!("{path} was made for port {}, not {port}", self.port);
        Err(Failure::new(Exit::Refused, what)
            .why("its issuer, certificates and CRL addresses carry the port")
            .action("leave --port out, or choose another directory with --dir"))
    }
}

/// Files that `init` makes, and the database with what belongs to it.
pub const FILES: [&str; 9] = [
    "countersign.toml",
    "admin.token",
    "ca.crt",
    "countersign.db",
    "countersign.db-wal",
    "countersign.db-shm",
    "countersign.db-journal",
    "countersign.db.reserve",
    DATABASE_LOCK,
];

impl Directory {
    /// Makes the directory with mode 0700 unless it is there, and locks it.
    ///
    /// # Errors
    /// When somebody else uses it, when it holds things that we did not make, or when the system refuses.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let path = std::path::absolute(path).map_err(|error| Failure::file("used", path, &error))?;
        if !path.is_dir() {
            let made = DirBuilder::new().mode(0o700).recursive(true).create(&path);
            made.map_err(|error| Failure::no_directory(&path, &error))?;
        }
        let path = one_name(&path)?;
        let directory = Self { _lock: lock(&path)?, path };
        if directory.made()?.is_none() && !directory.is_empty()? {
            let failure = Failure::new(Exit::Refused, format!("{} is not empty", directory.path.display()));
            return Err(failure
                .why("it was not made by countersign, and nothing of others is touched")
                .action("choose another directory with --dir"));
        }
        directory.restrict()?;
        Ok(directory)
    }

    /// Its absolute path, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The absolute path of the file `name` in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where its master key is: beside it, so that a copy of the directory alone opens nothing.
    pub fn master_key(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-master.key");
        name.into()
    }

    /// What was made in it, if anything was.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn made(&self) -> Result<Option<Made>, Failure> {
        let path = self.file(MADE);
        match std::fs::read(&path) {
            // A crash of the file system at the very first moment: as if it were not there.
            Ok(text) if text.trim_ascii().is_empty() => Ok(None),
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                Failure::new(Exit::Refused, format!("{} is not understood", path.display()))
                    .why(error.to_string())
                    .action("choose another directory with --dir, or put the file back as it was")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::file("read", &path, &error)),
        }
    }

    /// Says what is about to be made. Before the first file: otherwise a cut start would leave what nobody may remove.
    ///
    /// # Errors
    /// When the file cannot be written, or a master key is there that belongs to something else.
    pub fn announce(&self, command: &str, port: u16, more_files: &[String]) -> Result<Made, Failure> {
        if let Some(made) = self.made()? {
            return Ok(made);
        }
        let master_key = self.master_key();
        if master_key.symlink_metadata().is_ok() {
            let failure = Failure::new(Exit::Refused, format!("{} exists already", master_key.display()));
            return Err(failure
                .why("it may be the only key to other data, and is not overwritten")
                .action("move it away, or choose another directory with --dir"));
        }
        let files = FILES.iter().map(|name| (*name).to_owned()).chain(more_files.iter().cloned()).collect();
        let directories = DIRECTORIES.iter().map(|name| (*name).to_owned()).collect();
        let made = Made { command: command.to_owned(), port, files, directories, master_key };
        let path = self.file(MADE);
        let text = serde_json::to_vec_pretty(&made).map_err(|error| {
            Failure::new(Exit::Refused, "made.json cannot be written").why(error.to_string())
        })?;
        remove_file(&path)?; // An empty one.
        write_new(&path, &text)?;
        Ok(made)
    }

    /// Removes what `command` made, and nothing else; the directory too when nothing else is in it. Returns what stays.
    ///
    /// # Errors
    /// When a process uses it, when another command made it, or when something cannot be removed.
    pub fn clean(path: &Path, command: &str) -> Result<Vec<PathBuf>, Failure> {
        let nothing = || {
            Failure::new(Exit::NotFound, format!("there is nothing of countersign in {}", path.display()))
                .action("name the directory with --dir")
        };
        if !path.is_dir() {
            return Err(nothing());
        }
        let path = one_name(path)?;
        let directory = Self { _lock: lock(&path)?, path: path.clone() };
        let made = directory.made()?.ok_or_else(nothing)?;
        if made.command != command {
            let failure =
                Failure::new(Exit::Refused, format!("{} was not made by {command}", path.display()));
            return Err(failure
                .why(format!("`{}` made it, and it may be in earnest", made.command))
                .action("choose another directory with --dir, or remove this one yourself"));
        }
        // A `serve` on the configuration in the directory holds the database's lock, not the directory's.
        let database_lock = lock_if_there(&directory.file(DATABASE_LOCK), &path)?;
        for name in &made.directories {
            directory.clean_subdirectory(name)?;
        }
        for name in made.files.iter().filter(|name| is_plain_name(name)) {
            remove_made(&directory.file(name))?;
        }
        // Only the one that this directory's name gives: a changed made.json must not lead anywhere else.
        let key_is_ours = made.master_key == directory.master_key();
        if key_is_ours {
            remove_made(&made.master_key)?;
        }
        remove_made(&directory.file(MADE))?;
        drop(database_lock);
        let mut left = directory.entries()?;
        if left.is_empty() {
            std::fs::remove_dir(&path).map_err(|error| Failure::file("removed", &path, &error))?;
        }
        // Of a directory that was renamed: what stays is said.
        if !key_is_ours && made.master_key.symlink_metadata().is_ok() {
            left.push(made.master_key);
        }
        Ok(left)
    }

    fn clean_subdirectory(&self, name: &str) -> Result<(), Failure> {
        let Some(name) = DIRECTORIES.into_iter().find(|known| *known == name) else { return Ok(()) };
        let path = self.file(name);
        // We make a directory. A link leads to what is somebody else's; it stays, and is told as what stays.
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            return Ok(());
        }
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Failure::file("read", &path, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| Failure::file("read", &path, &error))?;
            let ours = entry.file_name().to_str().is_some_and(is_audit_file);
            if ours {
                remove_file(&entry.path())?;
            }
        }
        match std::fs::remove_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(Failure::file("removed", &path, &error))
            }
            _ => Ok(()),
        }
    }

    fn entries(&self) -> Result<Vec<PathBuf>, Failure> {
        let read = std::fs::read_dir(&self.path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
        read.map_err(|error| Failure::file("read", &self.path, &error))
    }

    /// Whether there is nothing in it but what a first start of ours leaves that was cut short at once.
    fn is_empty(&self) -> Result<bool, Failure> {
        let made = self.file(MADE);
        let begun = [partial(&made), made];
        Ok(self.entries()?.iter().all(|entry| begun.contains(entry)))
    }

    /// Keys and secrets lie in it.
    fn restrict(&self) -> Result<(), Failure> {
        let restricted = std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(0o700));
        restricted.map_err(|error| Failure::file("made private", &self.path, &error))
    }
}

/// The one name of a directory, whatever way it was called: the name of its master key is made from it, and `data/`, a link
/// to it or `data/audit/..` must not lead to another key, or to one that another directory shares.
fn one_name(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| Failure::file("used", path, &error))
}

/// Writes a file that must not be there yet: all of it or nothing.
///
/// # Errors
/// When it is, or the system refuses.
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), Failure> {
    create_readable(path, content).map_err(|error| match &error {
        PrivateFileError::Write { source, .. } => Failure::file("written", path, source),
        _ => Failure::caused(Exit::Refused, format!("{} cannot be written", path.display()), &error),
    })
}

/// The lock is on the directory itself: it needs no file, and goes with the process however that ends.
fn lock(path: &Path) -> Result<File, Failure> {
    let file = File::open(path).map_err(|error| Failure::file("used", path, &error))?;
    try_lock(&file, path)?;
    Ok(file)
}

fn lock_if_there(lock: &Path, directory: &Path) -> Result<Option<File>, Failure> {
    match File::open(lock) {
        Ok(file) => try_lock(&file, directory).map(|()| Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("used", lock, &error)),
    }
}

fn try_lock(file: &File, directory: &Path) -> Result<(), Failure> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            let failure = Failure::new(Exit::Refused, format!("{} is in use", directory.display()));
            failure
                .why("another countersign runs on it")
                .action("stop it, or choose another directory with --dir")
        }
        TryLockError::Error(error) => Failure::file("locked", directory, &error),
    })
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("removed", path, &error)),
        _ => Ok(()),
    }
}

/// Removes a file that we made, and what a crash may have left of its making.
fn remove_made(path: &Path) -> Result<(), Failure> {
    remove_file(&partial(path))?;
    remove_file(path)
}

/// The segments of the audit log, the torn ends that were cut off, and its lock; the names are `audit`'s.
fn is_audit_file(name: &str) -> bool {
    name == "lock"
        || (name.starts_with("audit-") && name.ends_with(".jsonl"))
        || (name.starts_with("torn-") && name.ends_with(".bin"))
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(directory: &Directory) {
        directory.announce("quickstart", 8443, &["a.key".to_owned()]).unwrap();
        for name in ["countersign.toml", "a.key"] {
            std::fs::write(directory.file(name), "x").unwrap();
        }
        std::fs::write(directory.master_key(), "x").unwrap();
        std::fs::create_dir(directory.file("audit")).unwrap();
        for name in ["audit-1-2.jsonl", "torn-1-2.bin", "lock"] {
            std::fs::write(directory.file("audit").join(name), "x").unwrap();
        }
    }

    #[test]
    fn a_place_that_takes_no_new_directory_is_named_as_the_cause() {
        let failure = Directory::open(Path::new("/proc/countersign")).unwrap_err();
        let told = format!("{failure:?}");
        assert!(told.contains("the file system there takes no new directories"), "{told}");
        // Whatever the user may do elsewhere: a file stands in the way.
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = format!("{:?}", Directory::open(&file.path().join("data")).unwrap_err());
        assert!(told.contains("check the path"), "{told}");
    }

    #[test]
    fn the_directory_is_private_and_one_process_at_a_time_uses_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let directory = Directory::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(Directory::open(&path).unwrap_err().what.ends_with("is in use"));
        assert!(Directory::clean(&path, "quickstart").unwrap_err().what.ends_with("is in use"));
        drop(directory);
        Directory::open(&path).unwrap();
    }

    #[test]
    fn cleaning_removes_what_was_made_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let directory = Directory::open(&path).unwrap();
        fill(&directory);
        let others = [directory.file("notes.txt"), directory.file("audit").join("notes.txt")];
        others.iter().for_each(|other| std::fs::write(other, "mine").unwrap());
        drop(directory);

        let left = Directory::clean(&path, "quickstart").unwrap();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(others.iter().all(|other| other.exists()));
        assert!(!parent.path().join("data-master.key").exists());

        others.iter().for_each(|other| std::fs::remove_file(other).unwrap());
        std::fs::remove_dir(path.join("audit")).unwrap();
        let directory = Directory::open(&path).unwrap();
        fill(&directory);
        drop(directory);
        assert_eq!(Directory::clean(&path, "quickstart").unwrap(), [""; 0].map(PathBuf::from));
        assert!(!path.exists());
        assert_eq!(Directory::clean(&path, "quickstart").unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn a_changed_list_does_not_lead_cleaning_astray() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let (outside, inside) = (parent.path().join("precious"), "../precious".to_owned());
        std::fs::write(&outside, "x").unwrap();
        let directory = Directory::open(&path).unwrap();
        let mut made = directory.announce("quickstart", 8443, &[]).unwrap();
        made.files.push(inside);
        made.directories.push("..".to_owned());
        made.master_key = outside.clone();
        std::fs::write(directory.file(MADE), serde_json::to_vec(&made).unwrap()).unwrap();
        drop(directory);
        Directory::clean(&path, "quickstart").unwrap();
        assert!(outside.exists());
    }

    /// A key that two installations share, or that lies where nobody looks for it, is found out when it is too late.
    #[test]
    fn however_a_directory_is_named_its_key_is_beside_it_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("elsewhere/real")).unwrap();
        std::os::unix::fs::symlink("elsewhere/real", root.join("link")).unwrap();
        for (named, key) in [
            ("data/", "data-master.key"),
            ("other/", "other-master.key"),
            ("./dotted/.", "dotted-master.key"),
            ("link", "elsewhere/real-master.key"),
            ("link/", "elsewhere/real-master.key"),
        ] {
            let path = root.join(named);
            let directory = Directory::open(&path).unwrap();
            assert_eq!(directory.master_key(), root.join(key), "{named}");
            let made = directory.announce("quickstart", 8443, &[]).unwrap();
            assert_eq!(made.master_key, root.join(key), "{named}");
            std::fs::write(&made.master_key, "x").unwrap();
            drop(directory);
            assert_eq!(Directory::clean(&path, "quickstart").unwrap(), [""; 0].map(PathBuf::from));
            assert!(!root.join(key).exists(), "{named}");
            std::fs::create_dir_all(root.join("elsewhere/real")).unwrap();
        }
    }

    #[test]
    fn a_master_key_that_is_not_this_directorys_stays_and_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let (before, after) = (parent.path().join("before"), parent.path().join("after"));
        let directory = Directory::open(&before).unwrap();
        fill(&directory);
        let key = directory.master_key();
        drop(directory);
        std::fs::rename(&before, &after).unwrap();
        assert_eq!(Directory::clean(&after, "quickstart").unwrap(), std::slice::from_ref(&key));
        assert!(key.exists() && !after.exists());
    }

    #[test]
    fn cleaning_does_not_follow_a_link_to_an_audit_log_of_others() {
        let parent = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (parent.path().join("data"), parent.path().join("elsewhere"));
        let directory = Directory::open(&path).unwrap();
        directory.announce("quickstart", 8443, &[]).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("audit-1-2.jsonl"), "x").unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.file("audit")).unwrap();
        drop(directory);
        assert_eq!(Directory::clean(&path, "quickstart").unwrap(), [path.join("audit")]);
        assert!(elsewhere.join("audit-1-2.jsonl").exists());
    }

    #[test]
    fn a_start_that_was_cut_short_at_its_first_file_goes_on_and_is_cleaned() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        for (name, content) in [(MADE, ""), (".made.json.partial", "{\"comm")] {
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join(name), content).unwrap();
            let directory = Directory::open(&path).unwrap();
            assert_eq!(directory.made().unwrap(), None);
            fill(&directory);
            std::fs::write(directory.file(".admin.token.partial"), "csa_").unwrap();
            drop(directory);
            assert_eq!(Directory::clean(&path, "quickstart").unwrap(), [""; 0].map(PathBuf::from));
        }
    }

    #[test]
    fn what_init_made_is_not_cleaned_as_a_demo() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        Directory::open(&path).unwrap().announce("init", 8443, &[]).unwrap();
        assert!(
            Directory::clean(&path, "quickstart").unwrap_err().what.ends_with("was not made by quickstart")
        );
        assert!(path.join(MADE).exists());
    }

    #[test]
    fn a_directory_of_others_and_a_key_of_others_are_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("notes.txt"), "mine").unwrap();
        assert!(Directory::open(parent.path()).unwrap_err().what.ends_with("is not empty"));
        assert_eq!(Directory::clean(parent.path(), "quickstart").unwrap_err().exit, Exit::NotFound);

        let path = parent.path().join("data");
        std::fs::write(parent.path().join("data-master.key"), "x").unwrap();
        let directory = Directory::open(&path).unwrap();
        assert!(directory.announce("init", 8443, &[]).unwrap_err().what.ends_with("exists already"));
    }
}
