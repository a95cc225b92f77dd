//! What was acknowledged survives `kill -9` (rule P7): the real binary is killed in the middle of issuing and revoking,
//! started again, and asked for everything that it had said.
//!
//! Each round kills after a number of acknowledgements, while other calls are in flight; nothing waits for a time to pass.

use crate::program::{Running, countersign};
use countersign_keys::PortableKey;
use countersign_model::{Serial, Thumbprint};
use countersign_pki::{RevocationList, assemble_csr, csr_info_to_sign, pem, thumbprint};
use countersign_testkit::{Answer, Client, Ports};
use http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// How many callers work at once.
const CALLERS: usize = 4;

/// What the server acknowledged.
#[derive(Default, Clone)]
struct Acknowledged(Arc<Mutex<Answered>>);

#[derive(Default, Clone)]
struct Answered {
    clients: BTreeSet<String>,
    /// By the thumbprint of the certificate: whether its revocation was, too.
    certificates: BTreeMap<Thumbprint, bool>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "kills a server many times: scripts/kill-test ROUNDS"]
#[expect(clippy::print_stdout, reason = "scripts/kill-test shows how far it is")]
async fn kill_rule_p7_what_was_acknowledged_survives_kill_9() {
    #[expect(clippy::disallowed_methods, reason = "scripts/kill-test says how many rounds")]
    let rounds: usize = std::env::var("COUNTERSIGN_KILL_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let installation = Installation::make(directory.path());
    let acknowledged = Acknowledged::default();
    let names = Arc::new(AtomicUsize::new(0));
    for round in 0..rounds {
        let server = installation.serve();
        check(&installation, &acknowledged).await;
        // From the very first acknowledgement to well into the work, each round another moment.
        let kill_after = 1 + (round * 7) % 40;
        work_until_killed(&installation, server, kill_after, &acknowledged, &names).await;
        println!("round {}: killed after {kill_after} acknowledgements or more", round + 1);
    }
    let mut server = installation.serve();
    check(&installation, &acknowledged).await;
    let Answered { clients, certificates } = acknowledged.0.lock().unwrap().clone();
    let (clients, certificates) = (clients.len(), certificates.len());
    println!(
        "kill test: {rounds} rounds, {clients} acknowledged clients, {certificates} certificates, all there"
    );
    server.kill();
}

struct Installation {
    config: PathBuf,
    audit: PathBuf,
    token: String,
    admin: SocketAddr,
    documents: SocketAddr,
    _ports: Ports,
}

impl Installation {
    fn make(directory: &Path) -> Self {
        let dir = directory.join("data");
        let ports = Ports::claim();
        let port = ports.first();
        let init = countersign(&["init", "--port", &port.to_string(), "--dir", dir.to_str().unwrap()]);
        assert!(init.status.success(), "{init:?}");
        // Small files, so that kills fall between them too.
        let config = dir.join("countersign.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text + "\n[audit]\nsegment_size = \"4KiB\"\n").unwrap();
        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            config,
            audit: dir.join("audit"),
            token: std::fs::read_to_string(dir.join("admin.token")).unwrap().trim().to_owned(),
            admin: local(port + 1),
            documents: local(port + 2),
            _ports: ports,
        }
    }

    /// Starts the server and waits until it says that it is ready.
    fn serve(&self) -> Running {
        Running::start_json(&["serve", "--config", self.config.to_str().unwrap()])
    }

    /// Calls the admin API; `None` when the server is gone.
    async fn call(&self, method: Method, path: &str, body: &Value) -> Option<Answer> {
        let authorization = format!("Bearer {}", self.token);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Client::plain(self.admin).send(method, path, &headers, &body).await.ok()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.call(Method::GET, path, &Value::Null).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// A listing of the admin API, which must be whole.
    async fn listed(&self, path: &str, member: &str) -> Vec<Value> {
        let listed = self.get(&format!("/admin/v1/{path}")).await;
        assert_ne!(listed["more"], true, "the listing is cut: run fewer rounds");
        listed[member].as_array().unwrap().clone()
    }
}

/// Issues and revokes from several callers until so many calls were acknowledged, then kills the server at once.
async fn work_until_killed(
    installation: &Installation,
    mut server: Running,
    kill_after: usize,
    acknowledged: &Acknowledged,
    names: &Arc<AtomicUsize>,
) {
    let (count, enough) = (AtomicUsize::new(0), Notify::new());
    let acknowledge = || {
        if count.fetch_add(1, Ordering::SeqCst) + 1 == kill_after {
            enough.notify_one();
        }
    };
    let callers = (0..CALLERS).map(|_| async {
        while let Some(()) = issue_and_revoke(installation, acknowledged, names, &acknowledge).await {}
    });
    let kill = async {
        enough.notified().await;
        server.kill(); // SIGKILL
    };
    tokio::join!(kill, futures_util::future::join_all(callers));
}

/// One client, one certificate, and for every second one its revocation. `None` when the server is gone.
async fn issue_and_revoke(
    installation: &Installation,
    acknowledged: &Acknowledged,
    names: &AtomicUsize,
    acknowledge: &impl Fn(),
) -> Option<()> {
    let number = names.fetch_add(1, Ordering::SeqCst);
    let client = format!("partner-{number}");
    let new = json!({
        "client_id": client, "environment": "production", "auth_method": "tls_client_auth", "scopes": ["data:read"],
    });
    let added = installation.call(Method::POST, "/admin/v1/clients", &new).await?;
    assert_eq!(added.status, 201, "{}", String::from_utf8_lossy(&added.body));
    acknowledged.0.lock().unwrap().clients.insert(client.clone());
    acknowledge();

    let key = PortableKey::generate().unwrap();
    let info = csr_info_to_sign(&client, key.public_key()).unwrap();
    let csr = assemble_csr(&info, &key.sign(&info).unwrap()).unwrap();
    let body = json!({ "client": client, "csr": csr });
    let issued = installation.call(Method::POST, "/admin/v1/certificates", &body).await?;
    assert_eq!(issued.status, 201, "{}", String::from_utf8_lossy(&issued.body));
    let certificate = issued.json()["certificate"].as_str().unwrap().to_owned();
    let thumbprint = thumbprint(&pem::decode(pem::Label::Certificate, certificate.as_bytes()).unwrap());
    acknowledged.0.lock().unwrap().certificates.insert(thumbprint, false);
    acknowledge();

    if number.is_multiple_of(2) {
        let path = format!("/admin/v1/certificates/{thumbprint}/revoke");
        let revoked = installation.call(Method::POST, &path, &json!({ "reason": "superseded" })).await?;
        assert_eq!(revoked.status, 200, "{}", String::from_utf8_lossy(&revoked.body));
        acknowledged.0.lock().unwrap().certificates.insert(thumbprint, true);
        acknowledge();
    }
    Some(())
}

/// Asks the server that was started again for everything that was acknowledged, and that what was not is in order.
async fn check(installation: &Installation, acknowledged: &Acknowledged) {
    let Answered { clients, certificates } = acknowledged.0.lock().unwrap().clone();
    for client in clients {
        installation.get(&format!("/admin/v1/clients/{client}")).await;
    }
    let on_the_list = revocation_list(installation).await;
    for (thumbprint, revoked) in certificates {
        let certificate = installation.get(&format!("/admin/v1/certificates/{thumbprint}")).await;
        let state = certificate["state"].as_str().unwrap();
        assert!(state == "revoked" || (state == "valid" && !revoked), "{certificate}");
        let serial: Serial = certificate["serial"].as_str().unwrap().parse().unwrap();
        assert!(!revoked || on_the_list.revocation(&serial).is_some(), "not on the CRL: {certificate}");
    }
    let pending = installation.get("/admin/v1/certificates?state=pending").await;
    assert_eq!(pending["certificates"], json!([]), "what was pending is given up at the start");
    // Also what was committed and not acknowledged, because the kill came before its list (rule R2).
    for state in ["revoked", "abandoned"] {
        for certificate in installation.listed(&format!("certificates?state={state}"), "certificates").await {
            let serial: Serial = certificate["serial"].as_str().unwrap().parse().unwrap();
            assert!(on_the_list.revocation(&serial).is_some(), "not on the CRL: {certificate}");
        }
    }
    check_audit(installation).await;
}

/// The log is intact, and has one record for each client, each certificate and each revocation that is in the database.
async fn check_audit(installation: &Installation) {
    let verification = installation.get("/admin/v1/audit/verification").await;
    assert_eq!(verification["intact"], true, "{verification}");
    let mut segments: Vec<_> =
        std::fs::read_dir(&installation.audit).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    segments.sort();
    let (mut added, mut issued, mut revoked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for segment in segments {
        for line in std::fs::read_to_string(segment).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let serial = record["certificate"]["serial"].to_string();
            let is_new = match record["action"].as_str().unwrap() {
                "client_added" => added.insert(record["client"].to_string()),
                "certificate_issued" if record["object"] == "client" => issued.insert(serial),
                "certificate_revoked" => revoked.insert(serial),
                _ => continue,
            };
            assert!(is_new, "recorded twice: {line}");
        }
    }
    let serials = async |state: &str| {
        let certificates = installation.listed(&format!("certificates?state={state}"), "certificates").await;
        let clients = certificates.into_iter().filter(|certificate| certificate["profile"] == "client");
        clients.map(|certificate| certificate["serial"].to_string()).collect::<BTreeSet<_>>()
    };
    let clients = installation.listed("clients", "clients").await;
    let clients = clients.into_iter().map(|client| client["client_id"].to_string()).collect();
    assert_eq!(added, clients, "each client has its record, and each record its client");
    let in_force = serials("revoked").await;
    assert_eq!(revoked, in_force, "each revocation has its record, and each record its revocation");
    let all = &serials("valid").await | &in_force;
    assert_eq!(issued, all, "each issued certificate has its record, and each record its certificate");
}

async fn revocation_list(installation: &Installation) -> RevocationList {
    let answer = Client::plain(installation.documents).get("/pki/crl/clients/0.crl", &[]).await.unwrap();
    assert_eq!(answer.status, 200);
    RevocationList::parse(&answer.body).unwrap()
}
