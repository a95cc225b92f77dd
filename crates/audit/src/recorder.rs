//! What the rest of the product records through. A cheap handle; a thread of its own writes.

use crate::error::{AuditError, Unrecorded};
use crate::fold::Verdict;
use crate::heads::{HeadStore, save_heads};
use crate::log::AuditLog;
use crate::record::Head;
use crate::shared::{RecorderSettings, Shared, Stats};
use crate::writer::Writer;
use countersign_model::audit::{Actor, AuditEvent, Facts};
use countersign_model::{ClientId, Clock, Reference, Rng, Timestamp};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Records events. Clone it freely; the log is closed when the last clone is gone, or by [`Recorder::close`].
#[derive(Clone)]
pub struct Recorder(Arc<Handle>);

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Finds it: its own reference, or that of the series that it was counted in. Tell the caller this one.
    pub reference: Reference,
    /// It was counted in a series. The operational log has no line for it either (rule G20): when the series ends, one
    /// line says how many there were.
    pub folded: bool,
}

/// Closes the queue when the last clone is dropped. The writer holds [`Shared`] only.
struct Handle {
    shared: Arc<Shared>,
    heads: Arc<dyn HeadStore>,
    /// The task that saves heads; taken by who closes.
    saving: Mutex<Option<JoinHandle<()>>>,
    before_answer: bool,
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
        let shared = Arc::new(Shared::new(&settings, head, log.missing()));
        let (offered, heads_to_save) = watch::channel(head);
        let writer = Writer::new(log, settings, Arc::clone(&shared), offered, clock, rng);
        std::thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        let saving = runtime.spawn(save_heads(heads_to_save, Arc::clone(&heads), Arc::clone(&shared)));
        let saving = Mutex::new(Some(saving));
        Ok(Self(Arc::new(Handle { shared, heads, saving, before_answer: settings.before_answer })))
    }

    /// Records `event`. Tell the caller the reference that this gives.
    ///
    /// Never waits: the event is on disk within 100 ms. What the queue cannot take is counted, and the count recorded.
    pub fn record(&self, event: AuditEvent) -> Recorded {
        self.take(event, |_| {}).0
    }

    /// As [`Recorder::record`]; `complete` adds to the facts of an event that is not folded. For facts that cost much to
    /// find out: a flood pays for them as often as it is recorded, and no more. They do not take part in the folding.
    pub fn record_completed(&self, event: AuditEvent, complete: impl FnOnce(&mut Facts)) -> Recorded {
        self.take(event, complete).0
    }

    /// What became of it, and whether the event is counted or on its way to the log.
    fn take(&self, mut event: AuditEvent, complete: impl FnOnce(&mut Facts)) -> (Recorded, bool) {
        let shared = &self.0.shared;
        if let Verdict::Folded(reference) = shared.folds.verdict(&event) {
            shared.folded.fetch_add(1, Ordering::Relaxed);
            return (Recorded { reference, folded: true }, true);
        }
        complete(&mut event.facts);
        let recorded = Recorded { reference: event.reference, folded: false };
        let of_a_caller = matches!(event.actor, Actor::Anonymous | Actor::Client(_));
        if of_a_caller && event.reason.is_some() && shared.sparing.load(Ordering::Relaxed) {
            shared.queue.count_only(event);
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return (recorded, true);
        }
        let taken = shared.queue.push(event);
        if !taken {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        (recorded, taken)
    }

    /// As [`Recorder::record`]; where [`RecorderSettings::before_answer`] says so it returns when the record is on disk.
    /// (A refusal that was folded is counted in memory until its series is recorded.)
    ///
    /// # Errors
    /// Only with `before_answer`: the queue or the disk did not take it. Whether the caller is then refused is the
    /// caller's choice.
    pub async fn record_before_answer(&self, event: AuditEvent) -> Result<Recorded, Unrecorded> {
        let (recorded, taken) = self.take(event, |_| {});
        if !self.0.before_answer {
            return Ok(recorded);
        }
        if !taken {
            let why = "the event came faster than it could be taken, and is only counted".to_owned();
            return Err(Unrecorded { recorded, source: AuditError::NotConfirmed { why } });
        }
        self.flush().await.map_err(|source| Unrecorded { recorded, source })?;
        Ok(recorded)
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

    /// From now on, or not any more, refusals of callers are counted and not written: what little space is left is for
    /// what administrators do (rule G20). The counts are recorded when there is more space, or at the end.
    pub fn spare_the_disk(&self, sparing: bool) {
        self.0.shared.sparing.store(sparing, Ordering::Relaxed);
    }

    /// Says how to learn whether a client is registered. Refusals that concern a registered client are then counted by that
    /// client even in a flood of invented names. Until it is said, or when more names are tried than are told apart, they
    /// are counted without it. The first one stays.
    pub fn registered_by(&self, is_registered: impl Fn(&ClientId) -> bool + Send + Sync + 'static) {
        self.0.shared.folds.registered_by(Box::new(is_registered));
    }

    /// Whether records reach the disk. A node whose recorder is not healthy is not ready (design, decision 18).
    pub fn is_healthy(&self) -> bool {
        self.failing_since().is_none()
    }

    /// Since when records do not reach the disk; `None` while they do.
    pub fn failing_since(&self) -> Option<Timestamp> {
        self.0.shared.failing_since()
    }

    /// Counts, for metrics.
    pub fn stats(&self) -> Stats {
        self.0.shared.stats()
    }

    /// Records the series that are open, writes and syncs everything, ends the writer and saves the head; nothing is
    /// saved any more when this returns. What is recorded afterwards is lost; close last.
    ///
    /// # Errors
    /// When the disk, or the head's store, does not take it.
    pub async fn close(&self) -> Result<Head, AuditError> {
        let (reply, confirmation) = oneshot::channel();
        self.0.shared.queue.close(Some(reply));
        let confirmed = confirmed(confirmation).await;
        // It ends with the writer. Its store may be closed next.
        let saving = self.0.saving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(saving) = saving {
            let _ = saving.await;
        }
        let head = confirmed?;
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

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogSettings;
    use crate::testing::{FaultyDisk, T0, TestClock, TestHeads, TestRng, directory, issued, refused};
    use crate::{Filter, FoldSettings, LossCause, Report, find, list, verify};
    use countersign_model::audit::AuditAction;
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;
    use std::sync::mpsc;
    use std::time::Duration;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    struct Fixture {
        directory: tempfile::TempDir,
        disk: FaultyDisk,
        heads: Arc<TestHeads>,
        clock: Arc<TestClock>,
        recorder: Recorder,
    }

    fn start(settings: RecorderSettings) -> Fixture {
        let (directory, disk, clock) = (directory(), FaultyDisk::default(), TestClock::new());
        let heads = TestHeads::new(directory.path());
        let recorder = start_on(&disk, directory.path(), settings, &heads, &clock);
        Fixture { directory, disk, heads, clock, recorder }
    }

    fn start_on(
        disk: &FaultyDisk,
        directory: &Path,
        settings: RecorderSettings,
        heads: &Arc<TestHeads>,
        clock: &Arc<TestClock>,
    ) -> Recorder {
        let medium = Box::new(disk.clone());
        let rng = Arc::new(TestRng::new());
        let log =
            AuditLog::open_on(medium, directory, LogSettings::default(), heads.head(), T0, &*rng).unwrap();
        let heads: Arc<dyn HeadStore> = Arc::clone(heads) as _;
        let runtime = tokio::runtime::Handle::current();
        Recorder::start(log, settings, heads, Arc::clone(clock) as _, rng, &runtime).unwrap()
    }

    impl Fixture {
        fn verify(&self) -> Report {
            let report = verify(self.directory.path(), self.heads.head()).unwrap();
            assert!(report.is_intact(), "{:?}", report.findings);
            report
        }
    }

    #[tokio::test]
    async fn what_is_recorded_is_found_under_the_reference_that_the_caller_was_told() {
        let fixture = start(RecorderSettings::default());
        let told = fixture.recorder.record(refused(T0, SOURCE, Some("acme-pay"))).reference;
        fixture.recorder.flush().await.unwrap();
        let records = find(fixture.directory.path(), told).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].event.facts.source, Some(SOURCE));
        assert!(fixture.recorder.is_healthy());
    }

    #[tokio::test]
    async fn since_when_nothing_is_written_is_the_first_failure_of_all() {
        let fixture = start(RecorderSettings::default());
        fixture.disk.set(|faults| faults.space = Some(0));
        for _ in 0..3 {
            fixture.recorder.record(issued(T0));
            fixture.recorder.flush().await.unwrap_err();
            assert_eq!(fixture.recorder.failing_since(), Some(T0));
            fixture.clock.advance_s(60);
        }
        fixture.disk.set(|faults| faults.space = None);
        fixture.recorder.flush().await.unwrap();
        assert_eq!(fixture.recorder.failing_since(), None);
    }

    #[tokio::test]
    async fn rule_g20_on_a_disk_with_little_space_refusals_are_counted_and_administration_is_written() {
        let fixture = start(RecorderSettings::default());
        fixture.recorder.spare_the_disk(true);
        let told: Vec<_> = (0..50).map(|_| fixture.recorder.record(refused(T0, SOURCE, None))).collect();
        assert!(
            told.iter().skip(20).all(|recorded| recorded.folded),
            "the operational log is folded as ever"
        );
        fixture.recorder.append_durably(vec![issued(T0)]).await.unwrap();
        fixture.clock.advance_s(10);
        fixture.recorder.flush().await.unwrap();
        let report = fixture.verify();
        assert_eq!((report.records, report.lost), (1, 0), "{report:?}");
        assert_eq!(fixture.recorder.stats().lost, 50);

        fixture.recorder.spare_the_disk(false);
        fixture.recorder.flush().await.unwrap();
        let report = fixture.verify();
        assert_eq!((report.records, report.lost), (2, 50), "{report:?}");
        let records = list(fixture.directory.path(), &Filter::default(), 1).unwrap();
        let lost = records[0].lost.as_ref().unwrap();
        assert_eq!((lost.count, lost.cause), (50, LossCause::SpaceLow));
    }

    #[tokio::test]
    async fn a_hundred_thousand_refusals_leave_a_small_log_that_counts_all_of_them() {
        let fixture = start(RecorderSettings::default());
        let mut told = std::collections::HashSet::new();
        for _ in 0..100_000 {
            told.insert(fixture.recorder.record(refused(T0, SOURCE, None)).reference);
        }
        // Within the series the reference that callers were told is in the log already.
        fixture.recorder.flush().await.unwrap();
        assert_eq!(told.len(), 20);
        for reference in &told {
            assert_eq!(find(fixture.directory.path(), *reference).unwrap().len(), 1);
        }
        fixture.clock.advance_s(10);
        fixture.recorder.flush().await.unwrap();
        let report = fixture.verify();
        assert_eq!((report.records, report.events, report.lost), (21, 100_000, 0));
        let records = list(fixture.directory.path(), &Filter::default(), 1).unwrap();
        assert_eq!(records[0].folded.as_ref().unwrap().count, 99_980);
        assert!(told.contains(&records[0].event.reference), "the count bears the reference of its series");
        assert_eq!(find(fixture.directory.path(), records[0].event.reference).unwrap().len(), 2);
        assert_eq!(fixture.recorder.stats().folded, 99_980);
    }

    #[tokio::test]
    async fn rule_g20_what_is_dear_to_find_out_is_found_out_for_what_is_recorded_alone() {
        let fixture = start(RecorderSettings::default());
        let mut found_out = 0;
        for _ in 0..1000 {
            fixture.recorder.record_completed(refused(T0, SOURCE, None), |facts| {
                found_out += 1;
                facts.client = Some("acme-pay".parse().unwrap());
            });
        }
        assert_eq!(found_out, 20);
        fixture.recorder.close().await.unwrap();
        let filter = Filter { client: Some("acme-pay".parse().unwrap()), ..Filter::default() };
        assert_eq!(list(fixture.directory.path(), &filter, 100).unwrap().len(), 20);
        assert_eq!(fixture.verify().events, 1000, "the rest are one series");
    }

    #[tokio::test]
    async fn refusals_from_many_threads_are_counted_exactly() {
        let fixture = start(RecorderSettings::default());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let recorder = fixture.recorder.clone();
                scope.spawn(move || {
                    for i in 0..10_000_u32 {
                        let source = IpAddr::from([198, 51, thread, (i % 256) as u8]);
                        recorder.record(refused(T0, source, Some(&format!("client-{}", i % 50))));
                    }
                });
            }
        });
        fixture.recorder.close().await.unwrap();
        let report = fixture.verify();
        assert_eq!(report.events + report.lost, 40_000);
        assert_eq!(report.lost, fixture.recorder.stats().lost);
        assert!(report.records < 2_000, "{}", report.records);
    }

    #[tokio::test]
    async fn a_durable_append_is_on_disk_before_it_returns_and_never_twice() {
        let fixture = start(RecorderSettings::default());
        let events: Vec<_> = (0..3).map(|_| issued(T0)).collect();
        let (one, other) = (fixture.recorder.clone(), fixture.recorder.clone());
        let both = tokio::join!(one.append_durably(events.clone()), other.append_durably(events.clone()));
        let head = both.0.unwrap();
        assert_eq!(head.sequence, 3);
        assert_eq!(both.1.unwrap(), head);
        assert!(verify(fixture.directory.path(), Some(head)).unwrap().is_intact());
        // The caller did not hear of it: its outbox rows are still there, and it calls again.
        assert_eq!(fixture.recorder.append_durably(events.clone()).await.unwrap(), head);
        fixture.recorder.close().await.unwrap();
        assert!(matches!(fixture.recorder.append_durably(events.clone()).await, Err(AuditError::Closed)));
        let Fixture { directory, disk, heads, clock, .. } = &fixture;
        let again = start_on(disk, directory.path(), RecorderSettings::default(), heads, clock);
        assert_eq!(again.append_durably(events).await.unwrap(), head);
        assert_eq!(fixture.verify().records, 3);
    }

    #[tokio::test]
    async fn a_head_is_saved_only_after_its_record_is_on_disk() {
        let fixture = start(RecorderSettings {
            gather: Duration::ZERO,
            head_interval: Duration::ZERO,
            fold: FoldSettings { issued_per_client_per_s: 0, ..FoldSettings::default() },
            ..Default::default()
        });
        for _ in 0..200 {
            fixture.recorder.record(issued(T0));
            tokio::task::yield_now().await;
        }
        let head = fixture.recorder.close().await.unwrap();
        assert_eq!(fixture.heads.head(), Some(head));
        assert_eq!(head.sequence, 200);
        assert_eq!(fixture.heads.early.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_full_queue_counts_and_the_log_says_so() {
        let fixture = start(RecorderSettings { queue: 8, ..RecorderSettings::default() });
        let ((entered, is_entered), (leave, may_leave)) = (mpsc::channel(), mpsc::channel());
        fixture.disk.set(|faults| faults.gate = Some((entered, may_leave)));
        let first = tokio::spawn({
            let recorder = fixture.recorder.clone();
            async move { recorder.append_durably(vec![issued(T0)]).await }
        });
        tokio::task::spawn_blocking(move || is_entered.recv().unwrap()).await.unwrap();
        for _ in 0..13 {
            fixture.recorder.record(issued(T0)); // the writer waits for the disk, we do not wait for the writer
        }
        assert_eq!(fixture.recorder.stats().lost, 5);
        leave.send(()).unwrap();
        first.await.unwrap().unwrap();
        fixture.recorder.flush().await.unwrap();
        let report = fixture.verify();
        assert_eq!((report.records, report.lost), (10, 5));
        let filter = Filter { action: Some(AuditAction::LogRepaired), ..Filter::default() };
        let lost = list(fixture.directory.path(), &filter, 9).unwrap().remove(0).lost.unwrap();
        assert_eq!((lost.count, lost.cause), (5, LossCause::QueueFull));
        assert_eq!((lost.action, lost.reason), (Some(AuditAction::TokenIssued), None));
    }

    #[tokio::test]
    async fn a_full_disk_is_said_counted_and_overcome() {
        let fixture = start(RecorderSettings { kept_while_disk_fails: 10, ..RecorderSettings::default() });
        fixture.recorder.append_durably(vec![issued(T0)]).await.unwrap();
        fixture.disk.set(|faults| faults.space = Some(100));
        for _ in 0..25 {
            fixture.recorder.record(issued(T0));
        }
        for _ in 0..30 {
            fixture.recorder.record(refused(T0, SOURCE, None));
        }
        let error = fixture.recorder.flush().await.unwrap_err();
        assert!(matches!(error, AuditError::NotConfirmed { .. }), "{error}");
        assert!(!fixture.recorder.is_healthy(), "the node is not ready");
        let durable = issued(T0);
        fixture.recorder.append_durably(vec![durable.clone()]).await.unwrap_err();
        fixture.clock.advance_s(20); // the series falls due while the disk is full
        fixture.recorder.flush().await.unwrap_err();
        assert_eq!(fixture.verify().records, 1);

        fixture.disk.set(|faults| faults.space = None);
        fixture.recorder.append_durably(vec![durable]).await.unwrap();
        assert!(fixture.recorder.is_healthy());
        let report = fixture.verify();
        assert_eq!(report.events - report.repairs.len() as u64 + report.lost, 1 + 25 + 30 + 1, "{report:?}");
        assert_eq!(report.records - report.repairs.len() as u64, 1 + 10 + 1, "the oldest are kept");
        assert_eq!(report.lost, fixture.recorder.stats().lost);
    }

    #[tokio::test]
    async fn counts_that_could_not_be_written_are_not_lost_themselves() {
        let fixture = start(RecorderSettings { kept_while_disk_fails: 0, ..RecorderSettings::default() });
        fixture.disk.set(|faults| faults.space = Some(0));
        for _ in 0..3 {
            fixture.recorder.record(issued(T0));
        }
        fixture.recorder.flush().await.unwrap_err();
        // Room for the event's own line, not for the count's.
        fixture.disk.set(|faults| faults.space = Some(310));
        fixture.recorder.record(issued(T0));
        fixture.recorder.flush().await.unwrap_err();
        assert_eq!(fixture.verify().records, 1);
        fixture.disk.set(|faults| faults.space = None);
        fixture.recorder.flush().await.unwrap();
        let report = fixture.verify();
        assert_eq!((report.records, report.repairs.len(), report.lost), (2, 1, 3), "{report:?}");
    }

    #[tokio::test]
    async fn before_answer_waits_for_the_disk_and_tells_when_it_failed() {
        let fixture = start(RecorderSettings { before_answer: true, ..RecorderSettings::default() });
        let Recorded { reference, .. } = fixture.recorder.record_before_answer(issued(T0)).await.unwrap();
        assert_eq!(find(fixture.directory.path(), reference).unwrap().len(), 1);
        fixture.disk.set(|faults| faults.space = Some(0));
        let event = issued(T0);
        let error = fixture.recorder.record_before_answer(event.clone()).await.unwrap_err();
        assert_eq!(error.recorded.reference, event.reference);

        let by_default = start(RecorderSettings::default());
        by_default.disk.set(|faults| faults.space = Some(0));
        by_default.recorder.record_before_answer(issued(T0)).await.unwrap();
    }

    #[tokio::test]
    async fn before_answer_is_no_promise_for_what_a_full_queue_dropped() {
        let settings = RecorderSettings { queue: 4, before_answer: true, ..RecorderSettings::default() };
        let fixture = start(settings);
        let ((entered, is_entered), (leave, may_leave)) = (mpsc::channel(), mpsc::channel());
        fixture.disk.set(|faults| faults.gate = Some((entered, may_leave)));
        let first = tokio::spawn({
            let recorder = fixture.recorder.clone();
            async move { recorder.append_durably(vec![issued(T0)]).await }
        });
        tokio::task::spawn_blocking(move || is_entered.recv().unwrap()).await.unwrap();
        for _ in 0..4 {
            fixture.recorder.record(issued(T0));
        }
        let event = issued(T0);
        let reference = event.reference;
        let answer = tokio::join!(fixture.recorder.record_before_answer(event), async {
            leave.send(()).unwrap();
        });
        assert_eq!(answer.0.unwrap_err().recorded.reference, reference);
        first.await.unwrap().unwrap();
        fixture.recorder.flush().await.unwrap();
        assert!(find(fixture.directory.path(), reference).unwrap().is_empty());
        assert_eq!(fixture.verify().lost, 1);
    }

    #[tokio::test]
    async fn a_writer_that_panics_leaves_nobody_waiting() {
        let fixture = start(RecorderSettings::default());
        fixture.disk.set(|faults| faults.sync_panics = true);
        fixture.recorder.record(issued(T0));
        let all = async {
            let waiting =
                tokio::join!(fixture.recorder.flush(), fixture.recorder.append_durably(vec![issued(T0)]));
            assert!(matches!(waiting, (Err(AuditError::Closed), Err(AuditError::Closed))), "{waiting:?}");
            assert!(matches!(fixture.recorder.flush().await, Err(AuditError::Closed)));
            assert!(matches!(fixture.recorder.close().await, Err(AuditError::Closed)));
        };
        tokio::time::timeout(Duration::from_secs(20), all)
            .await
            .expect("nobody waits for a writer that is gone");
        assert!(!fixture.recorder.is_healthy());
        fixture.recorder.record(issued(T0));
        assert!(fixture.recorder.stats().lost > 0);
    }

    #[tokio::test]
    async fn closing_records_the_open_series_and_frees_the_directory() {
        let fixture = start(RecorderSettings::default());
        for _ in 0..100 {
            fixture.recorder.record(refused(T0, SOURCE, None));
        }
        let head = fixture.recorder.close().await.unwrap();
        assert_eq!(fixture.heads.head(), Some(head));
        let report = fixture.verify();
        assert_eq!((report.records, report.events), (21, 100));
        assert!(!fixture.recorder.is_healthy(), "nothing is recorded any more");
        let Fixture { directory, disk, heads, clock, .. } = &fixture;
        let again = start_on(disk, directory.path(), RecorderSettings::default(), heads, clock);
        again.record(issued(T0));
        assert_eq!(again.flush().await.unwrap().sequence, 22);
    }
}
