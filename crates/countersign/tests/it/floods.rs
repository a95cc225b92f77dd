//! What one careless or hostile caller can make the node write (rule G20): logs grow by what is told, not by how often.

use crate::audit::captured_log;
use countersign_audit::{Filter, list};
use countersign_model::Clock;
use countersign_model::audit::AuditAction;
use countersign_testkit::TestServer;
use countersign_testkit::foreign::{ForeignAuthority, Leaf};
use http::Method;
use serde_json::Value;
use std::collections::BTreeSet;

/// How many equal refusals have a record and a line each.
const IN_FULL: usize = 20;

/// The lines of the operational log with one of these references: those in full, and the counts of the others.
fn lines_about(references: &BTreeSet<String>) -> (usize, Vec<u64>) {
    let text = captured_log().text();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let fields = lines.map(|line| line["fields"].clone());
    let (mut in_full, mut counts) = (0, Vec::new());
    for line in
        fields.filter(|line| line["countersign.ref"].as_str().is_some_and(|it| references.contains(it)))
    {
        match line["countersign.folded.count"].as_u64() {
            Some(count) => counts.push(count),
            None => in_full += 1,
        }
    }
    (in_full, counts)
}

#[tokio::test]
async fn rule_g20_refusals_flood_the_operational_log_no_more_than_the_audit_log() {
    captured_log();
    let server = TestServer::start().await;
    // Seeded servers give the same references at the same time, and all tests share the log.
    server.clock.advance_s(54_321);
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let acme = server.certificate("acme-pay").await;
    let mut connection = server.caller(Some(&acme)).connect().await.unwrap();
    let mut told = BTreeSet::new();
    // At the gateway: every path another one, the code always the same.
    for i in 0..150 {
        let refused = connection.send(Method::GET, &format!("/data/{i}"), &[], "").await.unwrap();
        assert_eq!(refused.code().as_deref(), Some("token_missing"));
        told.insert(refused.header("countersign-ref").to_owned());
    }
    assert_eq!(told.len(), IN_FULL, "answers of a series share its reference");
    // At the token endpoint, by its own way to the log.
    let mut of_tokens = BTreeSet::new();
    for _ in 0..60 {
        let refused = server.ask_token(Some(&acme), "grant_type=password").await;
        of_tokens.insert(refused.header("countersign-ref").to_owned());
    }
    assert_eq!(of_tokens.len(), IN_FULL);
    // Handshakes: nobody is told a reference, so the audit log is asked.
    let now = server.clock.now();
    let (not_before, not_after) = (now.plus_s(-3600), now.plus_s(3600));
    let leaf = Leaf { uri: "https://localhost/stranger", not_before, not_after, for_servers: false };
    let stranger = ForeignAuthority::new("Stranger", "Stranger CA").issue(leaf);
    for _ in 0..60 {
        server.caller(Some(&stranger)).alert().await;
    }
    let stopped = server.stop().await;
    assert_eq!(lines_about(&told), (IN_FULL, vec![130]));
    assert_eq!(lines_about(&of_tokens), (IN_FULL, vec![40]));
    let filter = Filter { action: Some(AuditAction::HandshakeRefused), ..Filter::default() };
    let handshakes = list(&stopped.directory().join("audit"), &filter, 1000).unwrap();
    let references = handshakes.iter().map(|record| record.event.reference.to_string()).collect();
    assert_eq!(lines_about(&references), (IN_FULL, vec![40]));
}
