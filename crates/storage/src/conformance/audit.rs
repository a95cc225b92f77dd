//! The outbox and the heads of the audit chains (design, decision 18).

use super::commit;
use super::fixtures::{client, event};
use crate::transaction::AuditHead;
use crate::{Store, Transaction, Write};
use countersign_model::audit::AuditEvent;
use std::sync::Arc;

async fn waiting(store: &dyn Store, limit: u32) -> (Vec<u64>, Vec<AuditEvent>) {
    store.outbox(limit).await.unwrap().into_iter().unzip()
}

/// With the writes that they tell of, in one transaction.
pub async fn events_wait_in_the_outbox_in_order_until_settled(store: Arc<dyn Store>) {
    assert_eq!(store.outbox(10).await, Ok(vec![]));
    let first = Transaction::new().write(Write::InsertClient(client("a"))).record(event(3)).record(event(1));
    store.commit(first).await.unwrap();
    store.commit(Transaction::new().record(event(2))).await.unwrap();

    let (rows, events) = waiting(&*store, 10).await;
    assert_eq!(events, [3, 1, 2].map(event));
    assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "{rows:?}");
    assert_eq!(waiting(&*store, 2).await.1, [3, 1].map(event));

    // Idempotent, and no row after `through` goes.
    for _ in 0..2 {
        commit(&*store, Write::SettleOutbox { through: rows[1] }).await.unwrap();
        assert_eq!(waiting(&*store, 10).await, (vec![rows[2]], vec![event(2)]));
    }
}

/// An outbox that was empty goes on counting: a late `SettleOutbox` never takes a newer event.
pub async fn outbox_rows_are_not_used_twice(store: Arc<dyn Store>) {
    store.commit(Transaction::new().record(event(1))).await.unwrap();
    let settled = waiting(&*store, 1).await.0[0];
    commit(&*store, Write::SettleOutbox { through: settled }).await.unwrap();
    store.commit(Transaction::new().record(event(2))).await.unwrap();
    commit(&*store, Write::SettleOutbox { through: settled }).await.unwrap();
    assert_eq!(waiting(&*store, 10).await.1, [event(2)]);
}

/// The last one saved.
pub async fn the_head_of_each_chain_is_kept(store: Arc<dyn Store>) {
    let head = |chain: &str, sequence| AuditHead { chain: chain.to_owned(), sequence, hash: [0xab; 32] };
    assert_eq!(store.audit_head("node-1").await, Ok(None));
    // The last one was overtaken by a later head.
    for saved in [head("node-1", 1), head("node-1", 20), head("node-2", 3), head("node-1", 19)] {
        commit(&*store, Write::SaveAuditHead(saved)).await.unwrap();
    }
    assert_eq!(store.audit_head("node-1").await, Ok(Some(head("node-1", 20))));
    assert_eq!(store.audit_head("node-2").await, Ok(Some(head("node-2", 3))));
}

/// Also behind those of a log that knows more than the database.
pub async fn rule_r7_events_are_counted_and_never_numbered_twice(store: Arc<dyn Store>) {
    assert_eq!(store.last_event().await, Ok(0));
    store.commit(Transaction::new().record(event(1)).record(event(2))).await.unwrap();
    assert_eq!(store.last_event().await, Ok(2));
    let settle = Write::SettleOutbox { through: 2 };
    let replay = Transaction::new().write(settle).write(Write::NumberEventsAfter(9)).record(event(3));
    store.commit(replay).await.unwrap();
    assert_eq!(store.last_event().await, Ok(10));
    assert_eq!(store.outbox(10).await.unwrap().iter().map(|(row, _)| *row).collect::<Vec<_>>(), [10]);
    store.commit(Transaction::new().write(Write::NumberEventsAfter(4))).await.unwrap();
    assert_eq!(store.last_event().await, Ok(10), "it never goes back");
}
