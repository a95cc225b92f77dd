//! What follows a change beside the views: open connections are cut, token keys, lists and operators are read anew.

use super::connections::OpenConnections;
use crate::words::error_chain;
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

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Reacts to changes until the follower of the feed is gone.
pub(super) async fn react(
    changes: mpsc::UnboundedReceiver<Change>,
    context: Arc<Context>,
    connections: Arc<OpenConnections>,
) {
    let reaction = |subject: Changed| {
        let (context, connections) = (context.clone(), connections.clone());
        async move { react_to(&subject, &context, &connections).await }
    };
    until_done(changes, reaction).await;
}

/// Reacts to changes in their order. A reaction that fails is tried again until it succeeds, and keeps none of the others
/// waiting: each reads the present state, so that their order does not matter.
async fn until_done<R: Future<Output = Result<(), Failed>>>(
    mut changes: mpsc::UnboundedReceiver<Change>,
    reaction: impl Fn(Changed) -> R,
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
            if let Err(error) = reaction(subject.clone()).await {
                tracing::error!(
                    error = error_chain(error.as_ref()),
                    ?subject,
                    "a change is not followed yet"
                );
                if !failed.contains(&subject) {
                    failed.push(subject);
                }
            }
        }
    }
}

async fn react_to(subject: &Changed, context: &Context, connections: &OpenConnections) -> Result<(), Failed> {
    match subject {
        Changed::Certificate(issuer, serial) => {
            if let Some(issuer_key_hash) = context.views.issuer_key_hash(issuer) {
                connections.cut(&Cut::Certificate { issuer_key_hash, serial: *serial }).await;
            }
        }
        Changed::Client(client) => {
            let disabled =
                |entry: &countersign_policy::ClientEntry| entry.client.state == ClientState::Disabled;
            let cut = match context.views.client(client) {
                Some(entry) if !disabled(&entry) => entry.has_ended_any().then_some(Cut::Ended(entry)),
                _ => Some(Cut::Client(client.clone())),
            };
            if let Some(cut) = cut {
                connections.cut(&cut).await;
            }
        }
        Changed::TokenKeys => {
            context.token_keys.reload(context.store.as_ref(), context.clock.now()).await?;
            for key in context.token_keys.take_ended() {
                connections.cut(&Cut::TokenKey(key)).await;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_model::Timestamp;

    /// A list that cannot be read just now holds no operator's disabling up, and is served in the end.
    #[tokio::test]
    async fn a_reaction_that_fails_is_tried_again_and_holds_up_none_of_the_others() {
        let (changed, changes) = mpsc::unbounded_channel();
        let (reacted, mut reactions) = mpsc::unbounded_channel();
        for (sequence, subject) in [(1, Changed::TokenKeys), (2, Changed::Operators)] {
            changed.send(Change { sequence, at: Timestamp::default(), subject }).unwrap();
        }
        let failures_left = std::cell::Cell::new(1);
        let reaction = |subject: Changed| {
            let fails = subject == Changed::TokenKeys && failures_left.replace(0) > 0;
            reacted.send((subject, fails)).unwrap();
            std::future::ready(if fails { Err(Failed::from("the disk is away")) } else { Ok(()) })
        };
        let watch = async {
            let mut seen = [reactions.recv().await, reactions.recv().await, reactions.recv().await];
            assert_eq!(seen[0].take(), Some((Changed::TokenKeys, true)));
            let mut rest = [seen[1].take().unwrap(), seen[2].take().unwrap()];
            rest.sort_by_key(|(subject, _)| *subject == Changed::Operators);
            assert_eq!(rest, [(Changed::TokenKeys, false), (Changed::Operators, false)]);
        };
        tokio::select! {
            () = until_done(changes, reaction) => panic!("it goes on"),
            () = watch => {}
        }
        drop(changed);
    }
}
