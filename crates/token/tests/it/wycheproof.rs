//! Project Wycheproof: signatures and keys made to be accepted or refused.

use crate::support::{tell, unbase64, vectors};
use countersign_token::{Algorithm, JwkSet, Limits, TokenError, VerificationKeys, jws};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[test]
fn json_web_signature() {
    run("json_web_signature_test.json", 401);
}

#[test]
fn json_web_key() {
    run("json_web_key_test.json", 26);
}

#[test]
fn json_web_crypto() {
    run("json_web_crypto_test.json", 83);
}

#[derive(Default)]
struct Counts {
    run: usize,
    accepted: usize,
    refused: usize,
    not_applicable: BTreeMap<&'static str, usize>,
    unexpected: Vec<String>,
}

fn run(file: &str, expected_tests: usize) {
    let Some(document) = vectors(&format!("wycheproof/{file}")) else { return };
    let mut counts = Counts::default();
    for group in document["testGroups"].as_array().unwrap() {
        let keys = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().unwrap() {
            count(&mut counts, keys, test);
        }
    }
    let passed = counts.accepted + counts.refused;
    let not_applicable: usize = counts.not_applicable.values().sum();
    tell(&format!(
        "wycheproof {file}: run {}, passed {passed} ({} accepted, {} refused), not applicable {not_applicable} {:?}",
        counts.run, counts.accepted, counts.refused, counts.not_applicable
    ));
    assert_eq!(counts.unexpected, Vec::<String>::new());
    assert_eq!(counts.run, expected_tests, "the file has changed");
    assert_eq!(passed + not_applicable, counts.run);
}

fn count(counts: &mut Counts, keys: &Value, test: &Value) {
    counts.run += 1;
    let token = &test[if test.get("jws").is_some() { "jws" } else { "jwe" }];
    let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
    let accepted = verify(&token, keys).is_ok();
    let valid = test["result"] == "valid";
    match (valid, accepted, out_of_scope(keys, &token, test)) {
        // What we leave out must be refused too, whatever the vector thinks of it.
        (_, false, Some(reason)) => *counts.not_applicable.entry(reason).or_default() += 1,
        (true, true, None) => counts.accepted += 1,
        (false, false, None) => counts.refused += 1,
        _ => counts.unexpected.push(format!("{}: {} accepted: {accepted}", test["tcId"], test["comment"])),
    }
}

fn verify(token: &str, keys: &Value) -> Result<jws::VerifiedJws, TokenError> {
    let set = if keys.get("keys").is_some() { keys.clone() } else { json!({ "keys": [keys] }) };
    let set = JwkSet::from_json(set.to_string().as_bytes()).map_err(|_| TokenError::KeyUnknown)?;
    let keys = VerificationKeys::from_jwks(&set).map_err(|_| TokenError::KeyUnknown)?;
    jws::verify(token, &keys, &Limits { size_bytes: 8192, algorithms: &Algorithm::ALL })
}

/// Why the vector speaks of something that this product does not do at all.
fn out_of_scope(keys: &Value, token: &str, test: &Value) -> Option<&'static str> {
    let members: Vec<&Value> = keys["keys"].as_array().map_or_else(|| vec![keys], |set| set.iter().collect());
    let all = |is: &dyn Fn(&Value) -> bool| members.iter().all(|key| is(key));
    if test.get("jwe").is_some() {
        return Some("JWE: nothing is encrypted here");
    }
    if all(&|key| key["kty"] == "oct") {
        return Some("HMAC is never accepted (rule C7)");
    }
    if all(&|key| key["crv"] == "P-521") {
        return Some("ES512 is not on the allow-list (rule C7)");
    }
    const SHA_2_LONG: [&str; 4] = ["RS384", "RS512", "PS384", "PS512"];
    let listed = |alg: &Value| alg.as_str().is_some_and(|alg| SHA_2_LONG.contains(&alg));
    // RFC 7520 figure 20: the key says PS256 and the signature PS384.
    let header = (test["result"] == "valid").then(|| unbase64(token.split('.').next().unwrap()));
    let header: Value = header.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    if all(&|key| listed(&key["alg"])) || listed(&header["alg"]) {
        return Some("RS384, RS512, PS384, PS512 are not on the allow-list (rule C7)");
    }
    None
}
