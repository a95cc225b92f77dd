//! All of a transaction, or nothing.

use super::commit;
use super::fixtures::{NOW, client, client_id, event, issuer_id, pending, secret, serial};
use crate::stores::CertificateFilter;
use crate::{StorageError, Store, Transaction, Write};
use countersign_model::client::ClientState;
use std::sync::Arc;
use tokio::task::JoinSet;

fn disable(name: &str) -> Write {
    Write::SetClientState { client: client_id(name), state: ClientState::Disabled, at: NOW }
}

/// No write, no event, no change, whichever write fails.
pub async fn a_failed_transaction_leaves_nothing(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertClient(client("there"))).await.unwrap();
    let before = store.last_change().await;
    let failing = [
        (Write::InsertClient(client("there")), StorageError::Conflict("client")),
        (disable("nobody"), StorageError::Missing("client")),
        (Write::InsertCredential(secret("nobody", 1)), StorageError::Missing("client")),
    ];
    for (write, error) in failing {
        let transaction = Transaction::new()
            .write(Write::InsertClient(client("new")))
            .write(Write::InsertPendingCertificate(pending(1)))
            .write(disable("there"))
            .write(write)
            .record(event(1));
        assert_eq!(store.commit(transaction).await, Err(error));
        assert_eq!(store.client(&client_id("new")).await, Ok(None));
        assert_eq!(store.client(&client_id("there")).await, Ok(Some((client("there"), vec![]))));
        assert_eq!(store.certificate(&issuer_id("clients"), &serial(1)).await, Ok(None));
        assert_eq!(store.outbox(10).await, Ok(vec![]));
        assert_eq!(store.last_change().await, before);
        assert_eq!(store.changes_after(0, 10).await.unwrap().len(), 1);
    }
}

/// In the order in which they stand.
pub async fn a_write_sees_the_ones_before_it(store: Arc<dyn Store>) {
    let in_order = Transaction::new()
        .write(Write::InsertClient(client("a")))
        .write(Write::InsertCredential(secret("a", 1)))
        .write(disable("a"));
    store.commit(in_order).await.unwrap();
    let (read, credentials) = store.client(&client_id("a")).await.unwrap().unwrap();
    assert_eq!((read.epoch, credentials.len()), (1, 1));

    let out_of_order = Transaction::new()
        .write(Write::InsertCredential(secret("b", 2)))
        .write(Write::InsertClient(client("b")));
    assert_eq!(store.commit(out_of_order).await, Err(StorageError::Missing("client")));
}

/// Concurrent ones, which a backend may commit in one group.
pub async fn a_failed_transaction_does_not_disturb_the_others(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertClient(client("taken"))).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..60u64 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut transaction =
                Transaction::new().write(Write::InsertPendingCertificate(pending(n))).record(event(n));
            if n % 10 == 0 {
                transaction = transaction.write(Write::InsertClient(client("taken")));
            } else {
                transaction = transaction.write(Write::InsertClient(client(&format!("client-{n}"))));
            }
            (n, store.commit(transaction).await)
        });
    }
    while let Some(answer) = tasks.join_next().await {
        let (n, answer) = answer.unwrap();
        let row = store.certificate(&issuer_id("clients"), &serial(n)).await.unwrap();
        if n % 10 == 0 {
            assert_eq!((answer, row), (Err(StorageError::Conflict("client")), None));
            continue;
        }
        // The receipt covers the transaction: its change is in the feed at or before that sequence.
        let covered = store.changes_after(0, 100).await.unwrap().into_iter().any(|change| {
            change.sequence <= answer.clone().unwrap().sequence
                && change.subject
                    == countersign_model::change::Changed::Client(client_id(&format!("client-{n}")))
        });
        assert!(covered, "{n}");
        assert_eq!(row, Some(pending(n)));
    }
    let changes = store.changes_after(0, 100).await.unwrap();
    assert_eq!(changes.len(), 55);
    assert!(changes.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{changes:?}");
    assert_eq!(store.outbox(100).await.unwrap().len(), 54);
}

/// However many ask at once.
pub async fn rule_p1_of_many_writers_of_one_serial_one_wins(store: Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tasks.spawn(async move { commit(&*store, Write::InsertPendingCertificate(pending(1))).await });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(store.certificates(&CertificateFilter::default(), 10).await.unwrap().len(), 1);
}

/// It changes nothing.
pub async fn an_empty_transaction_is_committed(store: Arc<dyn Store>) {
    assert_eq!(store.commit(Transaction::new()).await.unwrap().sequence, 0);
    let sequence = commit(&*store, Write::InsertClient(client("a"))).await.unwrap();
    assert_eq!(store.commit(Transaction::new()).await.unwrap().sequence, sequence);
}
