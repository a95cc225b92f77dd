//! What the data path tells: metrics with closed label sets, and one log line for each refusal (experience.md section 5).
//!
//! Handles are kept by each worker, so that a request costs no registration and no label is hashed. Nothing a caller
//! controls becomes a label: routes and reasons are closed sets, and so are methods here.

use crate::connection::{Connection, Ended};
use crate::forward::REMOVED_CLASSES;
use countersign_model::ReasonCode;
use foldhash::fast::RandomState;
use http::Method;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// The handles of one worker.
#[derive(Default)]
pub(crate) struct Metrics {
    routes: RefCell<HashMap<String, Rc<RouteMetrics>, RandomState>>,
}

/// The handles of one route.
pub(crate) struct RouteMetrics {
    name: String,
    allowed: Counter,
    denied: RefCell<HashMap<ReasonCode, Counter>>,
    durations: RefCell<Vec<(&'static str, u16, Histogram)>>,
    /// By the place of the class in [`REMOVED_CLASSES`].
    headers_removed: [OnceCell<Counter>; REMOVED_CLASSES.len()],
}

impl Metrics {
    /// The handles of a route, or of a reserved prefix, or of `none`.
    pub(crate) fn route(&self, name: &str) -> Rc<RouteMetrics> {
        if let Some(route) = self.routes.borrow().get(name) {
            return route.clone();
        }
        let route = Rc::new(RouteMetrics {
            name: name.to_owned(),
            allowed: counter!("countersign_decisions_total",
                "route" => name.to_owned(), "decision" => "allow", "reason" => "none"),
            denied: RefCell::default(),
            durations: RefCell::default(),
            headers_removed: Default::default(),
        });
        self.routes.borrow_mut().insert(name.to_owned(), route.clone());
        route
    }
}

impl RouteMetrics {
    fn allowed(&self) {
        self.allowed.increment(1);
    }

    /// A call by the `internal` method; counted apart (rule C11).
    pub(crate) fn internal(&self, decision: &'static str) {
        counter!("countersign_internal_calls_total", "route" => self.name.clone(), "decision" => decision)
            .increment(1);
    }

    pub(crate) fn denied(&self, reason: ReasonCode) {
        let mut denied = self.denied.borrow_mut();
        let counter = denied.entry(reason).or_insert_with(|| {
            counter!("countersign_decisions_total",
                "route" => self.name.clone(), "decision" => "deny", "reason" => reason.as_str())
        });
        counter.increment(1);
    }

    /// An answer ended early, after its head was passed on.
    pub(crate) fn broken_off(&self, reason: ReasonCode) {
        counter!("countersign_answers_broken_off_total",
            "route" => self.name.clone(), "reason" => reason.as_str())
        .increment(1);
    }

    /// So many header fields of a class were not forwarded; `class` is a place in [`REMOVED_CLASSES`].
    pub(crate) fn headers_removed(&self, class: usize, count: u32) {
        let counter = self.headers_removed[class].get_or_init(|| {
            counter!("countersign_request_headers_removed_total",
                "route" => self.name.clone(), "class" => REMOVED_CLASSES[class])
        });
        counter.increment(u64::from(count));
    }

    fn took(&self, method: &'static str, status: u16, seconds: f64) {
        let mut durations = self.durations.borrow_mut();
        if let Some((_, _, histogram)) = durations.iter().find(|(m, s, _)| *m == method && *s == status) {
            return histogram.record(seconds);
        }
        let histogram = histogram!("http_server_request_duration_seconds",
            "http_route" => self.name.clone(),
            "http_request_method" => method,
            "http_response_status_code" => status.to_string());
        histogram.record(seconds);
        durations.push((method, status, histogram));
    }
}

/// A permitted request: counted as allowed when it is over, also where the client has given it up, unless it was refused
/// after all, such as for its body. So each request is counted once, by its reason.
pub(crate) struct Outcome {
    metrics: Rc<RouteMetrics>,
    by_internal: bool,
    is_refused: bool,
}

impl Outcome {
    pub(crate) fn new(metrics: Rc<RouteMetrics>, by_internal: bool) -> Self {
        Self { metrics, by_internal, is_refused: false }
    }

    /// It is refused, and counted with its reason.
    pub(crate) fn refused(&mut self) {
        self.is_refused = true;
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if self.is_refused {
            return;
        }
        self.metrics.allowed();
        if self.by_internal {
            self.metrics.internal("allow");
        }
    }
}

/// The method as a label: the standard ones by name, all others as one (OpenTelemetry semantic conventions).
pub(crate) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// A request from its first look to the last byte of its answer. Whoever holds the answer's body holds this; its drop is
/// the end of the request, however that came about.
pub(crate) struct Completion {
    connection: Rc<Connection>,
    resets_per_second: u32,
    began: Instant,
    method: &'static str,
    status: Cell<u16>,
    route: RefCell<Option<Rc<RouteMetrics>>>,
    /// The answer is on its way: the peer cannot take the request back any more.
    answered: Cell<bool>,
}

impl Completion {
    pub(crate) fn new(connection: Rc<Connection>, method: &Method, resets_per_second: u32) -> Self {
        Self {
            connection,
            resets_per_second,
            began: Instant::now(),
            method: method_label(method),
            status: Cell::new(0),
            route: RefCell::new(None),
            answered: Cell::new(false),
        }
    }

    /// The connection that it came on.
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// When the request came.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// What is being answered.
    pub(crate) fn answering(&self, route: Rc<RouteMetrics>, status: http::StatusCode) {
        self.status.set(status.as_u16());
        *self.route.borrow_mut() = Some(route);
    }

    /// The head of the answer is out.
    pub(crate) fn answered(&self) {
        self.answered.set(true);
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        let now = Instant::now();
        self.connection.answered(now);
        if let Some(route) = self.route.borrow().as_ref() {
            route.took(self.method, self.status.get(), (now - self.began).as_secs_f64());
        }
        // Also one that we had an answer for and whose body broke off: whoever resets a stream before its body has ended
        // makes us refuse at once, and would not be counted by what we decided.
        if self.connection.http2 && !self.answered.get() {
            self.connection.note_reset(self.resets_per_second);
        }
    }
}

/// The handles of one listener.
pub(crate) struct ListenerMetrics {
    name: String,
    active: Gauge,
    handshakes_13: Counter,
    handshakes_12: Counter,
    turned_away: Counter,
    full: Counter,
    made_room: Counter,
    accept_failed: Counter,
    over_budget: Counter,
    handshake_cpu_ok: Histogram,
    handshake_cpu_failed: Histogram,
}

/// Counts an open connection until dropped.
pub(crate) struct ActiveConnection(Gauge);

impl ListenerMetrics {
    pub(crate) fn new(listener: &str) -> Self {
        let handshakes = |version, result| {
            counter!("countersign_tls_handshakes_total",
                "listener" => listener.to_owned(), "version" => version, "result" => result)
        };
        let cpu = |result| {
            histogram!("countersign_tls_handshake_cpu_seconds",
                "listener" => listener.to_owned(), "result" => result)
        };
        Self {
            name: listener.to_owned(),
            handshake_cpu_ok: cpu("ok"),
            handshake_cpu_failed: cpu("failed"),
            active: gauge!("countersign_connections_active", "listener" => listener.to_owned()),
            handshakes_13: handshakes("1.3", "ok"),
            handshakes_12: handshakes("1.2", "ok"),
            turned_away: handshakes("none", "too_many_connections"),
            full: handshakes("none", "full"),
            made_room: counter!("countersign_connections_evicted_total", "listener" => listener.to_owned()),
            accept_failed: counter!("countersign_accept_failures_total", "listener" => listener.to_owned()),
            over_budget: handshakes("none", "over_budget"),
        }
    }

    pub(crate) fn handshake_done(&self, version: &str) {
        if version == "1.3" { self.handshakes_13.increment(1) } else { self.handshakes_12.increment(1) }
    }

    /// A connection was closed before TLS, because its address has too many.
    pub(crate) fn turned_away(&self) {
        self.turned_away.increment(1);
    }

    /// A connection was closed before TLS, because the limit of open connections is reached.
    pub(crate) fn full(&self) {
        self.full.increment(1);
    }

    /// A connection of an unidentified client was ended for a new one.
    pub(crate) fn made_room(&self) {
        self.made_room.increment(1);
    }

    /// The system gave no connection.
    pub(crate) fn accept_failed(&self) {
        self.accept_failed.increment(1);
    }

    /// A connection was closed before TLS, because failed handshakes of its network have cost too much.
    pub(crate) fn over_budget(&self) {
        self.over_budget.increment(1);
    }

    /// What a handshake cost.
    pub(crate) fn handshake_took(&self, cpu: Duration, is_done: bool) {
        let histogram = if is_done { &self.handshake_cpu_ok } else { &self.handshake_cpu_failed };
        histogram.record(cpu.as_secs_f64());
    }

    /// Counts an HTTP/2 connection that did not end in order (design, decision 21): below the service nobody else sees it.
    pub(crate) fn http2_ended(&self, ended: &Ended) {
        let kind = match ended {
            Ended::InOrder | Ended::Cut => return,
            Ended::Resets => "resets",
            Ended::AnswerStalled => "answer_stalled",
            Ended::EndStalled => "end_stalled",
            Ended::Failed(error) => http2_error_kind(error),
        };
        counter!("countersign_http2_errors_total", "listener" => self.name.clone(), "kind" => kind)
            .increment(1);
    }

    /// Counts what h2 refused by itself, by its error code. A connection that it ended is counted at its end.
    pub(crate) fn http2_refused(&self, code: h2::Reason, of_stream: bool) {
        if !of_stream {
            return;
        }
        let kind = match code {
            h2::Reason::REFUSED_STREAM => "stream_refused",
            h2::Reason::FLOW_CONTROL_ERROR => "stream_flow_control",
            h2::Reason::FRAME_SIZE_ERROR => "stream_frame_size",
            h2::Reason::ENHANCE_YOUR_CALM => "stream_flood",
            _ => "stream_protocol",
        };
        counter!("countersign_http2_errors_total", "listener" => self.name.clone(), "kind" => kind)
            .increment(1);
    }

    pub(crate) fn connection(&self) -> ActiveConnection {
        self.active.increment(1.0);
        ActiveConnection(self.active.clone())
    }
}

/// How many connections there are whose descriptors are counted: `connections` of callers, of `operators`, to `upstreams`.
pub(crate) fn connections(kind: &'static str, open: usize) {
    gauge!("countersign_descriptors_taken", "share" => kind).set(as_f64(open));
}

/// How many descriptors there may be of each kind.
pub(crate) fn descriptors(kind: &'static str, limit: usize) {
    gauge!("countersign_descriptors_limit", "share" => kind).set(as_f64(limit));
}

/// How many requests an upstream has in flight.
pub(crate) fn requests_in_flight(upstream: &str, requests: usize) {
    gauge!("countersign_upstream_requests_in_flight", "upstream" => upstream.to_owned())
        .set(as_f64(requests));
}

/// Exact for every number that is met.
fn as_f64(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

fn http2_error_kind(error: &hyper::Error) -> &'static str {
    let h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    match h2 {
        Some(h2) if h2.get_io().is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut) => {
            "write_stalled"
        }
        Some(h2) if h2.is_io() => "io",
        Some(h2) if h2.is_remote() => "goaway",
        // What h2 itself bounds: resets, empty frames, settings, pings.
        Some(h2) if h2.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) => "flood",
        _ => "protocol",
    }
}

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
