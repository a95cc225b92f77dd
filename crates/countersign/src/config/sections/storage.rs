//! `[storage]`: where clients, credentials and certificates are kept.

use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::section;
use crate::config::values::{DatabaseUrl, Period, Size, SizeOrNone, words};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The least that the database may grow to: its schema alone takes a quarter of it.
const LEAST_BYTES: u64 = 1 << 20;

section! {
    /// Where clients, credentials, certificates and sealed keys are kept. A change needs a restart.
    StorageSection = "[storage]" {
        /// The database: `sqlite:` and a path.
        url: DatabaseUrl = Required;
        /// How large the database may grow; what would make it larger is refused with 503. At least `1MiB`; without it the disk is the limit.
        max_size: Size = Optional;
        /// Minimum free space on the disks of the database and the audit log. Below it, token requests are answered with 503,
        /// refusals are counted but not written, and only changes by administrators are written. `0` for no floor.
        disk_floor: SizeOrNone = Default("\"64MiB\"");
        /// Size of a file beside the database that is released so that revocations can be stored on a full disk. `0` for no file.
        disk_reserve: SizeOrNone = Default("\"8MiB\"");
        /// How long ago this node may last have heard of changes of clients and revocations; older makes it not ready.
        max_staleness: Period = Default("\"10s\"");
        /// What becomes of requests then: `refuse` answers 503 `not_ready`, `serve` decides on what was known last.
        when_stale: WhenStale = Default("\"refuse\"");
    }
}

words! {
    /// What becomes of requests on a node that may not know what was revoked (rule G16).
    WhenStale {
        /// They are refused.
        Refuse = "refuse",
        /// They are served on what was known last.
        Serve = "serve",
    }
}

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The SQLite file.
    pub database: PathBuf,
    /// How large it may grow.
    pub max_bytes: Option<u64>,
    /// Minimum free bytes on the disks.
    pub disk_floor: u64,
    /// Bytes that are held back for revocations.
    pub disk_reserve: u64,
    /// How old the views may be before the node is not ready.
    pub max_staleness: Duration,
    /// What becomes of requests then.
    pub when_stale: WhenStale,
}

impl StorageSection {
    pub(crate) fn check(&self, base: &Path, out: &mut Mistakes) -> Option<Storage> {
        if let Some(size) = self.max_size.get().filter(|size| size.value.0 < LEAST_BYTES) {
            let reason = "the empty database does not fit, and less than a page would be no limit at all";
            let mistake = Mistake::new(size.entry.clone(), "the database may not grow at all", reason);
            out.add(mistake.help("write 1MiB or more, or leave it out"));
            return None;
        }
        Some(Storage {
            database: base.join(&self.url.value()?.0),
            max_bytes: self.max_size.value().map(|size| size.0),
            disk_floor: self.disk_floor.value()?.0,
            disk_reserve: self.disk_reserve.value()?.0,
            max_staleness: self.max_staleness.value()?.0,
            when_stale: *self.when_stale.value()?,
        })
    }
}
