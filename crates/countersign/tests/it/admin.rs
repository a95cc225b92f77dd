//! The admin API: who may do what, what is refused and how, and that what was answered holds for the next request.

use countersign_model::certificate::{CertificateRecord, CertificateState};
use countersign_model::client::{Credential, CredentialKind};
use countersign_model::operator::{Operator, Role};
use countersign_model::{Clock, Serial};
use countersign_policy::client_auth::secret;
use countersign_storage::stores::CertificateFilter;
use countersign_storage::{Transaction, Write};
use countersign_testkit::{Answer, TestServer};
use http::Method;
use serde_json::{Value, json};

/// Operations of the served document: method, path with its parameters filled in.
async fn operations(server: &TestServer) -> Vec<(Method, String)> {
    let answer = server.administer(Method::GET, "/admin/v1/openapi.json", &Value::Null).await;
    assert_eq!(answer.status, 200);
    let document = answer.json();
    assert_eq!(document["openapi"].as_str().unwrap().split('.').next(), Some("3"));
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{id}", "acme-pay")
            .replace("{serial}", "00ff")
            .replace("{ref}", "01JZ8Q0M3T4V6X8Z0A2C4E6G8J");
        assert!(!path.contains('{'), "a parameter that this test does not know: {path}");
        for method in item.as_object().unwrap().keys() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            assert!(path.starts_with("/admin/v1/"), "{path}");
            operations.push((method, path.clone()));
        }
    }
    operations.push((Method::GET, "/admin/v1/openapi.json".to_owned()));
    operations
}

/// A refusal is a problem document with its reference, and recorded under it with the same reason.
async fn assert_refused(
    server: &TestServer,
    answer: &Answer,
    status: u16,
    code: &str,
    operation: &str,
) -> Value {
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!((answer.status, answer.code().as_deref()), (status, Some(code)), "{operation}: {body}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{operation}");
    assert_eq!(answer.header("cache-control"), "no-store", "{operation}");
    let problem = answer.json();
    assert_eq!(problem["ref"], answer.header("countersign-ref"), "{operation}");
    assert_eq!(problem["type"], format!("https://localhost/problems/{code}"), "{operation}");
    assert_eq!(problem["status"], status);
    if status == 401 {
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="admin""#, "{operation}");
    }
    let record = server.explanation(answer).await;
    assert_eq!(record["reason"], code, "{operation}: {record}");
    record
}

#[tokio::test]
async fn every_operation_of_the_served_document_refuses_whoever_may_not() {
    let server = TestServer::start().await;
    let operations = operations(&server).await;
    assert!(operations.len() >= 14, "{operations:?}");
    let secret =
        server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await.unwrap();
    let wrong = [
        None,
        Some("Bearer csa_0000000000000000000000000000000000000000000".to_owned()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some("Basic dGVzdGVyOnRlc3Rlcg==".to_owned()),
        Some(format!("Bearer {secret}")), // A client's secret administers nothing.
    ];
    for (method, path) in &operations {
        let operation = format!("{method} {path}");
        // The class of equal refusals is folded when it floods: a second apart it is not a flood.
        server.clock.advance_s(1);
        for authorization in &wrong {
            let answer = server.call_admin(method.clone(), path, authorization.as_deref(), "{}").await;
            let record = assert_refused(&server, &answer, 401, "admin_credential_invalid", &operation).await;
            assert_eq!(record["action"], "admin_refused");
            assert_eq!(record["actor"]["kind"], "anonymous");
            assert_eq!((&record["method"], &record["path"]), (&json!(method.as_str()), &json!(path)));
        }
    }
    server.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn every_operation_that_changes_something_needs_the_role_for_it() {
    let server = TestServer::start().await;
    let auditor = format!("Bearer {}", server.add_operator("reader", Role::Auditor).await);
    let operator = format!("Bearer {}", server.add_operator("worker", Role::Operator).await);
    for (method, path) in operations(&server).await {
        let operation = format!("{method} {path}");
        server.clock.advance_s(1);
        let reads = method == Method::GET;
        let by_auditor = server.call_admin(method.clone(), &path, Some(&auditor), "{}").await;
        if reads {
            assert_ne!(by_auditor.status, 403, "{operation}");
        } else {
            let record =
                assert_refused(&server, &by_auditor, 403, "admin_role_insufficient", &operation).await;
            assert_eq!(record["actor"], json!({ "kind": "operator", "name": "reader" }));
        }
        let by_operator = server.call_admin(method, &path, Some(&operator), "{}").await;
        if path.contains("/token-keys/") {
            assert_refused(&server, &by_operator, 403, "admin_role_insufficient", &operation).await;
        } else {
            assert!(![401, 403].contains(&by_operator.status), "{operation}: {}", by_operator.status);
        }
    }
    server.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_disabled_operator_and_a_repeated_credential_are_nobody() {
    let server = TestServer::start().await;
    let token = format!("Bearer {}", server.add_operator("reader", Role::Auditor).await);
    assert_eq!(server.call_admin(Method::GET, "/admin/v1/clients", Some(&token), "").await.status, 200);
    let headers = [("authorization", token.as_str()), ("authorization", token.as_str())];
    let caller = countersign_testkit::Client::plain(server.admin);
    let twice = caller.get("/admin/v1/clients", &headers).await.unwrap();
    assert_refused(&server, &twice, 401, "admin_credential_invalid", "two credentials").await;
    let context = server.server.context();
    let mut operators = context.store.operators().await.unwrap();
    operators.iter_mut().for_each(|operator| operator.enabled = operator.name != "reader");
    context.operators.store(operators.into());
    let answer = server.call_admin(Method::GET, "/admin/v1/clients", Some(&token), "").await;
    assert_refused(&server, &answer, 401, "admin_credential_invalid", "a disabled operator").await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_place() {
    let server = TestServer::start().await;
    let good = json!({ "client_id": "acme-pay", "environment": "production", "auth_method": "tls_client_auth", "scopes": ["data:read"] });
    let with = |member: &str, value: Value| {
        let mut body = good.clone();
        body[member] = value;
        body.to_string()
    };
    let clients = "/admin/v1/clients";
    let token = std::fs::read_to_string(server.directory().join("admin.token")).unwrap();
    let authorization = format!("Bearer {token}");
    let cases = [
        (Method::POST, clients, with("environmnet", json!("x")), "environmnet"),
        (Method::POST, clients, with("client_id", json!("Not A Name")), "client_id"),
        (Method::POST, clients, with("environment", json!("staging")), "staging"),
        (Method::POST, clients, with("auth_method", json!("password")), "password"),
        (Method::POST, clients, json!({ "client_id": "acme-pay" }).to_string(), "missing field"),
        (Method::POST, clients, with("name", json!("Acme\u{202e}dtL")), "name: the character U+202E"),
        (Method::POST, clients, with("name", json!(" ")), "name: 1 to 64 characters"),
        (Method::POST, clients, with("name", json!("x".repeat(65))), "name: 1 to 64 characters"),
        (
            Method::POST,
            clients,
            with("contacts", json!(["a@b.example", "a\n\u{1b}[2J"])),
            "contacts: the character U+000A",
        ),
        (Method::POST, clients, with("contacts", json!(vec!["a@b.example"; 17])), "contacts: at most 16"),
        (Method::POST, clients, with("contacts", json!(["x".repeat(255)])), "contacts: 1 to 254"),
        (
            Method::POST,
            clients,
            with("audiences", json!(["https://a.example/\u{2066}b"])),
            "audiences: the character U+2066",
        ),
        (Method::POST, clients, with("audiences", json!(["x".repeat(513)])), "audiences: 1 to 512"),
        (Method::GET, "/admin/v1/certificates?before=lunch", String::new(), "before"),
        (Method::GET, "/admin/v1/certificates/3f9a1b2", String::new(), "at least 8 digits"),
        (Method::GET, "/admin/v1/certificates/3f9..c21e", String::new(), "at least 8 digits"),
        (
            Method::POST,
            "/admin/v1/certificates/3f9a/revoke",
            r#"{"reason":"superseded"}"#.to_owned(),
            "at least 8 digits",
        ),
        (Method::POST, clients, "{".to_owned(), "EOF"),
        (Method::POST, clients, "[]".to_owned(), "invalid"),
        (Method::GET, "/admin/v1/certificates?clinet=acme-pay", String::new(), "clinet"),
        (Method::GET, "/admin/v1/certificates?state=lost", String::new(), "lost"),
        (Method::GET, "/admin/v1/audit?action=lunch", String::new(), "lunch"),
        (Method::GET, "/admin/v1/audit?limit=-1", String::new(), "invalid digit"),
        (Method::GET, "/admin/v1/audit?limit=1&limit=2", String::new(), "limit"),
        (
            Method::POST,
            "/admin/v1/certificates/00ff/revoke",
            r#"{"reason":"boredom"}"#.to_owned(),
            "unspecified",
        ),
    ];
    for (method, path, body, named) in cases {
        let operation = format!("{method} {path} {body}");
        // In the same second, this number of equal refusals would be folded.
        server.clock.advance_s(1);
        let answer = server.call_admin(method, path, Some(&authorization), &body).await;
        let record = assert_refused(&server, &answer, 400, "request_parameter_invalid", &operation).await;
        let problem = answer.json();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{operation}: {detail}");
        assert!(record["detail"].as_str().unwrap().contains(named), "{record}");
        assert_eq!(record["actor"]["name"], "tester");
    }
    let large = format!("{{\"client_id\":\"{}\"}}", "a".repeat(200_000));
    let answer = server.call_admin(Method::POST, clients, Some(&authorization), &large).await;
    assert_refused(&server, &answer, 413, "request_body_too_large", "a large body").await;
    assert!(
        server.administer(Method::GET, clients, &Value::Null).await.json()["clients"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_problem_document_too() {
    let server = TestServer::start().await;
    let token = std::fs::read_to_string(server.directory().join("admin.token")).unwrap();
    let authorization = format!("Bearer {token}");
    for path in
        ["/", "/admin", "/admin/v1", "/admin/v1/lunch", "/admin/v1/clients/", "/console", "/oauth2/token"]
    {
        let answer = server.call_admin(Method::GET, path, Some(&authorization), "").await;
        assert_refused(&server, &answer, 404, "object_not_found", path).await;
        let answer = server.call_admin(Method::GET, path, None, "").await;
        assert_refused(&server, &answer, 401, "admin_credential_invalid", path).await;
    }
    for (method, path) in
        [(Method::DELETE, "/admin/v1/clients"), (Method::PUT, "/admin/v1/clients/acme-pay/disable")]
    {
        let answer = server.call_admin(method, path, Some(&authorization), "").await;
        assert_refused(&server, &answer, 405, "method_not_allowed", path).await;
        assert!(!answer.header("allow").is_empty(), "{path}");
    }
    let answer = server.call_admin(Method::POST, "/livez", None, "").await;
    assert_refused(&server, &answer, 405, "method_not_allowed", "/livez").await;
    assert_eq!(answer.header("allow"), "GET,HEAD");
    let answer = server.call_admin(Method::GET, "/admin/v1/clients/%ff", Some(&authorization), "").await;
    assert_refused(&server, &answer, 400, "request_malformed", "a path that is no text").await;
    for path in [
        "/admin/v1/clients/nobody",
        "/admin/v1/clients/..%2f..",
        "/admin/v1/audit/x",
        "/admin/v1/certificates/zz",
    ] {
        let answer = server.call_admin(Method::GET, path, Some(&authorization), "").await;
        assert_refused(&server, &answer, 404, "object_not_found", path).await;
    }
}

#[tokio::test]
async fn a_client_is_added_once_and_shown_without_its_secret() {
    let server = TestServer::start().await;
    let new = json!({
        "client_id": "test-shop", "environment": "sandbox", "auth_method": "client_secret_basic",
        "scopes": ["data:read"], "name": "Test Shop", "contacts": ["api@shop.example"],
    });
    let added = server.administer(Method::POST, "/admin/v1/clients", &new).await;
    assert_eq!(added.status, 201);
    let secret = added.json()["client_secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("cs_"), "leak scanners find it");
    let again = server.administer(Method::POST, "/admin/v1/clients", &new).await;
    assert_refused(&server, &again, 409, "object_conflict", "the same client_id").await;
    let show = server.administer(Method::GET, "/admin/v1/clients/test-shop", &Value::Null).await;
    let list = server.administer(Method::GET, "/admin/v1/clients", &Value::Null).await;
    for answer in [&show, &list, &again] {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains(&secret) && !text.contains("hmac"), "{text}");
    }
    let view = show.json();
    assert_eq!(list.json()["clients"][0], view);
    assert_eq!((&view["name"], &view["state"]), (&json!("Test Shop"), &json!("active")));
    assert_eq!(view["contacts"], json!(["api@shop.example"]));
    assert_eq!(view["credentials"][0]["kind"], "secret");
    let without = server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    assert_eq!(without, None, "a method without a secret makes none");
    let refused =
        server.administer(Method::POST, "/admin/v1/clients/acme-pay/rotate-secret", &json!({})).await;
    assert_refused(&server, &refused, 409, "object_conflict", "no secret to rotate").await;
}

#[tokio::test]
async fn disabling_a_client_holds_for_the_next_request() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let token = server.bound_token("acme-pay", &acme).await;
    let mut open = server.caller(Some(&acme)).connect().await.unwrap();
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);

    let disabled = server.administer(Method::POST, "/admin/v1/clients/acme-pay/disable", &Value::Null).await;
    assert_eq!((disabled.status, &disabled.json()["state"]), (200, &json!("disabled")));
    let refused = server.call(Some(&acme), "/data/x", &token).await;
    assert_eq!((refused.status, refused.code().as_deref()), (401, Some("token_revoked")));
    let authorization = format!("Bearer {token}");
    // The open connection is cut, or answers its last request with a refusal.
    if let Ok(answer) = open.send(Method::GET, "/data/x", &[("authorization", &authorization)], "").await {
        assert_eq!(answer.status, 401);
    }
    let form = "grant_type=client_credentials&client_id=acme-pay";
    let refused = server.ask_token(Some(&acme), form).await;
    assert_eq!((refused.status, refused.code().as_deref()), (400, Some("client_authentication_failed")));
    assert_eq!(
        server.explanation(&refused).await["reason"],
        "client_disabled",
        "the operator reads the truth"
    );
    let again = server.administer(Method::POST, "/admin/v1/clients/acme-pay/disable", &Value::Null).await;
    assert_eq!(again.status, 200, "idempotent");
    assert_eq!(server.upstream.requests(), 1);
}

#[tokio::test]
async fn a_client_that_is_enabled_again_works_with_new_tokens_only() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let old = server.bound_token("acme-pay", &acme).await;
    let order = async |order: &str| {
        server.administer(Method::POST, &format!("/admin/v1/clients/acme-pay/{order}"), &Value::Null).await
    };
    assert_eq!(order("enable").await.json()["state"], "active", "it is already");
    assert_eq!(server.call(Some(&acme), "/data/x", &old).await.status, 200);
    for _ in 0..2 {
        assert_eq!(order("disable").await.json()["state"], "disabled");
    }
    for _ in 0..2 {
        let enabled = order("enable").await;
        assert_eq!((enabled.status, &enabled.json()["state"]), (200, &json!("active")));
    }
    let refused = server.call(Some(&acme), "/data/x", &old).await;
    assert_eq!((refused.status, refused.code().as_deref()), (401, Some("token_revoked")));
    let new = server.bound_token("acme-pay", &acme).await;
    assert_eq!(server.call(Some(&acme), "/data/x", &new).await.status, 200);
    let path = "/admin/v1/audit?action=client_enabled";
    let records = server.administer(Method::GET, path, &Value::Null).await.json();
    let record = &records["records"][0];
    assert_eq!((&record["client"], &record["actor"]["name"]), (&json!("acme-pay"), &json!("tester")));
    let nobody = server.administer(Method::POST, "/admin/v1/clients/nobody/enable", &Value::Null).await;
    assert_refused(&server, &nobody, 404, "object_not_found", "enable nobody").await;
}

/// What is given is set, what is absent stays; only what is taken away ends tokens and connections.
#[tokio::test]
async fn an_edit_of_a_client_holds_for_the_next_request() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read", "pay:write"]).await;
    let acme = server.certificate("acme-pay").await;
    let edit = async |change: Value| {
        server.administer(Method::POST, "/admin/v1/clients/acme-pay/edit", &change).await
    };
    let token = server.bound_token("acme-pay", &acme).await;
    let edited = edit(json!({ "name": "Acme Payments", "contacts": ["api@acme.example"] })).await;
    assert_eq!(edited.status, 200, "{}", String::from_utf8_lossy(&edited.body));
    let view = edited.json();
    assert_eq!(
        (&view["name"], &view["contacts"], &view["scopes"]),
        (&json!("Acme Payments"), &json!(["api@acme.example"]), &json!(["data:read", "pay:write"]))
    );
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200, "nothing was taken away");
    server.certificate("acme-pay").await;
    let list =
        server.administer(Method::GET, "/admin/v1/certificates?client=acme-pay", &Value::Null).await.json();
    assert_eq!(list["certificates"][0]["subject"], "CN=acme-pay, O=Acme Payments");

    let mut open = server.caller(Some(&acme)).connect().await.unwrap();
    let authorization = format!("Bearer {token}");
    let asked = [("authorization", authorization.as_str())];
    assert_eq!(open.send(Method::GET, "/data/x", &asked, "").await.unwrap().status, 200);
    assert_eq!(edit(json!({ "scopes": ["pay:write"] })).await.json()["scopes"], json!(["pay:write"]));
    let refused = server.call(Some(&acme), "/data/x", &token).await;
    assert_eq!((refused.status, refused.code().as_deref()), (401, Some("token_revoked")));
    // The open connection is cut, or answers its last request with a refusal.
    if let Ok(answer) = open.send(Method::GET, "/data/x", &asked, "").await {
        assert_eq!(answer.status, 401);
    }
    let form = "grant_type=client_credentials&client_id=acme-pay&scope=data:read";
    let refused = server.ask_token(Some(&acme), form).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some("invalid_scope")));

    let before = edit(json!({ "scopes": ["data:read", "pay:write"], "audiences": [] })).await;
    let token = server.bound_token("acme-pay", &acme).await;
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200, "{:?}", before.json());
    edit(json!({ "audiences": ["https://elsewhere.example"] })).await;
    let refused = server.call(Some(&acme), "/data/x", &token).await;
    assert_eq!((refused.status, refused.code().as_deref()), (401, Some("token_revoked")));

    let records =
        server.administer(Method::GET, "/admin/v1/audit?action=client_edited", &Value::Null).await.json();
    let details: Vec<_> = records["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["detail"].as_str().unwrap())
        .collect();
    assert_eq!(
        details,
        [
            "set audiences: https://elsewhere.example",
            "set scopes: data:read pay:write; audiences: none",
            "set scopes: pay:write",
            "set name: Acme Payments; contacts",
        ]
    );
    for (change, named) in [
        (json!({}), "nothing to change"),
        (json!({ "environment": "sandbox" }), "environment"),
        (json!({ "auth_method": "client_secret_basic" }), "auth_method"),
        (json!({ "name": "Acme\u{202e}dtL" }), "name: the character U+202E"),
        (json!({ "contacts": vec!["a@b.example"; 17] }), "contacts: at most 16"),
        (json!({ "scopes": ["data:raed"] }), "data:raed"),
        (json!({ "audiences": ["x".repeat(513)] }), "audiences: 1 to 512"),
    ] {
        let refused = edit(change).await;
        assert_refused(&server, &refused, 400, "request_parameter_invalid", named).await;
        let told = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(told.contains(named), "{named}: {told}");
    }
    let nobody =
        server.administer(Method::POST, "/admin/v1/clients/nobody/edit", &json!({ "name": "x" })).await;
    assert_refused(&server, &nobody, 404, "object_not_found", "edit nobody").await;
}

#[tokio::test]
async fn rule_c12_rotating_a_secret_overlaps_unless_it_must_not() {
    let server = TestServer::start().await;
    let first =
        server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await.unwrap();
    let works = async |secret: &str| {
        let form = format!("grant_type=client_credentials&client_id=test-shop&client_secret={secret}");
        let answer = server.ask_token(None, &form).await;
        assert!([200, 400].contains(&answer.status), "{}", answer.status);
        answer.status == 200
    };
    let rotate = async |body: Value| {
        let answer =
            server.administer(Method::POST, "/admin/v1/clients/test-shop/rotate-secret", &body).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["client_secret"].as_str().unwrap().to_owned()
    };
    let token = server.bearer_token("test-shop", &first).await;
    let second = rotate(json!({ "overlap_s": 3600 })).await;
    assert!(works(&first).await && works(&second).await, "both during the overlap");
    assert_eq!(server.call(None, "/test/data/x", &token).await.status, 200, "and what was issued before");
    server.clock.advance_s(3600);
    assert!(!works(&first).await && works(&second).await, "the first one has ended");

    let token_of_second = server.bearer_token("test-shop", &second).await;
    assert_eq!(server.call(None, "/test/data/x", &token_of_second).await.status, 200);
    let third = rotate(json!({ "overlap_s": 0 })).await;
    assert!(!works(&second).await && works(&third).await, "no overlap");
    let refused = server.call(None, "/test/data/x", &token_of_second).await;
    assert_eq!(refused.code().as_deref(), Some("token_revoked"), "its tokens end with it");
    let view = server.administer(Method::GET, "/admin/v1/clients/test-shop", &Value::Null).await;
    let text = String::from_utf8_lossy(&view.body).into_owned();
    for secret in [&first, &second, &third] {
        assert!(!text.contains(secret.as_str()));
    }
    assert_eq!(view.json()["credentials"].as_array().unwrap().len(), 3, "each keeps its name and history");
}

#[tokio::test]
async fn a_certificate_is_found_by_serial_beginning_of_it_and_thumbprint() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let mut serials = Vec::new();
    let mut last = None;
    for _ in 0..17 {
        last = Some(server.certificate("acme-pay").await); // Two of seventeen begin with the same digit.
    }
    let list =
        server.administer(Method::GET, "/admin/v1/certificates?client=acme-pay", &Value::Null).await.json();
    for certificate in list["certificates"].as_array().unwrap() {
        serials.push(certificate["serial"].as_str().unwrap().to_owned());
        assert!(certificate.get("certificate").is_none(), "a list has no PEM");
    }
    assert_eq!(serials.len(), 17);
    let show = async |text: &str| {
        server.administer(Method::GET, &format!("/admin/v1/certificates/{text}"), &Value::Null).await
    };
    let serial = &serials[0];
    assert_eq!(show(serial).await.json()["serial"], serial.as_str());
    assert_eq!(show(&serial.to_uppercase()).await.json()["serial"], serial.as_str());
    assert_eq!(show(&serial[..12]).await.json()["serial"], serial.as_str(), "a unique beginning");
    let thumbprint = countersign_pki::thumbprint(&last.unwrap().chain[0]);
    assert_eq!(show(&thumbprint.to_string()).await.json()["thumbprint"], thumbprint.to_string());
    let pem = show(serial).await.json()["certificate"].as_str().unwrap().to_owned();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
    // The short form of our tables, and its beginning alone, which is too short.
    let (begin, end) = (&serial[..4], &serial[serial.len() - 4..]);
    assert_eq!(show(&format!("{begin}..{end}")).await.json()["serial"], serial.as_str());
    assert_eq!(show(&format!("{begin}..0000")).await.status, 404);
    let short = show(&serial[..7]).await;
    assert_refused(&server, &short, 400, "request_parameter_invalid", "seven digits").await;

    // Two that begin with the same eight digits and more, and one that is short as a whole.
    let store = &server.server.context().store;
    let row =
        store.certificate(&"clients".parse().unwrap(), &serial.parse().unwrap()).await.unwrap().unwrap();
    for serial in ["41aabbccdd01", "41aabbccdd02", "3f9a"] {
        let (state, serial) = (CertificateState::Pending, serial.parse().unwrap());
        let row = CertificateRecord { serial, state, der: None, thumbprint: None, ..row.clone() };
        store.commit(Transaction::new().write(Write::InsertPendingCertificate(row))).await.unwrap();
    }
    for ambiguous in ["41aabbcc", "41aabbccdd", "41aabb..dd"] {
        let answer = show(ambiguous).await;
        match ambiguous.contains("..") {
            true => assert_eq!(answer.status, 404, "no serial number ends so"),
            false => {
                assert_refused(&server, &answer, 409, "object_conflict", ambiguous).await;
                assert!(answer.json()["detail"].as_str().unwrap().contains("give more digits"));
            }
        }
    }
    assert_eq!(show("41aabb..02").await.json()["serial"], "41aabbccdd02");
    assert_eq!(show("3f9a").await.json()["serial"], "3f9a", "the whole of it");
    let nobody = show(&"0".repeat(40)).await;
    assert_refused(&server, &nobody, 404, "object_not_found", "no such serial").await;
    let path = format!("/admin/v1/certificates/{}/revoke", &serial[..12]);
    let revoked = server.administer(Method::POST, &path, &json!({ "reason": "superseded" })).await;
    assert_eq!(revoked.json()["certificates"][0]["state"], "revoked");
    for (state, count) in [("revoked", 1), ("valid", 16), ("expired", 0), ("pending", 3), ("abandoned", 0)] {
        let path = format!("/admin/v1/certificates?client=acme-pay&state={state}");
        let found = server.administer(Method::GET, &path, &Value::Null).await.json();
        assert_eq!(found["certificates"].as_array().unwrap().len(), count, "{state}");
    }
    server.clock.advance_s(31 * 86_400);
    assert_eq!(show(&serials[1]).await.json()["state"], "expired");
}

#[tokio::test]
async fn an_expired_certificate_is_listed_behind_a_thousand_valid_ones() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    server.certificate("acme-pay").await;
    server.clock.advance_s(31 * 86_400);
    let context = server.server.context();
    let of_acme =
        CertificateFilter { client: Some("acme-pay".parse().unwrap()), ..CertificateFilter::default() };
    let old = context.store.certificates(&of_acme, 1).await.unwrap().remove(0);
    let mut transaction = Transaction::new();
    for i in 0..1001_u32 {
        let serial = Serial::from_octets(&[&[0x7f; 8], i.to_be_bytes().as_slice()].concat()).unwrap();
        let state = CertificateState::Pending;
        let (not_after, created_at) = (server.clock.now().plus_days(30), server.clock.now());
        let row = CertificateRecord {
            serial,
            state,
            not_after,
            created_at,
            der: None,
            thumbprint: None,
            ..old.clone()
        };
        let (issuer, der) = (old.issuer.clone(), i.to_be_bytes().to_vec());
        let thumbprint = countersign_pki::thumbprint(&der);
        transaction.writes.push(Write::InsertPendingCertificate(row));
        transaction.writes.push(Write::MarkIssued { issuer, serial, der, thumbprint });
    }
    context.store.commit(transaction).await.unwrap();
    for (state, count, more) in [("expired", 1, false), ("valid", 1000, true)] {
        let path = format!("/admin/v1/certificates?client=acme-pay&state={state}");
        let found = server.administer(Method::GET, &path, &Value::Null).await.json();
        assert_eq!(found["certificates"].as_array().unwrap().len(), count, "{state}");
        assert_eq!(found["more"], more, "{state}");
        assert_eq!(found["next"].is_string(), more, "{state}");
    }
    // Page by page each of them once, also when one is issued meanwhile.
    let path = "/admin/v1/certificates?client=acme-pay&state=valid";
    let first = server.administer(Method::GET, path, &Value::Null).await.json();
    server.clock.advance_s(1);
    server.certificate("acme-pay").await;
    let path = format!("{path}&before={}", first["next"].as_str().unwrap());
    let second = server.administer(Method::GET, &path, &Value::Null).await.json();
    assert_eq!((second["certificates"].as_array().unwrap().len(), &second["more"]), (1, &json!(false)));
    let pages = [&first, &second].map(|page| page["certificates"].as_array().unwrap());
    let distinct = |pages: [&Vec<Value>; 2]| {
        let serials = pages.into_iter().flatten().map(|row| row["serial"].as_str().unwrap().to_owned());
        serials.collect::<std::collections::HashSet<_>>().len()
    };
    assert_eq!(distinct(pages), 1001);
    // By expiry as well.
    let path =
        format!("/admin/v1/certificates?client=acme-pay&expires_before={}", server.clock.now().plus_days(30));
    let first = server.administer(Method::GET, &path, &Value::Null).await.json();
    let path = format!("{path}&before={}", first["next"].as_str().unwrap());
    let second = server.administer(Method::GET, &path, &Value::Null).await.json();
    let pages = [&first, &second].map(|page| page["certificates"].as_array().unwrap());
    assert_eq!((pages.map(Vec::len), distinct(pages), &second["more"]), ([1000, 1], 1001, &json!(false)));
}

/// Also our own among those of clients; what has ended does not expire any more.
#[tokio::test]
async fn what_expires_next_is_listed_soonest_first() {
    let server = TestServer::start().await;
    for client in ["acme-pay", "other-bank"] {
        server.add_client(client, "production", "tls_client_auth", &["data:read"]).await;
    }
    let mut serials = Vec::new();
    for client in ["acme-pay", "other-bank", "acme-pay", "acme-pay"] {
        let issued = server.certificate(client).await;
        let text = countersign_pki::thumbprint(&issued.chain[0]).to_string();
        let shown =
            server.administer(Method::GET, &format!("/admin/v1/certificates/{text}"), &Value::Null).await;
        serials.push(shown.json()["serial"].as_str().unwrap().to_owned());
        server.clock.advance_s(86_400);
    }
    let path = format!("/admin/v1/certificates/{}/revoke", serials[2]);
    assert_eq!(server.administer(Method::POST, &path, &json!({ "reason": "superseded" })).await.status, 200);
    let list = async |query: &str| {
        server.administer(Method::GET, &format!("/admin/v1/certificates?{query}"), &Value::Null).await
    };
    // The first certificate of four ends 30 days after it was made, four days ago.
    let within = |days: i64| format!("expires_before={}", server.clock.now().plus_days(days));
    let shown = async |query: &str| -> Vec<String> {
        let list = list(query).await.json();
        let clients = |row: &&Value| row["client"].is_string();
        let rows = list["certificates"].as_array().unwrap().iter().filter(clients);
        rows.map(|row| row["serial"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown(&within(40)).await, [0, 1, 3].map(|n: usize| serials[n].clone()));
    assert_eq!(shown(&within(28)).await, [0, 1].map(|n: usize| serials[n].clone()));
    assert_eq!(shown(&within(1)).await, [""; 0]);
    assert_eq!(
        shown(&format!("{}&client=acme-pay", within(40))).await,
        [0, 3].map(|n: usize| serials[n].clone())
    );
    assert_eq!(shown(&format!("{}&state=valid", within(28))).await.len(), 2);
    let ours = list(&within(4000)).await.json();
    let profiles: Vec<_> =
        ours["certificates"].as_array().unwrap().iter().map(|row| &row["profile"]).collect();
    assert!(profiles.contains(&&json!("server")) && profiles.contains(&&json!("issuing-ca")), "{profiles:?}");
    for (query, place) in [
        (format!("{}&state=expired", within(30)), "expires_before"),
        ("expires_before=tomorrow".to_owned(), "expires_before"),
    ] {
        let refused = list(&query).await;
        assert_refused(&server, &refused, 400, "request_parameter_invalid", &query).await;
        assert!(refused.json()["detail"].as_str().unwrap().contains(place), "{}", refused.json());
    }
}

#[tokio::test]
async fn a_token_key_for_an_emergency_is_published_and_signs_at_once() {
    let server = TestServer::start().await;
    let secret =
        server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await.unwrap();
    let before = server.bearer_token("test-shop", &secret).await;
    let rotated =
        server.administer(Method::POST, "/admin/v1/token-keys/rotate", &json!({ "now": true })).await;
    assert_eq!(rotated.status, 200);
    let after = server.bearer_token("test-shop", &secret).await;
    assert_eq!(server.call(None, "/test/data/x", &after).await.status, 200);
    assert_eq!(server.call(None, "/test/data/x", &before).await.status, 401, "its key is in other hands");
    let keys = server.caller(None).get("/oauth2/jwks", &[]).await.unwrap().json();
    let key = rotated.json()["key_id"].clone();
    assert!(keys["keys"].as_array().unwrap().iter().any(|jwk| jwk["kid"] == key), "{keys}");
    assert_eq!(
        server.audit("token_key_rotated").await[0]["actor"],
        json!({ "kind": "operator", "name": "tester" })
    );
}

/// Each reads which keys there are and then writes: side by side, both would find nothing pending.
#[tokio::test]
async fn rule_k9_of_rotations_at_the_same_time_one_is_done() {
    let server = TestServer::start().await;
    let (path, body) = ("/admin/v1/token-keys/rotate", json!({}));
    let rotate = || server.administer(Method::POST, path, &body);
    let answers = tokio::join!(rotate(), rotate(), rotate(), rotate());
    let mut statuses = [answers.0.status, answers.1.status, answers.2.status, answers.3.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409]);
    let keys = server.caller(None).get("/oauth2/jwks", &[]).await.unwrap().json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "the one that signs and the one that follows");
}

#[tokio::test]
async fn a_misspelt_scope_is_refused_when_it_is_registered() {
    let server = TestServer::start().await;
    let new = json!({
        "client_id": "acme-pay", "environment": "production", "auth_method": "tls_client_auth",
        "scopes": ["data:read", "data:raed"],
    });
    let refused = server.administer(Method::POST, "/admin/v1/clients", &new).await;
    assert_eq!((refused.status, refused.code().as_deref()), (400, Some("request_parameter_invalid")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("data:raed"), "{}", refused.json());
    let path = "/admin/v1/clients/acme-pay";
    assert_eq!(server.administer(Method::GET, path, &Value::Null).await.status, 404);
}

/// DNS rebinding: a page in the administrator's browser, under a name that resolves to 127.0.0.1, reads what needs no
/// credential and tries what does.
#[tokio::test]
async fn rule_t5_the_admin_listener_answers_this_machines_names_only() {
    let server = TestServer::start().await;
    let caller = countersign_testkit::Client::plain(server.admin);
    for path in ["/metrics", "/readyz", "/admin/v1/clients"] {
        for host in ["evil.example", "evil.example:8444", "192.0.2.1"] {
            let answer = caller.get(path, &[("host", host)]).await.unwrap();
            assert_eq!((answer.status, answer.code().as_deref()), (421, Some("host_misdirected")), "{path}");
        }
        let port = server.admin.port();
        for host in ["localhost".to_owned(), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            let answer = caller.get(path, &[("host", &host)]).await.unwrap();
            assert_ne!(answer.status, 421, "{path} {host}");
        }
    }
}

/// Generators make a function of each operation, and read refusals by their type.
#[tokio::test]
async fn the_served_document_names_each_operation_once_and_declares_what_it_answers() {
    let server = TestServer::start().await;
    let document = server.administer(Method::GET, "/admin/v1/openapi.json", &Value::Null).await.json();
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            ids.push(operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path}")));
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");

    let resolve = |response: &Value| match response["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap().clone(),
        None => response.clone(),
    };
    let large = "x".repeat(200_000);
    let auditor = format!("Bearer {}", server.add_operator("reader", Role::Auditor).await);
    let admin = format!("Bearer {}", server.add_operator("ann", Role::Admin).await);
    let add = r#"{"client_id":"test-shop","environment":"sandbox","auth_method":"client_secret_post","scopes":["data:read"]}"#;
    let (get, post) = (Method::GET, Method::POST);
    for (method, template, path, authorization, body, status) in [
        (&post, "/clients", "/clients", Some(&admin), add, 201),
        (&post, "/clients", "/clients", Some(&admin), add, 409),
        (&post, "/clients", "/clients", Some(&admin), "{", 400),
        (&post, "/clients", "/clients", Some(&admin), large.as_str(), 413),
        (&post, "/clients", "/clients", Some(&auditor), add, 403),
        (&get, "/clients", "/clients", None, "", 401),
        (&get, "/clients", "/clients", Some(&auditor), "", 200),
        (&get, "/clients/{id}", "/clients/nobody", Some(&auditor), "", 404),
        (&get, "/clients/{id}", "/clients/%ff", Some(&auditor), "", 400),
        (&post, "/certificates", "/certificates", Some(&admin), r#"{"client":"nobody","csr":"x"}"#, 400),
        (&get, "/audit", "/audit?action=x", Some(&auditor), "", 400),
        (&post, "/token-keys/rotate", "/token-keys/rotate", Some(&admin), "{}", 200),
    ] {
        let what = format!("{method} {path} {status}");
        let path = format!("/admin/v1{path}");
        let answer = server.call_admin(method.clone(), &path, authorization.map(String::as_str), body).await;
        assert_eq!(answer.status, status, "{what}");
        let operation = &document["paths"][format!("/admin/v1{template}")][method.as_str().to_lowercase()];
        let declared = resolve(&operation["responses"][status.to_string()]);
        let content = declared["content"].as_object().unwrap_or_else(|| panic!("{what} is not declared"));
        assert_eq!(content.keys().collect::<Vec<_>>(), [answer.header("content-type")], "{what}");
        let schema = content.values().next().unwrap()["schema"]["$ref"].as_str().unwrap();
        assert!(document.pointer(schema.trim_start_matches('#')).is_some(), "{what}: {schema}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let declared = resolve(response);
                let refusal = status.parse::<u16>().is_ok_and(|status| status >= 400);
                let problem = declared["content"].get("application/problem+json").is_some();
                assert!(problem || !refusal, "{path} {status}");
            }
            assert!(operation["responses"]["503"].is_object(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_list_that_is_cut_says_so() {
    let server = TestServer::start().await;
    for client in ["acme-pay", "other-bank"] {
        server.add_client(client, "production", "tls_client_auth", &["data:read"]).await;
    }
    let get = async |path: &str| {
        server.administer(Method::GET, &format!("/admin/v1{path}"), &Value::Null).await.json()
    };
    let (cut, whole) = (get("/audit?limit=1").await, get("/audit?action=client_added&limit=2").await);
    assert_eq!((cut["records"].as_array().unwrap().len(), &cut["more"]), (1, &json!(true)));
    assert_eq!((whole["records"].as_array().unwrap().len(), &whole["more"]), (2, &json!(false)));

    let ids = |list: &Value| -> Vec<String> {
        let clients = list["clients"].as_array().unwrap().iter();
        clients.map(|client| client["client_id"].as_str().unwrap().to_owned()).collect()
    };
    let (all, rest) = (get("/clients").await, get("/clients?after=acme-pay").await);
    assert_eq!(
        (ids(&all), &all["more"]),
        (vec!["acme-pay".to_owned(), "other-bank".to_owned()], &json!(false))
    );
    assert_eq!(ids(&rest), ["other-bank"]);
}

#[tokio::test]
async fn more_clients_than_an_answer_holds_are_read_answer_by_answer() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let store = &server.server.context().store;
    let (client, _) = store.client(&"acme-pay".parse().unwrap()).await.unwrap().unwrap();
    let mut transaction = Transaction::new();
    for number in 0..1000 {
        let id = format!("client-{number:04}").parse().unwrap();
        transaction
            .writes
            .push(Write::InsertClient(countersign_model::client::Client { id, ..client.clone() }));
    }
    store.commit(transaction).await.unwrap();
    let mut path = "/admin/v1/clients".to_owned();
    let mut read = Vec::new();
    for (shown, more) in [(1000, true), (1, false)] {
        let list = server.administer(Method::GET, &path, &Value::Null).await.json();
        assert_eq!((list["clients"].as_array().unwrap().len(), &list["more"]), (shown, &json!(more)));
        for client in list["clients"].as_array().unwrap() {
            read.push(client["client_id"].as_str().unwrap().to_owned());
        }
        path = format!("/admin/v1/clients?after={}", read.last().unwrap());
    }
    assert_eq!((read.len(), read[0].as_str(), read[1000].as_str()), (1001, "acme-pay", "client-0999"));
}

/// A database from before operators had a key of their own: the token works, and is stored under its own key then.
#[tokio::test]
async fn rule_c10_a_token_that_was_stored_under_the_key_of_secrets_is_restated_at_its_first_use() {
    let server = TestServer::start().await;
    let context = server.server.context();
    let token = secret::generate_operator_token(context.rng.as_ref());
    let add = async |name: &str, token_hmac: [u8; 32]| {
        let operator = Operator {
            name: name.to_owned(),
            role: Role::Admin,
            token_hmac,
            enabled: true,
            created_at: server.clock.now(),
        };
        context.store.commit(Transaction::new().write(Write::InsertOperator(operator))).await.unwrap();
        context.operators.store(context.store.operators().await.unwrap().into());
    };
    let former = secret::hmac(&context.pepper, token.expose());
    add("old", former).await;
    let authorization = format!("Bearer {}", token.expose());
    let list = "/admin/v1/clients";
    for _ in 0..2 {
        assert_eq!(server.call_admin(Method::GET, list, Some(&authorization), "").await.status, 200);
        let operators = context.store.operators().await.unwrap();
        let stored = operators.iter().find(|operator| operator.name == "old").unwrap().token_hmac;
        assert_eq!(stored, secret::operator_hmac(&context.pepper, token.expose()));
        context.operators.store(operators.into());
    }

    // What is stored of a client's secret makes no operator, and what is stored of a token makes no client.
    let client_secret =
        server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await.unwrap();
    add("copied", secret::hmac(&context.pepper, &client_secret)).await;
    let copied = format!("Bearer {client_secret}");
    let refused = server.call_admin(Method::GET, list, Some(&copied), "").await;
    assert_refused(&server, &refused, 401, "admin_credential_invalid", "a client's secret").await;
    let views = &context.views;
    for hmac in [former, secret::operator_hmac(&context.pepper, token.expose())] {
        let id = countersign_model::CredentialId::generate(server.clock.now(), context.rng.as_ref());
        let (client, kind) = ("test-shop".parse().unwrap(), CredentialKind::Secret { hmac });
        let credential = Credential::new(id, client, "copied".to_owned(), kind, server.clock.now());
        let receipt = context
            .store
            .commit(Transaction::new().write(Write::InsertCredential(credential)))
            .await
            .unwrap();
        assert!(views.applied(receipt.sequence, std::time::Duration::from_secs(60)).await);
    }
    let form =
        |secret: &str| format!("grant_type=client_credentials&client_id=test-shop&client_secret={secret}");
    assert_eq!(
        server.ask_token(None, &form(token.expose())).await.code().as_deref(),
        Some("client_authentication_failed")
    );
    assert_eq!(server.ask_token(None, &form(&client_secret)).await.status, 200);
}

/// The clock is set back a little after something was handed out, or another node's runs late.
#[tokio::test]
async fn what_is_new_is_accepted_also_by_a_clock_that_is_a_little_behind() {
    let server = TestServer::start().await;
    let secret =
        server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await.unwrap();
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let rotated =
        server.administer(Method::POST, "/admin/v1/token-keys/rotate", &json!({ "now": true })).await;
    assert_eq!(rotated.status, 200);
    server.clock.advance_s(-240);
    server.bearer_token("test-shop", &secret).await;
    let token = server.bound_token("acme-pay", &acme).await;
    assert_eq!(server.call(Some(&acme), "/data/x", &token).await.status, 200);
}
