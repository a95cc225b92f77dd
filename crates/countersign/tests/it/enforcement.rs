//! What is acknowledged is enforced and published, also when something fails in between (rules R2, R5, G16).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use countersign_keys::PortableKey;
use countersign_model::certificate::{
    CertificateRecord, CertificateState, Issuer, IssuerRole, RevocationReason,
};
use countersign_model::{Clock, IssuerId, KeyId, Serial};
use countersign_pki::{RevocationList, assemble_csr, csr_info_to_sign};
use countersign_policy::Registry;
use countersign_storage::{Transaction, Write};
use countersign_testkit::client::Connection;
use countersign_testkit::server::{BEGIN, STORAGE_END};
use countersign_testkit::{Client, Raw, TestServer};
use futures_util::FutureExt;
use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::time::Duration;

async fn commit(server: &TestServer, write: Write) {
    server.server.context().store.commit(Transaction::new().write(write)).await.unwrap();
}

fn clients() -> IssuerId {
    "clients".parse().unwrap()
}

async fn published(server: &TestServer) -> RevocationList {
    let answer = Client::plain(server.documents).get("/pki/crl/clients/0.crl", &[]).await.unwrap();
    RevocationList::parse(&answer.body).unwrap()
}

async fn serial_of(server: &TestServer, client: &str) -> Serial {
    let path = format!("/admin/v1/certificates?client={client}");
    let listed = server.administer(Method::GET, &path, &Value::Null).await.json();
    listed["certificates"][0]["serial"].as_str().unwrap().parse().unwrap()
}

/// As after a crash between the revocation and its list: the row is there, the list is the one from before.
async fn revoke_without_a_list(server: &TestServer, serial: Serial) {
    let (at, reason) = (server.clock.now(), RevocationReason::Superseded);
    commit(server, Write::RevokeCertificate { issuer: clients(), serial, at, reason }).await;
    assert!(published(server).await.revocation(&serial).is_none());
}

#[tokio::test]
async fn rule_r2_the_timer_and_the_next_start_put_on_the_list_what_a_crash_left_out() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    server.certificate("acme-pay").await;
    let first = serial_of(&server, "acme-pay").await;
    revoke_without_a_list(&server, first).await;
    server.server.upkeep().await;
    assert!(published(&server).await.revocation(&first).is_some());

    server.clock.advance_s(1);
    server.certificate("acme-pay").await;
    let second = serial_of(&server, "acme-pay").await;
    assert_ne!(first, second);
    revoke_without_a_list(&server, second).await;
    let server = server.restart().await;
    assert!(published(&server).await.revocation(&second).is_some());
}

#[tokio::test]
async fn rule_r5_revoking_again_makes_good_a_list_that_failed() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let serial = serial_of(&server, "acme-pay").await;
    revoke_without_a_list(&server, serial).await;
    let again = server.revoke(&acme, "superseded").await.json();
    assert_eq!((&again["already_revoked"], &again["crls_delayed"]), (&json!(1), &json!([])));
    let list = published(&server).await;
    assert!(list.revocation(&serial).is_some());
    assert_eq!(again["crls"][0]["number"], list.number);
    let once_more = server.revoke(&acme, "superseded").await.json();
    assert_eq!(once_more["crls"], again["crls"], "nothing is signed for a list that is complete");
}

/// Every operation that changes something: none says that it is done, and each says what is on disk.
#[tokio::test]
async fn rule_g16_what_the_data_path_has_not_heard_of_is_not_acknowledged() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    server.add_client("other", "production", "tls_client_auth", &["data:read"]).await;
    server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    server.certificate("other").await;
    let serial = serial_of(&server, "acme-pay").await;
    let csr = {
        let key = PortableKey::generate().unwrap();
        let info = csr_info_to_sign("other", key.public_key()).unwrap();
        assemble_csr(&info, &key.sign(&info).unwrap()).unwrap()
    };
    // A change that cannot be applied: the feed stands still behind it.
    let unreadable = Issuer {
        id: "unreadable".parse().unwrap(),
        role: IssuerRole::Clients,
        certificate: vec![0],
        key: KeyId("none".to_owned()),
        created_at: server.clock.now(),
    };
    commit(&server, Write::InsertIssuer(unreadable)).await;

    let new = |id: &str, method: &str| json!({ "client_id": id, "environment": "sandbox", "auth_method": method, "scopes": ["data:read"] });
    let reason = json!({ "reason": "keyCompromise" });
    let calls = [
        ("/clients".to_owned(), new("new-shop", "client_secret_post"), "not shown"),
        ("/clients".to_owned(), new("new-bank", "tls_client_auth"), "registered"),
        ("/clients/test-shop/rotate-secret".to_owned(), json!({ "overlap_s": 0 }), "still accepted"),
        ("/certificates".to_owned(), json!({ "client": "other", "csr": csr }), "is issued"),
        (format!("/certificates/{serial}/revoke"), reason.clone(), "revoked in the ledger"),
        ("/clients/other/revoke-certificates".to_owned(), reason, "revoked in the ledger"),
        ("/clients/acme-pay/disable".to_owned(), json!({}), "disabled in the database"),
        ("/clients/other/enable".to_owned(), json!({}), "is enabled"),
        ("/clients/other/edit".to_owned(), json!({ "scopes": [] }), "changed in the database"),
        ("/token-keys/rotate".to_owned(), json!({ "now": true }), "do not repeat"),
    ];
    let document = server.administer(Method::GET, "/admin/v1/openapi.json", &Value::Null).await.json();
    let changing = document["paths"].as_object().unwrap().values().filter(|item| item.get("post").is_some());
    assert_eq!(changing.count(), calls.len() - 1, "an operation that this test does not know");

    let answers = calls.iter().map(async |(path, body, says)| {
        let answer = server.administer(Method::POST, &format!("/admin/v1{path}"), body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(
            (answer.status, answer.code().as_deref()),
            (503, Some("change_not_in_force")),
            "{path}: {text}"
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("The change is stored.") && detail.contains(says), "{path}: {detail}");
        assert!(!text.contains("cs_") && !text.contains("BEGIN"), "{path}: {text}");
    });
    futures_util::future::join_all(answers).await;
    assert!(published(&server).await.revocation(&serial).is_some(), "it is committed, and others are told");
    assert_eq!(server.administer(Method::GET, "/admin/v1/clients/new-shop", &Value::Null).await.status, 200);
    drop(acme);
}

#[tokio::test]
async fn rule_g16_a_node_that_serves_outdated_lists_is_not_ready() {
    let server = TestServer::start().await;
    let ready = server.health("/readyz").await;
    for member in ["crls", "token_key", "ledger"] {
        assert_eq!(ready.json()[member], true, "{member}");
    }
    server.clock.advance_s(8 * 86_400); // And nobody has published a list.
    let late = server.health("/readyz").await;
    assert_eq!((late.status, &late.json()["crls"]), (503, &json!(false)));
    server.server.upkeep().await;
    assert_eq!(server.health("/readyz").await.json()["crls"], true);
}

/// Streams that go on for as long as nobody cuts them: a download over HTTP/2 and an upload over HTTP/1.1.
struct Streams {
    connection: Connection,
    download: Response<Incoming>,
    upload: Raw,
}

/// Long enough for a second on a busy machine.
const CUT: Duration = Duration::from_secs(10);

impl Streams {
    async fn begin(server: &TestServer, name: &str, value: &str) -> Self {
        let mut connection = server.caller(None).http2().connect().await.unwrap();
        let mut download = connection.begin(Method::GET, "/endless/x", &[(name, value)], "").await.unwrap();
        assert_eq!(download.status(), 200);
        assert!(download.body_mut().frame().await.unwrap().is_ok());
        let mut upload = server.caller(None).raw().await.unwrap();
        let head = format!("POST /test/data/x HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n");
        let before = server.upstream.requests();
        upload.send(&format!("{head}Content-Length: 1000000\r\n\r\nbegun")).await;
        while server.upstream.requests() == before {
            tokio::task::yield_now().await;
        }
        Self { connection, download, upload }
    }

    async fn are_cut(mut self) {
        let cut = async {
            while self.download.body_mut().frame().await.is_some_and(|frame| frame.is_ok()) {}
            assert!(self.upload.is_closed().await);
        };
        tokio::time::timeout(CUT, cut).await.expect("cut within a second");
    }

    async fn go_on(&mut self, name: &str, value: &str) {
        let answer = self.connection.send(Method::GET, "/test/data/x", &[(name, value)], "").await;
        assert_eq!(answer.expect("the connection goes on").status, 200);
        assert!(self.download.body_mut().frame().now_or_never().is_none(), "and the stream on it");
        self.upload.send("more").await;
    }
}

async fn with_endless_answers() -> TestServer {
    let endless = countersign_testkit::upstream::start_endless().await;
    let more = format!(
        r#"
[[upstreams]]
name = "endless"
url = "http://{endless}"
response_timeout = "10m"
[[routes]]
name = "endless"
environment = "sandbox"
api = "bank"
path = "/endless/"
upstream = "endless"
client_certificate = "optional"
token = "bearer"
scopes = ["data:read"]
internal = true
"#
    );
    TestServer::start_with(&more).await
}

async fn shop(server: &TestServer, client: &str) -> (String, String) {
    let secret = server.add_client(client, "sandbox", "client_secret_post", &["data:read"]).await.unwrap();
    let token = server.bearer_token(client, &secret).await;
    (secret, format!("Bearer {token}"))
}

#[tokio::test]
async fn rule_g14_the_streams_of_a_secret_that_ends_at_once_end_with_it() {
    let server = with_endless_answers().await;
    let (secret, token) = shop(&server, "test-shop").await;
    let (_, token_of_other) = shop(&server, "other-shop").await;
    let mut others = Streams::begin(&server, "authorization", &token_of_other).await;
    let by_token = Streams::begin(&server, "authorization", &token).await;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("test-shop:{secret}")));
    let by_secret = Streams::begin(&server, "authorization", &basic).await;
    let rotate = async |body: Value| {
        let path = "/admin/v1/clients/test-shop/rotate-secret";
        let rotated = server.administer(Method::POST, path, &body).await;
        assert_eq!(rotated.status, 200);
        rotated.json()["client_secret"].as_str().unwrap().to_owned()
    };
    // With an overlap both go on, and so does what was begun with the new one when the old one ends at once.
    rotate(json!({ "overlap_s": 3600 })).await;
    let mut going_on = Streams::begin(&server, "authorization", &token).await;
    going_on.go_on("authorization", &token).await;
    let newest = rotate(json!({ "overlap_s": 0 })).await;
    let token_of_newest = format!("Bearer {}", server.bearer_token("test-shop", &newest).await);
    let mut with_newest = Streams::begin(&server, "authorization", &token_of_newest).await;
    for ended in [by_token, by_secret, going_on] {
        ended.are_cut().await;
    }
    with_newest.go_on("authorization", &token_of_newest).await;
    others.go_on("authorization", &token_of_other).await;
}

#[tokio::test]
async fn rule_g14_the_streams_of_tokens_end_with_their_key_in_an_emergency_only() {
    let server = with_endless_answers().await;
    let (secret, token) = shop(&server, "test-shop").await;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("test-shop:{secret}")));
    let mut by_secret = Streams::begin(&server, "authorization", &basic).await;
    let mut by_token = Streams::begin(&server, "authorization", &token).await;
    let rotate = async |body: Value| {
        let rotated = server.administer(Method::POST, "/admin/v1/token-keys/rotate", &body).await;
        assert_eq!(rotated.status, 200);
    };
    rotate(json!({})).await;
    by_token.go_on("authorization", &token).await;
    // The old key has signed its last token, which has expired, and the key is forgotten: as planned.
    server.clock.advance_s(2 * 86_400);
    server.server.upkeep().await;
    by_secret.go_on("authorization", &basic).await;
    by_token.go_on("authorization", &basic).await;
    let token = format!("Bearer {}", server.bearer_token("test-shop", &secret).await);
    let of_next_key = Streams::begin(&server, "authorization", &token).await;
    rotate(json!({ "now": true })).await;
    of_next_key.are_cut().await;
    by_secret.go_on("authorization", &basic).await;
}

/// A clock that runs ahead for a while makes no revoked certificate good: not while it is ahead, and not for a moment
/// after it came back.
#[tokio::test]
async fn rule_g14_no_step_of_the_clock_makes_a_revoked_certificate_good() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let serial = serial_of(&server, "acme-pay").await;
    assert_eq!(server.revoke(&acme, "keyCompromise").await.status, 200);
    let views = &server.server.context().views;
    let issuer = views.issuer_key_hash(&clients()).unwrap();
    let form = "grant_type=client_credentials&client_id=acme-pay";
    for days in [0, 40, 0, -40, 0, 2, 0, 3650, 0] {
        let present = server.clock.now().unix_s();
        server.clock.advance_s(BEGIN.plus_days(days).unix_s() - present);
        assert!(views.revocation(&issuer, &serial).is_some(), "{days}, before anything is due");
        server.server.after_clock_step().await;
        assert!(views.revocation(&issuer, &serial).is_some(), "{days}");
        if days == 0 {
            let refused = server.ask_token(Some(&acme), form).await;
            assert_eq!(refused.code().as_deref(), Some("certificate_revoked"));
        }
    }
    let list = published(&server).await;
    assert!(
        list.revocation(&serial).is_some() && list.this_update <= server.clock.now(),
        "the list of today"
    );
}

/// A step forwards and back costs good callers nothing once the step is over.
#[tokio::test]
async fn after_a_step_of_the_clock_good_callers_are_served_again() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let rotate = json!({ "now": true });
    for days in [0, 5, 0, -5, 0] {
        let present = server.clock.now().unix_s();
        server.clock.advance_s(BEGIN.plus_days(days).unix_s() + 1 - present);
        server.server.after_clock_step().await;
        let rotated = server.administer(Method::POST, "/admin/v1/token-keys/rotate", &rotate).await;
        assert_eq!(rotated.status, 200, "{days}");
        if days >= 0 {
            let token = server.bound_token("acme-pay", &acme).await;
            assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200, "{days}");
        }
        let ready = server.health("/readyz").await.json();
        assert_eq!((&ready["crls"], &ready["token_key"]), (&json!(true), &json!(true)), "{days}");
    }
}

#[tokio::test]
async fn our_own_authorities_are_not_revoked_without_an_effect() {
    let server = TestServer::start().await;
    let listed = server.administer(Method::GET, "/admin/v1/certificates", &Value::Null).await.json();
    let root = listed["certificates"].as_array().unwrap().iter().find(|row| row["profile"] == "root-ca");
    let path = format!("/admin/v1/certificates/{}/revoke", root.unwrap()["serial"].as_str().unwrap());
    let refused = server.administer(Method::POST, &path, &json!({ "reason": "cACompromise" })).await;
    assert_eq!((refused.status, refused.code().as_deref()), (409, Some("object_conflict")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("replaced"), "{}", refused.json());
}

/// Whoever restarts a node whose disk is full needs it to serve; what could not be written is made good later.
#[tokio::test]
async fn a_full_disk_does_not_keep_a_node_from_starting() {
    let small = format!("max_size = \"1MiB\"\n{STORAGE_END}");
    let server = TestServer::start_with(&small).await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let serial = serial_of(&server, "acme-pay").await;
    let store = server.server.context().store.clone();
    let issued = store.certificate(&clients(), &serial).await.unwrap().unwrap();
    let orphan = CertificateRecord {
        serial: Serial::from_octets(&[0x7f; 8]).unwrap(),
        state: CertificateState::Pending,
        thumbprint: None,
        der: None,
        ..issued
    };
    commit(&server, Write::InsertPendingCertificate(orphan)).await;
    let mut number = 0;
    for contacts in [vec!["x".repeat(250); 12], vec!["x".repeat(250)], vec!["x".to_owned()]] {
        let add = async |number: usize| {
            let new = json!({
                "client_id": format!("client-{number}"), "environment": "sandbox",
                "auth_method": "tls_client_auth", "scopes": ["data:read"], "contacts": contacts,
            });
            server.administer(Method::POST, "/admin/v1/clients", &new).await.status
        };
        while add(number).await == 201 {
            number += 1;
        }
    }
    drop(store);

    let stopped = server.stop().await;
    let server = stopped.start(&small).await;
    server.clock.advance_s(2 * 86_400); // The lists are due.
    server.server.upkeep().await;
    let token = server.bound_token("acme-pay", &acme).await;
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);

    // In the last third of the server certificate's life: it cannot be renewed, and serves.
    server.clock.advance_s(29 * 86_400);
    let server = server.stop().await.start(&small).await;
    server.server.upkeep().await;
    assert_eq!(server.call(None, "/data/x", &token).await.status, 401);

    let server = server.stop().await.start("").await; // With more space.
    let ready = server.health("/readyz").await.json();
    assert_eq!((&ready["ledger"], &ready["crls"]), (&json!(true), &json!(true)));
    assert_eq!(published(&server).await.entries.len(), 1, "what was pending is on the list");
}
