//! A disk that is nearly full, and one that is (rule G20): nobody gets new rights, and a revocation takes effect.

use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{Clock, Reference, Serial};
use countersign_storage::{StorageError, Transaction};
use countersign_testkit::server::STORAGE_END;
use countersign_testkit::{Answer, Client, Identity, TestServer};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Long enough for anything that happens by itself within a second.
const SOON: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

async fn partner(more: &str) -> (TestServer, Identity, String) {
    let server = TestServer::start_with(more).await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let token = server.bound_token("acme-pay", &acme).await;
    (server, acme, token)
}

fn outcome(answer: &Answer) -> (u16, Option<String>) {
    (answer.status, answer.code())
}

fn refused(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

const FORM: &str = "grant_type=client_credentials&client_id=acme-pay";

#[tokio::test]
async fn rule_g20_below_the_floor_only_what_administrators_do_is_written() {
    let (server, acme, token) = partner("").await;
    server.disk.has_free(10 * MIB);
    server.server.upkeep().await;
    let before = server.audit("request_refused").await.len();

    let answer = server.ask_token(Some(&acme), FORM).await;
    assert_eq!(outcome(&answer), refused(503, "storage_low"));
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200, "calls go on");
    for _ in 0..30 {
        assert_eq!(outcome(&server.call(Some(&acme), "/data/x", "not.a.token").await).0, 401);
    }
    // Nobody takes the node away from those whose calls go on.
    let ready = server.health("/readyz").await;
    assert_eq!((ready.status, &ready.json()["disk_space"]), (200, &json!(false)));
    assert!(ready.json()["disk_low_since"].is_string(), "{}", ready.json());
    assert!(ready.json()["refused"][0].as_str().unwrap().contains("storage_low"));
    let metrics = String::from_utf8(server.health("/metrics").await.body).unwrap();
    for path in ["database", "audit_log"] {
        assert!(metrics.contains(&format!("countersign_disk_free_bytes{{path=\"{path}\"}}")), "{metrics}");
    }
    assert_eq!(ready.json()["disk_fullest"], "database");
    // Administration goes on, and is recorded. What was folded meanwhile is due, and not written either.
    server.clock.advance_s(10);
    assert_eq!(server.revoke(&acme, "superseded").await.status, 200);
    assert_eq!(server.audit("certificate_revoked").await.len(), 1);
    assert_eq!(server.audit("request_refused").await.len(), before, "refusals are not written");
    assert_eq!(server.audit("log_repaired").await.len(), 0);

    // With space again the log says how many are not in it, and tokens are issued.
    server.disk.has_free(1000 * MIB);
    server.server.upkeep().await;
    let lost: Vec<Value> = server.audit("log_repaired").await.iter().map(|it| it["lost"].clone()).collect();
    let of = |action: &str| -> u64 {
        let of_action = lost.iter().filter(|lost| lost["action"] == action);
        of_action.map(|lost| lost["count"].as_u64().unwrap()).sum()
    };
    assert!(lost.iter().all(|lost| lost["cause"] == "space_low"), "{lost:?}");
    assert_eq!((of("request_refused"), of("token_refused")), (30, 1), "{lost:?}");
    server.add_client("other-bank", "production", "tls_client_auth", &["data:read"]).await;
    let other = server.certificate("other-bank").await;
    server.bound_token("other-bank", &other).await;
    assert_eq!(server.health("/readyz").await.json()["disk_space"], true);
}

/// Fills the database to its last page. The audit log must be away: what is delivered makes room.
async fn fill(server: &TestServer) {
    let context = server.server.context();
    let event = |detail: Option<String>| {
        let reference = Reference::generate(server.clock.now(), context.rng.as_ref());
        let facts = Facts { detail, ..Facts::default() };
        AuditEvent::done(reference, server.clock.now(), AuditAction::Started, Actor::System, facts)
    };
    for detail in [Some("x".repeat(4000)), None] {
        for n in 0.. {
            assert!(n < 10_000, "it is never full");
            match context.store.commit(Transaction::new().record(event(detail.clone()))).await {
                Ok(_) => {}
                Err(StorageError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn rule_g20_a_revocation_that_cannot_be_stored_is_in_force_at_once_and_stored_later() {
    // A segment for each batch, so that every batch needs the directory.
    let more = format!(
        "max_staleness = \"3650d\"\nmax_size = \"1MiB\"\n{STORAGE_END}\n[audit]\nsegment_size = \"1KiB\"\n"
    );
    let (server, acme, token) = partner(&more).await;
    let mut secrets = Vec::new();
    for client in ["test-shop", "test-bank"] {
        let secret = server.add_client(client, "sandbox", "client_secret_post", &["data:read"]).await;
        secrets.push((client, secret.unwrap()));
    }
    let internal = async |(client, secret): &(&str, String)| {
        let headers = [("client_id", *client), ("client_secret", secret.as_str())];
        server.caller(None).get("/test/data/x", &headers).await.unwrap()
    };
    for client in &secrets {
        assert_eq!(internal(client).await.status, 200);
    }
    let mut open = server.caller(Some(&acme)).connect().await.unwrap();
    let bearer = format!("Bearer {token}");
    let authorization = [("authorization", bearer.as_str())];
    assert_eq!(open.send(Method::GET, "/data/x", &authorization, "").await.unwrap().status, 200);

    let (directory, away) = (server.directory().join("audit"), server.directory().join("audit.away"));
    std::fs::rename(&directory, &away).unwrap();
    fill(&server).await;

    let not_stored = refused(503, "not_stored");
    for waiting in [1, 1] {
        let answer = server.revoke(&acme, "keyCompromise").await;
        assert_eq!(outcome(&answer), not_stored);
        assert!(answer.json()["detail"].as_str().unwrap().contains("until it restarts"), "{}", answer.json());
        assert_eq!(server.health("/readyz").await.json()["changes_not_stored"], waiting, "twice is once");
    }
    assert_eq!(
        outcome(&server.call(Some(&acme), "/data/x", &token).await),
        refused(401, "certificate_revoked")
    );
    let on_open = open.send(Method::GET, "/data/x", &authorization, "").await;
    assert!(on_open.is_ok_and(|answer| answer.status == 401), "the open connection is no way around it");

    let disabled = server.administer(Method::POST, "/admin/v1/clients/test-shop/disable", &Value::Null).await;
    assert_eq!(outcome(&disabled), not_stored);
    assert_eq!(internal(&secrets[0]).await.status, 401);
    let body = json!({ "overlap_s": 0 });
    let rotated = server.administer(Method::POST, "/admin/v1/clients/test-bank/rotate-secret", &body).await;
    assert_eq!(outcome(&rotated), not_stored);
    assert_eq!(internal(&secrets[1]).await.status, 401, "the secret has ended");
    let ready = server.health("/readyz").await.json();
    assert_eq!(ready["changes_not_stored"], 3);
    let told = ready["refused"].to_string();
    assert!(told.contains("3 of its changes") && told.contains("a restart before they are stored"), "{told}");
    assert!(ready["changes_not_stored_since"].is_string(), "{ready}");

    // What a restart would forget is shown object by object, as this node goes by it.
    let unstored = server.server.context().essential.unstored();
    let whose: Vec<_> = unstored.iter().map(|it| it.client.as_ref().unwrap().as_str()).collect();
    assert_eq!(whose, ["acme-pay", "test-shop", "test-bank"], "{unstored:?}");
    assert!(unstored.iter().all(|change| change.reference.is_some()), "{unstored:?}");
    let show = async |path: &str| server.administer(Method::GET, path, &Value::Null).await.json();
    let standing = |shown: &Value, state: &str| (shown["state"] == state, shown["not_stored"] == json!(true));
    let listed = show("/admin/v1/clients").await;
    for shown in listed["clients"].as_array().unwrap() {
        let is_disabled = shown["client_id"] == "test-shop";
        let state = if is_disabled { "disabled" } else { "active" };
        assert_eq!(standing(shown, state), (true, is_disabled), "{shown}");
    }
    let shown = show("/admin/v1/clients/test-shop").await;
    assert_eq!(standing(&shown, "disabled"), (true, true), "{shown}");
    let shown = show("/admin/v1/clients/test-bank").await;
    assert_eq!(standing(&shown["credentials"][0], "revoked"), (true, true), "{shown}");
    let shown = show("/admin/v1/certificates?client=acme-pay").await;
    assert_eq!(standing(&shown["certificates"][0], "revoked"), (true, true), "{shown}");
    let serial = shown["certificates"][0]["serial"].as_str().unwrap();
    assert!(unstored[0].what.contains(serial), "{unstored:?}");
    let shown = show(&format!("/admin/v1/certificates/{serial}")).await;
    assert_eq!(
        (&shown["revocation_reason"], shown["revoked_at"].is_string()),
        (&json!("keyCompromise"), true)
    );

    // The audit log is there again: the outbox empties, there is room, and what waits is stored.
    std::fs::rename(&away, &directory).unwrap();
    let stored = async {
        while server.health("/readyz").await.json()["changes_not_stored"] != 0 {
            server.server.upkeep().await;
        }
    };
    tokio::time::timeout(SOON, stored).await.expect("it is stored in the end");
    let server = server.stop().await.start("").await;
    assert_eq!(
        outcome(&server.call(Some(&acme), "/data/x", &token).await),
        refused(401, "certificate_revoked")
    );
    let shown = server.administer(Method::GET, "/admin/v1/clients/test-shop", &Value::Null).await.json();
    assert_eq!(shown["state"], "disabled");
    let shown = server.administer(Method::GET, "/admin/v1/clients/test-bank", &Value::Null).await.json();
    assert_eq!(shown["credentials"].as_array().unwrap().len(), 1, "no secret that nobody knows: {shown}");
    for action in ["certificate_revoked", "client_disabled", "client_secret_rotated"] {
        assert_eq!(server.audit(action).await.len(), 1, "{action}");
    }
    // The refusals name whom they were about.
    let refusals = server.audit("admin_refused").await;
    for client in ["acme-pay", "test-shop", "test-bank"] {
        let names = |record: &&Value| record["client"] == client && record["reason"] == "not_stored";
        assert!(refusals.iter().any(|record| names(&record)), "{client}: {refusals:?}");
    }
}

/// The emergency for a token key in other hands takes every token away: it is no less urgent than a revocation.
#[tokio::test]
async fn rule_g20_a_token_key_in_other_hands_ends_also_when_nothing_can_be_stored() {
    let more = format!(
        "max_staleness = \"3650d\"\nmax_size = \"1MiB\"\n{STORAGE_END}\n[audit]\nsegment_size = \"1KiB\"\n"
    );
    let (server, acme, token) = partner(&more).await;
    let mut open = server.caller(Some(&acme)).connect().await.unwrap();
    let bearer = format!("Bearer {token}");
    let authorization = [("authorization", bearer.as_str())];
    assert_eq!(open.send(Method::GET, "/data/x", &authorization, "").await.unwrap().status, 200);
    let (directory, away) = (server.directory().join("audit"), server.directory().join("audit.away"));
    std::fs::rename(&directory, &away).unwrap();
    fill(&server).await;

    let body = json!({ "now": true });
    let rotated = server.administer(Method::POST, "/admin/v1/token-keys/rotate", &body).await;
    assert_eq!(outcome(&rotated), refused(503, "not_stored"));
    let detail = rotated.json()["detail"].as_str().unwrap().to_owned();
    for part in ["refuses their tokens from now on, until it restarts", "no new key is made"] {
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 401);
    assert!(open.send(Method::GET, "/data/x", &authorization, "").await.is_ok_and(|it| it.status == 401));
    let ready = server.health("/readyz").await.json();
    assert_eq!((&ready["changes_not_stored"], &ready["token_key"]), (&json!(1), &json!(false)), "{ready}");
    let keys = server.caller(None).get("/oauth2/jwks", &[]).await.unwrap().json();
    assert_eq!(keys["keys"], json!([]), "nobody verifies with it any more");
    // Nothing that is read again brings it back.
    server.server.after_clock_step().await;
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 401);

    std::fs::rename(&away, &directory).unwrap();
    let stored = async {
        while server.health("/readyz").await.json()["token_key"] == json!(false)
            || server.health("/readyz").await.json()["changes_not_stored"] != 0
        {
            server.server.upkeep().await;
        }
    };
    tokio::time::timeout(SOON, stored).await.expect("it is stored in the end, and a new key signs");
    let server = server.stop().await.start("").await;
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 401);
    let token = server.bound_token("acme-pay", &acme).await;
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);
    let told = server.audit("token_key_rotated").await;
    let ended = |record: &&Value| record["detail"].as_str().is_some_and(|it| it.contains("keys have ended"));
    assert_eq!(told.iter().filter(ended).count(), 1, "{told:?}");
}

/// Both orders of one revocation and one of all: what is true of one certificate already takes no other with it.
#[tokio::test]
async fn rule_g20_revocations_that_wait_are_stored_each_for_itself() {
    let more = format!(
        "max_staleness = \"3650d\"\nmax_size = \"1MiB\"\n{STORAGE_END}\n[audit]\nsegment_size = \"1KiB\"\n"
    );
    let (server, first, _) = partner(&more).await;
    let mut clients = vec![("acme-pay", vec![first, server.certificate("acme-pay").await])];
    server.add_client("other-bank", "production", "tls_client_auth", &["data:read"]).await;
    let identities = vec![server.certificate("other-bank").await, server.certificate("other-bank").await];
    clients.push(("other-bank", identities));
    let (directory, away) = (server.directory().join("audit"), server.directory().join("audit.away"));
    std::fs::rename(&directory, &away).unwrap();
    fill(&server).await;

    let all = async |client: &str| {
        let path = format!("/admin/v1/clients/{client}/revoke-certificates");
        server.administer(Method::POST, &path, &json!({ "reason": "superseded" })).await
    };
    assert_eq!(outcome(&server.revoke(&clients[0].1[0], "keyCompromise").await), refused(503, "not_stored"));
    for (client, _) in &clients {
        assert_eq!(outcome(&all(client).await), refused(503, "not_stored"));
    }
    assert_eq!(server.health("/readyz").await.json()["changes_not_stored"], 4);

    std::fs::rename(&away, &directory).unwrap();
    let again = async {
        while server.revoke(&clients[1].1[1], "keyCompromise").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, again).await.expect("there is room again");
    let stored = async {
        while server.health("/readyz").await.json()["changes_not_stored"] != 0 {
            server.server.upkeep().await;
        }
    };
    tokio::time::timeout(SOON, stored).await.expect("it is stored in the end");
    // Rule R2: they are on the list at once, and not when the timer looks the next time.
    let list = Client::plain(server.documents).get("/pki/crl/clients/0.crl", &[]).await.unwrap();
    for (client, identities) in &clients {
        let path = format!("/admin/v1/certificates?client={client}");
        let shown = server.administer(Method::GET, &path, &Value::Null).await.json();
        for shown in shown["certificates"].as_array().unwrap() {
            assert_eq!((&shown["state"], &shown["not_stored"]), (&json!("revoked"), &Value::Null), "{shown}");
            let serial = shown["serial"].as_str().unwrap().parse::<Serial>().unwrap();
            let octets = serial.octets();
            assert!(list.body.windows(octets.len()).any(|at| at == octets), "{serial} is on the list");
        }
        assert_eq!(shown["certificates"].as_array().unwrap().len(), identities.len());
    }
    let server = server.stop().await.start("").await;
    for (client, identities) in &clients {
        let form = format!("grant_type=client_credentials&client_id={client}");
        for identity in identities {
            let answer = server.ask_token(Some(identity), &form).await;
            assert_eq!(outcome(&answer), refused(400, "certificate_revoked"));
        }
    }
    let told = server.audit("certificate_revoked").await;
    assert_eq!(told.len(), 4, "each once: {told:?}");
}

#[tokio::test]
async fn rule_g20_a_client_has_a_budget_of_tokens() {
    let more = "[oauth]\nrate_limit = { requests = 1, per = \"30s\", burst = 3 }\n";
    let (server, acme, _) = partner(more).await;
    let ask = async || server.ask_token(Some(&acme), FORM).await;
    assert_eq!((ask().await.status, ask().await.status), (200, 200));
    let answer = ask().await;
    assert_eq!(outcome(&answer), refused(429, "token_rate_limited"));
    assert_eq!(
        (&answer.json()["error"], answer.header("retry-after")),
        (&json!("temporarily_unavailable"), "30")
    );
    let record = server.explanation(&answer).await;
    assert_eq!((&record["client"], &record["actor"]["name"]), (&json!("acme-pay"), &json!("acme-pay")));
    // Others have budgets of their own, and nobody spends another one's.
    server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await;
    for _ in 0..5 {
        let form = "grant_type=client_credentials&client_id=test-shop&client_secret=cs_wrong";
        assert_eq!(
            server.ask_token(None, form).await.code().as_deref(),
            Some("client_authentication_failed")
        );
    }
    server.add_client("other-bank", "production", "tls_client_auth", &["data:read"]).await;
    let other = server.certificate("other-bank").await;
    server.bound_token("other-bank", &other).await;
    server.clock.advance_s(30);
    assert_eq!((ask().await.status, ask().await.status), (200, 429));
}

/// Rule I4: how many, with which credential and when, also of those that have no record of their own.
#[tokio::test]
async fn rule_g20_a_flood_of_tokens_is_folded_into_counted_records() {
    let (server, acme, _) = partner("").await;
    for _ in 1..150 {
        assert_eq!(server.ask_token(Some(&acme), FORM).await.status, 200);
    }
    let stopped = server.stop().await;
    let filter = countersign_audit::Filter { action: Some(AuditAction::TokenIssued), ..Default::default() };
    let records = countersign_audit::list(&stopped.directory().join("audit"), &filter, 1000).unwrap();
    assert_eq!(records.iter().map(countersign_audit::Record::events).sum::<u64>(), 150);
    assert_eq!(records.len(), 51);
    let (counted, last) = (&records[0], &records[1]);
    let (folded, facts) = (counted.folded.as_ref().unwrap(), &counted.event.facts);
    assert_eq!((folded.count, folded.network.as_deref()), (100, Some("127.0.0.0/24")));
    assert_eq!((facts.credential, &facts.scope), (last.event.facts.credential, &last.event.facts.scope));
    assert_eq!((&facts.certificate, &facts.jti), (&last.event.facts.certificate, &None));
    assert_eq!(counted.event.reference, last.event.reference, "the series is found by its reference");
}

#[tokio::test]
async fn rule_g20_with_its_database_deleted_a_node_acknowledges_nothing_that_a_restart_forgets() {
    let log = crate::audit::captured_log();
    let (server, acme, token) = partner("").await;
    let (database, away) =
        (server.directory().join("countersign.db"), server.directory().join("countersign.away"));
    std::fs::rename(&database, &away).unwrap();
    server.server.upkeep().await;
    let ready = server.health("/readyz").await;
    assert_eq!((ready.status, &ready.json()["database"]), (503, &json!(false)));
    assert!(ready.json()["database_displaced_since"].is_string(), "{}", ready.json());
    assert!(ready.json()["refused"].to_string().contains("move it back"), "{}", ready.json());
    let loud = |line: &str| {
        line.contains("ERROR") && line.contains("countersign.db") && line.contains("nothing more")
    };
    assert!(log.text().lines().any(loud), "{}", log.text());

    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200, "calls go on");
    let new = json!({
        "client_id": "new-shop", "environment": "sandbox", "auth_method": "client_secret_post",
        "scopes": ["data:read"], "contacts": ["it@new-shop.example"],
    });
    let added = server.administer(Method::POST, "/admin/v1/clients", &new).await;
    assert_eq!(outcome(&added), refused(503, "storage_unavailable"));
    assert_eq!(outcome(&server.revoke(&acme, "keyCompromise").await), refused(503, "not_stored"));
    assert_eq!(
        outcome(&server.call(Some(&acme), "/data/x", &token).await),
        refused(401, "certificate_revoked")
    );

    std::fs::rename(&away, &database).unwrap();
    server.server.upkeep().await;
    let ready = server.health("/readyz").await;
    assert_eq!((ready.status, &ready.json()["changes_not_stored"]), (200, &json!(0)), "{}", ready.json());
    let server = server.stop().await.start("").await;
    assert_eq!(
        outcome(&server.call(Some(&acme), "/data/x", &token).await),
        refused(401, "certificate_revoked")
    );
}
