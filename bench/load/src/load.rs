//! The closed loop: each connection sends its next request when the last response is there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Uri;
use rustls_pki_types::ServerName;
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::connection::{Answer, Connection, Failure, Target};
use crate::measure::{Report, Sample, cpu_time};
use crate::tls::{Group, Version, client_config};

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Many requests on each connection
    KeptAlive,
    /// A connection and a full handshake for each request
    NewConnection,
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to request; `https` needs --ca
    #[arg(long)]
    url: Uri,
    /// PEM file with the server's trust anchors
    #[arg(long)]
    ca: Option<PathBuf>,
    /// PEM file with the client's certificate, intermediates behind it
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file with the client's key
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// A header to send, `name: value`; may be repeated
    #[arg(long = "header")]
    headers: Vec<String>,
    /// Send this form with POST instead of a GET
    #[arg(long)]
    form: Option<String>,
    /// Send this JSON document with POST instead of a GET
    #[arg(long, conflicts_with = "form")]
    json: Option<String>,
    #[arg(long, value_enum, default_value = "kept-alive")]
    mode: Mode,
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Stop after this many measured requests
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    requests: u64,
    /// Stop after this many seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    duration: u64,
    /// Requests of each connection that are not measured
    #[arg(long, default_value_t = 20)]
    warm_up: u32,
    /// A request that takes longer counts as failed
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
    /// The status that every response must have; another one makes the exit code 1
    #[arg(long, default_value_t = 200)]
    pub(crate) expect: u16,
    /// Measure the CPU time of this process (of `hold`: its memory); may be repeated
    #[arg(long)]
    pub(crate) cpu_of: Vec<u32>,
    #[arg(long, value_enum, default_value = "x25519")]
    group: Group,
    #[arg(long, value_enum, default_value = "1.3")]
    tls_version: Version,
}

pub(crate) type Error = Box<dyn std::error::Error>;

/// What every connection's loop reads.
struct Plan {
    target: Target,
    request: Vec<u8>,
    mode: Mode,
    warm_up: u32,
    timeout: Duration,
    duration: Duration,
    remaining: AtomicU64,
    /// Everybody is connected and warm; the clock and the CPU time are read between the two.
    warm: Barrier,
    start: Barrier,
}

pub(crate) async fn run(options: Options) -> Result<Report, Error> {
    let parties = options.connections as usize + 1;
    let plan = Arc::new(Plan {
        target: target(&options).await?,
        request: request(&options)?,
        mode: options.mode,
        warm_up: options.warm_up,
        timeout: Duration::from_secs(options.timeout),
        duration: Duration::from_secs(options.duration),
        remaining: AtomicU64::new(options.requests),
        warm: Barrier::new(parties),
        start: Barrier::new(parties),
    });
    let loops: Vec<_> = (0..options.connections).map(|_| tokio::spawn(closed_loop(plan.clone()))).collect();

    plan.warm.wait().await;
    let cpu_before = cpu_time(&options.cpu_of)?;
    let started = Instant::now();
    plan.start.wait().await;

    let mut sample = Sample::default();
    for each in loops {
        sample.merge(each.await?);
    }
    let took = started.elapsed();
    let cpu_after = cpu_time(&options.cpu_of)?;
    let cpu = cpu_before.zip(cpu_after).map(|(before, after)| after.saturating_sub(before));
    Ok(Report::new(sample, options.expect, took, cpu))
}

async fn closed_loop(plan: Arc<Plan>) -> Sample {
    let mut sample = Sample::default();
    let mut connection = None;
    for _ in 0..plan.warm_up {
        if bounded_request(&plan, &mut connection, &mut sample).await.is_err() {
            break; // It will fail again below, where it is counted.
        }
    }
    plan.warm.wait().await;
    plan.start.wait().await;

    let deadline = Instant::now() + plan.duration;
    let mut failed_in_a_row = 0;
    while Instant::now() < deadline && failed_in_a_row < 100 && take_one(&plan.remaining) {
        let started = Instant::now();
        let outcome = bounded_request(&plan, &mut connection, &mut sample).await;
        sample.add(outcome.map(|answer| answer.status), started.elapsed());
        failed_in_a_row = if outcome.is_err() { failed_in_a_row + 1 } else { 0 };
    }
    if let Some(connection) = connection {
        connection.close().await;
    }
    sample
}

fn take_one(remaining: &AtomicU64) -> bool {
    remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

async fn bounded_request(
    plan: &Plan,
    connection: &mut Option<Connection>,
    sample: &mut Sample,
) -> Result<Answer, Failure> {
    timeout(plan.timeout, one_request(plan, connection, sample)).await.unwrap_or(Err(Failure::Timeout))
}

/// Leaves the connection in its place only when another request may follow on it.
async fn one_request(
    plan: &Plan,
    kept: &mut Option<Connection>,
    sample: &mut Sample,
) -> Result<Answer, Failure> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(&plan.target).await?,
    };
    if sample.negotiated.is_none() {
        sample.negotiated = connection.negotiated.clone();
    }
    let answer = connection.round_trip(&plan.request).await?;
    if plan.mode == Mode::NewConnection || answer.last {
        connection.close().await;
    } else {
        *kept = Some(connection);
    }
    Ok(answer)
}

pub(crate) async fn target(options: &Options) -> Result<Target, Error> {
    let host = options.url.host().ok_or("--url has no host")?.trim_matches(['[', ']']).to_owned();
    let tls = match options.url.scheme_str() {
        Some("https") => {
            let ca = options.ca.as_deref().ok_or("https needs --ca")?;
            let identity = options.cert.as_deref().zip(options.key.as_deref());
            let config = client_config(ca, identity, options.group, options.tls_version)?;
            Some((config, ServerName::try_from(host.clone())?))
        }
        Some("http") => None,
        _ => return Err("--url must begin with https:// or http://".into()),
    };
    let port = options.url.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    // Resolved once. A name may have an address on which nobody listens (localhost is ::1 too), so the first that answers.
    for address in tokio::net::lookup_host((host.as_str(), port)).await? {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(Target { address, tls });
        }
    }
    Err(format!("nobody listens on {host}:{port}").into())
}

/// The bytes of every request of the run.
pub(crate) fn request(options: &Options) -> Result<Vec<u8>, Error> {
    let path = options.url.path_and_query().map_or("/", |path| path.as_str());
    let authority = options.url.authority().ok_or("--url has no host")?;
    let body = match (&options.form, &options.json) {
        (Some(form), _) => Some(("application/x-www-form-urlencoded", form)),
        (None, Some(json)) => Some(("application/json", json)),
        (None, None) => None,
    };
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: countersign-bench\r\naccept: */*\r\n"
    );
    for header in &options.headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| format!("--header `{header}` has no colon"))?;
        http::HeaderName::from_bytes(name.trim().as_bytes())?;
        http::HeaderValue::from_str(value.trim())?;
        head.push_str(&format!("{}: {}\r\n", name.trim(), value.trim()));
    }
    if options.mode == Mode::NewConnection {
        head.push_str("connection: close\r\n");
    }
    let Some((media_type, body)) = body else { return Ok(format!("{head}\r\n").into_bytes()) };
    let length = body.len();
    Ok(format!("{head}content-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes())
}
