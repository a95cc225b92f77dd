//! What the tests of this crate share: a clock and a randomness of their own, events, and a disk that fails on command.

use crate::heads::{HeadStore, HeadStoreError};
use crate::medium::{Disk, Medium, SegmentFile};
use crate::record::{Entry, Head, Record};
use crate::segment::segments;
use crate::{AuditLog, LogSettings};
use async_trait::async_trait;
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{Clock, ReasonCode, Reference, Rng, Timestamp};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{fs, io};

pub(crate) const T0: Timestamp = Timestamp::from_unix_s(1_800_000_000);

/// In memory where there is such a place: the tests sync thousands of times.
pub(crate) fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}

/// A clock that stands still until it is moved.
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(T0.unix_ms())))
    }

    pub(crate) fn advance_s(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
    }
}

/// SplitMix64: the same numbers in every run.
pub(crate) struct TestRng(AtomicU64);

impl TestRng {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(1))
    }
}

impl Rng for TestRng {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

static RNG: TestRng = TestRng::new();

pub(crate) fn rng() -> &'static dyn Rng {
    &RNG
}

/// A token that was issued.
pub(crate) fn issued(at: Timestamp) -> AuditEvent {
    let client = "acme-pay".parse().unwrap();
    let facts = Facts { client: Some(client), scope: Some("data:read".into()), ..Facts::default() };
    let reference = Reference::generate(at, rng());
    AuditEvent::done(
        reference,
        at,
        AuditAction::TokenIssued,
        Actor::Client("acme-pay".parse().unwrap()),
        facts,
    )
}

/// A request that was refused.
pub(crate) fn refused(at: Timestamp, source: IpAddr, client: Option<&str>) -> AuditEvent {
    let facts = Facts {
        source: Some(source),
        client: client.map(|client| client.parse().unwrap()),
        path: Some("/data/accounts".into()),
        ..Facts::default()
    };
    let (reference, reason) = (Reference::generate(at, rng()), ReasonCode::TokenMissing);
    AuditEvent::refused(reference, at, AuditAction::RequestRefused, reason, Actor::Anonymous, facts)
}

/// Segments of a few records each.
pub(crate) const SMALL: LogSettings =
    LogSettings { max_segment_bytes: 1000, max_segment_age: Duration::from_secs(24 * 60 * 60) };

/// A log on the real disk.
pub(crate) fn open(directory: &Path, stored: Option<Head>) -> AuditLog {
    AuditLog::open(directory, LogSettings::default(), stored, T0, rng()).unwrap()
}

/// So many of them, to be appended.
pub(crate) fn events(count: usize) -> VecDeque<Entry> {
    (0..count).map(|_| issued(T0).into()).collect()
}

/// Appends so many.
pub(crate) fn append(log: &mut AuditLog, count: usize) {
    log.append(&mut events(count), T0).unwrap();
}

/// The file of a log that has one.
pub(crate) fn only_segment(directory: &Path) -> PathBuf {
    let segments = segments(directory).unwrap();
    assert_eq!(segments.len(), 1);
    segments[0].path.clone()
}

/// The newest record.
pub(crate) fn last_record(directory: &Path) -> Record {
    crate::list(directory, &crate::Filter::default(), 1).unwrap().remove(0)
}

/// What repairs have put aside.
pub(crate) fn torn_files(directory: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.to_string_lossy().contains("torn-")).collect()
}

/// What goes wrong on a [`FaultyDisk`]; shared with the test.
#[derive(Default)]
pub(crate) struct Faults {
    /// So many octets can still be written.
    pub(crate) space: Option<u64>,
    pub(crate) sync_fails: bool,
    pub(crate) sync_panics: bool,
    pub(crate) truncate_fails: bool,
    /// Told when a sync begins, which then waits for the other one.
    pub(crate) gate: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>,
}

/// The real disk, but for what the test wants to go wrong.
#[derive(Clone, Default)]
pub(crate) struct FaultyDisk(pub(crate) Arc<Mutex<Faults>>);

struct FaultyFile(Box<dyn SegmentFile>, FaultyDisk);

impl FaultyDisk {
    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl Medium for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        if self.0.lock().unwrap().space == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Box::new(FaultyFile(Disk.create(path)?, self.clone())))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(FaultyFile(Disk.open(path)?, self.clone())))
    }
}

impl SegmentFile for FaultyFile {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut faults = self.1.0.lock().unwrap();
        let Some(space) = &mut faults.space else { return self.0.append(octets) };
        let fits = octets.len().min(usize::try_from(*space).unwrap());
        *space -= fits as u64;
        self.0.append(&octets[..fits])?;
        if fits < octets.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let gate = self.1.0.lock().unwrap().gate.take();
        if let Some((entered, leave)) = gate {
            entered.send(()).unwrap();
            leave.recv().unwrap();
        }
        let panics = self.1.0.lock().unwrap().sync_panics;
        assert!(!panics, "the disk makes the writer panic");
        if self.1.0.lock().unwrap().sync_fails { Err(io::ErrorKind::Other.into()) } else { self.0.sync() }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if self.1.0.lock().unwrap().truncate_fails {
            Err(io::ErrorKind::Other.into())
        } else {
            self.0.truncate(length)
        }
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        self.0.identity()
    }
}

/// A head's store in memory. Looks into the log at every save: the head must be on disk already.
pub(crate) struct TestHeads {
    pub(crate) saved: Mutex<Option<Head>>,
    pub(crate) directory: std::path::PathBuf,
    pub(crate) early: AtomicU64,
}

impl TestHeads {
    pub(crate) fn new(directory: &Path) -> Arc<Self> {
        let directory = directory.to_owned();
        Arc::new(Self { saved: Mutex::default(), directory, early: AtomicU64::new(0) })
    }

    pub(crate) fn head(&self) -> Option<Head> {
        *self.saved.lock().unwrap()
    }
}

#[async_trait]
impl HeadStore for TestHeads {
    async fn save_head(&self, head: Head) -> Result<(), HeadStoreError> {
        if !crate::verify(&self.directory, Some(head))?.is_intact() {
            self.early.fetch_add(1, Ordering::SeqCst);
        }
        let mut saved = self.saved.lock().unwrap();
        if saved.is_none_or(|saved| saved.sequence < head.sequence) {
            *saved = Some(head);
        }
        Ok(())
    }
}
