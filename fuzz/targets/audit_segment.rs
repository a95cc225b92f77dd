//! A segment of the audit log that somebody wrote into: reading, verifying and opening it never break.
#![no_main]

use std::cell::RefCell;

use countersign_audit::{Filter, find, list, verify};
use countersign_model::Reference;
use tempfile::TempDir;

thread_local! {
    // In memory: a disk would be the bottleneck.
    static DIRECTORY: RefCell<TempDir> = RefCell::new(TempDir::new_in("/dev/shm").expect("/dev/shm"));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    DIRECTORY.with_borrow(|directory| {
        let segment = directory.path().join("audit-00000000000000000001-1795000000000.jsonl");
        std::fs::write(segment, data).expect("writable");
        let report = verify(directory.path(), None).expect("readable");
        let shown = list(directory.path(), &Filter::default(), 100).expect("readable");
        for record in shown {
            let found = find(directory.path(), record.event.reference).expect("readable");
            // An intact log finds what it lists.
            assert!(!report.is_intact() || !found.is_empty());
        }
        let unknown: Reference = "01JZ8Q0M3T4V6X8Z0A2C4E6G8J".parse().expect("a reference");
        let _ = find(directory.path(), unknown).expect("readable");
    });
});
