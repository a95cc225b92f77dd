//! The exporter, and the metrics that tell of our own state. Timestamps, not "days left": the alert does the arithmetic.

use super::metric_table;
use super::tls::Present;
use countersign_api::Context;
use countersign_model::IssuerId;
use countersign_model::certificate::IssuerRole;
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Upper bounds of the request durations, in seconds: from a cached decision to a slow upstream.
const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How often samples are drained into their buckets.
const DRAIN_SAMPLES: Duration = Duration::from_secs(5);

/// The exporter of this process. There is one, however many servers a test starts.
pub(super) fn exporter() -> PrometheusHandle {
    static EXPORTER: OnceLock<PrometheusHandle> = OnceLock::new();
    EXPORTER
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let builder = builder
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), DURATION_BUCKETS)
                .unwrap_or_else(|_| PrometheusBuilder::new()); // fails for an empty list only
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            // Somebody else's recorder, in a test: ours then stays empty.
            let _ = metrics::set_global_recorder(recorder);
            metric_table::describe();
            gauge!("countersign_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            drain_samples(handle.clone());
            handle
        })
        .clone()
}

/// The exporter keeps every sample of a histogram until somebody drains it: without this a node that nobody scrapes
/// grows by eight bytes a request. A thread and not a task, because the exporter outlives the runtime that it began on.
fn drain_samples(exporter: PrometheusHandle) {
    let drain = move || {
        loop {
            std::thread::sleep(DRAIN_SAMPLES);
            exporter.run_upkeep();
        }
    };
    // Without the thread a scrape drains.
    let _ = std::thread::Builder::new().name("metrics".to_owned()).spawn(drain);
}

/// Tells until when our certificates and lists are good. What became of what was to be recorded is told when it is asked
/// for (`api::health`).
pub(super) fn publish(context: &Context, certificates: &[(String, Arc<Present>)]) {
    for role in [IssuerRole::Root, IssuerRole::Clients, IssuerRole::Servers] {
        for issuer in context.ca.trusted(role).unwrap_or_default() {
            let not_after = countersign_pki::not_after(&issuer.certificate).map(|end| end.unix_s());
            not_after_seconds("issuer", issuer.id.as_str(), not_after);
            publish_crl(context, &issuer.id);
        }
    }
    let ending = u32::try_from(context.ca.ending(context.clock.now()).len()).unwrap_or(u32::MAX);
    gauge!("countersign_issuers_ending").set(f64::from(ending));
    for (listener, certificate) in certificates {
        not_after_seconds("server", listener, certificate.not_after().map(|end| end.unix_s()));
    }
}

fn publish_crl(context: &Context, issuer: &IssuerId) {
    if let Some(crl) = context.ca.crl(issuer, 0) {
        gauge!("countersign_crl_next_update_timestamp_seconds", "issuer" => issuer.to_string())
            .set(seconds(crl.next_update.unix_s()));
    }
}

fn not_after_seconds(role: &'static str, name: &str, not_after: Option<i64>) {
    if let Some(not_after) = not_after {
        gauge!("countersign_certificate_not_after_timestamp_seconds", "role" => role, "name" => name.to_owned())
            .set(seconds(not_after));
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double for millions of years")]
fn seconds(unix_s: i64) -> f64 {
    unix_s as f64
}

/// Tells whether the last reload was taken over.
pub(super) fn reloaded(successful: bool) {
    gauge!("countersign_config_last_reload_successful").set(if successful { 1.0 } else { 0.0 });
}
