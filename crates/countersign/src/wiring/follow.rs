//! What follows a change beside the views: open connections are cut, token keys, lists and operators are read anew.

use super::connections::OpenConnections;
use countersign_api::Context;
use countersign_gateway::Cut;
use countersign_model::change::{Change, Changed};
use countersign_model::client::ClientState;
use countersign_policy::Registry;
use countersign_storage::StorageError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How long after a failure it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Reacts to changes in their order, until the follower of the feed is gone. A reaction that fails is tried again until
/// it succeeds, and keeps none of the others waiting: each reads the present state, so that their order does not matter.
pub(super) async fn react(
    mut changes: mpsc::UnboundedReceiver<Change>,
    context: Arc<Context>,
    connections: Arc<OpenConnections>,
) {
    let mut failed: Vec<Changed> = Vec::new();
    let mut turns = tokio::time::interval(TRY_AGAIN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = tokio::select! {
            change = changes.recv() => match change {
                Some(change) => vec![change.subject],
                None => return,
            },
            _ = turns.tick(), if !failed.is_empty() => std::mem::take(&mut failed),
        };
        for subject in due {
            if let Err(error) = react_to(&subject, &context, &connections).await {
                tracing::error!(%error, ?subject, "a change is not followed yet");
                if !failed.contains(&subject) {
                    failed.push(subject);
                }
            }
        }
    }
}

async fn react_to(
    subject: &Changed,
    context: &Context,
    connections: &OpenConnections,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match subject {
        Changed::Certificate(issuer, serial) => {
            if let Some(issuer_key_hash) = context.views.issuer_key_hash(issuer) {
                connections.cut(&Cut::Certificate { issuer_key_hash, serial: *serial }).await;
            }
        }
        Changed::Client(client) => {
            let disabled =
                |entry: &countersign_policy::ClientEntry| entry.client.state == ClientState::Disabled;
            if context.views.client(client).is_none_or(|entry| disabled(&entry)) {
                connections.cut(&Cut::Client(client.clone())).await;
            }
        }
        Changed::TokenKeys => {
            context.token_keys.reload(context.store.as_ref(), context.clock.now()).await?;
        }
        Changed::Crl(issuer, shard) => context.ca.reload_crl(issuer, *shard).await?,
        Changed::Operators => reload_operators(context).await?,
        Changed::Issuers => {} // the views have them; our own signers change with a restart only
    }
    Ok(())
}

/// Reads anew who may administer.
pub(super) async fn reload_operators(context: &Context) -> Result<(), StorageError> {
    context.operators.store(Arc::new(context.store.operators().await?));
    Ok(())
}
