//! What `/metrics` tells: names, labels and help texts, as docs/metrics.md has them.

use crate::docs::{update, workspace};
use countersign::wiring::metric_table::{Kind, METRICS, Metric, markdown};
use countersign_model::Clock as _;
use countersign_testkit::foreign::{Leaf, self_signed};
use countersign_testkit::{Identity, TestServer};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a server that has just been used need not have: these need trouble, a sandbox route, or a second to pass.
const NOT_YET: &[&str] = &[
    "countersign_answers_broken_off_total",
    "countersign_http2_errors_total",
    "countersign_internal_calls_total",
    "countersign_upstream_requests_in_flight",
];

/// A server on which everything common has happened, and what a caller sent that must become no label.
async fn used() -> TestServer {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read", "pay:write"]).await;
    let acme = server.certificate("acme-pay").await;
    let token = server.bound_token("acme-pay", &acme).await;
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);
    server.call(None, "/data/x", &token).await;
    server.ask_token(None, "grant_type=client_credentials&client_id=quagga&client_secret=quagga").await;
    let caller = server.caller(None);
    for path in ["/quagga", "/data/quagga", "/problems/quagga", "/oauth2/quagga"] {
        caller.get(path, &[("x-quagga", "quagga"), ("user-agent", "quagga")]).await.unwrap();
    }
    caller.send("QUAGGA".parse().unwrap(), "/data/x", &[], "").await.unwrap();
    server
        .caller(Some(&acme))
        .get("/data/x", &[("authorization", &format!("Bearer {token}")), ("x-forwarded-user", "quagga")])
        .await
        .unwrap();
    assert!(server.caller(Some(&stranger(&server))).alert().await.is_some());
    server.revoke(&acme, "superseded").await;
    server.server.upkeep().await;
    server
}

fn stranger(server: &TestServer) -> Identity {
    self_signed(Leaf {
        uri: "https://localhost/clients/quagga",
        not_before: server.clock.now().plus_days(-1),
        not_after: server.clock.now().plus_days(1),
        for_servers: false,
    })
}

async fn scrape(server: &TestServer) -> String {
    let answer = server.health("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    String::from_utf8(answer.body).unwrap()
}

#[tokio::test]
async fn metrics_have_their_names_and_closed_label_sets() {
    let server = used().await;
    let text = scrape(&server).await;
    assert!(!text.to_lowercase().contains("quagga"), "{text}");

    let mut series: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let metric = metric_of(line);
        let expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
        assert_eq!(labels_of(line), expected, "{line}");
        // A histogram has as many counts as it has series.
        let is_series = !matches!(metric.kind, Kind::Histogram) || sample_name(line).ends_with("_count");
        *series.entry(metric.name).or_default() += usize::from(is_series);
    }
    for Metric { name, .. } in METRICS {
        let count = series.get(name).copied().unwrap_or(0);
        assert!(count > 0 || NOT_YET.contains(name), "no {name} in {text}");
        assert!(count < 1000, "{name}: {count} series");
    }
    for reason in ["token_certificate_missing", "token_missing", "route_not_found"] {
        assert!(text.contains(&format!(r#"reason="{reason}""#)), "{reason}");
    }
}

/// The row of the metric of which this line is a sample.
fn metric_of(line: &str) -> &'static Metric {
    let name = sample_name(line);
    let is_sample = |metric: &&Metric| match metric.kind {
        Kind::Histogram => {
            ["_bucket", "_sum", "_count"].iter().any(|part| name.strip_suffix(part) == Some(metric.name))
        }
        Kind::Counter | Kind::Gauge => name == metric.name,
    };
    METRICS.iter().find(is_sample).unwrap_or_else(|| panic!("no row for {line}"))
}

fn sample_name(line: &str) -> &str {
    line.split(['{', ' ']).next().unwrap()
}

/// The label names of a line of the text format, without a bucket's bound; none of our values has a quote in it.
fn labels_of(line: &str) -> BTreeSet<&str> {
    let Some((_, rest)) = line.split_once('{') else { return BTreeSet::new() };
    let (labels, _) = rest.rsplit_once('}').unwrap();
    labels.split("\",").map(|label| label.split_once('=').unwrap().0).filter(|label| *label != "le").collect()
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "a judge is named, and a skipped test says what it needs")]
async fn promtool_finds_nothing_in_our_metrics() {
    let server = used().await;
    let text = scrape(&server).await;
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = spawned else {
        println!("skipped: needs promtool (Debian package prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    println!("judge: promtool check metrics found nothing in {} lines", text.lines().count());
}

#[test]
fn every_metric_in_the_code_has_a_row_and_every_row_a_metric() {
    let mut used = BTreeSet::new();
    for of_crate in std::fs::read_dir(workspace().join("crates")).unwrap() {
        names_in(&of_crate.unwrap().path().join("src"), &mut used);
    }
    let rows: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(used, rows);
    assert!(METRICS.is_sorted_by_key(|metric| metric.name), "the table is sorted by name");
    for Metric { name, help, .. } in METRICS {
        assert!(help.ends_with('.') && help.len() > 20, "{name}: {help}");
    }
}

/// The metrics' names among the string literals of the sources below `directory`, the table itself left out.
fn names_in(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names_in(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("wiring/metric_table.rs")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            names.extend(
                text.split('"')
                    .filter(|literal| {
                        (literal.starts_with("countersign_") || literal.starts_with("http_server_"))
                            && literal
                                .chars()
                                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                    })
                    .map(str::to_owned),
            );
        }
    }
}

#[test]
fn the_page_of_metrics_is_made_from_the_table() {
    let page = workspace().join("docs/metrics.md");
    if update() {
        std::fs::write(&page, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/metrics.md is stale: run UPDATE=1 cargo test -p countersign page_of_metrics"
    );
}
