//! Every kind of caller against every kind of route, as `tests/decision-matrix.txt` has it: a change of a cell is a line
//! of a diff, to be reviewed against the precedence of the reason codes (docs/reason-codes.md).
//!
//! Rewritten by `UPDATE=1 cargo test -p countersign --test it decision_matrix`.

mod callers;

use callers::{Caller, Connects, People};
use countersign_testkit::{Answer, Identity, TestServer};
use std::fmt::Write;
use std::path::Path;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/decision-matrix.txt");

/// The columns: a name that says what the route asks for, and a path on it. What `rate_limit` adds is no column, because
/// it depends on what was called before: see `requests.rs`.
const COLUMNS: [(&str, &str); 13] = [
    ("required, bound", "/data/x"),
    ("optional, bound", "/optional-bound/x"),
    ("optional, bearer", "/optional-bearer/x"),
    ("off, bearer", "/off-bearer/x"),
    ("required, bound, only acme", "/only-acme/x"),
    ("scope pay:write", "/pay/x"),
    ("sandbox: required, bound", "/test/strict/x"),
    ("sandbox: required, bound, internal", "/test/required/x"),
    ("sandbox: optional, bound", "/test/optional-bound/x"),
    ("sandbox: optional, bearer", "/test/bearer/x"),
    ("sandbox: optional, bearer, internal", "/test/data/x"),
    ("sandbox: off, bearer, internal", "/test/off/x"),
    ("sandbox: optional, bearer, internal, only test-bank", "/test/only-bank/x"),
];

const HEAD: &str = "\
# What each kind of caller gets on each kind of route: status and reason code, or the end of the TLS handshake.
# Compared by crates/countersign/tests/it/decision_matrix.rs, over HTTP/1.1 and HTTP/2; rewritten with
#   UPDATE=1 cargo test -p countersign --test it decision_matrix
# Routes of the first six columns belong to production. They need data:read where nothing else is said.
# Clients have data:read, and acme and test-bank pay:write as well.
";

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_caller_gets_what_the_matrix_says() {
    let server = TestServer::start().await;
    let (matrix, forwarded) = matrix(&server).await;
    assert_eq!(server.upstream.requests(), forwarded, "only what is answered with 200 reaches the upstream");

    let path = Path::new(PATH);
    #[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the product")]
    let update = std::env::var_os("UPDATE").is_some();
    if update {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &matrix).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let differing: Vec<_> = matrix
        .lines()
        .zip(expected.lines().chain(std::iter::repeat("")))
        .filter(|(is, was)| is != was)
        .map(|(is, was)| format!("- {was}\n+ {is}"))
        .collect();
    assert!(
        matrix == expected,
        "decisions have changed; review them, then UPDATE=1\n{}",
        differing.join("\n")
    );
}

#[test]
fn the_matrix_has_no_empty_cell_and_no_blind_column() {
    let matrix = std::fs::read_to_string(PATH).unwrap();
    let rows: Vec<Vec<&str>> = matrix
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() > 80, "{}", rows.len());
    for row in &rows {
        assert_eq!(row.len(), 1 + COLUMNS.len(), "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
    // A column whose callers all fail earlier would not show that a later check is gone.
    for (column, (name, _)) in COLUMNS.iter().enumerate() {
        for seen in ["200", "401 token_expired", "401 token_audience_wrong", "403 token_scope_insufficient"] {
            assert!(rows.iter().any(|row| row[1 + column] == seen), "{name}: {seen} is in no cell");
        }
    }
}

/// Asks everything of everybody, and says how many requests went through.
async fn matrix(server: &TestServer) -> (String, usize) {
    let mut people = People::meet(server).await;
    let mut rows = vec![vec!["caller".to_owned()]];
    rows[0].extend(COLUMNS.map(|(name, _)| name.to_owned()));
    let mut forwarded = 0;
    for mut caller in people.callers() {
        let mut row = vec![caller.name.clone()];
        if let Connects::Refused(identity) = caller.connects {
            // The handshake knows no route: one refusal stands for all of them.
            row.extend(vec![handshake(server, identity).await; COLUMNS.len()]);
        } else {
            for column in 0..COLUMNS.len() {
                let cells = [
                    answer(&mut caller, server, column, false).await,
                    answer(&mut caller, server, column, true).await,
                ]
                .map(|answer| cell(&answer));
                assert_eq!(cells[0], cells[1], "{}: HTTP/1.1 and HTTP/2 differ", caller.name);
                forwarded += if cells[0] == "200" { 2 } else { 0 };
                row.push(cells[0].clone());
            }
        }
        rows.push(row);
    }
    (format!("{HEAD}\n{}", aligned(&rows)), forwarded)
}

async fn answer(caller: &mut Caller<'_>, server: &TestServer, column: usize, http2: bool) -> Answer {
    let path = format!("{}{}", COLUMNS[column].1, caller.query);
    let headers: Vec<_> = caller.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    match &mut caller.connects {
        Connects::With(identity) => {
            let client = server.caller(*identity);
            let client = if http2 { client.http2() } else { client };
            let answer = client.get(&path, &headers).await;
            answer.unwrap_or_else(|none| panic!("{}, {path}, HTTP/2: {http2}: {none:?}", caller.name))
        }
        Connects::Since(connections) => {
            let connection = connections.get_mut(&(column, http2)).unwrap();
            connection.send(http::Method::GET, &path, &headers, "").await.unwrap()
        }
        Connects::Refused(_) => panic!("{}: the handshake is no request", caller.name),
    }
}

fn cell(answer: &Answer) -> String {
    match answer.code() {
        Some(code) => format!("{} {code}", answer.status),
        None => answer.status.to_string(),
    }
}

/// The reason that was recorded for the certificate whose handshake ended in an alert.
async fn handshake(server: &TestServer, identity: &Identity) -> String {
    assert!(server.caller(Some(identity)).alert().await.is_some(), "the handshake is not refused");
    let record = server.handshake_refusal(identity).await;
    format!("tls-alert {}", record["reason"].as_str().unwrap())
}

fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$} | ").unwrap();
        }
        writeln!(text, "{}", line.trim_end_matches([' ', '|'])).unwrap();
    }
    text
}
