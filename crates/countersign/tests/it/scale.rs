//! What an acknowledgement costs in a large installation.

use countersign_model::certificate::{CertificateRecord, CertificateState, RevocationReason};
use countersign_model::{Clock, IssuerId, Serial};
use countersign_storage::stores::CertificateFilter;
use countersign_storage::{Transaction, Write};
use countersign_testkit::TestServer;
use http::Method;
use serde_json::json;
use std::time::Instant;

const REVOKED: u32 = 100_000;
const AT_ONCE: u32 = 2000;
/// How many operators revoke at once.
const CALLERS: usize = 30;

/// The `n`th serial number of the crowd.
fn serial(n: u32) -> Serial {
    Serial::from_octets(&[&[0x7f; 12], n.to_be_bytes().as_slice()].concat()).unwrap()
}

/// Rows like those of `acme-pay`: revoked ones, and behind them `valid` ones that are pending.
async fn fill(server: &TestServer, valid: u32) {
    let issuer: IssuerId = "clients".parse().unwrap();
    let store = &server.server.context().store;
    let of_acme = CertificateFilter { client: Some("acme-pay".parse().unwrap()), ..Default::default() };
    let row = store.certificates(&of_acme, 1).await.unwrap().remove(0);
    let (at, reason) = (server.clock.now(), RevocationReason::Superseded);
    let mut next = 0;
    while next < REVOKED + valid {
        let mut transaction = Transaction::new();
        for n in next..(next + AT_ONCE).min(REVOKED + valid) {
            let (serial, state, issuer) = (serial(n), CertificateState::Pending, issuer.clone());
            let row = CertificateRecord { serial, state, der: None, thumbprint: None, ..row.clone() };
            transaction.writes.push(Write::InsertPendingCertificate(row));
            if n < REVOKED {
                transaction.writes.push(Write::RevokeCertificate { issuer, serial, at, reason });
            }
        }
        store.commit(transaction).await.unwrap();
        next += AT_ONCE;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test -p countersign --test it --release acknowledgements -- --ignored --nocapture"]
#[expect(clippy::print_stdout, reason = "the result")]
async fn acknowledgements_among_100_000_revoked() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    server.certificate("acme-pay").await;
    fill(&server, 100).await;
    let revoke = async |n: u32| {
        let path = format!("/admin/v1/certificates/{}/revoke", serial(REVOKED + n));
        let begun = Instant::now();
        let answer = server.administer(Method::POST, &path, &json!({ "reason": "keyCompromise" })).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        begun.elapsed()
    };
    println!("the first one, which reads the ledger: {:?}", revoke(0).await);
    for n in 1..6 {
        println!("alone: {:?}", revoke(n).await);
    }
    let mut times = futures_util::future::join_all((0..CALLERS as u32).map(|n| revoke(10 + n))).await;
    times.sort_unstable();
    println!("{CALLERS} at once: median {:?}, worst {:?}", times[CALLERS / 2], times[CALLERS - 1]);
    println!("again: {:?}", revoke(0).await);
}
