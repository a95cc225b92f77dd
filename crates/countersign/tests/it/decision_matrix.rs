//! Every kind of caller against every kind of route, as `tests/decision-matrix.txt` has it: a change of a cell is a line
//! of a diff, to be reviewed against the precedence of the reason codes (docs/reason-codes.md).
//!
//! Rewritten by `UPDATE=1 cargo test -p countersign --test it decision_matrix`.

use countersign_model::Clock;
use countersign_testkit::client::Connection;
use countersign_testkit::foreign::{ForeignAuthority, Leaf, self_signed};
use countersign_testkit::server::{CLIENTS_CA, access_token};
use countersign_testkit::{Answer, Identity, TestServer};
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/decision-matrix.txt");

/// The columns: a name that says what the route asks for, and a path on it. What `rate_limit` adds is no column, because
/// it depends on what was called before: see `requests.rs`.
const COLUMNS: [(&str, &str); 9] = [
    ("required, bound", "/data/x"),
    ("optional, bound", "/optional-bound/x"),
    ("optional, bearer", "/optional-bearer/x"),
    ("off, bearer", "/off-bearer/x"),
    ("required, bound, only acme", "/only-acme/x"),
    ("scope pay:write", "/pay/x"),
    ("sandbox: required, bound", "/test/strict/x"),
    ("sandbox: required, bound, internal", "/test/required/x"),
    ("sandbox: optional, bearer, internal", "/test/data/x"),
];

const HEAD: &str = "\
# What each kind of caller gets on each kind of route: status and reason code, or the end of the TLS handshake.
# Compared by crates/countersign/tests/it/decision_matrix.rs, over HTTP/1.1 and HTTP/2; rewritten with
#   UPDATE=1 cargo test -p countersign --test it decision_matrix
# Routes of the first six columns belong to production. They need data:read where nothing else is said.
# Clients have data:read, and acme pay:write as well.
";

/// Who calls, and with what.
struct Caller<'a> {
    name: &'static str,
    connects: Connects<'a>,
    headers: Vec<(&'static str, String)>,
    query: &'static str,
}

enum Connects<'a> {
    With(Option<&'a Identity>),
    /// On connections that are open since before the certificate expired.
    Since(&'a mut HashMap<(usize, bool), Connection>),
    /// Does not get to speak.
    Refused(&'a Identity),
}

impl<'a> Caller<'a> {
    fn new(name: &'static str, identity: Option<&'a Identity>) -> Self {
        Self { name, connects: Connects::With(identity), headers: Vec::new(), query: "" }
    }

    fn refused(name: &'static str, identity: &'a Identity) -> Self {
        Self { connects: Connects::Refused(identity), ..Self::new(name, None) }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    fn internal(self, client_id: &str, client_secret: &str) -> Self {
        self.header("client_id", client_id).header("client_secret", client_secret)
    }

    async fn answer(&mut self, server: &TestServer, column: usize, http2: bool) -> Answer {
        let path = format!("{}{}", COLUMNS[column].1, self.query);
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match &mut self.connects {
            Connects::With(identity) => {
                let caller = server.caller(*identity);
                let caller = if http2 { caller.http2() } else { caller };
                let answer = caller.get(&path, &headers).await;
                answer.unwrap_or_else(|none| panic!("{}, {path}, HTTP/2: {http2}: {none:?}", self.name))
            }
            Connects::Since(connections) => {
                let connection = connections.get_mut(&(column, http2)).unwrap();
                connection.send(http::Method::GET, &path, &headers, "").await.unwrap()
            }
            Connects::Refused(_) => panic!("{}: the handshake is no request", self.name),
        }
    }
}

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
fn the_matrix_has_no_empty_cell() {
    let matrix = std::fs::read_to_string(PATH).unwrap();
    let rows: Vec<_> = matrix.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    for row in rows {
        let cells: Vec<_> = row.split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 1 + COLUMNS.len(), "{row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
    }
}

/// Makes everybody there is, asks everything, and says how many requests went through.
async fn matrix(server: &TestServer) -> (String, usize) {
    let tls = "tls_client_auth";
    server.add_client("aged-bank", "production", tls, &["data:read"]).await;
    let aged = server.certificate("aged-bank").await;
    server.clock.advance_s(30 * 86_400 - 60);

    server.add_client("acme-pay", "production", tls, &["data:read", "pay:write"]).await;
    for client in ["other-bank", "lost-bank", "gone-bank"] {
        server.add_client(client, "production", tls, &["data:read"]).await;
    }
    let post = "client_secret_post";
    let shop_secret = server.add_client("web-shop", "production", post, &["data:read"]).await.unwrap();
    let turned_secret = server.add_client("turned-shop", "production", post, &["data:read"]).await.unwrap();
    server.add_client("test-bank", "sandbox", tls, &["data:read"]).await;
    let test_secret = server.add_client("test-shop", "sandbox", post, &["data:read"]).await.unwrap();
    let gone_secret = server.add_client("test-gone", "sandbox", post, &["data:read"]).await.unwrap();

    let acme = server.certificate("acme-pay").await;
    let renewed = server.certificate("acme-pay").await;
    let other = server.certificate("other-bank").await;
    let lost = server.certificate("lost-bank").await;
    let gone = server.certificate("gone-bank").await;
    let shop = server.certificate("web-shop").await;
    let test_bank = server.certificate("test-bank").await;
    let test_shop = server.certificate("test-shop").await;

    let lost_token = server.bound_token("lost-bank", &lost).await;
    assert_eq!(server.revoke(&lost, "keyCompromise").await.status, 200);
    let gone_token = server.bound_token("gone-bank", &gone).await;
    for client in ["gone-bank", "test-gone"] {
        let path = format!("/admin/v1/clients/{client}/disable");
        let answer = server.administer(http::Method::POST, &path, &serde_json::Value::Null).await;
        assert_eq!(answer.status, 200);
    }

    let aged_token = server.bound_token("aged-bank", &aged).await;
    let mut open = HashMap::new();
    for column in 0..COLUMNS.len() {
        let caller = server.caller(Some(&aged));
        for (http2, caller) in [(false, caller.clone()), (true, caller.http2())] {
            let mut connection = caller.connect().await.unwrap();
            // An answer shows that the server has seen the certificate, which with TLS 1.3 is after the client is done.
            connection.send(http::Method::GET, "/data/x", &[], "").await.unwrap();
            open.insert((column, http2), connection);
        }
    }
    server.clock.advance_s(120);

    let now = server.clock.now();
    let leaf = Leaf {
        uri: "https://localhost/clients/acme-pay",
        not_before: now.plus_s(-3600),
        not_after: now.plus_s(3600),
        for_servers: false,
    };
    let stolen = server.stolen_authority().await;
    let early = stolen.issue(Leaf { not_before: now.plus_s(600), ..leaf });
    let same_name = ForeignAuthority::new(CLIENTS_CA.0, CLIENTS_CA.1).issue(leaf);
    let alone = self_signed(leaf);
    let for_servers = stolen.issue(Leaf { for_servers: true, ..leaf });
    let weak = stolen.issue_weak(leaf);
    let unregistered = stolen.issue(Leaf { uri: "https://localhost/clients/nobody", ..leaf });

    let acme_token = server.bound_token("acme-pay", &acme).await;
    let other_token = server.bound_token("other-bank", &other).await;
    let shop_token = server.bearer_token("web-shop", &shop_secret).await;
    let turned_token = server.bearer_token("turned-shop", &turned_secret).await;
    let rotate = "/admin/v1/clients/turned-shop/rotate-secret";
    let rotated = server.administer(http::Method::POST, rotate, &json!({ "overlap_s": 0 })).await;
    assert_eq!(rotated.status, 200);
    let test_bank_token = server.bound_token("test-bank", &test_bank).await;
    let test_shop_token = server.bearer_token("test-shop", &test_secret).await;
    let form = "grant_type=client_credentials&client_id=acme-pay&scope=pay:write";
    let pay_token = access_token(&server.ask_token(Some(&acme), form).await);

    let header = server.token_header();
    let good = server.token_claims("acme-pay", Some(&acme), "data:read pay:write");
    let forge = async |change: serde_json::Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        server.sign_token(&header, &claims).await
    };
    let now_s = now.unix_s();
    let wrong_audience = forge(json!({ "aud": "https://localhost/cards" })).await;
    let wrong_issuer = forge(json!({ "iss": "https://localhost:8443" })).await;
    let expired = forge(json!({ "iat": now_s - 600, "exp": now_s - 300 })).await;
    let too_early = forge(json!({ "iat": now_s + 100 })).await;
    let proof_bound = forge(json!({ "cnf": { "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } })).await;
    let unbound = server.token_claims("acme-pay", None, "data:read pay:write");
    let unbound = server.sign_token(&header, &unbound).await;
    let basic = |id: &str, secret: &str| {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}")))
    };

    let c = Caller::new;
    let callers = vec![
        c("nothing at all", None),
        c("certificate only", Some(&acme)),
        c("certificate only, of a sandbox client", Some(&test_bank)),
        c("certificate only, of a disabled client", Some(&gone)),
        c("revoked certificate only", Some(&lost)),
        c("revoked certificate, its token", Some(&lost)).token(&lost_token),
        c("token of a revoked certificate, no certificate", None).token(&lost_token),
        c("revoked certificate, another's token", Some(&lost)).token(&acme_token),
        c("revoked certificate, internal credentials", Some(&lost)).internal("test-shop", &test_secret),
        Caller {
            connects: Connects::Since(&mut open),
            ..c("certificate expired while connected, its token", None).token(&aged_token)
        },
        Caller::refused("expired certificate", &aged),
        Caller::refused("certificate not yet valid", &early),
        Caller::refused("certificate of another CA of the same name", &same_name),
        Caller::refused("self-signed certificate", &alone),
        Caller::refused("certificate of ours for servers", &for_servers),
        Caller::refused("certificate of ours with a weak key", &weak),
        c("certificate of ours for no client", Some(&unregistered)),
        c("certificate of ours for no client, bearer token", Some(&unregistered)).token(&shop_token),
        c("bound token, right certificate", Some(&acme)).token(&acme_token),
        c("bound token, right certificate, of other-bank", Some(&other)).token(&other_token),
        c("bound token, renewed certificate", Some(&renewed)).token(&acme_token),
        c("bound token, another client's certificate", Some(&other)).token(&acme_token),
        c("bound token, no certificate", None).token(&acme_token),
        c("bound token, a sandbox client's certificate", Some(&test_bank)).token(&acme_token),
        c("bearer token, no certificate", None).token(&shop_token),
        c("bearer token of a secret that was ended", None).token(&turned_token),
        c("bearer token, right certificate", Some(&shop)).token(&shop_token),
        c("bearer token, another client's certificate", Some(&acme)).token(&shop_token),
        c("bearer token of a client that has a certificate", Some(&acme)).token(&unbound),
        c("sandbox bound token, right certificate", Some(&test_bank)).token(&test_bank_token),
        c("sandbox bound token, no certificate", None).token(&test_bank_token),
        c("sandbox bound token, a production certificate", Some(&acme)).token(&test_bank_token),
        c("sandbox bearer token, no certificate", None).token(&test_shop_token),
        c("sandbox bearer token, right certificate", Some(&test_shop)).token(&test_shop_token),
        c("sandbox bearer token, a production certificate", Some(&acme)).token(&test_shop_token),
        c("token with the scope pay:write only", Some(&acme)).token(&pay_token),
        c("token for another audience", Some(&acme)).token(&wrong_audience),
        c("token of another issuer", Some(&acme)).token(&wrong_issuer),
        c("expired token", Some(&acme)).token(&expired),
        c("expired token, another client's certificate", Some(&other)).token(&expired),
        c("token not yet valid", Some(&acme)).token(&too_early),
        c("token bound to a DPoP key", Some(&acme)).token(&proof_bound),
        c("token of a disabled client, right certificate", Some(&gone)).token(&gone_token),
        c("token of a disabled client, no certificate", None).token(&gone_token),
        c("token that is none", Some(&acme)).token("rubbish"),
        c("Authorization of another scheme", Some(&acme))
            .header("authorization", format!("DPoP {acme_token}")),
        c("two tokens", Some(&acme)).token(&acme_token).token(&acme_token),
        Caller { query: "?access_token=x", ..c("token in the query", Some(&acme)) },
        Caller { query: "?access_token=x", ..c("token in the query and in Authorization", Some(&acme)) }
            .token(&acme_token),
        c("bound token and internal credentials", Some(&acme))
            .token(&acme_token)
            .internal("test-shop", &test_secret),
        c("internal credentials", None).internal("test-shop", &test_secret),
        c("internal credentials by Basic", None).header("authorization", basic("test-shop", &test_secret)),
        c("internal credentials, right certificate", Some(&test_shop)).internal("test-shop", &test_secret),
        c("internal credentials, another's certificate", Some(&test_bank))
            .internal("test-shop", &test_secret),
        c("internal credentials, a production certificate", Some(&acme)).internal("test-shop", &test_secret),
        c("internal credentials, wrong secret", None).internal("test-shop", "cs_wrong"),
        c("internal credentials, unknown client", None).internal("nobody", &test_secret),
        c("internal credentials, disabled client", None).internal("test-gone", &gone_secret),
        c("internal credentials of a production client", None).internal("web-shop", &shop_secret),
        c("client_id without client_secret", None).header("client_id", "test-shop"),
        c("client_secret without client_id", None).header("client_secret", &test_secret),
        c("internal credentials twice", None)
            .internal("test-shop", &test_secret)
            .internal("test-shop", &test_secret),
    ];

    let mut rows = vec![vec!["caller".to_owned()]];
    rows[0].extend(COLUMNS.map(|(name, _)| name.to_owned()));
    let mut forwarded = 0;
    for mut caller in callers {
        let mut row = vec![caller.name.to_owned()];
        if let Connects::Refused(identity) = caller.connects {
            // The handshake knows no route: one refusal stands for all of them.
            row.extend(vec![handshake(server, identity).await; COLUMNS.len()]);
        } else {
            for column in 0..COLUMNS.len() {
                let cells =
                    [caller.answer(server, column, false).await, caller.answer(server, column, true).await]
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
