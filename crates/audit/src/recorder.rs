//! What the rest of the product records through. A cheap handle; a thread of its own writes.

use crate::fold::{FoldSettings, FoldTable, Verdict};
use crate::log::{AuditError, AuditLog};
use crate::queue::Queue;
use crate::record::Head;
use crate::writer::Writer;
use async_trait::async_trait;
use countersign_model::audit::AuditEvent;
use countersign_model::{Clock, Reference, Rng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Keeps the head of the log outside of the log, so that a cut tail shows.
#[async_trait]
pub trait HeadStore: Send + Sync {
    /// Saves `head`, which is on disk already. Must never go back: a head of a smaller sequence than the one that is
    /// saved is ignored (saves may overtake one another).
    ///
    /// # Errors
    /// Anything; the head is offered again.
    async fn save_head(&self, head: Head) -> Result<(), HeadStoreError>;
}

/// Whatever a [`HeadStore`] fails with.
pub type HeadStoreError = Box<dyn std::error::Error + Send + Sync>;

/// How the recorder works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecorderSettings {
    /// So many events may wait for the writer. Default: 16,384, some seconds of a node's refusals.
    pub queue: usize,
    /// How long the writer lets events gather before it writes and syncs them together. Default: 50 ms, so that they
    /// are on disk within 100 ms.
    pub gather: Duration,
    /// How often the head is saved while records come in. Default: half a second, so that it is never older than one.
    pub head_interval: Duration,
    /// So many events are kept in memory while the disk fails; the rest are counted. Default: 10,000.
    pub kept_while_disk_fails: usize,
    /// Whether [`Recorder::record_before_answer`] waits for the disk. Default: no.
    pub before_answer: bool,
    /// When equal refusals are folded.
    pub fold: FoldSettings,
}

impl Default for RecorderSettings {
    fn default() -> Self {
        Self {
            queue: 16_384,
            gather: Duration::from_millis(50),
            head_interval: Duration::from_millis(500),
            kept_while_disk_fails: 10_000,
            before_answer: false,
            fold: FoldSettings::default(),
        }
    }
}

/// What the recorder has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Records written and synced.
    pub written: u64,
    /// Refusals that were counted in a series instead of having a record of their own.
    pub folded: u64,
    /// Events that are not in the log. Each is counted in a `log_repaired` record.
    pub lost: u64,
    /// The sequence number of the last record.
    pub sequence: u64,
    /// The sequence number of the head that was saved last.
    pub head_saved: u64,
}

/// An event that was asked to be on disk before the answer and is not.
#[derive(Debug, thiserror::Error)]
#[error("the record {reference} is not on disk")]
pub struct Unrecorded {
    /// Its reference: it may be recorded yet.
    pub reference: Reference,
    /// Why.
    pub source: AuditError,
}

/// Records events. Clone it freely; the log is closed when the last clone is gone, or by [`Recorder::close`].
#[derive(Clone)]
pub struct Recorder(Arc<Handle>);

/// Closes the queue when the last clone is dropped. The writer holds [`Shared`] only.
struct Handle {
    shared: Arc<Shared>,
    heads: Arc<dyn HeadStore>,
    before_answer: bool,
}

/// What recorder and writer both hold.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) folds: FoldTable,
    pub(crate) healthy: AtomicBool,
    pub(crate) written: AtomicU64,
    pub(crate) folded: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) sequence: AtomicU64,
    pub(crate) head_saved: AtomicU64,
}

impl Recorder {
    /// Starts the writer's thread on `log`, and on `runtime` the task that saves heads.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        log: AuditLog,
        settings: RecorderSettings,
        heads: Arc<dyn HeadStore>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        runtime: &tokio::runtime::Handle,
    ) -> std::io::Result<Self> {
        let head = log.head();
        let shared = Arc::new(Shared {
            queue: Queue::new(settings.queue.max(1)),
            folds: FoldTable::new(settings.fold),
            healthy: AtomicBool::new(true),
            written: AtomicU64::new(0),
            folded: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            sequence: AtomicU64::new(head.sequence),
            head_saved: AtomicU64::new(0),
        });
        let (offered, heads_to_save) = watch::channel(head);
        let writer = Writer::new(log, settings, Arc::clone(&shared), offered, clock, rng);
        std::thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        runtime.spawn(save_heads(heads_to_save, Arc::clone(&heads), Arc::clone(&shared)));
        Ok(Self(Arc::new(Handle { shared, heads, before_answer: settings.before_answer })))
    }

    /// Records `event` and gives the reference under which it is found: its own, or, when it is a refusal that was
    /// folded, that of its series. Tell the caller this one.
    ///
    /// Never waits: the event is on disk within 100 ms. What the queue cannot take is counted, and the count recorded.
    pub fn record(&self, event: AuditEvent) -> Reference {
        let shared = &self.0.shared;
        if let Some(reason) = event.reason
            && let Verdict::Folded(reference) = shared.folds.refused(&event, reason)
        {
            shared.folded.fetch_add(1, Ordering::Relaxed);
            return reference;
        }
        let reference = event.reference;
        if !shared.queue.push(event) {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        reference
    }

    /// As [`Recorder::record`]; where [`RecorderSettings::before_answer`] says so it returns when the record is on disk.
    /// (A refusal that was folded is counted in memory until its series is recorded.)
    ///
    /// # Errors
    /// Only with `before_answer`: the disk did not take it. Whether the caller is then refused is the caller's choice.
    pub async fn record_before_answer(&self, event: AuditEvent) -> Result<Reference, Unrecorded> {
        let reference = self.record(event);
        if self.0.before_answer {
            self.flush().await.map_err(|source| Unrecorded { reference, source })?;
        }
        Ok(reference)
    }

    /// Appends events and returns when they are on disk, with the head after them: for issuance, revocation and
    /// administration, whose events stand in an outbox until then. They are never folded. An event whose reference was
    /// appended so before is not written again, so the same call may be repeated after a failure or a crash.
    ///
    /// # Errors
    /// They are not in the log as far as it is known; keep them and call again.
    pub async fn append_durably(&self, events: Vec<AuditEvent>) -> Result<Head, AuditError> {
        let (reply, confirmation) = oneshot::channel();
        if !self.0.shared.queue.push_durable(events, reply) {
            return Err(AuditError::Closed);
        }
        confirmed(confirmation).await
    }

    /// Returns when everything that was recorded before is on disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn flush(&self) -> Result<Head, AuditError> {
        self.append_durably(Vec::new()).await
    }

    /// Whether records reach the disk. A node whose recorder is not healthy is not ready (design, decision 18).
    pub fn is_healthy(&self) -> bool {
        self.0.shared.healthy.load(Ordering::Relaxed)
    }

    /// Counts, for metrics.
    pub fn stats(&self) -> Stats {
        let shared = &self.0.shared;
        Stats {
            written: shared.written.load(Ordering::Relaxed),
            folded: shared.folded.load(Ordering::Relaxed),
            lost: shared.lost.load(Ordering::Relaxed),
            sequence: shared.sequence.load(Ordering::Relaxed),
            head_saved: shared.head_saved.load(Ordering::Relaxed),
        }
    }

    /// Records the series that are open, writes and syncs everything, saves the head and ends the writer. What is
    /// recorded afterwards is lost; close last.
    ///
    /// # Errors
    /// When the disk, or the head's store, does not take it.
    pub async fn close(&self) -> Result<Head, AuditError> {
        let (reply, confirmation) = oneshot::channel();
        self.0.shared.queue.close(Some(reply));
        let head = confirmed(confirmation).await?;
        match self.0.heads.save_head(head).await {
            Ok(()) => Ok(head),
            Err(source) => Err(AuditError::HeadNotSaved { source }),
        }
    }
}

async fn confirmed(confirmation: oneshot::Receiver<Result<Head, String>>) -> Result<Head, AuditError> {
    match confirmation.await {
        Ok(Ok(head)) => Ok(head),
        Ok(Err(why)) => Err(AuditError::NotConfirmed { why }),
        Err(_) => Err(AuditError::Closed),
    }
}

/// Saves the heads that the writer offers; ends with the writer.
async fn save_heads(mut offered: watch::Receiver<Head>, store: Arc<dyn HeadStore>, shared: Arc<Shared>) {
    while offered.changed().await.is_ok() {
        let head = *offered.borrow_and_update();
        match store.save_head(head).await {
            Ok(()) => {
                shared.head_saved.fetch_max(head.sequence, Ordering::Relaxed);
            }
            Err(error) => tracing::error!(
                error = &*error as &dyn std::error::Error,
                "the audit log's head is not saved"
            ),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close(None);
    }
}
