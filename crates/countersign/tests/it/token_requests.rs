//! Token requests as they should not be (rules C2, C3, K1 and K3), and what the operator finds behind the refusal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_testkit::server::access_token;
use countersign_testkit::{Answer, Identity, TestServer};
use http::Method;

const FORM: &str = "application/x-www-form-urlencoded";

struct World {
    server: TestServer,
    acme: Identity,
    secret: String,
}

impl World {
    async fn start() -> Self {
        let server = TestServer::start().await;
        server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
        let acme = server.certificate("acme-pay").await;
        let post = "client_secret_post";
        let secret = server.add_client("web-shop", "production", post, &["data:read"]).await.unwrap();
        Self { server, acme, secret }
    }

    async fn ask(&self, headers: &[(&str, &str)], form: &str) -> Answer {
        let headers = [&[("content-type", FORM)], headers].concat();
        let form = form.replace("SECRET", &self.secret);
        self.server.caller(None).send(Method::POST, "/oauth2/token", &headers, &form).await.unwrap()
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str, code: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.status, body["error"].as_str(), body["code"].as_str()),
        (status, Some(error), Some(code))
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(body["ref"], answer.header("countersign-ref"));
    assert_eq!(answer.header("www-authenticate").starts_with("Basic "), status == 401, "rule K3");
}

/// Rule K3: 401 with a challenge where the client used the Authorization header, else 400 without one.
#[track_caller]
fn not_authenticated(answer: &Answer, has_authorization: bool) {
    let status = if has_authorization { 401 } else { 400 };
    refused(answer, status, "invalid_client", "client_authentication_failed");
}

#[tokio::test]
async fn rule_k1_requests_that_are_no_token_requests_are_refused() {
    let world = World::start().await;
    let good = "grant_type=client_credentials&client_id=web-shop&client_secret=SECRET";
    access_token(&world.ask(&[], good).await);
    access_token(&world.ask(&[], &format!("{good}&unknown=1")).await);
    let repeated = "request_parameter_repeated";
    for (form, error, code) in [
        (format!("{good}&client_id=web-shop"), "invalid_request", repeated),
        (format!("{good}&grant_type=client_credentials"), "invalid_request", repeated),
        (format!("{good}&scope=data:read&scope=data:read"), "invalid_request", repeated),
        (format!("{good}&unknown=1&unknown=2"), "invalid_request", repeated),
        (format!("{good}&s%63ope=data:read&scope=data:read"), "invalid_request", repeated),
        (good.replace("grant_type=client_credentials&", ""), "invalid_request", "request_parameter_missing"),
        (format!("{good}&scope=pay:write"), "invalid_scope", "scope_not_allowed"),
        (format!("{good}&scope=no:such"), "invalid_scope", "scope_not_allowed"),
        (format!("{good}&resource=https://other.example/"), "invalid_target", "audience_not_allowed"),
        (good.replace("client_credentials", "password"), "unsupported_grant_type", "grant_type_unsupported"),
        (
            good.replace("client_credentials", "refresh_token"),
            "unsupported_grant_type",
            "grant_type_unsupported",
        ),
    ] {
        refused(&world.ask(&[], &form).await, 400, error, code);
    }
    let large = format!("{good}&filler={}", "a".repeat(20_000));
    assert_eq!(world.ask(&[], &large).await.code().as_deref(), Some("request_body_too_large"));

    let caller = world.server.caller(None);
    let form = good.replace("SECRET", &world.secret);
    let get = caller.get(&format!("/oauth2/token?{form}"), &[]).await.unwrap();
    assert_eq!((get.status, get.header("allow")), (405, "POST"));
    let query = format!("/oauth2/token?client_secret={}", world.secret);
    let answer = caller.send(Method::POST, &query, &[("content-type", FORM)], &form).await.unwrap();
    refused(&answer, 400, "invalid_request", "credentials_in_query");
    let json = [("content-type", "application/json")];
    let answer = caller.send(Method::POST, "/oauth2/token", &json, "{}").await.unwrap();
    refused(&answer, 400, "invalid_request", "request_content_type_wrong");
    let records = world.server.audit("token_refused").await;
    assert!(!format!("{records:?}").contains(&world.secret), "rule I4: no secret on record");
}

#[tokio::test]
async fn rule_c2_two_credentials_at_once_are_refused() {
    let world = World::start().await;
    let basic = format!("Basic {}", STANDARD.encode(format!("web-shop:{}", world.secret)));
    let basic = [("authorization", basic.as_str())];
    let grant = "grant_type=client_credentials";
    let repeated = "client_credentials_repeated";
    let both = world.ask(&basic, &format!("{grant}&client_id=web-shop&client_secret=SECRET")).await;
    refused(&both, 400, "invalid_request", repeated);
    let twice = world.ask(&[basic[0], basic[0]], grant).await;
    refused(&twice, 400, "invalid_request", repeated);
    let other = world.ask(&basic, &format!("{grant}&client_id=acme-pay")).await;
    refused(&other, 400, "invalid_request", repeated);
    // A certificate beside the secret is none, but it must be the same client's.
    let form = format!("{grant}&client_id=web-shop&client_secret={}", world.secret);
    let answer = world.server.ask_token(Some(&world.acme), &form).await;
    not_authenticated(&answer, false);
    assert_eq!(world.server.explanation(&answer).await["reason"], "client_certificate_not_registered");
}

#[tokio::test]
async fn rule_c10_a_caller_cannot_tell_why_it_failed_and_the_operator_can() {
    let world = World::start().await;
    let grant = "grant_type=client_credentials";
    let basic = format!("Basic {}", STANDARD.encode(format!("web-shop:{}", world.secret)));
    for (headers, form, reason) in [
        (vec![], format!("{grant}&client_id=nobody&client_secret=SECRET"), "client_unknown"),
        (vec![], format!("{grant}&client_id=web-shop&client_secret=cs_wrong"), "client_secret_wrong"),
        (vec![("authorization", &*basic)], grant.to_owned(), "client_method_wrong"),
        (vec![], format!("{grant}&client_id=acme-pay&client_secret=SECRET"), "client_method_wrong"),
        (vec![], format!("{grant}&client_id=web-shop"), "client_method_wrong"),
        (vec![], format!("{grant}&client_id=acme-pay"), "certificate_missing"),
    ] {
        let answer = world.ask(&headers, &form).await;
        not_authenticated(&answer, !headers.is_empty());
        assert_eq!(world.server.explanation(&answer).await["reason"], reason, "{form}");
    }
}

/// What is told is of the request and the connection: equal requests read the same answer, whichever client they name.
#[tokio::test]
async fn rule_c10_no_public_detail_depends_on_a_secret_or_on_whether_a_client_exists() {
    let world = World::start().await;
    world.server.add_client("other-bank", "production", "tls_client_auth", &["data:read"]).await;
    let other = world.server.certificate("other-bank").await;
    let form = |id: &str, more: &str| format!("grant_type=client_credentials&client_id={id}{more}");
    let assertion = "&client_assertion=x&client_assertion_type=y";
    for (certificate, scheme, more) in [
        (None, None, "&client_secret=cs_wrong"),
        (None, Some("Basic"), ""),
        (None, Some("Bearer"), ""),
        (None, None, ""),
        (None, None, assertion),
        (Some(&other), None, ""),
        (Some(&other), None, "&client_secret=cs_wrong"),
        (Some(&other), Some("Basic"), "&scope=no:such  x"),
    ] {
        let mut told = Vec::new();
        for id in ["nobody", "web-shop", "acme-pay", "NOT A CLIENT"] {
            let pair = STANDARD.encode(format!("{id}:cs_wrong"));
            let authorization = scheme.map(|scheme| format!("{scheme} {pair}"));
            let mut headers = vec![("content-type", FORM)];
            headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
            let caller = world.server.caller(certificate);
            let answer = caller.send(Method::POST, "/oauth2/token", &headers, &form(id, more)).await.unwrap();
            let mut body = answer.json();
            body["ref"].take();
            told.push((answer.status, body));
        }
        assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{scheme:?} {more}: {told:#?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_callers_own_request_is_said_precisely() {
    let world = World::start().await;
    let grant = "grant_type=client_credentials";
    let secret = "client_id=web-shop&client_secret=SECRET";
    for (form, told) in [
        ("client_id=web-shop".to_owned(), "The parameter grant_type is missing"),
        (format!("{grant}&{grant}"), "The parameter grant_type is sent more than once"),
        (format!("{grant}&client_id=acme-pay"), "No client certificate arrived on this connection"),
        (grant.to_owned(), "No client_id was sent"),
        (format!("{grant}&client_id=x&client_assertion=y"), "client_assertion is not supported"),
        (
            format!("{grant}&{secret}&scope=data:read++data:read"),
            "two in a row. Separate scopes by one space",
        ),
        (format!("{grant}&{secret}&scope=+data:read"), "a space at its beginning or end"),
        (format!("{grant}&{secret}&scope=pay:write"), "not registered for the scope `pay:write`"),
        (format!("{grant}&{secret}&resource=urn:x"), "`resource` names no API of this server"),
    ] {
        let answer = world.ask(&[], &form).await;
        let description = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(description.contains(told), "{form}: {description}");
        // RFC 6749 section 5.2 has these characters and no others.
        let allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
        assert!(description.chars().all(allowed), "{description}");
    }
}

/// Under a flood equal refusals share a reference, and anybody can make one: what is equal must be what the caller reads.
#[tokio::test]
async fn rule_c10_folded_references_tell_no_more_than_the_public_code() {
    let world = World::start().await;
    let grant = "grant_type=client_credentials";
    for (client, exact) in [
        ("nobody", ["client_unknown"; 3]),
        ("web-shop", ["client_secret_wrong", "client_method_wrong", "client_method_wrong"]),
        ("acme-pay", ["client_method_wrong", "client_method_wrong", "certificate_missing"]),
    ] {
        // The clock stands. Made-up names use up what a second may have of records of their own, and every class folds from
        // its second refusal on.
        for i in 0..200 {
            world.ask(&[], &format!("{grant}&client_id=made-up-{i}&client_secret=cs_wrong")).await;
        }
        let basic = format!("Basic {}", STANDARD.encode(format!("{client}:cs_wrong")));
        let mut told = Vec::new();
        for _ in 0..2 {
            for (headers, form) in [
                (vec![], format!("{grant}&client_id={client}&client_secret=cs_wrong")),
                (vec![("authorization", &*basic)], grant.to_owned()),
                (vec![], format!("{grant}&client_id={client}")),
            ] {
                let answer = world.ask(&headers, &form).await;
                not_authenticated(&answer, !headers.is_empty());
                told.push(answer);
            }
        }
        let opener = told[0].header("countersign-ref");
        assert!(told.iter().all(|answer| answer.header("countersign-ref") == opener), "{client}");

        world.server.clock.advance_s(11); // The series is over.
        let path = format!("/admin/v1/audit/{opener}");
        let found = world.server.administer(Method::GET, &path, &serde_json::Value::Null).await.json();
        let records = found["records"].as_array().unwrap();
        let of = |exact: &str| -> u64 {
            let records = records.iter().filter(|record| record["reason"] == exact);
            records.map(|record| record["folded"]["count"].as_u64().unwrap_or(1)).sum()
        };
        for reason in exact {
            let asked = exact.iter().filter(|other| **other == reason).count() as u64 * 2;
            assert_eq!(of(reason), asked, "the operator reads how many there were of each: {found}");
        }
    }
}

#[tokio::test]
async fn rule_c12_a_secret_ends_after_its_overlap() {
    let world = World::start().await;
    let rotate = "/admin/v1/clients/web-shop/rotate-secret";
    let overlap = serde_json::json!({ "overlap_s": 60 });
    let rotated = world.server.administer(Method::POST, rotate, &overlap).await;
    let fresh = rotated.json()["client_secret"].as_str().unwrap().to_owned();
    let good = "grant_type=client_credentials&client_id=web-shop&client_secret=SECRET";
    for secret in [&world.secret, &fresh] {
        access_token(&world.ask(&[], &good.replace("SECRET", secret)).await);
    }
    world.server.clock.advance_s(61);
    let answer = world.ask(&[], good).await;
    not_authenticated(&answer, false);
    assert_eq!(world.server.explanation(&answer).await["reason"], "client_secret_expired");
    access_token(&world.ask(&[], &good.replace("SECRET", &fresh)).await);
}

/// The same counters hold for the internal method at the gateway: guessing moves to no other door.
#[tokio::test]
async fn rule_c10_wrong_secrets_of_the_internal_method_are_throttled_as_well() {
    let server = TestServer::start().await;
    let secret =
        server.add_client("test-shop", "sandbox", "client_secret_post", &["data:read"]).await.unwrap();
    let caller = server.caller(None);
    let mut throttled = None;
    for _ in 0..20 {
        let wrong = [("client_id", "test-shop"), ("client_secret", "cs_wrong")];
        let answer = caller.get("/test/data/x", &wrong).await.unwrap();
        if answer.status == 429 {
            throttled = Some(answer);
            break;
        }
        assert_eq!((answer.status, answer.code().as_deref()), (401, Some("client_authentication_failed")));
    }
    let throttled = throttled.expect("guessing is never stopped");
    assert_eq!(throttled.code().as_deref(), Some("throttled"));
    assert_ne!(throttled.header("retry-after"), "");
    let form = format!("grant_type=client_credentials&client_id=test-shop&client_secret={secret}");
    assert_eq!(server.ask_token(None, &form).await.status, 429);
    assert_eq!(server.upstream.requests(), 0);
}
