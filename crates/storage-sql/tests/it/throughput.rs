//! How many certificates a second, and at what cost. Not a test of anything; run it optimised, with `TMPDIR` on the
//! disk to measure (`/dev/shm` shows the cost without one):
//! `cargo test --release -p countersign-storage-sql --test it throughput -- --ignored --nocapture`

use crate::open;
use countersign_model::{Serial, Thumbprint};
use countersign_storage::conformance::fixtures::{client, client_id, event, issuer_id, pending};
use countersign_storage::stores::Commit;
use countersign_storage::{Transaction, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For each task that issues them.
const CERTIFICATES: u64 = 500;

/// The two commits of an issuance: the row, and the certificate with its event.
async fn issue(store: &impl Commit, n: u64) {
    // Random as real ones are: an index gets them in no order.
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let octets: Vec<u8> = [(mixed | 1 << 63).to_be_bytes(), mixed.rotate_left(31).to_be_bytes()].concat();
    let serial = Serial::from_octets(&octets).unwrap();
    let mut record = pending(n);
    record.serial = serial;
    record.client = Some(client_id("acme-pay"));
    store.commit(Transaction::new().write(Write::InsertPendingCertificate(record))).await.unwrap();
    let mut thumbprint = [0; 32];
    thumbprint[..16].copy_from_slice(&octets);
    let issued = Write::MarkIssued {
        issuer: issuer_id("clients"),
        serial,
        der: vec![0x30; 700],
        thumbprint: Thumbprint(thumbprint),
    };
    store.commit(Transaction::new().write(issued).record(event(n))).await.unwrap();
}

#[tokio::test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "a measurement is printed")]
async fn certificates_a_second() {
    for concurrency in [1, 4, 16, 64] {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(open(&directory.path().join("test.db")).await.unwrap());
        store.commit(Transaction::new().write(Write::InsertClient(client("acme-pay")))).await.unwrap();
        let total = concurrency * CERTIFICATES;
        let (start, (user, system)) = (Instant::now(), cpu_time());
        let tasks = (0..concurrency).map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in task * CERTIFICATES..(task + 1) * CERTIFICATES {
                    issue(&*store, n).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let (took, (user_end, system_end)) = (start.elapsed().as_secs_f64(), cpu_time());
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / total as f64;
        println!(
            "{concurrency:>3} at once: {:>6.0} certificates/s of two commits, {:>4.0} µs user and {:>4.0} µs system each",
            total as f64 / took,
            each(user_end - user),
            each(system_end - system),
        );
        store.close().await.unwrap();
    }
}

/// User and system time of this process (proc(5): fields 14 and 15 of stat, in ticks of 10 ms).
fn cpu_time() -> (Duration, Duration) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = |field| after_name.split_whitespace().nth(field).unwrap().parse::<u64>().unwrap();
    (Duration::from_millis(ticks(11) * 10), Duration::from_millis(ticks(12) * 10))
}
