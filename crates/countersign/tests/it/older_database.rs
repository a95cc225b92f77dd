//! A database from a backup beside a log that knows more (rule R7), on the real program.

use crate::program::{Place, Running, error};
use countersign_pki::RevocationList;
use countersign_testkit::Client;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

struct Site {
    place: Place,
}

impl Site {
    fn new() -> Self {
        let place = Place::new();
        assert!(place.init().status.success());
        Self { place }
    }

    fn up(&self, arguments: &[&str]) -> Running {
        let directory = self.place.directory.to_str().unwrap();
        Running::start_json(&[&["serve", "--dir", directory], arguments].concat())
    }

    /// Runs a command against the server. What it printed as JSON.
    fn order(&self, arguments: &[&str]) -> Value {
        let output = self.place.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn add(&self, client: &str, auth: &str) -> Value {
        let scopes = ["--scope", "data:read", "--scope", "pay:write"];
        let client = ["client", "add", client, "--environment", "sandbox", "--auth", auth];
        self.order(&[&client[..], &scopes].concat())
    }

    /// A new certificate of a client; its serial number.
    fn certify(&self, client: &str) -> String {
        let files = tempfile::tempdir().unwrap();
        let directory = files.path().to_str().unwrap();
        let made = crate::program::countersign(&["cert", "request", client, "--out-dir", directory]);
        assert!(made.status.success(), "{made:?}");
        let csr = files.path().join(format!("{client}.csr"));
        let issued = self.order(&["cert", "sign", csr.to_str().unwrap(), "--client", client]);
        issued["serial"].as_str().unwrap().to_owned()
    }

    /// Copies the files of the database of a stopped server.
    fn copy_database(&self, from: &Path, to: &Path) {
        for entry in std::fs::read_dir(to).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("countersign.db") {
                std::fs::remove_file(path).unwrap();
            }
        }
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_str().unwrap().starts_with("countersign.db") {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }

    async fn list(&self) -> RevocationList {
        let documents = SocketAddr::from((Ipv4Addr::LOCALHOST, self.place.ports.first() + 2));
        let answer = Client::plain(documents).get("/pki/crl/clients/0.crl", &[]).await.unwrap();
        assert_eq!(answer.status, 200);
        RevocationList::parse(&answer.body).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_r7_an_older_database_is_refused_until_the_log_is_replayed() {
    let site = Site::new();
    let backup = tempfile::tempdir().unwrap();
    let server = site.up(&[]);
    for (client, auth) in [
        ("revoked", "tls_client_auth"),
        ("kept", "tls_client_auth"),
        ("disabled", "tls_client_auth"),
        ("narrowed", "tls_client_auth"),
        ("rotated", "client_secret_post"),
    ] {
        site.add(client, auth);
    }
    let revoked = site.certify("revoked");
    let kept = site.certify("kept");
    server.stop();
    site.copy_database(&site.place.directory, backup.path());

    let server = site.up(&[]);
    site.order(&["cert", "revoke", &revoked, "--reason", "keyCompromise", "--yes"]);
    let unknown = site.certify("kept");
    site.order(&["client", "disable", "disabled", "--yes"]);
    site.order(&["client", "edit", "narrowed", "--scope", "data:read", "--yes"]);
    site.order(&["client", "rotate-secret", "rotated", "--overlap", "0"]);
    site.add("new", "tls_client_auth");
    site.order(&["token-key", "rotate", "--now", "--yes"]);
    let published = site.list().await.number;
    server.stop();
    site.copy_database(backup.path(), &site.place.directory);

    // Refused as often as it is tried, and nothing is published meanwhile.
    for _ in 0..2 {
        let refused = error(&site.place.serve());
        assert!(refused.contains("the database is older than the audit log"), "{refused}");
        assert!(refused.contains("certificate_revoked") && refused.contains(" of revoked "), "{refused}");
        assert!(refused.contains("and ") && refused.contains(" more"), "{refused}");
        assert!(refused.contains("serve --replay-audit"), "{refused}");
    }

    let server = site.up(&["--replay-audit"]);
    let shown = |serial: &str| site.order(&["cert", "show", serial]);
    assert_eq!(shown(&revoked)["state"], "revoked");
    assert_eq!(shown(&revoked)["revocation_reason"], "keyCompromise");
    assert_eq!(shown(&kept)["state"], "valid", "nothing is taken from others");
    assert_eq!(shown(&unknown)["state"], "revoked", "only the log knew it");
    let list = site.list().await;
    assert!(list.number > published, "{} after {published}", list.number);
    for serial in [&revoked, &unknown] {
        assert!(list.revocation(&serial.parse().unwrap()).is_some(), "{serial}");
    }
    assert!(list.revocation(&kept.parse().unwrap()).is_none());
    let client = |id: &str| site.order(&["client", "show", id]);
    assert_eq!(client("disabled")["state"], "disabled");
    assert_eq!(client("kept")["state"], "active");
    assert_eq!(client("narrowed")["scopes"], serde_json::json!(["data:read"]));
    assert_eq!(client("rotated")["credentials"][0]["state"], "revoked");
    assert!(!site.place.run(&["client", "show", "new"]).status.success(), "a right that the log gives");
    let ended = server.stop();
    let told = ended.log.join("\n");
    assert!(told.contains("client_added") && told.contains("rotate-secret"), "{told}");

    // Once is enough; the log is whole, and says what happened.
    let server = site.up(&[]);
    assert!(site.list().await.number >= list.number);
    let records = site.order(&["audit", "list", "--action", "log_replayed"]);
    assert_eq!(records["records"].as_array().unwrap().len(), 1, "{records}");
    let verified = site.place.run(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    server.stop();
}

/// After every crash the saved head lags behind the log: that is no older database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_r7_a_database_after_a_crash_is_not_taken_for_an_older_one() {
    let site = Site::new();
    for round in 0..3 {
        let mut server = site.up(&[]);
        let client = format!("acme-{round}");
        site.add(&client, "tls_client_auth");
        let serial = site.certify(&client);
        site.order(&["cert", "revoke", &serial, "--reason", "superseded", "--yes"]);
        server.kill();
    }
    site.up(&[]).stop();
}

/// A new database beside the log of another one: nothing can be replayed on it, and its numbers would begin again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_r7_a_new_database_beside_an_old_log_is_refused() {
    let site = Site::new();
    let server = site.up(&[]);
    site.add("acme", "tls_client_auth");
    server.stop();
    let nothing = tempfile::tempdir().unwrap();
    site.copy_database(nothing.path(), &site.place.directory);
    // A missing file is refused by its name; an empty one is a new database to SQLite.
    countersign_keys::file::create_private(&site.place.file("countersign.db"), b"").unwrap();
    for arguments in [&["serve"][..], &["serve", "--replay-audit"]] {
        let refused = error(&site.place.run(arguments));
        assert!(
            refused.contains("the database is new") && refused.contains("certificate_issued"),
            "{refused}"
        );
        assert!(refused.contains("move the log away"), "{refused}");
    }
}
