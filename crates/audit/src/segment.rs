//! The files of a log: `audit-<sequence of the first record>-<creation, Unix ms>.jsonl`.

use countersign_model::Timestamp;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// One file of the log, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) first_sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) path: PathBuf,
}

impl Segment {
    pub(crate) fn new(directory: &Path, first_sequence: u64, created: Timestamp) -> Self {
        let path =
            directory.join(format!("audit-{first_sequence:020}-{:013}.jsonl", created.unix_ms().max(0)));
        Self { first_sequence, created, path }
    }

    fn from_path(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (first, created) = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.split_once('-')?;
        let number =
            |text: &str| text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
        let created = Timestamp::from_unix_ms(i64::try_from(number(created)?).ok()?);
        Some(Self { first_sequence: number(first)?, created, path })
    }

    /// The file's name, for findings.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// The segments of a directory in the order of their records. A directory that is not there has none.
pub(crate) fn segments(directory: &Path) -> io::Result<Vec<Segment>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        segments.extend(Segment::from_path(entry?.path()));
    }
    segments.sort();
    Ok(segments)
}

/// A new, renamed or removed file survives a power cut only when its directory was synced.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
