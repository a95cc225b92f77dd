//! A database as large as a big installation's, for `bench/run`: what a request costs must not depend on it (design,
//! section 7). Written through the store, as the product writes, into the database of an installation.

use countersign_model::certificate::{CertificateRecord, IssuerRole, RevocationReason};
use countersign_model::{Clock, IssuerId, Thumbprint, Timestamp};
use countersign_storage::conformance::fixtures::{client, credential_id, matcher, pending, serial};
use countersign_storage::stores::{CertificateStore, Commit};
use countersign_storage::{Transaction, Write};
use countersign_storage_sql::{Options, SqliteStore};
use std::path::Path;
use std::sync::Arc;

const CLIENTS: u64 = 100_000;
const CERTIFICATES: u64 = 1_000_000;
/// One in ten is revoked: those that were issued first.
const REVOKED: u64 = 100_000;
/// So many writes in one transaction.
const AT_ONCE: usize = 2000;
/// A client certificate of ours has some 650 octets.
const DER_BYTES: usize = 650;

struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Timestamp::from_unix_s(i64::try_from(since.as_secs()).unwrap())
    }
}

#[tokio::test]
#[ignore = "is run by bench/run on the database of a directory that it made"]
#[expect(clippy::disallowed_methods, reason = "the only way to hand something to a test in another process")]
async fn a_large_installation() {
    let database = std::env::var("COUNTERSIGN_POPULATE").expect("COUNTERSIGN_POPULATE names a database");
    let store = SqliteStore::open(Path::new(&database), Options::new(Arc::new(Now))).await.unwrap();
    let now = Now.now();
    let issuers = store.issuers().await.unwrap();
    let issuer = &issuers.iter().find(|issuer| issuer.role == IssuerRole::Clients).unwrap().id;

    let clients = (0..CLIENTS).flat_map(|n| {
        let (name, uri) = (format!("client-{n}"), format!("https://id.example/clients/client-{n}"));
        let mut credential = matcher(&name, 0, &uri);
        credential.id = credential_id(n + 1_000_000);
        credential.not_before = Timestamp::default();
        [Write::InsertClient(client(&name)), Write::InsertCredential(credential)]
    });
    commit(&store, clients).await;
    let certificates = (0..CERTIFICATES).flat_map(|n| {
        let der = [&n.to_be_bytes()[..], &[0x5a; DER_BYTES]].concat();
        let thumbprint = Thumbprint(std::array::from_fn(|i| n.to_be_bytes()[i % 8] ^ i as u8));
        let (issuer, serial) = (issuer.clone(), serial(n));
        [
            Write::InsertPendingCertificate(row(n, &issuer, now)),
            Write::MarkIssued { issuer, serial, der, thumbprint },
        ]
    });
    commit(&store, certificates).await;
    let revocations = (0..REVOKED).map(|n| Write::RevokeCertificate {
        issuer: issuer.clone(),
        serial: serial(n),
        at: now,
        reason: RevocationReason::Superseded,
    });
    commit(&store, revocations).await;
    store.close().await.unwrap();
}

fn row(n: u64, issuer: &IssuerId, now: Timestamp) -> CertificateRecord {
    let name = format!("client-{}", n % CLIENTS);
    CertificateRecord {
        issuer: issuer.clone(),
        client: Some(name.parse().unwrap()),
        subject: format!("CN={name}"),
        names: vec![format!("uri:https://id.example/clients/{name}")],
        not_before: now,
        not_after: now.plus_days(30),
        created_at: now,
        ..pending(n)
    }
}

async fn commit(store: &SqliteStore, writes: impl Iterator<Item = Write>) {
    let mut writes = writes.peekable();
    while writes.peek().is_some() {
        let transaction = Transaction { writes: writes.by_ref().take(AT_ONCE).collect(), events: Vec::new() };
        store.commit(transaction).await.unwrap();
    }
}
