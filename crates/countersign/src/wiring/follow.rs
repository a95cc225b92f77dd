//! What follows a change beside the views: open connections are cut, token keys, lists and operators are read anew.

use super::connections::OpenConnections;
use countersign_api::Context;
use countersign_gateway::Cut;
use countersign_model::change::{Change, Changed};
use countersign_model::client::ClientState;
use countersign_policy::Registry;
use countersign_storage::StorageError;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Reacts to changes in their order, until the follower of the feed is gone.
pub(super) async fn react(
    mut changes: mpsc::UnboundedReceiver<Change>,
    context: Arc<Context>,
    connections: Arc<OpenConnections>,
) {
    while let Some(change) = changes.recv().await {
        if let Err(error) = react_to(&change, &context, &connections).await {
            tracing::error!(%error, sequence = change.sequence, "a change is not followed");
        }
    }
}

async fn react_to(
    change: &Change,
    context: &Context,
    connections: &OpenConnections,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match &change.subject {
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
