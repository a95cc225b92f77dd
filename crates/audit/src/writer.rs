//! The writer's thread: takes what has gathered, writes and syncs it at once, and says what it could not write.

use crate::line;
use crate::log::AuditLog;
use crate::queue::{Batch, Confirmation, Losses, Message};
use crate::record::{Entry, Head, LossCause};
use crate::shared::{RecorderSettings, Shared};
use countersign_model::audit::AuditEvent;
use countersign_model::{Clock, Rng, Timestamp};
use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// How often the thread looks after what is due when nothing happens: series to record, a head to offer, a disk that
/// may have space again.
const IDLE: Duration = Duration::from_millis(250);

/// The thread's own things.
pub(crate) struct Writer {
    log: AuditLog,
    settings: RecorderSettings,
    shared: Arc<Shared>,
    heads: watch::Sender<Head>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    /// Not yet on disk: empty after each turn but while the disk fails.
    pending: VecDeque<Entry>,
    lost: Losses,
    offered_at: Instant,
}

impl Writer {
    pub(crate) fn new(
        log: AuditLog,
        settings: RecorderSettings,
        shared: Arc<Shared>,
        heads: watch::Sender<Head>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Self {
        let (pending, lost) = (VecDeque::new(), Losses::default());
        Self { log, settings, shared, heads, clock, rng, pending, lost, offered_at: Instant::now() }
    }

    pub(crate) fn run(mut self) {
        let gone_at_the_end = Gone(Arc::clone(&self.shared), Arc::clone(&self.clock));
        self.offer_head(true);
        loop {
            let batch = self.shared.queue.take(self.settings.gather, IDLE);
            let last = batch.last;
            let (waiting, confirmation) = self.turn(batch);
            if last {
                // Who closes may open the directory again as soon as it hears of it.
                drop((self, gone_at_the_end));
                return answer(waiting, &confirmation);
            }
            answer(waiting, &confirmation);
        }
    }

    /// Everything of one batch: one write, one sync, one answer for all who wait.
    fn turn(&mut self, batch: Batch) -> (Vec<oneshot::Sender<Confirmation>>, Confirmation) {
        let now = self.clock.now();
        let mut waiting = Vec::new();
        let mut asked = HashSet::new();
        for message in batch.messages {
            match message {
                Message::Record(event) => self.pending.push_back(event.into()),
                Message::Append(events, reply) => {
                    // Appended before, or asked for twice at once by a caller that gave up waiting the first time.
                    let is_new =
                        |event: &AuditEvent| !self.log.has_lately(event) && asked.insert(event.reference);
                    let new = events.into_iter().filter(is_new);
                    self.pending.extend(new.map(|event| Entry { kept_by_caller: true, ..event.into() }));
                    waiting.push(reply);
                }
            }
        }
        if batch.lost.any_by(LossCause::QueueFull) {
            tracing::error!("audit events came faster than they could be taken; their number is recorded");
        }
        self.lost.merge(batch.lost);
        let counted = self.shared.folds.due(now, batch.last);
        counted.iter().for_each(line::of_series);
        if self.spares(batch.last) {
            counted.iter().for_each(|entry| self.lose(entry, LossCause::SpaceLow));
        } else {
            self.pending.extend(counted);
        }

        let confirmation = self.write(now, batch.last);
        self.offer_head(!waiting.is_empty() || batch.last);
        (waiting, confirmation)
    }

    /// Whether counts wait for more space. At the end they are written: they are few, and nobody remembers them.
    fn spares(&self, last: bool) -> bool {
        !last && self.shared.sparing.load(Ordering::Relaxed)
    }

    fn write(&mut self, now: Timestamp, last: bool) -> Confirmation {
        let spares = self.spares(last);
        let before = self.log.head().sequence;
        let checked = self.log.check(now, self.rng.as_ref());
        let result = checked.and_then(|()| self.log.append(&mut self.pending, now)).and_then(|()| {
            // Only now: while the disk fails, counts grow and records of counts would only pile up.
            if self.lost.is_empty() || spares {
                return Ok(());
            }
            self.pending.extend(self.lost.drain(now, self.rng.as_ref()));
            self.log.append(&mut self.pending, now)
        });
        let head = self.log.head();
        self.shared.written.fetch_add(head.sequence - before, Ordering::Relaxed);
        self.shared.sequence.store(head.sequence, Ordering::Relaxed);
        self.shared.missing.store(self.log.missing(), Ordering::Relaxed);
        match result {
            Ok(()) => {
                if self.shared.works() {
                    tracing::info!(sequence = head.sequence, "the audit log is written again");
                }
                Ok(head)
            }
            Err(error) => {
                if self.shared.fails(now) {
                    tracing::error!(error = &error as &dyn Error, "the audit log is not written");
                }
                self.keep_what_may_be_kept();
                Err(error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
            }
        }
    }

    /// While the disk fails: bounded memory, oldest first, the rest counted.
    fn keep_what_may_be_kept(&mut self) {
        self.pending.retain(|entry| !entry.kept_by_caller);
        while self.pending.len() > self.settings.kept_while_disk_fails {
            let Some(entry) = self.pending.pop_back() else { break };
            self.lose(&entry, LossCause::DiskFailed);
        }
    }

    /// Counts what will never be in the log.
    fn lose(&mut self, entry: &Entry, cause: LossCause) {
        self.lost.count(entry, cause);
        if entry.lost.is_none() {
            let events = entry.folded.as_ref().map_or(1, |folded| folded.count);
            self.shared.lost.fetch_add(events, Ordering::Relaxed);
        }
    }

    /// The head is on disk before anybody hears of it: a crash in between never looks like a cut tail.
    fn offer_head(&mut self, now: bool) {
        let head = self.log.head();
        let saved = self.shared.head_saved.load(Ordering::Relaxed) >= head.sequence;
        if !saved && (now || self.offered_at.elapsed() >= self.settings.head_interval) {
            self.offered_at = Instant::now();
            self.heads.send_replace(head);
        }
    }
}

fn answer(waiting: Vec<oneshot::Sender<Confirmation>>, confirmation: &Confirmation) {
    for reply in waiting {
        let _ = reply.send(confirmation.clone()); // who asked may be gone
    }
}

/// However the thread ends, also by a panic: without it nothing is recorded, and nobody waits for it.
struct Gone(Arc<Shared>, Arc<dyn Clock>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fails(self.1.now());
        self.0.lost.fetch_add(self.0.queue.abandon(), Ordering::Relaxed);
    }
}
