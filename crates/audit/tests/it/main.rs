//! The audit log from outside: what a court, an operator and an attacker can do with the files.

#![expect(clippy::unwrap_used, reason = "tests")]

mod reading;
mod tampering;

use countersign_audit::{AuditLog, Entry, Head, LogSettings};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ReasonCode, Reference, Rng, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const T0: Timestamp = Timestamp::from_unix_s(1_800_000_000);

/// Counts: references need to differ, not to be unpredictable.
struct Counting(AtomicU64);

impl Rng for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        bytes.fill(0);
        let length = bytes.len().min(8);
        bytes[..length].copy_from_slice(&count[8 - length..]);
    }
}

static RNG: Counting = Counting(AtomicU64::new(1));

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn event(at: Timestamp, client: &str) -> AuditEvent {
    let client: countersign_model::ClientId = client.parse().unwrap();
    let facts = Facts {
        client: Some(client.clone()),
        source: Some([192, 0, 2, 7].into()),
        route: Some("data".into()),
        method: Some("GET".into()),
        path: Some("/data/accounts".into()),
        detail: Some("\"quotes\", \\, a line end\n, \u{1b}[2J, \u{7f}, \u{9b}31m, \u{202e}, ü and 🔑".into()),
        ..Facts::default()
    };
    let (reference, reason) = (Reference::generate(at, &RNG), ReasonCode::TokenCertificateMismatch);
    AuditEvent::refused(reference, at, AuditAction::RequestRefused, reason, Actor::Client(client), facts)
}

/// A log with `count` records, one a second, in segments of `segment_bytes`.
fn log(directory: &Path, count: i64, segment_bytes: u64) -> (Head, Vec<Reference>) {
    let settings = LogSettings { max_segment_bytes: segment_bytes, max_segment_age: Duration::MAX };
    let mut log = AuditLog::open(directory, settings, None, T0, &RNG).unwrap();
    let mut references = Vec::new();
    for second in 0..count {
        let at = T0.plus_s(second);
        let event = event(at, if second % 3 == 0 { "other-bank" } else { "acme-pay" });
        references.push(event.reference);
        log.append(&mut [Entry::from(event)].into(), at).unwrap();
    }
    (log.head(), references)
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    segments.sort();
    segments
}
