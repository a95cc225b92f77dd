//! Watches the free space on the disks and acts on it (rule G20): below the floor, only changes by administrators are
//! written. When there is space again, the reserve file is created and pending changes are stored.

use super::reserve::ReserveFile;
use crate::words::error_chain;
use countersign_audit::Recorder;
use countersign_ca::CertificateAuthority;
use countersign_model::Clock;
use countersign_storage::essential::{EssentialStore, Unstored};
use countersign_storage::space::Space;
use countersign_storage_sql::DatabaseFiles;
use metrics::gauge;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How often the disks are checked: a flood fills less than the floor in this time.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is told that it is not known.
const TELL_UNKNOWN_MS: u64 = 60_000;

/// Tells how much space is left; tests say it themselves.
pub trait Disk: Send + Sync {
    /// How many bytes we may still write on the file system that `path` is on.
    ///
    /// # Errors
    /// Any I/O error.
    fn free(&self, path: &Path) -> io::Result<u64>;
}

/// The file systems of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn free(&self, path: &Path) -> io::Result<u64> {
        let system = rustix::fs::statvfs(path)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}

/// What is looked after.
pub(super) struct SpaceWatch {
    pub(super) disk: Arc<dyn Disk>,
    /// The database's directory and the audit log's.
    pub(super) paths: [(&'static str, PathBuf); 2],
    /// When it was last told that a path cannot be looked at, in Unix milliseconds.
    pub(super) told_unknown_ms: AtomicI64,
    pub(super) database: DatabaseFiles,
    pub(super) floor: u64,
    pub(super) space: Arc<Space>,
    pub(super) reserve: Arc<ReserveFile>,
    pub(super) store: Arc<EssentialStore>,
    pub(super) ca: Arc<CertificateAuthority>,
    pub(super) recorder: Recorder,
    pub(super) clock: Arc<dyn Clock>,
}

impl SpaceWatch {
    /// Runs until `stop`.
    pub(super) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut turns = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = turns.tick() => self.once().await,
                _ = stop.changed() => return,
            }
        }
    }

    /// Looks, and does what follows.
    pub(super) async fn once(&self) {
        self.look();
        self.store_waiting().await;
        publish("countersign_changes_not_stored", self.store.waiting().0);
    }

    async fn store_waiting(&self) {
        let stored = self.store.store_waiting().await;
        if stored.changes > 0 {
            let stored = stored.changes;
            tracing::info!(stored, "{stored} pending changes are now stored");
        }
        // Others than this node learn of a revocation by its list alone (rule R2).
        if stored.certificates > 0
            && let Err(error) = self.ca.publish_due_crls().await
        {
            let error = error_chain(&error);
            tracing::error!(error, "the CRL of a revocation that was stored late is not published yet");
        }
    }

    /// Stores what waits before the node stops, and says what is lost with it.
    pub(super) async fn last_attempt(&self) {
        self.store_waiting().await;
        for Unstored { what, client, reference } in self.store.unstored() {
            tracing::error!(
                change = what,
                "countersign.client.id" = client.map(tracing::field::display),
                "countersign.ref" = reference.map(tracing::field::display),
                "a change that was not stored is lost with this stop; repeat it after the start"
            );
        }
    }

    /// Looks whether the database is still where the next start looks for it. The writer refuses by itself.
    fn look_at_database(&self) {
        let displaced = self.database.displaced();
        let changed = self.space.database_is_displaced(displaced.is_some(), self.clock.now());
        match displaced {
            Some(path) if changed => tracing::error!(
                path = %path.display(),
                action = "move the file back, or stop the server, restore the database from a backup, and start",
                "a file of the database was deleted, moved or replaced while the server runs: nothing more is stored"
            ),
            None if changed => tracing::info!("the files of the database are in their place again"),
            _ => {}
        }
    }

    /// Looks at the disks.
    pub(super) fn look(&self) {
        self.look_at_database();
        let (mut least, mut fullest) = (u64::MAX, &self.paths[0]);
        let now_ms = self.clock.now().unix_ms();
        let tells = (now_ms.saturating_sub(self.told_unknown_ms.load(Ordering::Relaxed))).unsigned_abs()
            >= TELL_UNKNOWN_MS;
        for named in &self.paths {
            let (name, path) = named;
            match self.disk.free(path) {
                Ok(free) => {
                    gauge!("countersign_disk_free_bytes", "path" => *name).set(as_f64(free));
                    if free < least {
                        (least, fullest) = (free, named);
                    }
                }
                Err(error) if tells => {
                    self.told_unknown_ms.store(now_ms, Ordering::Relaxed);
                    let error = &error as &dyn Error;
                    let path = path.display();
                    tracing::warn!(error, %path, "cannot read the free space of {path}");
                }
                Err(_) => {}
            }
        }
        if least == u64::MAX {
            return; // what is not known changes nothing
        }
        let changed = self.space.seen(least, self.floor, self.clock.now());
        self.space.is_fullest(fullest.0);
        let low = self.space.low_since().is_some();
        self.recorder.spare_the_disk(low);
        if changed && low {
            tracing::error!(
                of = fullest.0,
                path = %fullest.1.display(),
                free = least,
                floor = self.floor,
                action = "free space on the file system of this path, or make it larger",
                "little disk space is left: no tokens are issued, and only changes by administrators are written"
            );
        } else if changed {
            tracing::info!(free = least, "there is enough disk space again");
        }
        self.hold_reserve(least, low);
        publish("countersign_disk_low", usize::from(low));
        publish("countersign_disk_reserve_held", usize::from(self.reserve.is_held()));
    }

    fn hold_reserve(&self, free: u64, low: bool) {
        let fits = free >= self.floor.saturating_add(self.reserve.bytes());
        if self.reserve.is_whole() || low || !fits {
            return;
        }
        match self.reserve.make() {
            Ok(()) => tracing::debug!(bytes = self.reserve.bytes(), "the reserve file is created"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "cannot create the reserve file");
            }
        }
    }
}

fn publish(name: &'static str, value: usize) {
    gauge!(name).set(as_f64(value as u64));
}

#[expect(clippy::cast_precision_loss, reason = "bytes to a few digits are enough for a graph")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
