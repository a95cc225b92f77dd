//! What whoever is on call relies on: health, metrics, reload, restart, and what happens when something is full or stale.

use countersign::config::secret_ref::SecretRef;
use countersign::config::sections::listeners::CertificateSource;
use countersign::wiring::{OpenError, ReloadError};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ReasonCode, Reference};
use countersign_storage::StorageError;
use countersign_testkit::server::{BEGIN, STORAGE_END};
use countersign_testkit::{Client, Identity, TestServer};
use http::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Long enough for anything that happens by itself within a second.
const SOON: Duration = Duration::from_secs(20);

/// A server with a partner who has a certificate and a token.
async fn partner(more: &str) -> (TestServer, Identity, String) {
    let server = TestServer::start_with(more).await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read", "pay:write"]).await;
    let acme = server.certificate("acme-pay").await;
    let token = server.bound_token("acme-pay", &acme).await;
    (server, acme, token)
}

/// Asks until the readiness is `status`.
async fn until_ready_is(server: &TestServer, status: u16) -> Value {
    let asked = async {
        loop {
            let answer = server.health("/readyz").await;
            if answer.status == status {
                return answer.json();
            }
        }
    };
    tokio::time::timeout(SOON, asked).await.unwrap_or_else(|_| panic!("/readyz is never {status}"))
}

#[tokio::test]
async fn a_healthy_node_says_so_to_anybody_who_watches() {
    let server = TestServer::start().await;
    let live = server.health("/livez").await;
    assert_eq!((live.status, live.body.as_slice()), (200, b"ok\n".as_slice()));
    let ready = server.health("/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!((&ready.json()["ready"], &ready.json()["audit_log"]), (&json!(true), &json!(true)));
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(
            server.caller(None).get(path, &[]).await.unwrap().status,
            404,
            "not on the public listener"
        );
    }
}

/// Moves the clock past what the views may be old; the follower of the feed hears of it within half a second, so one
/// attempt may come too late.
async fn refused_when_stale(server: &TestServer, acme: &Identity, token: &str) -> bool {
    for _ in 0..10 {
        server.clock.advance_s(11);
        let answer = server.call(Some(acme), "/data/x", token).await;
        if answer.status == 503 {
            assert_eq!(answer.code().as_deref(), Some("not_ready"));
            assert!(!answer.header("retry-after").is_empty());
            let record = server.explanation(&answer).await;
            assert_eq!((&record["reason"], &record["route"]), (&json!("not_ready"), &json!("data")));
            return true;
        }
        assert_eq!(answer.status, 200);
    }
    false
}

#[tokio::test]
async fn rule_g16_a_node_that_does_not_hear_of_revocations_refuses_and_is_not_ready() {
    let (server, acme, token) = partner(&format!("max_staleness = \"10s\"\n{STORAGE_END}")).await;
    until_ready_is(&server, 200).await;
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);
    assert!(refused_when_stale(&server, &acme, &token).await, "it is served for ever");
    let passed = server.upstream.requests();
    // As soon as the feed is heard of again, it goes on.
    until_ready_is(&server, 200).await;
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);
    assert_eq!(server.upstream.requests(), passed + 1);

    let stale = async {
        loop {
            server.clock.advance_s(11);
            let answer = server.health("/readyz").await;
            if answer.status == 503 {
                return answer.json();
            }
        }
    };
    let readiness = tokio::time::timeout(SOON, stale).await.expect("a stale node is not ready");
    assert_eq!(readiness["ready"], false);
    assert!(readiness["feed_age_ms"].as_u64().unwrap() > 10_000);
    assert_eq!(server.health("/livez").await.status, 200, "alive all the same: a restart would not help");
}

#[tokio::test]
async fn rule_g16_serving_while_stale_is_a_choice_that_somebody_wrote_down() {
    let stale = format!("max_staleness = \"10s\"\nwhen_stale = \"serve\"\n{STORAGE_END}");
    let (server, acme, token) = partner(&stale).await;
    assert!(!refused_when_stale(&server, &acme, &token).await);
}

const NEW_ROUTE: &str = r#"
[[routes]]
name = "new"
environment = "production"
api = "bank"
path = "/new/"
upstream = "echo"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]
rate_limit = { requests = 1, per = "60s", burst = 2 }
[limits]
body_size = "1KiB"
"#;

#[tokio::test]
async fn rule_t10_a_reload_is_live_on_a_connection_that_was_open_before() {
    let (server, acme, token) = partner("").await;
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let mut open = server.caller(Some(&acme)).connect().await.unwrap();
    let body = "x".repeat(2048);
    assert_eq!(open.send(Method::GET, "/new/x", &headers, "").await.unwrap().status, 404);
    assert_eq!(open.send(Method::POST, "/data/x", &headers, &body).await.unwrap().status, 200);

    server.server.reload(server.configuration(NEW_ROUTE)).await.unwrap();
    assert_eq!(open.send(Method::GET, "/new/x", &headers, "").await.unwrap().status, 200, "the new route");
    assert_eq!(open.send(Method::GET, "/new/x", &headers, "").await.unwrap().status, 200);
    let limited = open.send(Method::GET, "/new/x", &headers, "").await.unwrap();
    assert_eq!((limited.status, limited.code().as_deref()), (429, Some("rate_limited")), "its limit");
    let metadata = server.caller(None).get("/.well-known/oauth-protected-resource/new", &[]).await.unwrap();
    assert_eq!(metadata.status, 200, "its metadata");
    let large = server.caller(Some(&acme)).send(Method::POST, "/data/x", &headers, &body).await.unwrap();
    assert_eq!(
        (large.status, large.code().as_deref()),
        (413, Some("request_body_too_large")),
        "the new limit"
    );

    server.server.reload(server.configuration("")).await.unwrap();
    let gone = server.caller(Some(&acme)).get("/new/x", &headers).await.unwrap();
    assert_eq!((gone.status, gone.code().as_deref()), (404, Some("route_not_found")), "and back");
    assert_eq!(server.audit("configuration_reloaded").await.len(), 2);
}

#[tokio::test]
async fn a_reload_that_cannot_be_taken_over_is_refused_and_the_old_one_runs_on() {
    let (server, acme, token) = partner("").await;
    let needs_restart = format!("{NEW_ROUTE}\n[audit]\nsegment_size = \"1MiB\"\n");
    let refused = server.server.reload(server.configuration(&needs_restart)).await.unwrap_err();
    let ReloadError::NeedsRestart(parts) = &refused else { panic!("{refused}") };
    assert_eq!(parts, &["[audit]"]);
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);
    assert_eq!(server.call(Some(&acme), "/new/x", &token).await.status, 404, "nothing of it was taken over");
    let records = server.audit("configuration_refused").await;
    assert_eq!(records[0]["reason"], "configuration_needs_restart");
    assert!(records[0]["detail"].as_str().unwrap().contains("[audit]"), "{records:?}");

    server.server.refuse_reload("countersign.toml: 2 mistakes".to_owned());
    let records = server.audit("configuration_refused").await;
    assert_eq!(
        (&records[0]["reason"], &records[0]["detail"]),
        (&json!("configuration_invalid"), &json!("countersign.toml: 2 mistakes"))
    );
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);
    server.server.reload(server.configuration(NEW_ROUTE)).await.unwrap();
    assert_eq!(server.call(Some(&acme), "/new/x", &token).await.status, 200, "the next good one is taken");
}

#[tokio::test]
async fn rule_t10_the_server_certificate_is_renewed_without_dropping_a_connection() {
    let server = TestServer::start().await;
    let mut open = server.caller(None).connect().await.unwrap();
    let certificates = async || {
        let list = server.administer(Method::GET, "/admin/v1/certificates", &Value::Null).await.json();
        let list = list["certificates"].as_array().unwrap().clone();
        list.into_iter().filter(|certificate| certificate["profile"] == "server").count()
    };
    assert_eq!(certificates().await, 1);
    server.server.reload(server.configuration("")).await.unwrap();
    assert_eq!(certificates().await, 1, "nothing is due");
    server.clock.advance_s(31 * 86_400);
    server.server.upkeep().await;
    assert_eq!(certificates().await, 2);
    assert_eq!(open.send(Method::GET, "/oauth2/jwks", &[], "").await.unwrap().status, 200);
    // The first one has expired by now: whoever connects is shown the second.
    server.clock.advance_s(20 * 86_400);
    assert_eq!(server.caller(None).get("/oauth2/jwks", &[]).await.unwrap().status, 200);
}

#[tokio::test]
async fn rule_t10_a_reload_takes_another_source_of_the_certificate_or_none_of_its_changes() {
    let server = TestServer::start().await;
    let foreign = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (chain, key) = (server.directory().join("own.crt"), server.directory().join("own.key"));
    let mut changed = server.configuration(NEW_ROUTE);
    let tls = changed.listeners.iter_mut().find_map(|listener| listener.tls.as_mut()).unwrap();
    tls.certificate = CertificateSource::Files { chain: chain.clone(), key: SecretRef::File(key.clone()) };

    let refused = server.server.reload(changed.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("own.crt"), "{refused}");
    assert!(server.caller(None).connect().await.is_ok(), "the certificate of before");
    let new = server.caller(None).get("/new/x", &[]).await.unwrap();
    assert_eq!(new.code().as_deref(), Some("route_not_found"), "and no new route");

    std::fs::write(&chain, foreign.cert.pem()).unwrap();
    std::fs::write(&key, foreign.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    server.server.reload(changed).await.unwrap();
    assert!(server.caller(None).connect().await.is_err(), "our own root did not sign what is shown now");
    let trusting = Client::tls(server.gateway, foreign.cert.der(), None, server.clock.clone());
    assert_eq!(trusting.get("/oauth2/jwks", &[]).await.unwrap().status, 200);
    server.server.reload(server.configuration("")).await.unwrap();
    assert!(server.caller(None).connect().await.is_ok(), "and back");
}

#[tokio::test]
async fn a_refusal_is_on_disk_before_its_answer_where_somebody_wants_that() {
    let server = TestServer::start_with("[audit]\nbefore_answer = true\n").await;
    let denied = server.caller(None).get("/data/x", &[]).await.unwrap();
    let refused =
        server.ask_token(None, "grant_type=client_credentials&client_id=nobody&client_secret=x").await;
    for answer in [denied, refused] {
        let reference = answer.header("countersign-ref").parse().unwrap();
        let records = countersign_audit::find(&server.directory().join("audit"), reference).unwrap();
        assert_eq!(records.len(), 1, "{:?}", answer.code());
    }
}

#[tokio::test]
async fn a_restart_keeps_clients_tokens_and_revocations() {
    let (server, acme, token) = partner("").await;
    server.add_client("other-bank", "production", "tls_client_auth", &["data:read"]).await;
    let other = server.certificate("other-bank").await;
    let token_of_other = server.bound_token("other-bank", &other).await;
    let secret =
        server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await.unwrap();
    assert_eq!(server.revoke(&other, "keyCompromise").await.status, 200);
    let crl = server.administer(Method::GET, "/admin/v1/clients", &Value::Null).await.json();

    let server = server.restart().await;
    assert_eq!(
        server.administer(Method::GET, "/admin/v1/clients", &Value::Null).await.json()["clients"]
            .as_array()
            .unwrap()
            .len(),
        crl["clients"].as_array().unwrap().len()
    );
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200, "the token is still good");
    let refused = server.call(Some(&other), "/data/x", &token_of_other).await;
    assert_eq!((refused.status, refused.code().as_deref()), (401, Some("certificate_revoked")));
    let token = server.bearer_token("test-shop", &secret).await;
    assert_eq!(server.call(None, "/test/data/x", &token).await.status, 200);
    server.certificate("acme-pay").await;
    assert!(server.audit("certificate_revoked").await.len() == 1);
    assert_eq!(until_ready_is(&server, 200).await["ready"], true);
}

#[tokio::test]
async fn a_second_server_on_the_same_database_is_refused() {
    let server = TestServer::start().await;
    let error = server.second_start_error().await;
    assert!(
        matches!(&error, OpenError::Database(countersign_storage_sql::OpenError::InUse { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("stop that process first"), "{error}");
    let stopped = server.stop().await;
    let server = stopped.start("").await;
    assert_eq!(server.health("/livez").await.status, 200, "free again after an orderly stop");
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "a skipped test says what it needs")]
async fn a_database_of_a_newer_program_is_refused_with_both_versions() {
    let server = TestServer::start().await;
    let stopped = server.stop().await;
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
                  c.execute('INSERT INTO schema_versions (version, applied_at) VALUES (99, 0)'); c.commit()";
    let database = stopped.directory().join("countersign.db");
    match Command::new("python3").arg("-c").arg(script).arg(&database).status() {
        Ok(status) => assert!(status.success()),
        Err(_) => return println!("skipped: needs python3 with sqlite3"),
    }
    let error = stopped.start_error().await;
    let OpenError::Database(countersign_storage_sql::OpenError::Database { source, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(source, &StorageError::NewerSchema { found: 99, known: 3 });
    assert!(source.to_string().contains("99"), "{source}");
}

#[tokio::test]
async fn a_full_database_refuses_and_loses_nothing() {
    let (server, acme, token) =
        partner(&format!("max_staleness = \"3650d\"\nmax_size = \"1MiB\"\n{STORAGE_END}")).await;
    let add = async |i: usize| {
        let new = json!({
            "client_id": format!("client-{i}"), "environment": "sandbox", "auth_method": "client_secret_post",
            "scopes": ["data:read"], "contacts": vec!["x".repeat(250); 12],
        });
        server.administer(Method::POST, "/admin/v1/clients", &new).await
    };
    let mut added = 0;
    let refused = loop {
        let answer = add(added).await;
        if answer.status != 201 {
            break answer;
        }
        added += 1;
        assert!(added < 1000, "it is never full");
    };
    assert!(added > 1, "{added}");
    assert_eq!((refused.status, refused.code().as_deref()), (503, Some("storage_unavailable")));
    assert!(!refused.header("retry-after").is_empty());
    assert!(refused.json()["detail"].as_str().unwrap().contains("full"));
    // What needs no space goes on, and what was acknowledged is there.
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);
    let list = server.administer(Method::GET, "/admin/v1/clients", &Value::Null).await.json();
    assert_eq!(list["clients"].as_array().unwrap().len(), added + 1);

    let server = server.stop().await.start("").await; // With more space.
    let list = server.administer(Method::GET, "/admin/v1/clients", &Value::Null).await.json();
    assert_eq!(list["clients"].as_array().unwrap().len(), added + 1);
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);
    let answer = server.administer(Method::GET, "/admin/v1/audit/verification", &Value::Null).await.json();
    assert_eq!(answer["intact"], true, "{answer}");
    assert_eq!(server.audit("client_added").await.len(), added + 1);
}

#[tokio::test]
async fn a_node_whose_audit_log_cannot_be_written_is_not_ready_and_loses_no_record() {
    // A segment for each batch, so that every batch needs the directory.
    let server = TestServer::start_with("[audit]\nsegment_size = \"1KiB\"\n").await;
    let refuse = async || server.caller(None).get("/data/x", &[]).await.unwrap().status;
    for _ in 0..10 {
        assert_eq!(refuse().await, 401);
    }
    until_ready_is(&server, 200).await;
    let (directory, away) = (server.directory().join("audit"), server.directory().join("audit.away"));
    std::fs::rename(&directory, &away).unwrap();
    let unhealthy = async {
        loop {
            assert_eq!(refuse().await, 401, "a refusal stays a refusal");
            server.clock.advance_s(1);
            let answer = server.health("/readyz").await;
            if answer.status == 503 {
                return answer.json();
            }
        }
    };
    let readiness =
        tokio::time::timeout(SOON, unhealthy).await.expect("a node that records nothing is not ready");
    assert_eq!((&readiness["ready"], &readiness["audit_log"]), (&json!(false), &json!(false)));
    let since = readiness["audit_log_failing_since"].as_str().expect("since when");
    assert!(since.starts_with(&BEGIN.to_string()[..10]), "{since}");
    assert!(readiness["refused"][0].as_str().unwrap().contains("token requests"), "{readiness}");
    let refused = server.ask_token(None, "grant_type=client_credentials").await;
    assert_eq!((refused.status, refused.code().as_deref()), (503, Some("storage_unavailable")));
    assert!(!refused.header("retry-after").is_empty());
    std::fs::rename(&away, &directory).unwrap();
    refuse().await;
    until_ready_is(&server, 200).await;
    let answer = server.administer(Method::GET, "/admin/v1/audit/verification", &Value::Null).await.json();
    assert_eq!((&answer["intact"], &answer["findings"]), (&json!(true), &json!([])));
}

/// In the log, in readiness, in the metrics and in a record, and the node goes on: refusing brings no record back.
#[tokio::test]
async fn an_audit_log_that_somebody_removed_or_cut_is_loud_while_running_and_at_the_next_start() {
    let log = crate::audit::captured_log();
    let server = TestServer::start().await;
    let call = async |server: &TestServer| server.caller(None).get("/data/x", &[]).await.unwrap().status;
    let missing = async |server: &TestServer| {
        let answer = server.health("/readyz").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let readiness = answer.json();
        let records = readiness["audit_records_missing"].as_u64().unwrap();
        assert_eq!(readiness["audit_log"], records == 0, "{readiness}");
        assert_eq!(readiness["warnings"].as_array().unwrap().len(), usize::from(records > 0), "{readiness}");
        records
    };
    let empty_all = |directory: &Path| {
        for file in std::fs::read_dir(directory.join("audit")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                std::fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
            }
        }
    };
    assert_eq!(call(&server).await, 401);
    server.server.context().recorder.flush().await.unwrap();
    assert_eq!(missing(&server).await, 0);
    empty_all(server.directory());
    server.server.context().recorder.flush().await.unwrap();
    let while_running = missing(&server).await;
    assert!(while_running > 0);
    let told = server.audit("log_repaired").await;
    assert!(told.len() == 1 && told[0]["detail"].as_str().unwrap().contains("ended at record 0"), "{told:?}");
    let metrics = String::from_utf8(server.health("/metrics").await.body).unwrap();
    assert!(metrics.contains("\ncountersign_audit_missing_records "), "{metrics}");

    let stopped = server.stop().await;
    std::fs::remove_dir_all(stopped.directory().join("audit")).unwrap();
    let server = stopped.start("").await;
    let at_start = missing(&server).await;
    assert!(at_start > 0, "{at_start}");
    server.server.context().recorder.flush().await.unwrap();
    assert_eq!(server.audit("log_repaired").await.len(), 1);
    let loud =
        log.text().lines().filter(|line| line.contains("ERROR") && line.contains("gone or changed")).count();
    assert!(loud >= 2, "{}", log.text());
    let server = server.stop().await.start("").await;
    assert_eq!(missing(&server).await, 0, "told once; `audit verify` finds it for ever");
}

/// What is lost is told when it is asked for, not when upkeep comes by.
#[tokio::test]
async fn rule_g20_metrics_tell_of_the_audit_log_as_it_is_now() {
    let server = TestServer::start().await;
    let context = server.server.context();
    let refused = || {
        let reference = Reference::generate(BEGIN, context.rng.as_ref());
        let (action, reason) = (AuditAction::RequestRefused, ReasonCode::TokenMissing);
        AuditEvent::refused(reference, BEGIN, action, reason, Actor::Anonymous, Facts::default())
    };
    // More than any other test of this process folds: they share the exporter.
    const FLOOD: u64 = 50_000;
    for _ in 0..FLOOD {
        context.recorder.record(refused());
    }
    let text = String::from_utf8(server.health("/metrics").await.body).unwrap();
    let folded = text.lines().find_map(|line| line.strip_prefix("countersign_audit_folded_total "));
    let folded: u64 = folded.expect("it is there").parse().unwrap();
    assert!(folded > FLOOD - 1000, "{folded}");
}

/// At 3 a.m. "cannot be read" is half of what is needed: which file, and why.
#[tokio::test]
async fn what_a_reload_or_a_renewal_suffers_from_is_told_with_file_and_cause() {
    let log = crate::audit::captured_log();
    let server = TestServer::start().await;
    let (chain, key) = (server.directory().join("own.crt"), server.directory().join("own.key"));
    let mut changed = server.configuration("");
    let tls = changed.listeners.iter_mut().find_map(|listener| listener.tls.as_mut()).unwrap();
    tls.certificate = CertificateSource::Files { chain: chain.clone(), key: SecretRef::File(key.clone()) };
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    for (content, file, cause) in [
        (None, &chain, "it does not exist"),
        (Some("no certificate".to_owned()), &chain, "holds no certificate chain"),
        (Some(own.cert.pem()), &key, "it does not exist"),
    ] {
        if let Some(content) = content {
            std::fs::write(&chain, content).unwrap();
        }
        server.server.reload(changed.clone()).await.unwrap_err();
        let detail = server.audit("configuration_refused").await[0]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(file.to_str().unwrap()) && detail.contains(cause), "{detail}");
    }
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    server.server.reload(changed).await.unwrap();
    std::fs::remove_file(&chain).unwrap();
    server.server.upkeep().await;
    let logged = log.text();
    let line = logged.lines().find(|line| line.contains(chain.to_str().unwrap())).expect("it is logged");
    assert!(line.contains("not renewed") && line.contains("it does not exist"), "{line}");
}

#[tokio::test]
async fn rule_t10_a_name_that_is_added_to_the_certificate_is_answered_without_a_restart() {
    let server = TestServer::start().await;
    let asked = async || {
        let caller = server.caller(None);
        caller.get("/oauth2/jwks", &[("host", "api.example")]).await.unwrap().status
    };
    let mut open = server.caller(None).connect().await.unwrap();
    assert_eq!(asked().await, 421);
    let mut changed = server.configuration("");
    let tls = changed.listeners.iter_mut().find_map(|listener| listener.tls.as_mut()).unwrap();
    let CertificateSource::Issued(names) = &mut tls.certificate else { panic!("our CA issues it") };
    names.push("api.example".to_owned());
    server.server.reload(changed).await.unwrap();
    assert_eq!(asked().await, 200);
    assert_eq!(open.send(Method::GET, "/oauth2/jwks", &[], "").await.unwrap().status, 200);
    server.server.reload(server.configuration("")).await.unwrap();
    assert_eq!(asked().await, 421, "and back");
}
