//! The operational log, on standard error: one line for people on a terminal, JSON lines with OpenTelemetry field names
//! otherwise. Audit is its own stream (`audit`); what is lost here is lost. Lines that a caller can cause at will are
//! folded (rule G20): denials with the audit log, all others in [`fold`].

mod fold;

use crate::config::sections::log::{Log, LogFormat, LogLevel};
use crate::system::SystemClock;
use countersign_model::Clock;
use fold::Fold;
use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

/// The running log: changes its level; writes what is waiting when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct LogHandle {
    level: reload::Handle<LevelFilter, Registry>,
    _writes_the_rest: Arc<Rest>,
}

/// What is still to be written at the end: counts first, then the lines that wait.
#[derive(Debug)]
struct Rest {
    fold: Fold,
    _lines: WorkerGuard,
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.fold.tell(SystemClock.now(), true);
    }
}

/// How many lines wait for whoever reads standard error; more are lost. A terminal that is stopped, or a pipe that
/// nobody empties, must not stop the data path (design, decision 18: nothing there waits).
const QUEUED_LINES: usize = 10_000;

/// How often it is looked whether counts of folded lines are due.
const TELL_COUNTS: Duration = Duration::from_secs(1);

impl LogHandle {
    /// Sets the level, as a reload of the configuration does.
    pub fn set_level(&self, level: LogLevel) {
        // It fails only when the log itself is gone.
        let _ = self.level.modify(|filter| *filter = filter_of(level));
    }
}

/// Starts the log of this process. A second start changes nothing.
pub fn init(log: &Log) -> LogHandle {
    let (filter, handle) = reload::Layer::new(filter_of(log.level));
    let human = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let (writer, writes_the_rest) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUED_LINES)
        .lossy(true)
        .finish(std::io::stderr());
    let to_stderr = tracing_subscriber::fmt::layer().with_writer(writer);
    let fold = Fold::new(Arc::new(SystemClock));
    let registry = tracing_subscriber::registry().with(filter).with(fold.clone());
    // The only failure is that there is a log already.
    let _ = if human {
        registry.with(to_stderr.event_format(Human)).try_init()
    } else {
        registry
            .with(to_stderr.json().flatten_event(true).with_current_span(false).with_span_list(false))
            .try_init()
    };
    let rest = Arc::new(Rest { fold, _lines: writes_the_rest });
    tell_counts(Arc::downgrade(&rest));
    LogHandle { level: handle, _writes_the_rest: rest }
}

/// Tells of folded lines now and then, as long as there is a log. A thread, because the log is older than the runtime.
fn tell_counts(log: Weak<Rest>) {
    let tell = move || {
        loop {
            std::thread::sleep(TELL_COUNTS);
            let Some(log) = log.upgrade() else { return };
            log.fold.tell(SystemClock.now(), false);
        }
    };
    // Without the thread the counts are told at the end.
    let _ = std::thread::Builder::new().name("log-counts".to_owned()).spawn(tell);
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}

/// `12:04:11 DENY  GET /data/accounts  401 token_certificate_mismatch  client=acme-pay cert=77d0…18aa  ref=01JZ…`
struct Human;

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = SystemClock.now().to_string();
        let time = now.get(11..19).unwrap_or(&now);
        writeln!(out, "{time} {}", line(*event.metadata().level(), fields))
    }
}

/// One event as people read it. Control characters are spaces: nothing in a log moves the cursor (rule G11).
fn line(level: Level, fields: Fields) -> String {
    let is_of_request = matches!(fields.message.as_str(), "DENY" | "BROKEN OFF");
    let text = if is_of_request { denial(level, fields) } else { other(level, fields) };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn denial(level: Level, mut fields: Fields) -> String {
    // The caller's own mistakes are the daily business of a gateway and need no level.
    let word = if level < Level::INFO { format!("{level:<5} {}", fields.message) } else { fields.message };
    let mut take = |name: &str| fields.named.remove(name).unwrap_or_default();
    let count = take("countersign.folded.count");
    let request = if count.is_empty() {
        format!("{} {}", take("http.request.method"), take("url.path"))
    } else {
        let time = |at: String| at.get(11..19).unwrap_or_default().to_owned();
        let (first, last) = (time(take("countersign.folded.first")), time(take("countersign.folded.last")));
        format!("{count} more from {first} to {last}")
    };
    let outcome = format!("{} {}", take("http.response.status_code"), take("countersign.reason"));
    // What a caller did wrong is in its reason; what an upstream did is in the detail alone.
    let detail = take("countersign.detail");
    let detail =
        if level < Level::INFO && !detail.is_empty() { format!("\"{detail}\"") } else { String::new() };
    let mut who = Vec::new();
    for (label, field) in [
        ("client", "countersign.client.id"),
        ("cert", "countersign.certificate"),
        ("from", "client.address"),
        ("network", "client.network"),
    ] {
        let value = take(field);
        if !value.is_empty() {
            who.push(format!("{label}={value}"));
        }
    }
    let parts = [
        word,
        request.trim().to_owned(),
        outcome,
        who.join(" "),
        detail,
        format!("ref={}", take("countersign.ref")),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

fn other(level: Level, fields: Fields) -> String {
    let named = fields.named.iter().map(|(name, value)| format!("  {name}={value}"));
    format!("{level:<5} {}{}", fields.message, named.collect::<String>())
}

#[derive(Debug, Default)]
struct Fields {
    message: String,
    named: BTreeMap<&'static str, String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.to_owned());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, format!("{value:?}"));
    }
}

impl Fields {
    fn keep(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.named.insert(field.name(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &str, named: &[(&'static str, &str)]) -> Fields {
        let named = named.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Fields { message: message.to_owned(), named }
    }

    #[test]
    fn a_denial_is_one_line() {
        let fields = fields(
            "DENY",
            &[
                ("http.request.method", "GET"),
                ("url.path", "/data/accounts"),
                ("http.response.status_code", "401"),
                ("countersign.reason", "token_certificate_mismatch"),
                ("countersign.client.id", "acme-pay"),
                ("countersign.certificate", "77d0…18aa"),
                ("countersign.ref", "01JZ8Q0M3T4V6X8Z0A2C4E6G8J"),
            ],
        );
        assert_eq!(
            line(Level::INFO, fields),
            "DENY  GET /data/accounts  401 token_certificate_mismatch  client=acme-pay cert=77d0…18aa  ref=01JZ8Q0M3T4V6X8Z0A2C4E6G8J"
        );
    }

    #[test]
    fn a_refusal_that_is_not_the_callers_fault_shows_level_address_and_cause() {
        let fields = fields(
            "DENY",
            &[
                ("http.request.method", "POST"),
                ("url.path", "/pay/"),
                ("http.response.status_code", "502"),
                ("countersign.reason", "upstream_unreachable"),
                ("countersign.client.id", "acme-pay"),
                ("client.address", "192.0.2.7"),
                ("countersign.detail", "pay: Connection refused (os error 111)"),
                ("countersign.ref", "01JZ8Q0M3T4V6X8Z0A2C4E6G8J"),
            ],
        );
        assert_eq!(
            line(Level::WARN, fields),
            "WARN  DENY  POST /pay/  502 upstream_unreachable  client=acme-pay from=192.0.2.7  \"pay: Connection refused (os error 111)\"  ref=01JZ8Q0M3T4V6X8Z0A2C4E6G8J"
        );
    }

    #[test]
    fn rule_g20_a_folded_line_says_how_many_and_over_which_time() {
        let fields = fields(
            "DENY",
            &[
                ("http.response.status_code", "401"),
                ("countersign.reason", "token_missing"),
                ("client.network", "192.0.2.0/24"),
                ("countersign.folded.count", "60730"),
                ("countersign.folded.first", "2026-11-22T08:00:01.123Z"),
                ("countersign.folded.last", "2026-11-22T08:00:06Z"),
                ("countersign.ref", "01JZ8Q0M3T4V6X8Z0A2C4E6G8J"),
            ],
        );
        assert_eq!(
            line(Level::INFO, fields),
            "DENY  60730 more from 08:00:01 to 08:00:06  401 token_missing  network=192.0.2.0/24  ref=01JZ8Q0M3T4V6X8Z0A2C4E6G8J"
        );
    }

    #[test]
    fn rule_g11_other_lines_carry_their_fields_and_no_control_characters() {
        let fields = fields("accept failed", &[("error", "a\u{1b}[2Jb"), ("listener", "public")]);
        assert_eq!(line(Level::WARN, fields), "WARN  accept failed  error=a [2Jb  listener=public");
    }
}
