//! What was acknowledged survives a power cut: the settings, and the system calls.

use crate::{add_client, open};
use std::path::Path;
use std::process::Command;

const DATABASE: &str = "COUNTERSIGN_TEST_DATABASE";

#[tokio::test]
async fn the_writer_logs_ahead_and_syncs_every_commit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("test.db")).await.unwrap();
    let settings = store.writer_settings().await.unwrap();
    assert_eq!(settings.journal_mode, "wal");
    assert_eq!(settings.synchronous, 2, "2 is FULL");
    assert!(settings.foreign_keys);
    store.close().await.unwrap();
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says what it needs")]
fn the_log_is_synced_before_the_acknowledgement() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    if !can_trace() {
        eprintln!("skipped: needs strace, and the right to use it");
        return;
    }
    let traced = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "power_loss::commits_and_says_so", "--ignored", "--nocapture"])
        .env(DATABASE, directory.path().join("test.db"))
        .output()
        .unwrap();
    assert!(traced.status.success(), "{traced:?}");
    let calls = std::fs::read_to_string(&trace).unwrap();
    check_order(&calls);
    // The check itself would notice.
    let without_sync: Vec<_> = calls.lines().filter(|line| !line.contains("sync(")).collect();
    assert!(std::panic::catch_unwind(|| check_order(&without_sync.join("\n"))).is_err());
}

/// Between "committing" and "acknowledged": the log is written, then synced, and then not written again.
fn check_order(calls: &str) {
    let lines: Vec<_> = calls.lines().collect();
    let said = |text: &str| lines.iter().position(|line| line.contains("write(1") && line.contains(text));
    let commit = &lines[said("committing").unwrap()..said("acknowledged").unwrap()];
    let log =
        |call: &str| commit.iter().rposition(|line| line.contains(call) && line.contains("test.db-wal>"));
    let written = log("pwrite64(").expect("the log is written");
    let synced = log("sync(").expect("the log is synced");
    assert!(written < synced, "{commit:#?}");
}

fn can_trace() -> bool {
    Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The traced process of the test above.
#[tokio::test]
#[ignore = "is run by the_log_is_synced_before_the_acknowledgement"]
#[expect(clippy::print_stdout, reason = "the trace shows when it was said")]
#[expect(clippy::disallowed_methods, reason = "the only way to hand something to a test in another process")]
async fn commits_and_says_so() {
    let Ok(database) = std::env::var(DATABASE) else { return };
    let store = open(Path::new(&database)).await.unwrap();
    println!("committing");
    add_client(&store, "acme-pay").await.unwrap();
    println!("acknowledged");
    store.close().await.unwrap();
}
