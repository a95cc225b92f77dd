//! What is due by the clock: lists, certificates of our own, keys whose last token is gone, uses that were gathered.

use super::metrics;
use super::tls::Present;
use countersign_api::Context;
use countersign_keys::Custody;
use countersign_storage::usage::Usage;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the clock is looked at for what is due in hours and days.
const UPKEEP: Duration = Duration::from_secs(60);

/// How often uses are written (design, decision 19).
const WRITE_USES: Duration = Duration::from_secs(5);

/// How many uses one transaction writes.
const USES_AT_ONCE: usize = 2000;

/// What upkeep works on.
pub(super) struct Upkeep {
    pub(super) context: Arc<Context>,
    pub(super) custody: Arc<Custody>,
    pub(super) certificates: Vec<(String, Arc<Present>)>,
    pub(super) usage: Arc<Usage>,
}

impl Upkeep {
    /// Runs until `stop`, and then once more writes the uses.
    pub(super) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut upkeep = tokio::time::interval(UPKEEP);
        let mut write_uses = tokio::time::interval(WRITE_USES);
        loop {
            tokio::select! {
                _ = upkeep.tick() => self.once().await,
                _ = write_uses.tick() => self.write_uses().await,
                _ = stop.changed() => return self.write_uses().await,
            }
        }
    }

    /// Does what is due now. Each failure is logged and tried again the next time: nothing lapses because something
    /// else failed.
    pub(super) async fn once(&self) {
        let context = &self.context;
        let now = context.clock.now();
        if let Err(error) = context.ca.recover().await {
            tracing::error!(%error, "what was pending when the program stopped is not given up yet");
        }
        if let Err(error) = context.ca.publish_due_crls().await {
            tracing::error!(%error, "a CRL that is due is not published");
        }
        if let Err(error) = context.token_keys.forget_expired(context.store.as_ref(), now).await {
            tracing::error!(%error, "old token keys are not forgotten");
        }
        for (listener, certificate) in &self.certificates {
            if let Err(error) = certificate.refresh(&context.ca, &self.custody).await {
                tracing::error!(listener, %error, "the server certificate is not renewed");
            }
        }
        context.views.forget_expired(now);
        metrics::publish(context, &self.certificates);
    }

    async fn write_uses(&self) {
        while let Some(uses) = self.usage.drain(USES_AT_ONCE) {
            if let Err(error) = self.context.store.commit(uses).await {
                tracing::warn!(%error, "last-used times are not written");
                return;
            }
        }
    }
}
