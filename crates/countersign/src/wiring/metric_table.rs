//! Every metric with its kind and its help text. The exporter writes the texts as `# HELP` lines, and docs/metrics.md is
//! made from them. A test reads the sources and fails for a metric that is missing here, and for a row without a metric.

use metrics::{describe_counter, describe_gauge, describe_histogram};
use std::fmt::Write as _;

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, with the unit, and `_total` for a counter.
    pub name: &'static str,
    /// Its type in the text format.
    pub kind: Kind,
    /// Its labels, in the order in which the page lists them.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds.
    Histogram,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

/// All metrics, by name.
pub const METRICS: &[Metric] = &[
    counter(
        "countersign_accept_failures_total",
        &["listener"],
        "Connections that the operating system could not hand over, for example for want of descriptors.",
    ),
    counter(
        "countersign_answers_broken_off_total",
        &["route", "reason"],
        "Answers of upstreams that ended early, after their head was passed on.",
    ),
    counter(
        "countersign_audit_folded_total",
        &[],
        "Audit events that were counted in the record of a series instead of having a record of their own.",
    ),
    counter("countersign_audit_lost_total", &[], "Audit events that could not be recorded."),
    gauge(
        "countersign_audit_missing_records",
        &[],
        "Records of the audit log that are gone or changed, found at the start or since.",
    ),
    counter("countersign_audit_written_total", &[], "Records written to the audit log."),
    gauge("countersign_build_info", &["version"], "Always 1; the label tells which version runs."),
    gauge(
        "countersign_certificate_not_after_timestamp_seconds",
        &["role", "name"],
        "When a certificate of this server or of one of its authorities expires, in seconds since 1970.",
    ),
    counter(
        "countersign_certificates_issued_total",
        &["issuer", "profile", "result"],
        "Requests for certificates, by whether one was issued.",
    ),
    counter("countersign_certificates_revoked_total", &["reason"], "Certificates that were revoked."),
    gauge(
        "countersign_changes_not_stored",
        &[],
        "Revocations and other endings that this node enforces but could not store yet.",
    ),
    gauge(
        "countersign_config_last_reload_successful",
        &[],
        "1 if the last reload of the configuration was taken over, 0 if it was refused.",
    ),
    gauge("countersign_connections_active", &["listener"], "Connections that are open now."),
    counter(
        "countersign_connections_evicted_total",
        &["listener"],
        "Connections of callers without a proven identity that were closed to make room.",
    ),
    gauge(
        "countersign_crl_next_update_timestamp_seconds",
        &["issuer"],
        "When the published CRL of an authority must have been replaced, in seconds since 1970.",
    ),
    counter(
        "countersign_decisions_total",
        &["route", "decision", "reason"],
        "Requests that were decided, by outcome and reason code.",
    ),
    gauge(
        "countersign_descriptors_limit",
        &["share"],
        "File descriptors that each kind of connection may take.",
    ),
    gauge(
        "countersign_descriptors_taken",
        &["share"],
        "File descriptors that each kind of connection takes.",
    ),
    gauge("countersign_disk_free_bytes", &["path"], "Free space where the database and the audit log are."),
    gauge("countersign_disk_low", &[], "1 while there is less free space than storage.disk_floor, else 0."),
    gauge("countersign_disk_reserve_held", &[], "1 while the file of storage.disk_reserve is held, else 0."),
    counter(
        "countersign_http2_errors_total",
        &["listener", "kind"],
        "HTTP/2 streams that were refused and connections that did not end in order.",
    ),
    counter(
        "countersign_internal_calls_total",
        &["route", "decision"],
        "Sandbox calls with client_id and client_secret instead of a token.",
    ),
    gauge(
        "countersign_issuers_ending",
        &[],
        "How many of our CAs have a third of their life or less left. Nothing that they sign outlives them.",
    ),
    counter(
        "countersign_request_headers_removed_total",
        &["route", "class"],
        "Header fields that callers sent and that are not forwarded.",
    ),
    counter(
        "countersign_tls_client_verify_failures_total",
        &["listener", "reason"],
        "Client certificates that were refused in the handshake.",
    ),
    histogram(
        "countersign_tls_handshake_cpu_seconds",
        &["listener", "result"],
        "CPU time that a TLS handshake took.",
    ),
    counter(
        "countersign_tls_handshakes_total",
        &["listener", "version", "result"],
        "TLS handshakes, and connections that were closed before one.",
    ),
    counter(
        "countersign_token_requests_total",
        &["method", "result", "error"],
        "Requests at the token endpoint, by authentication method and outcome.",
    ),
    gauge(
        "countersign_upstream_requests_in_flight",
        &["upstream"],
        "Requests that an upstream is working on.",
    ),
    histogram(
        "http_server_request_duration_seconds",
        &["http_route", "http_request_method", "http_response_status_code"],
        "Time from the head of a request to the last byte of its answer.",
    ),
];

/// Gives the texts to the exporter.
pub(super) fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

/// docs/metrics.md.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Metrics\nMade from the table in the code; do not edit. The admin listener serves them at `/metrics` in the \
         Prometheus text format, and so does a listener with `serve = [\"metrics\"]`. A metric appears with its first \
         value.\n\n| metric | type | labels | what it tells |\n|---|---|---|---|\n",
    );
    for Metric { name, kind, labels, help } in METRICS {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |"); // a String takes everything
    }
    page
}
