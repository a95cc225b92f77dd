//! x509-limbo (C2SP): path validation cases with their expected result.
//!
//! `limbo-deviations.txt` lists each case where we differ, with the reason. A new deviation fails the test, and so does a
//! listed one that is none any more.

use crate::support::{report, vectors};
use countersign_model::Timestamp;
use countersign_pki::pem::{self, Label};
use countersign_pki::{PathOptions, Purpose, TrustAnchors, TrustedIssuer, validate_path};
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::collections::BTreeMap;

const DEVIATIONS: &str = include_str!("limbo-deviations.txt");
/// For cases that name no moment: their certificates are valid from 1970 to 2969.
const DEFAULT_TIME: &str = "2026-01-01T00:00:00Z";

#[test]
fn x509_limbo_agrees_but_for_the_listed_deviations() {
    let Some(text) = vectors("x509-limbo/limbo.json") else { return };
    let suite: Value = serde_json::from_slice(&text).unwrap();
    let cases = suite["testcases"].as_array().unwrap();
    let listed = listed_deviations();
    let mut found = BTreeMap::new();
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let expected = case["expected_result"] == "SUCCESS";
        let result = run(case);
        if result.is_ok() != expected {
            found.insert(
                id,
                result.map_or_else(|error| format!("refused: {error}"), |()| "accepted".to_owned()),
            );
        }
    }
    report(&format!(
        "x509-limbo: {} run, {} passed, {} deviations (each with its reason in limbo-deviations.txt), 0 not applicable",
        cases.len(),
        cases.len() - found.len(),
        found.len()
    ));
    let new: Vec<_> = found.iter().filter(|(id, _)| !listed.contains_key(**id)).collect();
    let gone: Vec<_> = listed.keys().filter(|id| !found.contains_key(**id)).collect();
    assert!(new.is_empty(), "deviations that are not listed: {new:#?}");
    assert!(gone.is_empty(), "listed deviations that are none: {gone:#?}");
}

/// Lines of `case: reason`; `#` begins a comment.
fn listed_deviations() -> BTreeMap<&'static str, &'static str> {
    let lines = DEVIATIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(": ").expect("a line `case: reason`")).collect()
}

fn run(case: &Value) -> Result<(), String> {
    let end_entity = certificates(&case["peer_certificate"]).remove(0);
    let intermediates = certificates(&case["untrusted_intermediates"]);
    let intermediates: Vec<&[u8]> = intermediates.iter().map(Vec::as_slice).collect();
    let mut refused_anchors = Vec::new();
    let mut anchors = Vec::new();
    for anchor in certificates(&case["trusted_certs"]) {
        match TrustedIssuer::new("limbo".parse().unwrap(), anchor) {
            Ok(issuer) => anchors.push(issuer),
            Err(error) => refused_anchors.push(error.to_string()),
        }
    }
    let anchors = TrustAnchors::new(anchors);
    let crls: Vec<Vec<u8>> =
        texts(&case["crls"]).iter().map(|text| pem::decode(Label::Crl, text.as_bytes()).unwrap()).collect();
    let crls: Vec<&[u8]> = crls.iter().map(Vec::as_slice).collect();
    let name = case["expected_peer_name"]["value"].as_str().map(|name| ServerName::try_from(name).unwrap());
    let purpose = match case["validation_kind"].as_str() {
        Some("CLIENT") => Purpose::Client,
        Some("SERVER") => Purpose::Server(name.as_ref().expect("a server case names its peer")),
        other => panic!("unknown kind of case: {other:?}"),
    };
    let time = case["validation_time"].as_str().unwrap_or(DEFAULT_TIME);
    let options = PathOptions {
        purpose,
        now: Timestamp::parse_rfc3339(time).unwrap(),
        max_intermediates: case["max_chain_depth"].as_u64().map(|depth| usize::try_from(depth).unwrap()),
        crls: &crls,
    };
    match validate_path(&end_entity, &intermediates, &anchors, &options) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error} {refused_anchors:?}")),
    }
}

fn certificates(value: &Value) -> Vec<Vec<u8>> {
    texts(value).iter().map(|text| pem::decode(Label::Certificate, text.as_bytes()).unwrap()).collect()
}

/// One text, a list of texts, or nothing.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
