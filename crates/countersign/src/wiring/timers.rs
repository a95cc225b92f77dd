//! What is due by the clock: lists, certificates of our own, keys whose last token is gone, uses that were gathered.

use super::clock_steps::ClockSteps;
use super::metrics;
use super::tls::Present;
use crate::words::error_chain;
use countersign_api::Context;
use countersign_api::health::issuer_ends;
use countersign_ca::CertificateAuthority;
use countersign_keys::Custody;
use countersign_model::audit::Actor;
use countersign_model::{Reference, Timestamp};
use countersign_oauth::{Rotation, TokenKeyError};
use countersign_storage::essential::Unstored;
use countersign_storage::space::Space;
use countersign_storage::usage::Usage;
use countersign_storage::{Receipt, StorageError, Store, Transaction, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// How often the clock is looked at for what is due in hours and days.
const UPKEEP: Duration = Duration::from_secs(60);

/// How often it is looked whether the clock was set.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);

/// How often uses are written (design, decision 19).
const WRITE_USES: Duration = Duration::from_secs(5);

/// How many uses one transaction writes.
const USES_AT_ONCE: usize = 2000;

/// How many transactions one turn writes: a stop waits for one turn at most.
const BATCHES_AT_ONCE: usize = 50;

/// How many changes of the feed are kept, for a person who reads the database.
const KEPT_CHANGES: u64 = 100_000;

/// How many changes are worth a commit that forgets them.
const FORGOTTEN_AT_ONCE: u64 = 1000;

/// How many changes that are not stored one line names.
const CHANGES_TOLD: usize = 20;

/// What upkeep works on.
pub(super) struct Upkeep {
    pub(super) context: Arc<Context>,
    pub(super) custody: Arc<Custody>,
    pub(super) certificates: Vec<(String, Arc<Present>)>,
    /// The last change that was forgotten.
    pub(super) forgotten: AtomicU64,
    /// The last day, counted from 1970, on which it was said that a certificate from files expires soon.
    pub(super) warned_on_day: AtomicI64,
    /// Whether the clock is watched for steps.
    pub(super) watches_clock: bool,
    /// Held during a turn: two at once would both renew what is due.
    pub(super) turn: Mutex<()>,
}

/// Logs which of our CAs will end: nothing of them outlives them.
pub(super) fn warn_of_ending_issuers(ca: &CertificateAuthority, now: Timestamp) {
    for issuer in ca.ending(now) {
        tracing::warn!(issuer = %issuer.id, not_after = %issuer.not_after, "{}", issuer_ends(&issuer, now));
    }
}

impl Upkeep {
    /// Runs until `stop`.
    pub(super) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut turns = tokio::time::interval(UPKEEP);
        let mut looks = tokio::time::interval(LOOK_AT_CLOCK);
        let clock = &self.context.clock;
        let mut steps = ClockSteps::new(clock.now(), Instant::now());
        loop {
            tokio::select! {
                _ = turns.tick() => self.once().await,
                _ = looks.tick(), if self.watches_clock => {
                    if let Some(step_s) = steps.look(clock.now(), Instant::now()) {
                        tracing::warn!(step_s, "the wall clock jumped by {step_s} s; rechecking expiry dates");
                        self.after_step().await;
                    }
                }
                _ = stop.changed() => return,
            }
        }
    }

    /// Does what is due now. Each failure is logged and tried again the next time: nothing lapses because something
    /// else failed.
    pub(super) async fn once(&self) {
        let _turn = self.turn.lock().await;
        let context = &self.context;
        let now = context.clock.now();
        if let Err(error) = context.ca.recover().await {
            tracing::error!(
                error = error_chain(&error),
                "what is pending and not being signed any more is not given up yet"
            );
        }
        if let Err(error) = context.ca.publish_due_crls().await {
            tracing::error!(error = error_chain(&error), "a CRL that is due is not published");
        }
        if let Err(error) = context.token_keys.forget_expired(context.store.as_ref(), now).await {
            tracing::error!(error = error_chain(&error), "old token keys are not forgotten");
        }
        if let Err(error) = self.sign_again(now).await {
            tracing::error!(
                error = error_chain(&error),
                "there is no key that signs tokens, and none can be made"
            );
        }
        for (listener, certificate) in &self.certificates {
            if let Err(error) = certificate.refresh(&context.ca, &self.custody, now).await {
                tracing::error!(
                    listener,
                    error = error_chain(&error),
                    "the server certificate is not renewed"
                );
            }
        }
        let today = now.unix_s().div_euclid(86_400);
        if self.warned_on_day.swap(today, Ordering::Relaxed) != today {
            for (listener, certificate) in &self.certificates {
                certificate.warn_of_end(listener, now);
            }
            warn_of_ending_issuers(&context.ca, now);
        }
        context.views.forget_expired(now);
        context.tokens.budget.sweep(now);
        if let (waiting @ 1.., Some(since)) = context.essential.waiting() {
            tracing::error!(
                waiting,
                %since,
                changes = in_words(&context.essential.unstored()),
                "revocations are enforced by this node but not stored: a restart undoes them"
            );
        }
        if let Err(error) = self.forget_changes().await {
            tracing::error!(error = error_chain(&error), "old changes are not forgotten");
        }
        metrics::publish(context, &self.certificates);
    }

    /// What the clock that was wrong left behind: lists that are not valid yet, or no more; keys that were left out of the
    /// key set. In a minute it would be looked at anyway, and until then good callers would be refused.
    pub(super) async fn after_step(&self) {
        let context = &self.context;
        let now = context.clock.now();
        if let Err(error) = context.views.complete(context.store.as_ref(), now).await {
            tracing::error!(error = error_chain(&error), "cannot reload the revocations; retrying");
        }
        if let Err(error) = context.token_keys.reload(context.store.as_ref(), now).await {
            tracing::error!(error = error_chain(&error), "cannot reload the token keys");
        }
        self.once().await;
    }

    /// Makes a token key if an emergency withdrew all of them and a new one could not be stored.
    async fn sign_again(&self, now: Timestamp) -> Result<(), TokenKeyError> {
        let Context { token_keys, store, rng, .. } = self.context.as_ref();
        if token_keys.signer(now).is_some() {
            return Ok(());
        }
        let reference = Reference::generate(now, rng.as_ref());
        let made = token_keys.rotate(store.as_ref(), Rotation::Now, Actor::System, reference, now).await?;
        tracing::warn!(key = made.key.0, "there was no key that signs tokens: a new one is made");
        Ok(())
    }

    async fn forget_changes(&self) -> Result<(), StorageError> {
        let Context { store, views, .. } = self.context.as_ref();
        let forgotten = self.forgotten.load(Ordering::Relaxed);
        let Some(through) = forgettable(store.last_change().await?, forgotten) else { return Ok(()) };
        // Views that stand still would go on behind the gap, and never hear of what was in it.
        if views.applied(through, Duration::ZERO).await {
            store.commit(Transaction::new().write(Write::ForgetChanges { through })).await?;
            self.forgotten.store(through, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The first of them, with their clients: `client acme-pay is disabled; and 3 more`.
fn in_words(unstored: &[Unstored]) -> String {
    let mut words: Vec<String> = unstored
        .iter()
        .take(CHANGES_TOLD)
        .map(|change| match &change.client {
            Some(client) => format!("{} (client {client})", change.what),
            None => change.what.clone(),
        })
        .collect();
    if let more @ 1.. = unstored.len().saturating_sub(CHANGES_TOLD) {
        words.push(format!("and {more} more"));
    }
    words.join("; ")
}

/// Up to which change the feed may be forgotten, if it is worth a commit.
fn forgettable(last: u64, forgotten: u64) -> Option<u64> {
    let through = last.checked_sub(KEPT_CHANGES)?;
    (through >= forgotten.saturating_add(FORGOTTEN_AT_ONCE)).then_some(through)
}

/// Writes uses now and then until `stop`, and then once more. A task of its own: uses and upkeep never wait for each
/// other.
///
/// While there is little space nothing is written: the counts go on in memory, one for each credential and certificate.
pub(super) async fn write_uses(
    store: Arc<dyn Store>,
    usage: Arc<Usage>,
    space: Arc<Space>,
    mut stop: watch::Receiver<bool>,
) {
    let mut turns = tokio::time::interval(WRITE_USES);
    loop {
        let stopping = tokio::select! {
            _ = turns.tick() => false,
            _ = stop.changed() => true,
        };
        let commit = |uses| store.commit(uses);
        if space.low_since().is_none()
            && let Err(error) = write_gathered(&usage, commit).await
        {
            tracing::warn!(error = error_chain(&error), "last-used times are not written");
        }
        if stopping {
            return;
        }
    }
}

/// Writes what was gathered, and ends also when the data path gathers more meanwhile.
async fn write_gathered<C: Future<Output = Result<Receipt, StorageError>>>(
    usage: &Usage,
    commit: impl Fn(Transaction) -> C,
) -> Result<(), StorageError> {
    for _ in 0..BATCHES_AT_ONCE {
        let Some(uses) = usage.drain(USES_AT_ONCE) else { break };
        // A batch that is not full was all that there was.
        let last = uses.writes.len() < USES_AT_ONCE;
        commit(uses).await?;
        if last {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_model::{IssuerId, Serial, Timestamp};
    use std::cell::Cell;

    #[test]
    fn changes_are_forgotten_by_the_thousand_and_the_last_ones_are_kept() {
        assert_eq!(forgettable(0, 0), None);
        assert_eq!(forgettable(KEPT_CHANGES + 999, 0), None);
        assert_eq!(forgettable(KEPT_CHANGES + 1000, 0), Some(1000));
        assert_eq!(forgettable(KEPT_CHANGES + 1500, 1000), None);
        assert_eq!(forgettable(KEPT_CHANGES + 2000, 1000), Some(2000));
    }

    /// So many certificates call during each commit.
    async fn commits_while_calling(callers: usize) -> usize {
        let (usage, commits) = (Usage::default(), Cell::new(0));
        let issuer: IssuerId = "clients".parse().unwrap();
        let call = |callers: usize| {
            for n in 1..=callers {
                let serial = Serial::from_octets(&n.to_be_bytes()).unwrap();
                usage.certificate_used(&issuer, &serial, Timestamp::default());
            }
        };
        call(callers);
        let commit = |_| {
            commits.set(commits.get() + 1);
            call(callers);
            std::future::ready(Ok(Receipt { sequence: 0 }))
        };
        write_gathered(&usage, commit).await.unwrap();
        commits.get()
    }

    #[tokio::test]
    async fn writing_uses_ends_however_many_come_meanwhile() {
        assert_eq!(commits_while_calling(1).await, 1);
        assert_eq!(commits_while_calling(USES_AT_ONCE).await, BATCHES_AT_ONCE);
    }
}
