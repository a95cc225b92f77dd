//! The audit log of the whole server: every outcome is found under the reference that its caller got, nothing secret is
//! anywhere, and what somebody changes shows (design, decision 18).

use countersign_audit::{AuditLog, Entry, Filter, Head, LogSettings, LossCause, Lost, RecordHash};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::operator::Role;
use countersign_model::{Clock, Reference};
use countersign_storage::stores::AuditOutbox;
use countersign_storage_sql::{Options, SqliteStore};
use countersign_testkit::foreign::{ForeignAuthority, Leaf};
use countersign_testkit::{Client, SeededRng, TestClock, TestServer};
use http::Method;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use tracing_subscriber::fmt::MakeWriter;

/// What the log of this process wrote, from the first test that asked on.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

pub(crate) fn captured_log() -> &'static Captured {
    static LOG: OnceLock<Captured> = OnceLock::new();
    LOG.get_or_init(|| {
        let captured = Captured::default();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(captured.clone())
            .json()
            .init();
        captured
    })
}

/// Every file under `directory`, but for those with these names.
fn files(directory: &Path, except: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path, except));
        } else if !except.contains(&name.as_str()) {
            found.push(path);
        }
    }
    found
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn rule_i4_every_token_issued_or_refused_is_recorded_with_the_exact_reason() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await;

    let token = server.bound_token("acme-pay", &acme).await;
    let issued = server.audit("token_issued").await;
    assert_eq!(issued.len(), 1);
    let (record, claims) = (&issued[0], claims(&token));
    assert_eq!((&record["jti"], &record["client"]), (&claims["jti"], &json!("acme-pay")));
    assert_eq!((&record["audience"], &record["scope"]), (&json!("https://localhost/"), &json!("data:read")));
    assert_eq!(record["credential"], claims["countersign"]["credential"]);
    assert_eq!(record["certificate"]["thumbprint"], claims["cnf"]["x5t#S256"]);
    assert_eq!((&record["auth_method"], &record["source"]), (&json!("tls_client_auth"), &json!("127.0.0.1")));
    assert_eq!(record["certificate"]["issuer"], "clients");

    let form = |client: &str, secret: &str| {
        format!("grant_type=client_credentials&client_id={client}&client_secret={secret}")
    };
    let cases = [
        (form("test-shop", "cs_wrong"), None, "client_secret_wrong", "client_authentication_failed"),
        (form("nobody", "cs_wrong"), None, "client_unknown", "client_authentication_failed"),
        (form("acme-pay", "cs_wrong"), None, "client_method_wrong", "client_authentication_failed"),
        ("grant_type=password".to_owned(), None, "grant_type_unsupported", "grant_type_unsupported"),
        (
            "grant_type=client_credentials&client_id=acme-pay&scope=pay:write".to_owned(),
            Some(&acme),
            "scope_not_allowed",
            "scope_not_allowed",
        ),
    ];
    for (form, identity, exact, public) in cases {
        let refused = server.ask_token(identity, &form).await;
        assert_eq!(refused.code().as_deref(), Some(public), "{form}");
        let record = server.explanation(&refused).await;
        assert_eq!(
            (&record["action"], &record["reason"]),
            (&json!("token_refused"), &json!(exact)),
            "{form}"
        );
        assert_eq!(record["ref"], refused.header("countersign-ref"));
        assert_eq!(record["source"], "127.0.0.1");
    }
}

#[tokio::test]
async fn every_denial_of_the_gateway_is_found_under_the_reference_that_the_caller_got() {
    let server = TestServer::start().await;
    for client in ["acme-pay", "other-bank"] {
        server.add_client(client, "production", "tls_client_auth", &["data:read"]).await;
    }
    let (acme, other) = (server.certificate("acme-pay").await, server.certificate("other-bank").await);
    let token = server.bound_token("acme-pay", &acme).await;
    let thumbprint = |identity: &countersign_testkit::Identity| {
        json!(countersign_pki::thumbprint(&identity.chain[0]).to_string())
    };
    let denied = [
        (server.call(None, "/data/x?token_hint=secret", &token).await, "token_certificate_missing", None),
        (server.call(Some(&other), "/data/x", &token).await, "token_certificate_mismatch", Some(&other)),
        (server.call(Some(&acme), "/pay/x", &token).await, "token_scope_insufficient", Some(&acme)),
        (server.caller(Some(&acme)).get("/data/x", &[]).await.unwrap(), "token_missing", Some(&acme)),
        (server.caller(None).get("/nowhere", &[]).await.unwrap(), "route_not_found", None),
    ];
    for (answer, code, identity) in denied {
        assert_eq!(answer.code().as_deref(), Some(code));
        let record = server.explanation(&answer).await;
        assert_eq!((&record["action"], &record["reason"]), (&json!("request_refused"), &json!(code)));
        assert_eq!((&record["listener"], &record["sni"]), (&json!("public"), &json!("localhost")));
        assert_eq!(record["certificate"]["thumbprint"], identity.map_or(Value::Null, thumbprint), "{code}");
        // A token in other hands names its client; who proved to be it is the actor.
        let actor = match code {
            "token_scope_insufficient" => json!({ "kind": "client", "name": "acme-pay" }),
            _ => json!({ "kind": "anonymous" }),
        };
        assert_eq!(record["actor"], actor, "{code}");
        assert_eq!(record["client"] == "acme-pay", code.starts_with("token_") && code != "token_missing");
        assert!(!record["path"].as_str().unwrap().contains('?'), "a query may carry anything: {record}");
    }
    server.revoke(&acme, "keyCompromise").await;
    let revoked = server.call(Some(&acme), "/data/x", &token).await;
    assert_eq!(server.explanation(&revoked).await["reason"], "certificate_revoked");
}

#[tokio::test]
async fn rule_t11_a_failed_handshake_is_recorded_with_reason_name_address_and_certificate() {
    let server = TestServer::start().await;
    let foreign = ForeignAuthority::new("Countersign", "Countersign Client CA").issue(Leaf {
        uri: "https://localhost/clients/acme-pay",
        not_before: countersign_testkit::server::BEGIN.plus_days(-1),
        not_after: countersign_testkit::server::BEGIN.plus_days(1),
        for_servers: false,
    });
    assert_eq!(server.caller(Some(&foreign)).alert().await.as_deref(), Some("unknown_ca"));
    let record = server.handshake_refusal(&foreign).await;
    assert_eq!(server.audit("handshake_refused").await.len(), 1);
    assert_eq!(
        (&record["reason"], &record["sni"]),
        (&json!("certificate_unknown_issuer"), &json!("localhost"))
    );
    assert_eq!((&record["source"], &record["listener"]), (&json!("127.0.0.1"), &json!("public")));
}

#[tokio::test]
async fn rule_t11_a_handshake_that_the_client_ends_has_its_reason() {
    let server = TestServer::start().await;
    let caller = server.caller(None);
    for (number, reason, alert) in [
        (48, "tls_server_untrusted", "unknown_ca"),
        (45, "tls_server_expired", "certificate_expired"),
        (51, "tls_alert_received", "decrypt_error"),
        (70, "tls_incompatible", "protocol_version"),
    ] {
        caller.say_instead_of_a_handshake(&[21, 3, 3, 0, 2, 2, number]).await;
        let record = server.recorded("handshake_refused", |record| record["reason"] == reason).await;
        assert_eq!(record["detail"], format!("alert {alert}"));
    }
    caller.say_instead_of_a_handshake(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    server.recorded("handshake_refused", |record| record["reason"] == "tls_invalid").await;
    caller.leave_in_handshake().await;
    let left =
        server.recorded("handshake_refused", |record| record["reason"] == "tls_handshake_abandoned").await;
    assert_eq!((&left["sni"], &left["listener"]), (&json!("localhost"), &json!("public")));
}

#[tokio::test]
async fn records_are_found_by_interaction_id_token_source_time_and_page() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    server.bound_token("acme-pay", &acme).await;
    let headers = [("x-fapi-interaction-id", "c770aef3-6784-41f7-8e0e-ff5f97bddb3a")];
    let refused = server.caller(Some(&acme)).get("/data/x", &headers).await.unwrap();
    let ask = async |path: &str| server.administer(Method::GET, path, &Value::Null).await;
    let records = async |path: &str| ask(path).await.json()["records"].as_array().unwrap().clone();
    let of_interaction = records("/admin/v1/audit/C770AEF3-6784-41f7-8e0e-ff5f97bddb3a").await;
    assert_eq!(of_interaction[0]["ref"], refused.header("countersign-ref"));
    let lower = refused.header("countersign-ref").to_ascii_lowercase();
    assert_eq!(records(&format!("/admin/v1/audit/{lower}")).await[0]["reason"], "token_missing");
    let jti = records("/admin/v1/audit?action=token_issued").await[0]["jti"].as_str().unwrap().to_owned();
    assert_eq!(records(&format!("/admin/v1/audit/{jti}")).await[0]["action"], "token_issued");
    assert_eq!(ask("/admin/v1/audit/nothing").await.status, 404);

    assert!(!records("/admin/v1/audit?source=127.0.0.0/8").await.is_empty());
    assert!(records("/admin/v1/audit?source=192.0.2.7").await.is_empty());
    assert_eq!(ask("/admin/v1/audit?source=here").await.status, 400);
    let now = server.clock.now();
    assert!(records(&format!("/admin/v1/audit?since={}", now.plus_s(1))).await.is_empty());
    assert!(!records(&format!("/admin/v1/audit?until={}", now.plus_s(1))).await.is_empty());
    let all = records("/admin/v1/audit?limit=1000").await;
    let (mut paged, mut before) = (Vec::new(), String::new());
    loop {
        let page = ask(&format!("/admin/v1/audit?limit=2{before}")).await.json();
        paged.extend(page["records"].as_array().unwrap().clone());
        match page["next"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn every_change_is_recorded_with_the_operator_who_made_it() {
    let server = TestServer::start().await;
    let token = format!("Bearer {}", server.add_operator("ann", Role::Admin).await);
    let call = async |path: &str, body: Value| {
        let answer = server.call_admin(Method::POST, path, Some(&token), &body.to_string()).await;
        assert!(answer.status < 300, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    };
    let shop = json!({ "client_id": "test-shop", "environment": "sandbox", "auth_method": "client_secret_post", "scopes": ["data:read"] });
    call("/admin/v1/clients", shop).await;
    call("/admin/v1/clients/test-shop/rotate-secret", json!({})).await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let thumbprint = countersign_pki::thumbprint(&acme.chain[0]);
    call(&format!("/admin/v1/certificates/{thumbprint}/revoke"), json!({ "reason": "superseded" })).await;
    call("/admin/v1/clients/test-shop/disable", json!({})).await;
    call("/admin/v1/token-keys/rotate", json!({})).await;
    for (action, client) in [
        ("client_added", Some("test-shop")),
        ("client_secret_rotated", Some("test-shop")),
        ("certificate_revoked", Some("acme-pay")),
        ("client_disabled", Some("test-shop")),
        ("token_key_rotated", None),
    ] {
        let records = server.audit(action).await;
        let by_ann: Vec<_> = records.iter().filter(|record| record["actor"]["name"] == "ann").collect();
        assert_eq!(by_ann.len(), 1, "{action}: {records:?}");
        assert_eq!(by_ann[0]["client"].as_str(), client, "{action}");
        assert!(by_ann[0].get("reason").is_none(), "it was done");
    }
    let issued = server.audit("certificate_issued").await;
    let of_acme: Vec<_> = issued.iter().filter(|record| record["client"] == "acme-pay").collect();
    assert_eq!(of_acme.len(), 1);
    assert_eq!(of_acme[0]["actor"], json!({ "kind": "operator", "name": "tester" }));
    assert_eq!(of_acme[0]["certificate"]["thumbprint"], thumbprint.to_string());
    assert_eq!(server.audit("certificate_revoked").await[0]["detail"], "superseded");
    assert_eq!(server.audit("started").await.len(), 1);
    let server = server.restart().await;
    assert_eq!((server.audit("stopped").await.len(), server.audit("started").await.len()), (1, 2));
}

/// Invariant 4: whatever was handed to somebody once is nowhere on the disk and in no log.
#[tokio::test]
async fn no_secret_token_or_key_is_anywhere_in_the_audit_log_the_log_and_the_database() {
    let log = captured_log();
    let server = TestServer::start().await;
    let operator = server.add_operator("ann", Role::Operator).await;
    let secret =
        server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await.unwrap();
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let (bound, bearer) =
        (server.bound_token("acme-pay", &acme).await, server.bearer_token("test-shop", &secret).await);
    let rotated =
        server.administer(Method::POST, "/admin/v1/clients/test-shop/rotate-secret", &json!({})).await;
    let rotated = rotated.json()["client_secret"].as_str().unwrap().to_owned();

    // Right and wrong, in every place where somebody may put them.
    assert_eq!(server.call(Some(&acme), "/data/x", &bound).await.status, 200);
    assert_eq!(server.call(None, "/data/x", &bound).await.status, 401);
    assert_eq!(server.call(None, "/data/x", &format!("{bearer}x")).await.status, 401);
    assert_eq!(
        server.caller(None).get(&format!("/data/x?access_token={bound}"), &[]).await.unwrap().status,
        400
    );
    let internal = [("client_id", "test-shop"), ("client_secret", secret.as_str())];
    assert_eq!(server.caller(None).get("/test/data/x", &internal).await.unwrap().status, 200);
    assert_eq!(server.caller(None).get("/data/x", &internal).await.unwrap().status, 401);
    let form = format!("grant_type=client_credentials&client_id=nobody&client_secret={rotated}");
    assert_eq!(server.ask_token(None, &form).await.status, 400);
    let path = format!("/oauth2/token?client_secret={rotated}");
    server.caller(None).send(Method::POST, &path, &[], "").await.unwrap();
    for bad in [&secret, &operator] {
        let authorization = format!("Bearer {bad}");
        server.call_admin(Method::GET, "/admin/v1/clients/nobody", Some(&authorization), "").await;
        // Somebody takes the admin API for the token endpoint.
        let body = json!({ "client_id": "x", "client_secret": bad }).to_string();
        server.call_admin(Method::POST, "/admin/v1/clients", Some(&authorization), &body).await;
    }

    let master = std::fs::read_to_string(server.directory().join("master.key")).unwrap().trim().to_owned();
    let administrator = std::fs::read_to_string(server.directory().join("admin.token")).unwrap();
    let stopped = server.stop().await;
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let secrets = [
        ("the first secret", secret),
        ("the second secret", rotated),
        ("an operator's token", operator),
        ("the administrator's token", administrator),
        ("the signature of a bound token", signature(&bound)),
        ("the signature of a bearer token", signature(&bearer)),
        ("the master key", master),
    ];
    let mut places: Vec<(String, Vec<u8>)> = files(stopped.directory(), &["master.key", "admin.token"])
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    assert!(places.iter().any(|(path, _)| path.contains("/audit/")) && places.len() >= 2, "{places:?}");
    let logged = log.0.lock().unwrap().clone();
    assert!(
        contains(&logged, b"DENY") && contains(&logged, b"token_certificate_missing"),
        "the log was captured"
    );
    places.push(("the log".to_owned(), logged));
    for (place, content) in &places {
        for (what, secret) in &secrets {
            assert!(!contains(content, secret.as_bytes()), "{what} is in {place}");
        }
        for marker in ["-----BEGIN PRIVATE KEY", "-----BEGIN EC PRIVATE KEY"] {
            assert!(!contains(content, marker.as_bytes()), "a private key in {place}");
        }
    }
}

async fn verification(server: &TestServer) -> Value {
    let answer = server.administer(Method::GET, "/admin/v1/audit/verification", &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// The last segment of the log.
fn segment(directory: &Path) -> PathBuf {
    let mut segments = files(&directory.join("audit"), &[]);
    segments.retain(|path| std::fs::metadata(path).unwrap().len() > 100);
    segments.sort();
    segments.pop().unwrap()
}

#[tokio::test]
async fn verification_finds_a_changed_byte_and_a_cut_tail_also_after_a_restart() {
    for (what, tamper) in [
        ("a changed byte", (|text: &str| text.replacen("acme-pay", "acme-pax", 1)) as fn(&str) -> String),
        ("a cut tail", |text| {
            text.lines()
                .rev()
                .skip(1)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .fold(String::new(), |t, l| t + l + "\n")
        }),
        ("a line left out", |text| {
            text.lines().enumerate().filter(|(i, _)| *i != 2).fold(String::new(), |t, (_, l)| t + l + "\n")
        }),
    ] {
        let server = TestServer::start().await;
        server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
        server.certificate("acme-pay").await;
        let intact = verification(&server).await;
        assert_eq!((&intact["intact"], &intact["findings"]), (&json!(true), &json!([])), "{what}: {intact}");
        assert!(intact["records"].as_u64().unwrap() >= 6, "{intact}");
        let stopped = server.stop().await;
        let path = segment(stopped.directory());
        let before = std::fs::read_to_string(&path).unwrap();
        let after = tamper(&before);
        assert_ne!(before, after, "{what}");
        std::fs::write(&path, after).unwrap();
        let server = stopped.start("").await;
        let found = verification(&server).await;
        assert_eq!(found["intact"], false, "{what}: {found}");
        assert!(!found["findings"].as_array().unwrap().is_empty(), "{what}");
        let found_again = verification(&server.restart().await).await;
        assert_eq!(found_again["intact"], false, "{what}: the chain does not heal");
    }
}

/// The head that a server which was stopped in order left, with nothing in its outbox.
async fn stored_head(directory: &Path, clock: Arc<TestClock>) -> Head {
    let store = SqliteStore::open(&directory.join("countersign.db"), Options::new(clock)).await.unwrap();
    assert!(store.outbox(10).await.unwrap().is_empty());
    let stored = store.audit_head("node").await.unwrap().unwrap();
    store.close().await.unwrap();
    Head { sequence: stored.sequence, hash: RecordHash(stored.hash) }
}

/// A log can be intact and yet not have everything: it says so itself.
#[tokio::test]
async fn what_is_lost_or_repaired_reaches_whoever_asks() {
    let server = TestServer::start().await;
    let whole = verification(&server).await;
    assert_eq!((&whole["lost"], &whole["repairs"]), (&json!(0), &json!([])), "{whole}");
    let (clock, stopped) = (server.clock.clone(), server.stop().await);
    // As the node writes it when its queue was full.
    let (now, rng) = (clock.now(), SeededRng::new(1));
    let (directory, head) =
        (stopped.directory().join("audit"), stored_head(stopped.directory(), clock).await);
    let mut log = AuditLog::open(&directory, LogSettings::default(), Some(head), now, &rng).unwrap();
    let reference = Reference::generate(now, &rng);
    let event = AuditEvent::done(reference, now, AuditAction::LogRepaired, Actor::System, Facts::default());
    let mut entry = Entry::from(event);
    entry.lost = Some(Lost {
        count: 7,
        cause: LossCause::QueueFull,
        action: Some(AuditAction::RequestRefused),
        reason: None,
        first: now,
        last: now,
    });
    log.append(&mut [entry].into(), now).unwrap();
    let sequence = log.head().sequence;
    drop(log);

    let server = stopped.start("").await;
    let lossy = verification(&server).await;
    assert_eq!(
        (&lossy["intact"], &lossy["lost"], &lossy["repairs"]),
        (&json!(true), &json!(7), &json!([sequence])),
        "{lossy}"
    );
    let record = &server.audit("log_repaired").await[0];
    assert_eq!((&record["lost"]["count"], &record["lost"]["cause"]), (&json!(7), &json!("queue_full")));
}

/// `countersign-audit` counts 100,000 through the recorder; these go through the whole server.
#[tokio::test]
async fn thousands_of_refusals_leave_a_small_log_that_counts_all_of_them() {
    const REFUSALS: u64 = 2_000;
    let server = TestServer::start().await;
    let mut connection = server.caller(None).connect().await.unwrap();
    let mut last = None;
    for _ in 0..REFUSALS {
        let answer = connection.send(Method::GET, "/data/x", &[], "").await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("token_missing"));
        last = Some(answer);
    }
    server.clock.advance_s(11); // The series is over.
    let path = format!("/admin/v1/audit/{}", last.unwrap().header("countersign-ref"));
    let found = server.administer(Method::GET, &path, &Value::Null).await.json();
    let folded: Vec<_> =
        found["records"].as_array().unwrap().iter().filter_map(|r| r.get("folded")).collect();
    assert!(
        folded.iter().filter_map(|folded| folded["count"].as_u64()).sum::<u64>() > REFUSALS * 9 / 10,
        "the last answer's reference leads to the series: {found}"
    );
    assert!(folded[0]["first"].is_string() && folded[0]["last"].is_string(), "{found}");
    assert_eq!(folded[0]["network"], "127.0.0.0/24");
    let stopped = server.stop().await;
    let directory = stopped.directory().join("audit");
    let filter = Filter { action: Some(AuditAction::RequestRefused), ..Filter::default() };
    let records = countersign_audit::list(&directory, &filter, 10_000).unwrap();
    assert!(records.len() <= 30, "{} records", records.len());
    assert_eq!(records.iter().map(|record| record.events()).sum::<u64>(), REFUSALS);
    let bytes: u64 = files(&directory, &[]).iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < 64 * 1024, "{bytes} bytes");
}

#[tokio::test]
async fn an_orderly_stop_delivers_the_outbox_and_stores_the_head() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    server.certificate("acme-pay").await;
    server.caller(None).get("/nowhere", &[]).await.unwrap();
    let clock = server.clock.clone();
    let stopped = server.stop().await;
    let stored = stored_head(stopped.directory(), clock).await;
    let report = countersign_audit::verify(&stopped.directory().join("audit"), Some(stored)).unwrap();
    assert!(report.is_intact(), "{:?}", report.findings);
    assert_eq!((report.head, report.lost), (stored, 0));
}

#[tokio::test]
async fn what_a_public_document_refuses_is_recorded_too() {
    let server = TestServer::start().await;
    let page = server.caller(None).get("/problems/token_missing", &[]).await.unwrap();
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(page.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
    let answers = [
        Client::plain(server.documents).get("/pki/nobody.crt", &[]).await.unwrap(),
        server.caller(None).get("/problems/no_such_code", &[]).await.unwrap(),
        server.caller(None).get("/.well-known/oauth-protected-resource/nowhere", &[]).await.unwrap(),
        server.caller(None).get("/oauth2/lunch", &[]).await.unwrap(),
    ];
    for answer in answers {
        assert_eq!((answer.status, answer.code().as_deref()), (404, Some("route_not_found")));
        assert_eq!(server.explanation(&answer).await["reason"], "route_not_found");
    }
    let posted = server.caller(None).send(Method::POST, "/oauth2/jwks", &[], "").await.unwrap();
    assert_eq!((posted.status, posted.code().as_deref()), (405, Some("method_not_allowed")));
    assert_eq!(posted.header("allow"), "GET,HEAD");
    // Clients of the OAuth endpoints read OAuth errors, whoever refuses them and whether there is such an endpoint or not.
    let unknown = server.caller(None).get("/oauth2/lunch", &[]).await.unwrap();
    for answer in [posted, unknown] {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.json()["error"], "invalid_request");
    }
}

/// What is refused or changed is in the log, whoever refuses: it is what somebody greps for the reference first.
#[tokio::test]
async fn every_denial_and_every_change_has_one_line_in_the_log() {
    let log = captured_log();
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let caller = server.caller(None);
    let form = "grant_type=client_credentials&client_id=nobody&client_secret=x";
    let denied = [
        (caller.get("/data/x", &[]).await.unwrap(), "token_missing", "data"),
        (server.ask_token(None, form).await, "client_unknown", "/oauth2/"),
        (caller.get("/oauth2/lunch", &[]).await.unwrap(), "route_not_found", "/oauth2/"),
        (caller.get("/problems/no_such_code", &[]).await.unwrap(), "route_not_found", "/problems/"),
        (
            Client::plain(server.documents).get("/pki/nobody.crt", &[]).await.unwrap(),
            "route_not_found",
            "/pki/",
        ),
        (
            server.call_admin(Method::GET, "/admin/v1/clients", None, "").await,
            "admin_credential_invalid",
            "/",
        ),
        (
            server.administer(Method::GET, "/admin/v1/clients/nobody", &Value::Null).await,
            "object_not_found",
            "/",
        ),
    ];
    let added = server.audit("client_added").await;
    let lines = log.text();
    let line = |reference: &str, message: &str| -> Value {
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut lines = lines.map(|mut line| line["fields"].take());
        let found = lines.find(|line| line["countersign.ref"] == reference && line["message"] == message);
        found.unwrap_or_else(|| panic!("no {message} of {reference}"))
    };
    for (answer, reason, route) in denied {
        let line = line(answer.header("countersign-ref"), "DENY");
        assert_eq!((&line["countersign.reason"], &line["http.route"]), (&json!(reason), &json!(route)));
        assert_eq!(line["http.response.status_code"], answer.status, "{line}");
        assert_eq!(line["client.address"], "127.0.0.1", "{line}");
        assert!(["GET", "POST"].contains(&line["http.request.method"].as_str().unwrap()), "{line}");
    }
    let change = line(added[0]["ref"].as_str().unwrap(), "CHANGE");
    assert_eq!(
        (&change["countersign.action"], &change["countersign.actor"], &change["countersign.client.id"]),
        (&json!("client_added"), &json!("operator tester"), &json!("acme-pay"))
    );
}
