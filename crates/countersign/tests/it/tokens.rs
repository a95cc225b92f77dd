//! Access tokens that are not what they should be (rules G1 to G4 and G11): each is refused by the very check that it was made for.
//!
//! They are signed by the server's own key where the signature is not the point, so that nothing else is wrong with them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::{Custody, MasterKey, PortableKey, SystemRng};
use countersign_model::Clock;
use countersign_model::key::KeyPurpose;
use countersign_storage::{Transaction, Write};
use countersign_testkit::token::{hs256, signing_input};
use countersign_testkit::{Answer, Identity, TestServer};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

/// A server, a client with its certificate, and the header and claims of a good token of it.
struct World {
    server: TestServer,
    acme: Identity,
    header: Value,
    claims: Value,
}

impl World {
    async fn start() -> Self {
        let server = TestServer::start().await;
        server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
        let acme = server.certificate("acme-pay").await;
        let (header, claims) =
            (server.token_header(), server.token_claims("acme-pay", Some(&acme), "data:read"));
        Self { server, acme, header, claims }
    }

    /// The answer to a token with these members in header and claims instead of the good ones; null removes one.
    async fn with(&self, header: Value, claims: Value) -> Answer {
        let (header, claims) = (changed(&self.header, &header), changed(&self.claims, &claims));
        self.call(&self.server.sign_token(&header, &claims).await).await
    }

    async fn call(&self, token: &str) -> Answer {
        self.server.call(Some(&self.acme), "/data/x", token).await
    }

    async fn good(&self) -> String {
        self.server.sign_token(&self.header, &self.claims).await
    }
}

fn changed(good: &Value, changes: &Value) -> Value {
    let mut object = good.as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => object.remove(name),
            value => object.insert(name.clone(), value.clone()),
        };
    }
    Value::Object(object)
}

#[track_caller]
fn refused(answer: &Answer, code: &str, why: &str) {
    assert_eq!((answer.status, answer.code().as_deref()), (401, Some(code)), "{why}");
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains("error=\"invalid_token\""), "{why}: {challenge}");
}

#[tokio::test]
async fn rule_g2_claims_that_are_not_ours_are_refused() {
    let world = World::start().await;
    assert_eq!(world.call(&world.good().await).await.status, 200, "the token that all others are made from");
    let now_s = world.server.clock.now().unix_s();
    let other = "other-bank";
    for (why, claims, code) in [
        ("another issuer", json!({ "iss": "https://localhost/" }), "token_issuer_wrong"),
        ("the issuer in capitals", json!({ "iss": "HTTPS://LOCALHOST" }), "token_issuer_wrong"),
        ("another audience", json!({ "aud": "https://localhost" }), "token_audience_wrong"),
        ("other audiences", json!({ "aud": ["a", "b"] }), "token_audience_wrong"),
        (
            "the other environment",
            private(&world.claims, "environment", json!("sandbox")),
            "token_environment_wrong",
        ),
        ("expired", json!({ "iat": now_s - 306, "exp": now_s - 6 }), "token_expired"),
        ("expired, wrong binding", json!({ "exp": now_s - 6, "cnf": { "jkt": "x" } }), "token_expired"),
        ("issued in the future", json!({ "iat": now_s + 6 }), "token_not_yet_valid"),
        ("not before the future", json!({ "nbf": now_s + 6 }), "token_not_yet_valid"),
        ("no cnf on a bound route", json!({ "cnf": null }), "token_binding_missing"),
        ("a client that is not there", json!({ "sub": other, "client_id": other }), "token_revoked"),
        (
            "a credential that is not there",
            private(&world.claims, "credential", json!("01JZ8Q0M3T4V6X8Z0A2C4E6G8J")),
            "token_revoked",
        ),
        ("another subject", json!({ "sub": other }), "token_malformed"),
        ("an audience of the wrong type", json!({ "aud": 1 }), "token_malformed"),
        ("an expiry of the wrong type", json!({ "exp": "tomorrow" }), "token_malformed"),
    ] {
        refused(&world.with(json!({}), claims).await, code, why);
    }
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "countersign"] {
        let answer = world.with(json!({}), json!({ claim: null })).await;
        refused(&answer, "token_claim_missing", claim);
    }
    assert_eq!(world.server.upstream.requests(), 1);
}

fn private(claims: &Value, name: &str, value: Value) -> Value {
    let mut private = claims["countersign"].clone();
    private[name] = value;
    json!({ "countersign": private })
}

#[tokio::test]
async fn rule_g3_an_unknown_confirmation_is_refused() {
    let world = World::start().await;
    let bound = world.claims["cnf"]["x5t#S256"].clone();
    for cnf in [
        json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
        json!({ "x5t#S256": bound, "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
        json!({ "x5t#S256": bound, "unheard-of": 1 }),
        json!({ "x5t#S256": "short" }),
        json!({ "x5t": bound }),
        json!({}),
        json!("text"),
    ] {
        let answer = world.with(json!({}), json!({ "cnf": cnf })).await;
        refused(&answer, "token_binding_unknown", &cnf.to_string());
        // ... and on a route that would do with a bearer token as well.
        let claims = changed(&world.claims, &json!({ "cnf": cnf }));
        let token = world.server.sign_token(&world.header, &claims).await;
        let answer = world.server.call(Some(&world.acme), "/optional-bearer/x", &token).await;
        refused(&answer, "token_binding_unknown", &cnf.to_string());
    }
    assert_eq!(world.server.upstream.requests(), 0);
}

#[tokio::test]
async fn rule_c7_algorithms_and_keys_are_ours_or_none() {
    let world = World::start().await;
    let good = world.good().await;
    let (input, signature) = good.rsplit_once('.').unwrap();
    let header = |changes| changed(&world.header, &changes);
    let unsigned = |changes| signing_input(&header(changes), &world.claims);

    // CVE-2016-10555 and its heirs: the public key as the secret of an HMAC.
    let confused = unsigned(json!({ "alg": "HS256" }));
    let confused_signature = hs256(world.server.token_key().public_key(), &confused);
    // A key of the attacker's own, under the name of ours, and brought along in the header (rule C8).
    let own = PortableKey::generate().unwrap();
    let own_signature = URL_SAFE_NO_PAD.encode(own.sign(input.as_bytes()).unwrap());
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" });
    let brought = unsigned(json!({ "jwk": jwk, "jku": "https://attacker.example/jwks" }));
    let brought_signature = URL_SAFE_NO_PAD.encode(own.sign(brought.as_bytes()).unwrap());
    let stranger = unsigned(json!({ "kid": own.id().0 }));
    let stranger_signature = URL_SAFE_NO_PAD.encode(own.sign(stranger.as_bytes()).unwrap());
    let edited = signing_input(&world.header, &changed(&world.claims, &json!({ "scope": "pay:write" })));
    let zeros = URL_SAFE_NO_PAD.encode([0; 64]);

    for (why, token, code) in [
        ("none", format!("{}.", unsigned(json!({ "alg": "none" }))), "token_algorithm_refused"),
        ("None", format!("{}.", unsigned(json!({ "alg": "None" }))), "token_algorithm_refused"),
        (
            "none, signed",
            format!("{}.{signature}", unsigned(json!({ "alg": "none" }))),
            "token_algorithm_refused",
        ),
        ("HMAC with our public key", format!("{confused}.{confused_signature}"), "token_algorithm_refused"),
        (
            "another algorithm",
            format!("{}.{signature}", unsigned(json!({ "alg": "ES384" }))),
            "token_algorithm_refused",
        ),
        ("a key of an unknown name", format!("{stranger}.{stranger_signature}"), "token_key_unknown"),
        (
            "no name of a key",
            format!("{}.{signature}", unsigned(json!({ "kid": null }))),
            "token_key_unknown",
        ),
        ("another's key under our name", format!("{input}.{own_signature}"), "token_signature_invalid"),
        ("a key brought along", format!("{brought}.{brought_signature}"), "token_signature_invalid"),
        ("other claims", format!("{edited}.{signature}"), "token_signature_invalid"),
        ("a signature of zeros (CVE-2022-21449)", format!("{input}.{zeros}"), "token_signature_invalid"),
        ("no signature", format!("{input}."), "token_signature_invalid"),
    ] {
        refused(&world.call(&token).await, code, why);
    }
    for typ in [json!("JWT"), json!("dpop+jwt"), json!("client-authentication+jwt"), Value::Null] {
        let answer = world.with(json!({ "typ": typ }), json!({})).await;
        refused(&answer, "token_type_wrong", &typ.to_string());
    }
    assert_eq!(world.server.upstream.requests(), 0);
}

#[tokio::test]
async fn rule_g2_mutilated_tokens_are_refused() {
    let world = World::start().await;
    let good = world.good().await;
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    for (why, token, code) in [
        ("empty", String::new(), "token_malformed"),
        ("one part", header.to_owned(), "token_malformed"),
        ("two parts", format!("{header}.{claims}"), "token_malformed"),
        ("five parts", format!("{good}.x.y"), "token_malformed"),
        ("an empty header", format!(".{claims}.{signature}"), "token_malformed"),
        ("padding", format!("{good}="), "token_malformed"),
        ("the other alphabet", format!("{header}.{claims}.{}", "+/".repeat(43)), "token_malformed"),
        ("a space inside", format!("{header}. {claims}.{signature}"), "token_malformed"),
        ("a critical extension", crit(&world), "token_malformed"),
        ("a cut signature", good[..good.len() - 6].to_owned(), "token_signature_invalid"),
        ("too large", format!("{header}.{}.{signature}", "A".repeat(9000)), "token_too_large"),
    ] {
        refused(&world.call(&token).await, code, why);
    }
    // Cut anywhere it is refused, whatever the check is that sees it.
    for length in (0..good.len()).step_by(23) {
        assert_eq!(world.call(&good[..length]).await.status, 401, "{length} characters of it");
    }
    assert_eq!(world.server.upstream.requests(), 0);
    assert_eq!(world.call(&good).await.status, 200);
}

fn crit(world: &World) -> String {
    let header = changed(&world.header, &json!({ "crit": ["b64"], "b64": false }));
    format!("{}.{}", signing_input(&header, &world.claims), "A".repeat(86))
}

#[tokio::test]
async fn rule_g11_a_refusal_repeats_nothing_of_the_token() {
    let world = World::start().await;
    let marker = "\u{1b}[31m<script>\"\\r\\nX-Injected: 1";
    let header = changed(&world.header, &json!({ "kid": marker, "typ": marker }));
    let claims = changed(&world.claims, &json!({ "iss": marker, "client_id": marker, "jti": marker }));
    let token = world.server.sign_token(&header, &claims).await;
    let answer = world.call(&token).await;
    refused(&answer, "token_key_unknown", "a name of a key that tries to get out");
    let record = world.server.explanation(&answer).await.to_string();
    for text in [format!("{:?}", answer.headers), String::from_utf8_lossy(&answer.body).into_owned(), record]
    {
        assert!(!text.contains("<script") && !text.contains("Injected"), "{text}");
        assert!(!text.contains(&token[..40]), "{text}");
    }
}

#[tokio::test]
async fn rule_g4_a_stolen_token_is_an_incident_on_record() {
    let world = World::start().await;
    world.server.add_client("other-bank", "production", "tls_client_auth", &["data:read"]).await;
    let thief = world.server.certificate("other-bank").await;
    let token = world.server.bound_token("acme-pay", &world.acme).await;
    let answer = world.server.call(Some(&thief), "/data/x", &token).await;
    refused(&answer, "token_certificate_mismatch", "another certificate");
    let record = world.server.explanation(&answer).await;
    assert_eq!(record["reason"], "token_certificate_mismatch");
    assert_eq!(record["client"], "acme-pay", "whose token it is");
    let thumbprint = countersign_pki::thumbprint(&thief.chain[0]).to_string();
    assert_eq!(record["certificate"]["thumbprint"], *thumbprint, "and who has it");
    let detail = record["detail"].as_str().unwrap();
    assert!(detail.contains("other-bank"), "{detail}");
    let reason = countersign_model::ReasonCode::TokenCertificateMismatch;
    assert!(reason.reason().incident);
    let told = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!told.contains("other-bank") && !told.contains("acme-pay"), "the caller reads no names: {told}");
}

#[tokio::test]
async fn rule_g4_a_token_that_its_partner_kept_over_a_renewal_is_no_incident() {
    let world = World::start().await;
    let token = world.server.bound_token("acme-pay", &world.acme).await;
    let renewed = world.server.certificate("acme-pay").await;
    let answer = world.server.call(Some(&renewed), "/data/x", &token).await;
    refused(&answer, "token_certificate_superseded", "the token of before");
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains("invalid_token"), "libraries fetch a new token then: {challenge}");
    let record = world.server.explanation(&answer).await;
    assert_eq!((&record["client"], &record["actor"]["name"]), (&"acme-pay".into(), &"acme-pay".into()));
    assert_eq!(world.server.call(Some(&world.acme), "/data/x", &token).await.status, 200, "as before");
    let token = world.server.bound_token("acme-pay", &renewed).await;
    assert_eq!(world.server.call(Some(&renewed), "/data/x", &token).await.status, 200);
}

#[tokio::test]
async fn rule_g1_a_token_has_one_place_and_one_scheme() {
    let world = World::start().await;
    let token = world.good().await;
    let caller = world.server.caller(Some(&world.acme));
    let bearer = format!("Bearer {token}");
    let accepted = caller.get("/data/x", &[("authorization", &format!("bEARER {token}"))]).await.unwrap();
    assert_eq!(accepted.status, 200, "the scheme's name is case-insensitive");
    for (path, headers, status, code) in [
        ("/data/x?access_token=x", vec![], 400, "token_in_query"),
        ("/data/x?a=b&access%5Ftoken=x", vec![("authorization", bearer.as_str())], 400, "token_in_query"),
        (
            "/data/x",
            vec![("authorization", bearer.as_str()), ("authorization", bearer.as_str())],
            400,
            "token_repeated",
        ),
        ("/data/x", vec![("authorization", "Negotiate YII=")], 401, "token_scheme_unsupported"),
        ("/data/x", vec![("authorization", &*format!("DPoP {token}"))], 401, "token_scheme_unsupported"),
        ("/data/x", vec![("x-access-token", token.as_str())], 401, "token_missing"),
    ] {
        let answer = caller.get(path, &headers).await.unwrap();
        assert_eq!((answer.status, answer.code().as_deref()), (status, Some(code)), "{path} {headers:?}");
        assert_ne!(answer.header("countersign-ref"), "");
    }
    let form = format!("access_token={token}");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = caller.send(http::Method::POST, "/data/x", &headers, &form).await.unwrap();
    assert_eq!(answer.code().as_deref(), Some("token_missing"), "bodies are not searched");
    assert_eq!(world.server.upstream.requests(), 1);
}

#[tokio::test]
async fn rule_k9_a_new_key_verifies_before_it_signs_and_an_old_one_until_its_last_token() {
    let world = World::start().await;
    let token = world.server.bound_token("acme-pay", &world.acme).await;
    let rotate = async |now: bool| {
        let path = "/admin/v1/token-keys/rotate";
        let rotated = world.server.administer(http::Method::POST, path, &json!({ "now": now })).await;
        assert_eq!(rotated.status, 200, "{}", String::from_utf8_lossy(&rotated.body));
    };
    rotate(false).await;
    assert_eq!(world.call(&token).await.status, 200, "still published (rule K9)");
    let fresh = world.server.bound_token("acme-pay", &world.acme).await;
    assert_eq!(world.call(&fresh).await.status, 200);
    world.server.clock.advance_s(301 + 5);
    refused(&world.call(&token).await, "token_expired", "five minutes and the skew later");

    // In an emergency the key that is in other hands ends at once, with all that it signed.
    let stolen = world.server.bound_token("acme-pay", &world.acme).await;
    rotate(true).await;
    refused(&world.call(&stolen).await, "token_key_unknown", "the former keys are gone");
    let fresh = world.server.bound_token("acme-pay", &world.acme).await;
    assert_eq!(world.call(&fresh).await.status, 200);
}

/// A row that the master key does not open: a database that was put together from two.
#[tokio::test]
async fn a_token_key_that_does_not_open_is_told_by_its_code_and_the_keys_before_go_on() {
    let world = World::start().await;
    let token = world.server.bound_token("acme-pay", &world.acme).await;
    let context = world.server.server.context();
    let elsewhere = Custody::new(MasterKey::generate(&SystemRng), Arc::new(SystemRng));
    let foreign = elsewhere.generate(KeyPurpose::Token, world.server.clock.now()).unwrap();
    context.store.commit(Transaction::new().write(Write::InsertKey(foreign.clone()))).await.unwrap();

    let rotate = json!({ "now": false });
    let answer = world.server.administer(Method::POST, "/admin/v1/token-keys/rotate", &rotate).await;
    assert_eq!((answer.status, answer.code().as_deref()), (503, Some("change_not_in_force")));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("committed") && detail.contains("cannot be opened"),
        "an operator reads it: {detail}"
    );
    // The rotation itself was committed, and has a record under the same reference.
    let refused = world.server.audit("admin_refused").await;
    let record = refused.iter().find(|record| record["ref"] == *answer.header("countersign-ref")).unwrap();
    assert_eq!(record["reason"], "change_not_in_force");
    assert!(record["detail"].as_str().unwrap().contains("cannot be opened"), "{record}");

    assert_eq!(world.call(&token).await.status, 200);
    let another = world.server.bound_token("acme-pay", &world.acme).await;
    assert_eq!(world.call(&another).await.status, 200);
}
