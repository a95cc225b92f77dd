//! Installations that are half made, half lost, or whose credentials are gone: each has a way out that is named.

use crate::program::{Place, Running, command, countersign, error};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[test]
fn init_goes_on_where_it_was_cut_short_and_never_overwrites_what_is_whole() {
    let place = Place::new();
    assert!(place.init().status.success());
    let token = place.token();
    let names = |place: &Place| {
        let entries = std::fs::read_dir(&place.directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let whole = names(&place);
    assert!(error(&place.init()).contains("is there already"));

    // Killed before each of the things that it makes, from the last to the first.
    let master = place.directory.with_file_name("data-master.key");
    let steps: [&[PathBuf]; 4] = [
        &[place.file("ca.crt")],
        &[place.file("admin.token")],
        &[place.file("countersign.db"), place.file("countersign.db-wal"), place.file("countersign.db-shm")],
        &[place.file("countersign.toml"), master],
    ];
    for cut in 1..=steps.len() {
        for file in steps[..cut].iter().copied().flatten() {
            let _ = std::fs::remove_file(file);
        }
        let done = place.init();
        assert!(done.status.success(), "cut {cut}: {}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(names(&place), whole, "cut {cut}");
        assert_eq!(place.token() == token, cut == 1, "cut {cut}");
    }
}

#[tokio::test]
async fn a_lost_operator_token_is_replaced_at_the_data_and_recorded() {
    let place = Place::new();
    assert!(place.init().status.success());
    let lost = place.token();
    let config = place.file("countersign.toml");
    let server = Running::start_json(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(place.status(&lost).await, 200);
    let refused = error(&place.run(&["operator", "reset-token", "--yes"]));
    assert!(refused.contains("in use"), "{refused}");
    server.stop();

    assert_eq!(place.run(&["operator", "reset-token"]).status.code(), Some(2), "it asks");
    assert_eq!(place.run(&["operator", "reset-token", "--yes", "--name", "eve"]).status.code(), Some(5));
    let reset = place.run(&["operator", "reset-token", "--yes"]);
    assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    let token = place.token();
    assert_eq!(place.file("admin.token").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!String::from_utf8_lossy(&reset.stdout).contains(&token), "only in its file");

    let server = Running::start_json(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!((place.status(&lost).await, place.status(&token).await), (401, 200));
    for action in ["operator_added", "operator_token_reset"] {
        let listed = place.run(&["audit", "list", "--json", "--action", action]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!(listed["records"][0]["object"], "admin", "{action}");
        assert_eq!(listed["records"][0]["actor"], json!({ "kind": "system" }), "{action}");
    }
    server.stop();
}

/// A token is reset because it leaked: whoever has the old one puts it into the file of a directory that is set up anew.
#[test]
fn a_token_that_was_reset_does_not_become_an_administrators_again() {
    let place = Place::new();
    assert!(place.init().status.success());
    let leaked = place.token();
    assert!(place.run(&["operator", "reset-token", "--yes"]).status.success());
    std::fs::write(place.file("admin.token"), leaked).unwrap();
    std::fs::remove_file(place.file("ca.crt")).unwrap();
    let refused = error(&place.init());
    let remedy = format!("countersign operator reset-token --dir {}", place.directory.display());
    assert!(refused.contains("admin.token") && refused.contains(&remedy), "{refused}");
    assert!(place.run(&["operator", "reset-token", "--yes"]).status.success());
    assert!(place.init().status.success(), "the remedy helps");
}

/// The key's file as it was printed is the one that opens the data, whatever the directory was called.
#[test]
fn two_directories_named_with_a_slash_have_a_master_key_each() {
    let parent = tempfile::tempdir().unwrap();
    let key = |name: &str| {
        let output = command(&["init", "--json", "--dir", name]).current_dir(parent.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let path = PathBuf::from(printed["master_key_file"].as_str().unwrap());
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    assert_ne!(key("prod/"), key("./other/"));
    let mut names: Vec<_> =
        std::fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["other", "other-master.key", "prod", "prod-master.key"]);
}

#[test]
fn a_file_that_holds_no_token_does_not_become_one() {
    let place = Place::new();
    assert!(place.init().status.success());
    std::fs::remove_file(place.file("ca.crt")).unwrap();
    std::fs::write(place.file("admin.token"), "\n").unwrap();
    assert!(error(&place.init()).contains("no operator token"));
}

#[test]
fn serve_founds_no_new_authorities_where_the_database_was_lost() {
    let remove = |files: &[PathBuf]| files.iter().for_each(|file| drop(std::fs::remove_file(file)));
    let place = Place::new();
    assert!(place.init().status.success());
    let database =
        ["countersign.db", "countersign.db-wal", "countersign.db-shm"].map(|name| place.file(name));
    remove(&database);
    let master = place.directory.with_file_name("data-master.key");
    let refused = error(&place.serve());
    assert!(
        refused.contains("countersign.db is not there") && refused.contains("data-master.key"),
        "{refused}"
    );
    assert!(refused.contains("do:"), "{refused}");
    assert!(!database[0].exists(), "nothing is made");

    // Without either, the audit log tells that there was an installation.
    remove(std::slice::from_ref(&master));
    std::fs::create_dir_all(place.file("audit")).unwrap();
    std::fs::write(place.file("audit").join("audit-00000000000000000001-1.jsonl"), "").unwrap();
    assert!(error(&place.serve()).contains("audit log"));
    assert!(!master.exists(), "nothing is made");
    assert!(!Path::exists(&database[0]));
}

#[test]
fn a_demo_that_an_operator_ended_says_how_to_begin_anew() {
    let place = Place::new();
    let directory = place.directory.to_str().unwrap();
    let port = place.ports.first().to_string();
    let quickstart = ["quickstart", "--dir", directory, "--port", &port];
    for (ended, what) in [
        (["client", "rotate-secret", "test-shop", "--overlap", "0"].as_slice(), "rotated"),
        (["client", "disable", "acme-pay", "--yes"].as_slice(), "disabled"),
    ] {
        let running = Running::start_json(&quickstart);
        assert!(place.run(ended).status.success());
        running.stop();
        let refused = error(&countersign(&quickstart));
        assert!(refused.contains(what) && refused.contains("--clean"), "{refused}");
        assert!(place.run(&["quickstart", "--clean"]).status.success());
        assert!(!place.directory.exists());
    }
}

#[test]
fn what_is_not_there_is_named_with_what_to_do() {
    let place = Place::new();
    std::fs::create_dir(&place.directory).unwrap();
    let refused = error(&place.serve());
    assert!(refused.contains("countersign.toml") && refused.contains("do:"), "{refused}");
    let target = ["client", "list", "--admin", "http://127.0.0.1:1", "--credential-file"];
    let refused =
        error(&countersign(&[&target[..], &[place.file("admin.token").to_str().unwrap()]].concat()));
    assert!(refused.contains("admin.token") && refused.contains("reset-token"), "{refused}");
}

/// File names are bytes.
#[test]
fn a_path_that_is_no_text_is_no_reason_to_panic() {
    use std::os::unix::ffi::OsStrExt;
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join(std::ffi::OsStr::from_bytes(b"not-\xff-text"));
    std::fs::create_dir(&path).unwrap();
    let run = |arguments: &[&str], option: &str, path: &Path| {
        let output = command(arguments).arg("--json").arg(option).arg(path).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!([Some(0), Some(1), Some(5)].contains(&output.status.code()), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
    };
    run(&["cert", "request", "acme-pay"], "--out-dir", &path);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2);
    let config = path.join("countersign.toml");
    std::fs::write(&config, include_str!("../../src/config/good.toml")).unwrap();
    std::fs::write(path.join("master.key"), "x").unwrap();
    run(&["config", "check"], "--config", &config);
    run(&["init"], "--dir", &path.join("new"));
    run(&["quickstart", "--clean"], "--dir", &path);
}

/// Both stand in certificates that live for years: what is asked for is what is made, or nothing.
#[test]
fn init_settles_how_others_reach_it_before_the_authorities_are_made() {
    let place = Place::new();
    let port = place.ports.first().to_string();
    let public = ["--issuer", "https://api.example", "--documents-url", "http://ca.example"];
    let init = |more: &[&str]| place.run(&[&["init", "--port", &port], more].concat());
    for (option, bad) in
        [("--issuer", "http://api.example"), ("--issuer", "api.example"), ("--documents-url", "https://x")]
    {
        assert_eq!(init(&[option, bad]).status.code(), Some(2), "{option} {bad}");
    }
    assert!(!place.directory.exists(), "nothing is made for a slip of the pen");
    let done = init(&public);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let server =
        Running::start_json(&["serve", "--config", place.file("countersign.toml").to_str().unwrap()]);
    assert!(
        place.run(&["client", "add", "acme", "--environment", "production", "--scope", "a"]).status.success()
    );
    let out = place.directory.to_str().unwrap();
    assert!(countersign(&["cert", "request", "acme", "--out-dir", out]).status.success());
    let csr = place.file("acme.csr");
    assert!(place.run(&["cert", "sign", csr.to_str().unwrap(), "--client", "acme"]).status.success());
    let signed = std::fs::read(place.file("acme.crt")).unwrap();
    let chain = countersign_pki::pem::decode_all(countersign_pki::pem::Label::Certificate, &signed).unwrap();
    assert!(chain.len() >= 2);
    for certificate in &chain[..2] {
        let text = String::from_utf8_lossy(certificate);
        assert!(text.contains("http://ca.example/pki/crl/"), "end entity and issuing CA");
    }
    assert!(String::from_utf8_lossy(&chain[0]).contains("https://api.example/clients/acme"));
    server.stop();

    // Cut short, and asked for something else the second time.
    std::fs::remove_file(place.file("ca.crt")).unwrap();
    assert!(error(&init(&["--issuer", "https://other.example"])).contains("api.example"));
    assert!(error(&init(&["--documents-url", "http://other.example"])).contains("ca.example"));
    assert!(error(&place.run(&["init", "--port", "1234"])).contains("was made for port"));
    assert!(init(&public).status.success());
}

#[test]
fn a_busy_port_has_a_remedy_that_works() {
    let place = Place::new();
    assert!(place.init().status.success());
    let _busy = TcpListener::bind((Ipv4Addr::LOCALHOST, place.ports.first())).unwrap();
    let refused = error(&place.serve());
    assert!(refused.contains(&place.ports.first().to_string()) && refused.contains("do:"), "{refused}");

    let demo = Place::new();
    let port = demo.ports.first().to_string();
    Running::start_json(&["quickstart", "--dir", demo.directory.to_str().unwrap(), "--port", &port]).stop();
    let _busy = TcpListener::bind((Ipv4Addr::LOCALHOST, demo.ports.first() + 1)).unwrap();
    let refused = error(&demo.run(&["quickstart"]));
    assert!(refused.contains("--dir") && !refused.contains("--port"), "{refused}");
}

/// What a program asked with `--json` it reads as JSON, whatever went wrong.
#[test]
fn a_failure_is_one_json_document_too() {
    let place = Place::new();
    std::fs::create_dir(&place.directory).unwrap();
    let config = place.file("countersign.toml");
    let wrong = include_str!("../../src/config/good.toml")
        .replace("\"127.0.0.1:8444\"", "\"0.0.0.0:8444\"")
        .replace("internal = true", "intrenal = true");
    std::fs::write(&config, wrong).unwrap();
    let failure = |arguments: &[&str]| -> Value {
        let output = countersign(arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let document: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments:?}: no JSON: {text}"));
        assert_eq!(document["error"]["exit"], output.status.code().unwrap(), "{arguments:?}");
        document["error"].clone()
    };
    for wrong in [
        &["--json"][..],
        &["--json", "lunch"],
        &["client", "lits", "--json"],
        &["audit", "list", "--limit", "0", "--json"],
        &["cert", "revoke", "--json"],
    ] {
        let error = failure(wrong);
        assert_eq!(error["exit"], 2, "{wrong:?}");
        assert!(!error["message"].as_str().unwrap().contains('\n'), "{error}");
    }
    assert!(failure(&["client", "lits", "--json"])["reason"].as_str().unwrap().contains("list"));

    let error = failure(&["config", "check", "--json", "--config", config.to_str().unwrap()]);
    let mistakes = error["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 2, "{error}");
    assert_eq!((&mistakes[0]["line"], &mistakes[0]["column"]), (&json!(10), &json!(1)), "{error}");
    assert_eq!(mistakes[1]["help"], "did you mean `internal`?", "{error}");
    assert!(mistakes.iter().all(|mistake| mistake["message"].is_string() && mistake["reason"].is_string()));
}

/// Nobody has to put together what a partner is told, or what listens where.
#[tokio::test]
async fn init_and_serve_say_what_listens_where_and_what_partners_need() {
    let place = Place::new();
    let made = place.init();
    let text = String::from_utf8(made.stdout).unwrap();
    let port = place.ports.first();
    let expected = [
        format!("listening   https://127.0.0.1:{port} (public: "),
        format!("admin       http://127.0.0.1:{}", port + 1),
        format!("token URL https://localhost:{port}/oauth2/token"),
        format!("metadata  https://localhost:{port}/.well-known/oauth-authorization-server"),
        format!("CA        https://localhost:{port}/pki/ca.pem"),
    ];
    for line in &expected {
        assert!(text.contains(line), "{line} {text}");
    }
    let server = Running::start_json(&["serve", "--dir", place.directory.to_str().unwrap()]);
    let ready: Value = serde_json::from_str(&server.printed).unwrap();
    let handover = &ready["handover"];
    assert_eq!(handover["token_endpoint"], format!("https://localhost:{port}/oauth2/token"));
    assert_eq!(handover["ca_bundle"], format!("https://localhost:{port}/pki/ca.pem"));
    assert_eq!(handover["listeners"][0]["url"], format!("https://127.0.0.1:{port}"));
}
