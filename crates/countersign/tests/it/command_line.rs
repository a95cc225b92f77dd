//! Commands that need no server, or a server that has something to say: their output and their exit codes.

use crate::program::{Place, Running, countersign, now};
use countersign_testkit::Client;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Output;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn run(code: i32, arguments: &[&str]) -> Output {
    let output = countersign(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    output
}

#[test]
fn a_configuration_is_checked_without_a_database_and_a_bad_one_is_not_served() {
    let place = Place::new();
    assert!(place.init().status.success());
    let file = place.file("countersign.toml");
    let config = file.to_str().unwrap();
    let database = place.file("countersign.db");
    std::fs::remove_file(&database).unwrap();
    let right = run(0, &["config", "check", "--config", config]);
    assert!(text(&right.stdout).contains("is valid"), "{right:?}");
    assert!(!database.exists(), "nothing is made");

    let good = std::fs::read_to_string(&file).unwrap();
    let bad =
        good.replacen("issuer =", "isuer =", 1).replacen("listen = \"127.0.0.1:", "listen = \"0.0.0.0:", 1);
    std::fs::write(&file, bad).unwrap();
    for command in [&["config", "check", "--config", config][..], &["serve", "--config", config]] {
        let refused = run(1, command);
        let error = text(&refused.stderr);
        assert!(error.matches("error[config]").count() >= 2, "all mistakes at once: {error}");
        assert!(error.contains("isuer") && error.contains("0.0.0.0"), "{error}");
        assert!(error.contains("countersign.toml:"), "with file and line: {error}");
    }
    assert!(!database.exists(), "nothing is made");
    let missing = place.file("nowhere.toml");
    run(1, &["config", "check", "--config", missing.to_str().unwrap()]);
}

#[test]
fn a_reason_code_is_explained_and_a_misspelt_one_is_guessed() {
    let explained = text(&run(0, &["explain", "token_certificate_mismatch"]).stdout);
    for part in ["token_certificate_mismatch", "401", "openssl x509 -noout -fingerprint -sha256", "RFC 8705"]
    {
        assert!(explained.contains(part), "{part} is not in {explained}");
    }
    let document: Value =
        serde_json::from_slice(&run(0, &["explain", "client_secret_wrong", "--json"]).stdout).unwrap();
    assert_eq!(
        (&document["code"], &document["status"], &document["public_code"]),
        (&json!("client_secret_wrong"), &json!(401), &json!("client_authentication_failed"))
    );
    let guessed = text(&run(5, &["explain", "token_certificate_mismach"]).stderr);
    assert!(guessed.contains("did you mean `token_certificate_mismatch`?"), "{guessed}");
    let all: Value = serde_json::from_slice(&run(0, &["explain", "--json"]).stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), countersign_model::ReasonCode::ALL.len());
}

#[test]
fn verifying_an_audit_log_that_somebody_changed_exits_with_1() {
    let place = Place::new();
    assert!(place.init().status.success());
    let file = place.file("countersign.toml");
    let serve = ["serve", "--config", file.to_str().unwrap()];
    let server = Running::start_json(&serve);
    let verify = place.run(&["audit", "verify"]);
    assert_eq!(verify.status.code(), Some(0), "{verify:?}");
    server.stop();
    // The files of a server that is stopped.
    let audit = place.file("audit");
    let files = ["--files", audit.to_str().unwrap()];
    let run = |args: &[&str]| place.run(&[&["audit"], args, &files].concat());
    let verify = run(&["verify"]);
    assert_eq!(verify.status.code(), Some(0), "{verify:?}");
    let list: Value =
        serde_json::from_slice(&run(&["list", "--action", "started", "--json"]).stdout).unwrap();
    let reference = list["records"][0]["ref"].as_str().unwrap().to_ascii_lowercase();
    let story = text(&run(&["show", &reference]).stdout);
    assert!(story.contains("what") && story.contains("started") && story.contains("who"), "{story}");
    assert_eq!(run(&["show", "nothing"]).status.code(), Some(5));
    assert_eq!(place.run(&["audit", "list", "--files", "nodir"]).status.code(), Some(1));

    let segments = std::fs::read_dir(place.file("audit")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segments.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let log = std::fs::read_to_string(&segment).unwrap();
    let changed = log.replacen("\"started\"", "\"stopped\"", 1);
    assert_ne!(changed, log);
    std::fs::write(&segment, changed).unwrap();
    let server = Running::start_json(&serve);
    let verify = place.run(&["audit", "verify"]);
    assert_eq!(verify.status.code(), Some(1), "{verify:?}");
    assert!(text(&verify.stderr).contains("the audit log is not intact"), "{verify:?}");
    let document = place.run(&["audit", "verify", "--json"]);
    let found: Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!((document.status.code(), &found["intact"]), (Some(1), &json!(false)));
    server.stop();
}

/// Whoever collects logs has built on these names (experience.md section 5).
#[tokio::test]
async fn a_log_that_no_terminal_shows_is_json_with_the_names_of_opentelemetry() {
    let place = Place::new();
    assert!(place.init().status.success());
    let file = place.file("countersign.toml");
    let server = Running::start_json(&["serve", "--config", file.to_str().unwrap()]);
    let root = std::fs::read(place.file("ca.crt")).unwrap();
    let root = countersign_pki::pem::decode(countersign_pki::pem::Label::Certificate, &root).unwrap();
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, place.ports.first()));
    let caller = Client::tls(gateway, &root, None, now());
    let refused = caller.get("/nowhere?secret=x", &[]).await.unwrap();
    assert_eq!(refused.status, 404);
    let reference = refused.header("countersign-ref").to_owned();

    let log = server.stop().log;
    let lines: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    let denied = lines.iter().find(|line| line["message"] == "DENY").unwrap_or_else(|| panic!("{log:#?}"));
    for (name, value) in [
        ("http.request.method", json!("GET")),
        ("url.path", json!("/nowhere")),
        ("http.route", json!("none")),
        ("http.response.status_code", json!(404)),
        ("client.address", json!("127.0.0.1")),
        ("countersign.reason", json!("route_not_found")),
        ("countersign.ref", json!(reference)),
        ("level", json!("INFO")),
    ] {
        assert_eq!(denied[name], value, "{name}: {denied}");
    }
    assert!(denied["timestamp"].is_string(), "{denied}");
}

/// By the server's own rule, and without a server.
#[test]
fn rule_g11_texts_that_show_something_else_are_refused_before_anything_is_sent() {
    let add = ["client", "add", "acme-pay", "--environment", "sandbox", "--scope", "data:read"];
    for (option, value, says) in [
        ("--name", "Acme\u{202e}dtL", "name: the character U+202E"),
        ("--contact", "a\u{2028}b", "contacts: the character U+2028"),
        ("--audience", "a\u{200b}b", "audiences: the character U+200B"),
    ] {
        let refused = run(2, &[&add[..], &[option, value]].concat());
        let error = text(&refused.stderr);
        assert!(error.contains(says) && !error.contains(value), "{error}");
    }
    for few in ["3f9", "3f9a1b2", "3f9…c21", "3f9..c21"] {
        let error = text(&run(2, &["cert", "revoke", few, "--reason", "superseded", "--yes"]).stderr);
        assert!(error.contains("at least 8 digits"), "{error}");
    }
}
