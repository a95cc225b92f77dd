//! Between the database and the audit log: administrative events wait in the outbox of their transaction until they are
//! appended, and the log's head is kept where a cut tail shows (design, decision 18).

use crate::audit_words;
use crate::words::error_chain;
use async_trait::async_trait;
use countersign_api::context::Outbox;
use countersign_audit::{Head, HeadStore, HeadStoreError, Recorder};
use countersign_model::audit::{AuditAction, AuditEvent};
use countersign_storage::transaction::AuditHead;
use countersign_storage::{Store, Transaction, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// The audit chain of this node. Nodes of one installation will have names of their own.
pub(super) const AUDIT_CHAIN: &str = "node";

/// How many events are appended at once.
const BATCH: u32 = 500;

/// The outbox is looked at this often even when nobody signals.
const POLL: Duration = Duration::from_secs(1);

/// Keeps heads in storage.
pub(super) struct StoredHeads {
    pub(super) store: Arc<dyn Store>,
    pub(super) chain: String,
}

#[async_trait]
impl HeadStore for StoredHeads {
    async fn save_head(&self, head: Head) -> Result<(), HeadStoreError> {
        self.store.commit(Transaction::new().write(save(&self.chain, head))).await?;
        Ok(())
    }
}

/// Carries events from the outbox to the log.
pub(super) struct Delivery {
    pub(super) store: Arc<dyn Store>,
    pub(super) recorder: Recorder,
    pub(super) chain: String,
    /// Held while events are carried: in their order, each once.
    pub(super) carrying: Mutex<()>,
}

impl Delivery {
    /// Appends what waits in the outbox, again and again, until `stop`; then once more, so that an orderly stop leaves
    /// nothing behind.
    pub(super) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut signal = self.store.subscribe();
        loop {
            let stopping = *stop.borrow_and_update();
            if let Err(error) = self.deliver().await {
                tracing::error!(error, "the audit outbox is not delivered");
            }
            if stopping {
                return;
            }
            tokio::select! {
                _ = signal.changed() => {}
                () = tokio::time::sleep(POLL) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Appends, syncs, then deletes the rows and saves the head, in this order: a crash in between appends nothing
    /// twice, because the log knows the references of its last records.
    async fn deliver_batch(&self) -> Result<bool, String> {
        let Self { store, recorder, chain, .. } = self;
        let waiting = store.outbox(BATCH).await.map_err(|error| error_chain(&error))?;
        let Some((through, _)) = waiting.last() else { return Ok(false) };
        let through = *through;
        let events: Vec<AuditEvent> = waiting
            .into_iter()
            .map(|(number, event)| AuditEvent { committed: Some(number), ..event })
            .collect();
        let head = recorder.append_durably(events.clone()).await.map_err(|error| error_chain(&error))?;
        let settled = Transaction::new().write(Write::SettleOutbox { through }).write(save(chain, head));
        store.commit(settled).await.map_err(|error| error_chain(&error))?;
        // Only now: what is carried a second time after a failure is told once.
        events.iter().for_each(log_change);
        Ok(true)
    }
}

#[async_trait]
impl Outbox for Delivery {
    async fn deliver(&self) -> Result<(), String> {
        let _carrying = self.carrying.lock().await;
        while self.deliver_batch().await? {}
        Ok(())
    }
}

/// One line for each administrative event, so that whoever watches the log sees changes beside denials.
fn log_change(event: &AuditEvent) {
    if event.action == AuditAction::CrlPublished {
        return; // Who publishes it says so.
    }
    let facts = &event.facts;
    let serial = facts.certificate.as_ref().and_then(|certificate| certificate.serial);
    tracing::info!(
        "countersign.action" = audit_words::action(event.action),
        "countersign.actor" = audit_words::actor(&event.actor),
        "countersign.client.id" = facts.client.as_ref().map(tracing::field::display),
        "countersign.certificate" = serial.map(|serial| serial.short()),
        "countersign.object" = facts.object,
        "countersign.reason" = event.reason.map(|reason| reason.as_str()),
        "countersign.detail" = facts.detail,
        "countersign.ref" = %event.reference,
        "CHANGE"
    );
}

fn save(chain: &str, head: Head) -> Write {
    Write::SaveAuditHead(AuditHead { chain: chain.to_owned(), sequence: head.sequence, hash: head.hash.0 })
}
