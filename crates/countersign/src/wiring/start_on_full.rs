//! A start that fails because the disk is full gives the reserve up and is tried again, once (rule G20): a node that does not
//! run revokes nobody.

use super::installation::OpenError;
use super::server::StartError;
use super::space::Disk;
use countersign_storage::essential::Reserve;
use std::io;
use std::path::Path;

/// With less than this on the disk of the database, a failure to open it is for want of space. The database says so in many
/// ways: a log, an index of the log and a lock are made at every start.
const NEEDED: u64 = 1 << 20;

/// A failure of a start.
pub(super) trait Failed: Sized {
    /// Whether a full disk may be its cause.
    fn may_be_for_want_of_space(&self) -> bool;

    /// The same, with what is left on the disk.
    fn on_full_disk(self, path: &Path, free: u64) -> Self;
}

impl Failed for OpenError {
    fn may_be_for_want_of_space(&self) -> bool {
        match self {
            // The reserve of a process that runs is not ours to give up.
            Self::Database(countersign_storage_sql::OpenError::InUse { .. }) => false,
            Self::Database(countersign_storage_sql::OpenError::File { source, .. }) => {
                source.kind() == io::ErrorKind::StorageFull
            }
            Self::Database(_) | Self::Storage(_) | Self::Authority(_) | Self::TokenKeys(_) => true,
            Self::BehindUnknown(_) => true,
            Self::MasterReference(_)
            | Self::MasterKey(_)
            | Self::Custody(_)
            | Self::Behind(_)
            | Self::DiskFull { .. } => false,
        }
    }

    fn on_full_disk(self, path: &Path, free: u64) -> Self {
        Self::DiskFull { path: path.to_owned(), free, source: Box::new(self) }
    }
}

impl Failed for StartError {
    fn may_be_for_want_of_space(&self) -> bool {
        matches!(self, Self::Storage(_) | Self::Audit(_))
    }

    fn on_full_disk(self, path: &Path, free: u64) -> Self {
        Self::DiskFull { path: path.to_owned(), free, source: Box::new(self) }
    }
}

/// Does what `attempt` does, and once more with the space of the reserve if the disk of `path` is full.
///
/// # Errors
/// Why the last attempt failed.
pub(super) async fn try_with_reserve<T, E: Failed>(
    reserve: &dyn Reserve,
    disk: &dyn Disk,
    path: &Path,
    attempt: impl AsyncFn() -> Result<T, E>,
) -> Result<T, E> {
    let error = match attempt().await {
        Err(error) if error.may_be_for_want_of_space() => error,
        outcome => return outcome,
    };
    let free = match disk.free(path) {
        Ok(free) if free < NEEDED => free,
        _ => return Err(error),
    };
    if reserve.give_up() {
        tracing::error!(
            free,
            path = %path.display(),
            "the disk is full: the reserve is given up so that the server starts; make room before it is full again"
        );
        return attempt().await.map_err(|error| error.on_full_disk(path, free));
    }
    Err(error.on_full_disk(path, free))
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_storage::StorageError;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Left(u64);

    impl Disk for Left {
        fn free(&self, _: &Path) -> io::Result<u64> {
            Ok(self.0)
        }
    }

    /// So many times there is something to give up.
    struct Held(AtomicUsize);

    impl Reserve for Held {
        fn give_up(&self) -> bool {
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| held.checked_sub(1)).is_ok()
        }
    }

    fn io_error() -> OpenError {
        OpenError::Storage(StorageError::Unavailable("(code: 4874) disk I/O error".to_owned()))
    }

    /// How often it was tried and how it ended; the first `failures` attempts fail.
    async fn start(
        failures: usize,
        held: usize,
        free: u64,
        error: fn() -> OpenError,
    ) -> (usize, usize, Result<(), OpenError>) {
        let (attempts, reserve) = (Cell::new(0), Held(AtomicUsize::new(held)));
        let attempt = async || {
            attempts.set(attempts.get() + 1);
            if attempts.get() > failures { Ok(()) } else { Err(error()) }
        };
        let outcome = try_with_reserve(&reserve, &Left(free), Path::new("/data"), attempt).await;
        (attempts.get(), reserve.0.load(Ordering::SeqCst), outcome)
    }

    #[tokio::test]
    async fn rule_g20_a_start_that_fails_for_want_of_space_gets_the_reserve_once() {
        assert!(
            matches!(start(0, 1, 0, io_error).await, (1, 1, Ok(()))),
            "it is kept where it is not needed"
        );
        assert!(matches!(start(1, 1, 0, io_error).await, (2, 0, Ok(()))));
        assert!(matches!(start(9, 2, 0, io_error).await, (2, 1, Err(OpenError::DiskFull { .. }))), "once");
        let (attempts, _, outcome) = start(9, 0, 4096, io_error).await;
        let text = outcome.unwrap_err().to_string();
        assert!(attempts == 1 && text.contains("/data") && text.contains("4096 bytes"), "{text}");
        // What fails with space on the disk fails for another reason, and so does what never writes.
        assert!(matches!(start(1, 1, 1 << 30, io_error).await, (1, 1, Err(OpenError::Storage(_)))));
        let in_use = || {
            OpenError::Database(countersign_storage_sql::OpenError::InUse {
                database: "a".into(),
                lock: "b".into(),
            })
        };
        assert!(matches!(start(1, 1, 0, in_use).await, (1, 1, Err(OpenError::Database(_)))), "not ours");
    }
}
