//! What was acknowledged survives `kill -9` (rule P7): the real binary is killed in the middle of issuing and revoking,
//! started again, and asked for everything that it had said.
//!
//! Each round kills after a number of acknowledgements, while other calls are in flight; nothing waits for a time to pass.

use countersign_keys::PortableKey;
use countersign_model::{Serial, Thumbprint};
use countersign_pki::{RevocationList, assemble_csr, csr_info_to_sign, pem, thumbprint};
use countersign_testkit::{Answer, Client};
use http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// How many callers work at once.
const CALLERS: usize = 4;

/// What the server acknowledged, by the thumbprint of the certificate: whether its revocation was, too.
type Acknowledged = Arc<Mutex<BTreeMap<Thumbprint, bool>>>;

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
    let total = acknowledged.lock().unwrap().len();
    println!("kill test: {rounds} rounds, {total} acknowledged certificates, all there");
    server.kill().unwrap();
    server.wait().unwrap();
}

struct Installation {
    config: PathBuf,
    audit: PathBuf,
    token: String,
    admin: SocketAddr,
    documents: SocketAddr,
}

impl Installation {
    fn make(directory: &Path) -> Self {
        let dir = directory.join("data");
        let port = free_ports();
        let mut init = countersign();
        init.args(["init", "--port", &port.to_string(), "--dir"]).arg(&dir).stdout(Stdio::null());
        let status = init.status();
        assert!(status.unwrap().success());
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
        }
    }

    /// Starts the server and waits until it says that it is ready.
    fn serve(&self) -> Child {
        let mut serve = countersign();
        serve.args(["serve", "--json", "--config"]).arg(&self.config);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        if ready.is_empty() {
            let output = child.wait_with_output().unwrap();
            panic!("the server did not start: {}", String::from_utf8_lossy(&output.stderr));
        }
        // Its log is read, so that it never waits for us.
        let log = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || log.lines().for_each(drop));
        child
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
}

/// Issues and revokes from several callers until so many calls were acknowledged, then kills the server at once.
async fn work_until_killed(
    installation: &Installation,
    mut server: Child,
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
        server.kill().unwrap(); // SIGKILL
        server.wait().unwrap();
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
    acknowledge();

    let key = PortableKey::generate().unwrap();
    let info = csr_info_to_sign(&client, key.public_key()).unwrap();
    let csr = assemble_csr(&info, &key.sign(&info).unwrap()).unwrap();
    let body = json!({ "client": client, "csr": csr });
    let issued = installation.call(Method::POST, "/admin/v1/certificates", &body).await?;
    assert_eq!(issued.status, 201, "{}", String::from_utf8_lossy(&issued.body));
    let certificate = issued.json()["certificate"].as_str().unwrap().to_owned();
    let thumbprint = thumbprint(&pem::decode(pem::Label::Certificate, certificate.as_bytes()).unwrap());
    acknowledged.lock().unwrap().insert(thumbprint, false);
    acknowledge();

    if number.is_multiple_of(2) {
        let path = format!("/admin/v1/certificates/{thumbprint}/revoke");
        let revoked = installation.call(Method::POST, &path, &json!({ "reason": "superseded" })).await?;
        assert_eq!(revoked.status, 200, "{}", String::from_utf8_lossy(&revoked.body));
        acknowledged.lock().unwrap().insert(thumbprint, true);
        acknowledge();
    }
    Some(())
}

/// Asks the server that was started again for everything that was acknowledged, and that what was not is in order.
async fn check(installation: &Installation, acknowledged: &Acknowledged) {
    let acknowledged = acknowledged.lock().unwrap().clone();
    let on_the_list = revocation_list(installation).await;
    for (thumbprint, revoked) in acknowledged {
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
        let ended = installation.get(&format!("/admin/v1/certificates?state={state}")).await;
        assert_eq!(ended["more"], false, "the listing is cut: run fewer rounds");
        for certificate in ended["certificates"].as_array().unwrap() {
            let serial: Serial = certificate["serial"].as_str().unwrap().parse().unwrap();
            assert!(on_the_list.revocation(&serial).is_some(), "not on the CRL: {certificate}");
        }
    }
    check_audit(installation).await;
}

/// The log is intact, and has one record for each certificate that is in the ledger as issued.
async fn check_audit(installation: &Installation) {
    let verification = installation.get("/admin/v1/audit/verification").await;
    assert_eq!(verification["intact"], true, "{verification}");
    let mut segments: Vec<_> =
        std::fs::read_dir(&installation.audit).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    segments.sort();
    let mut recorded = BTreeSet::new();
    for segment in segments {
        for line in std::fs::read_to_string(segment).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            if record["action"] == "certificate_issued" && record["object"] == "client" {
                assert!(
                    recorded.insert(record["certificate"]["serial"].to_string()),
                    "recorded twice: {line}"
                );
            }
        }
    }
    let mut issued = BTreeSet::new();
    for state in ["valid", "revoked"] {
        let listed = installation.get(&format!("/admin/v1/certificates?state={state}")).await;
        assert_eq!(listed["more"], false, "the listing is cut: run fewer rounds");
        let listed = listed["certificates"].as_array().unwrap().clone();
        let clients = listed.iter().filter(|certificate| certificate["profile"] == "client");
        issued.extend(clients.map(|certificate| certificate["serial"].to_string()));
    }
    assert_eq!(recorded, issued, "each issued certificate has its record, and each record its certificate");
}

async fn revocation_list(installation: &Installation) -> RevocationList {
    let answer = Client::plain(installation.documents).get("/pki/crl/clients/0.crl", &[]).await.unwrap();
    assert_eq!(answer.status, 200);
    RevocationList::parse(&answer.body).unwrap()
}

fn countersign() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.stdin(Stdio::null());
    command
}

/// Three ports in a row that nobody listens on.
fn free_ports() -> u16 {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let next = |offset: u16| {
            port.checked_add(offset)
                .is_some_and(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        };
        if next(1) && next(2) && next(3) {
            return port;
        }
    }
}
