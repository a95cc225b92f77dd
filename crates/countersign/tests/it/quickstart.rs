//! The first minute, as a newcomer has it: the program itself, its own printed calls, curl and sed.

use crate::program::{Running, countersign, now};
use countersign_pki::pem::Label;
use countersign_testkit::server::access_token;
use countersign_testkit::{Client, Identity, Ports};
use http::Method;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Starts `quickstart` on a directory, and reads what it prints for people.
fn start(directory: &Path, arguments: &[&str]) -> Running {
    let begin = ["quickstart", "--dir", directory.to_str().unwrap()];
    Running::start(&[&begin, arguments].concat(), |line| line.starts_with("Ctrl-C stops."))
}

/// One printed call: what it promises, and its commands.
struct Call {
    shows: Option<String>,
    command: String,
}

fn calls(printed: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for line in printed.lines().skip_while(|line| !line.starts_with("Paste these")).skip(1) {
        let Some(line) = line.strip_prefix("  ") else { break };
        match line.strip_prefix(": '") {
            Some(title) => {
                let title = title.strip_suffix('\'').unwrap();
                let shows = title.split_once("-> ").map(|(_, shows)| shows.to_owned());
                calls.push(Call { shows, command: format!("{line}\n") });
            }
            None => {
                let call = calls.last_mut().unwrap();
                call.command.push_str(line);
                call.command.push('\n');
            }
        }
    }
    calls
}

/// The shells that people paste into, each as on a terminal: what is interactive reads other things as comments.
const SHELLS: &[&[&str]] = &[
    &["bash", "--norc", "--noprofile", "-i", "-s"],
    &["zsh", "-f", "-i", "+o", "promptsp", "+o", "promptcr", "-s"],
    &["fish", "--no-config", "--interactive"],
    &["sh", "-s"],
];

/// Runs all commands in one shell, as if pasted one after the other, and gives the output of each; `None` without the shell.
fn paste(shell: &[&str], calls: &[Call], work: &Path) -> Option<Vec<String>> {
    const MARK: &str = "=====end-of-call=====";
    let found = Command::new(shell[0]).args(["-c", "true"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        skipped(&format!("skipped: needs {}", shell[0]));
        return None;
    }
    let script: String =
        calls.iter().map(|call| format!("{}printf '\\n{MARK}\\n'\n", call.command)).collect();
    let file = work.join("script");
    std::fs::write(&file, script).unwrap();
    // A session of its own: an interactive shell would take the terminal of whoever runs the tests.
    let output = Command::new("setsid")
        .arg("--wait")
        .args(shell)
        .envs([
            ("PS1", ""),
            ("PS2", ""),
            ("TERM", "dumb"),
            ("HISTFILE", ""),
            ("HOME", work.to_str().unwrap()),
        ])
        .current_dir(work)
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    let mut parts: Vec<String> = text.split(&format!("\n{MARK}\n")).map(str::to_owned).collect();
    parts.pop();
    assert_eq!(parts.len(), calls.len(), "{shell:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Some(parts)
}

/// `401 token_missing`, or `200`: status and code of an answer with its head.
fn outcome(answer: &str) -> String {
    let head = answer
        .lines()
        .find(|line| line.starts_with("HTTP/"))
        .unwrap_or_else(|| panic!("no answer: {answer}"));
    let status = head.split(' ').nth(1).unwrap().to_owned();
    let body = answer.split_once("\n\n").map_or("", |(_, body)| body).trim();
    let code = serde_json::from_str::<Value>(body)
        .ok()
        .and_then(|body| Some(body.get("code")?.as_str()?.to_owned()));
    code.map_or(status.clone(), |code| format!("{status} {code}"))
}

#[expect(clippy::print_stdout, reason = "a judge is named, a skipped test says what it needs")]
fn curl_is_there() -> bool {
    match Command::new("curl").arg("--version").output() {
        Ok(output) => {
            let version = String::from_utf8_lossy(&output.stdout);
            println!("judge: {}", version.lines().next().unwrap_or_default());
            true
        }
        Err(_) => {
            println!("skipped: needs curl");
            false
        }
    }
}

/// What is in a directory; without the database's log and index, which are there only while it is open.
fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of_open_database =
        |path: &PathBuf| path.to_string_lossy().ends_with("-wal") || path.to_string_lossy().ends_with("-shm");
    let mut names: Vec<_> = entries.filter(|path| !of_open_database(path)).collect();
    names.sort();
    names
}

#[test]
fn every_printed_call_shows_what_it_promises_and_a_second_start_makes_nothing_new() {
    if !curl_is_there() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    // A space and a colon in the path: what is printed must be quoted, for the shell and for curl.
    let directory = parent.path().join("my: data");
    let ports = Ports::claim();
    let port = ports.first().to_string();

    let quickstart = start(&directory, &["--port", &port]);
    let all = calls(&quickstart.printed);
    assert_eq!(all.len(), 9, "{}", quickstart.printed);
    // Where commands could leave files behind: a `>` that no shell should have seen makes one.
    let work = tempfile::tempdir().unwrap();
    for shell in SHELLS {
        // The last call revokes the certificate, which ends the first minute.
        let pasted = if *shell == SHELLS[SHELLS.len() - 1] { &all[..] } else { &all[..8] };
        let Some(answers) = paste(shell, pasted, work.path()) else { continue };
        for (call, answer) in pasted.iter().zip(answers) {
            match &call.shows {
                Some(shows) => assert_eq!(&outcome(&answer), shows, "{shell:?}: {}\n{answer}", call.command),
                None => assert_eq!(answer, "", "{shell:?}: a call that shows nothing"),
            }
        }
    }
    let left: Vec<_> = names(work.path()).into_iter().filter(|path| path.is_file()).collect();
    assert_eq!(left, [""; 0].map(PathBuf::from));
    quickstart.stop();

    // The certificate was revoked by the last call: the second start replaces it, says so, and nothing else is new.
    let before = names(&directory);
    let other = std::fs::read(directory.join("other-bank.crt")).unwrap();
    let again = start(&directory, &[]);
    assert!(again.printed.lines().next().unwrap().ends_with("again"), "{}", again.printed);
    assert!(again.printed.contains("acme-pay.crt was revoked"), "{}", again.printed);
    assert_eq!(std::fs::read(directory.join("other-bank.crt")).unwrap(), other);
    assert_eq!(names(&directory), before);
    let all = calls(&again.printed);
    assert_eq!(outcome(&paste(&["sh", "-s"], &all[..2], work.path()).unwrap()[1]), "200");

    // While it runs the directory is locked, for a second one and for --clean.
    let text = directory.to_str().unwrap();
    for arguments in [vec!["quickstart", "--dir", text], vec!["quickstart", "--dir", text, "--clean"]] {
        let refused = countersign(&arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("is in use"), "{refused:?}");
    }
    again.stop();

    // Another port is another issuer.
    let refused = countersign(&["quickstart", "--dir", text, "--port", "1024"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("was made for port"), "{refused:?}");

    let cleaned = countersign(&["quickstart", "--dir", text, "--clean"]);
    assert!(cleaned.status.success(), "{cleaned:?}");
    assert_eq!(names(parent.path()), [""; 0].map(PathBuf::from));
}

/// OpenSSL's own client speaks HTTP/1.0 and nothing else, as dirmngr and old appliances do; old monitors ask for health so.
#[test]
fn rule_g12_public_documents_and_health_are_answered_over_http_1_0() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let ports = Ports::claim();
    let quickstart = start(&directory, &["--port", &ports.first().to_string()]);
    let ask = |port: u16, head: &str| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap(); // it ends: HTTP/1.0 keeps no connection
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    };
    let (admin, documents) = (ports.first() + 1, ports.first() + 2);
    for host in ["", "\r\nHost: localhost"] {
        for (port, path, status) in [
            (documents, "/pki/crl/clients/0.crl", "200"),
            (documents, "/pki/crl/nobody/0.crl", "404"),
            (admin, "/livez", "200"),
            (admin, "/readyz", "200"),
            (admin, "/metrics", "505"),
            (admin, "/admin/v1/clients", "505"),
        ] {
            let answer = ask(port, &format!("GET {path} HTTP/1.0{host}"));
            assert_eq!(answer.split(' ').nth(1), Some(status), "{path}: {answer}");
        }
    }

    let both = std::fs::read_to_string(directory.join("acme-pay.crt")).unwrap();
    let (_, issuing) = both.split_once("-----END CERTIFICATE-----").unwrap();
    std::fs::write(parent.path().join("issuing.pem"), issuing).unwrap();
    let verify = Command::new("openssl")
        .args(["verify", "-CAfile", "data/ca.crt", "-untrusted", "issuing.pem"])
        .args(["-crl_download", "-crl_check", "data/acme-pay.crt"])
        .current_dir(parent.path())
        .output();
    match verify {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(_) => skipped("skipped: needs openssl"),
    }
    quickstart.stop();
}

/// What a program gets instead of the text for people: enough to go on with, and nothing else on standard output.
#[tokio::test]
async fn the_document_for_programs_leads_through_the_first_minute() {
    let parent = tempfile::tempdir().unwrap();
    let ports = Ports::claim();
    let dir = parent.path().join("my data");
    let port = ports.first().to_string();
    let server = Running::start_json(&["quickstart", "--dir", dir.to_str().unwrap(), "--port", &port]);
    let ready: Value = serde_json::from_str(&server.printed).unwrap();
    let file = |value: &Value| {
        let path = PathBuf::from(value.as_str().unwrap_or_else(|| panic!("no file: {ready}")));
        assert!(path.is_absolute() && path.is_file(), "{path:?}");
        path
    };
    file(&ready["admin_token_file"]);
    let root = pem(&file(&ready["ca_file"]), Label::Certificate).remove(0);
    let identity = |partner: &Value| Identity {
        chain: pem(&file(&partner["cert_file"]), Label::Certificate),
        key: pem(&file(&partner["key_file"]), Label::PrivateKey).remove(0),
    };
    let (acme, other) = (identity(&ready["production"]), identity(&ready["other"]));
    let send = async |identity: Option<&Identity>,
                      method: Method,
                      url: &Value,
                      headers: &[(&str, &str)],
                      body: &str| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.first()));
        let origin = format!("https://localhost:{}", ports.first());
        let path = url.as_str().unwrap().strip_prefix(&origin).unwrap_or_else(|| panic!("{url}"));
        Client::tls(address, &root, identity, now()).send(method, path, headers, body).await.unwrap()
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    let body = format!(
        "grant_type=client_credentials&client_id={}",
        ready["production"]["client_id"].as_str().unwrap()
    );
    let token = send(Some(&acme), Method::POST, &ready["token_endpoint"], &[form], &body).await;
    assert_eq!(token.json()["scope"], ready["production"]["scope"], "{token:?}");
    let bearer = format!("Bearer {}", access_token(&token));
    let get = async |identity: Option<&Identity>| {
        let url = &ready["production"]["url"];
        send(identity, Method::GET, url, &[("authorization", &bearer)], "").await
    };
    assert_eq!(get(Some(&acme)).await.status, 200);
    let stolen = get(Some(&other)).await;
    assert_eq!((stolen.status, stolen.code().as_deref()), (401, Some("token_certificate_mismatch")));
    let sandbox = &ready["sandbox"];
    let pair = ["client_id", "client_secret"].map(|name| (name, sandbox[name].as_str().unwrap()));
    let called = send(None, Method::GET, &sandbox["url"], &pair, "").await;
    assert_eq!(called.status, 200, "{}", String::from_utf8_lossy(&called.body));
    let keys = send(None, Method::GET, &ready["jwks_uri"], &[], "").await;
    assert_eq!(keys.status, 200);
    assert_eq!(server.stop().printed.lines().count(), 1, "one line is one document");
}

/// What a PEM file holds.
fn pem(path: &Path, label: Label) -> Vec<Vec<u8>> {
    countersign_pki::pem::decode_all(label, &std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_busy_port_is_named_and_nothing_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = busy.local_addr().unwrap().port().min(u16::MAX - 3);
    let refused =
        countersign(&["quickstart", "--dir", directory.to_str().unwrap(), "--port", &port.to_string()]);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
    assert!(error.lines().count() <= 3, "{error}");
    assert!(!directory.exists());
}

/// Design, decision 24: a good file is taken over live, a bad one is refused and the old one keeps running. Metrics belong
/// to the process, so that they are looked at here.
#[tokio::test]
async fn a_reload_takes_over_a_good_file_and_refuses_a_bad_one() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let (config, dir) = (directory.join("countersign.toml"), directory.to_str().unwrap());
    let ports = Ports::claim();
    let port = ports.first().to_string();
    let server = start(&directory, &["--port", &port]);
    let good = std::fs::read_to_string(&config).unwrap();
    let other_database = good.replace("sqlite:countersign.db", "sqlite:other.db");
    assert_ne!(other_database, good);
    let cases = [
        (good.replace("burst = 200", "burst = 300"), None),
        (good.replace("token = \"bound\"", "tokne = \"bound\""), Some("mistakes")),
        (other_database, Some("[storage]")),
        (good, None),
    ];
    for (number, (text, refused)) in cases.into_iter().enumerate() {
        std::fs::write(&config, text).unwrap();
        server.signal("-HUP");
        let record = wait_for_reload(dir, number + 1);
        let detail = record["detail"].as_str();
        match refused {
            Some(part) => assert!(detail.unwrap().contains(part), "{record}"),
            None => assert_eq!(detail, None, "{record}"),
        }
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.first() + 1));
        let metrics = Client::plain(admin).get("/metrics", &[]).await.unwrap().body;
        let line = format!("countersign_config_last_reload_successful {}", u8::from(refused.is_none()));
        let text = String::from_utf8(metrics).unwrap();
        assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
    }
    server.stop();
}

/// The newest record of a reload, once there are `number` of them. The admin API answers all the time.
fn wait_for_reload(dir: &str, number: usize) -> Value {
    for _ in 0..1000 {
        let list = countersign(&["audit", "list", "--limit", "1000", "--json", "--dir", dir]);
        assert!(list.status.success(), "{list:?}");
        let list: Value = serde_json::from_slice(&list.stdout).unwrap();
        let is_reload = |record: &&Value| record["action"].as_str().unwrap().starts_with("configuration_");
        let records: Vec<_> = list["records"].as_array().unwrap().iter().filter(is_reload).collect();
        if records.len() == number {
            return records[0].clone();
        }
    }
    panic!("reload {number} was not recorded");
}

/// The command line against a real server: answers, refusals, exit codes.
#[test]
fn the_command_line_manages_a_running_server() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let dir = directory.to_str().unwrap().to_owned();
    let work = parent.path().to_str().unwrap().to_owned();
    let ports = Ports::claim();
    let port = ports.first().to_string();
    let server = Running::start_json(&["quickstart", "--dir", &dir, "--port", &port]);
    let ready: Value = serde_json::from_str(&server.printed).unwrap();
    for member in ["gateway", "issuer", "token_endpoint", "jwks_uri", "admin", "ca_file", "admin_token_file"]
    {
        assert!(ready[member].is_string(), "{member}: {ready}");
    }

    let run = |code: i32, line: &[&str]| -> Value {
        let mut arguments: Vec<&str> = line.to_vec();
        arguments.extend(["--json", "--dir", &dir]);
        let output = countersign(&arguments);
        assert_eq!(output.status.code(), Some(code), "{line:?}: {output:?}");
        let text = if code == 0 { output.stdout } else { output.stderr };
        serde_json::from_slice(&text)
            .unwrap_or_else(|_| panic!("{line:?}: {}", String::from_utf8_lossy(&text)))
    };

    // A client with a certificate, from request to revocation.
    let add = ["client", "add", "shop-42", "--environment", "production", "--scope", "data:read"];
    assert_eq!(run(0, &add)["client"]["state"], "active");
    assert_eq!(run(1, &add)["error"]["code"], "object_conflict");
    let requested = countersign(&["cert", "request", "shop-42", "--out-dir", &work]);
    assert!(requested.status.success(), "{requested:?}");
    let csr = format!("{work}/shop-42.csr");
    let issued = run(0, &["cert", "sign", &csr, "--client", "shop-42"]);
    let serial = issued["serial"].as_str().unwrap();
    assert!(!Path::new(&work).join("shop-42.crt").exists(), "with --json nothing is written");
    assert_eq!(run(0, &["cert", "show", &serial[..8]])["serial"], serial);
    let short = format!("{}…{}", &serial[..4], &serial[serial.len() - 4..]);
    assert_eq!(run(0, &["cert", "show", &short])["serial"], serial);
    run(5, &["cert", "show", &format!("{}…zzzz", &serial[..4])]);
    assert_eq!(run(0, &["cert", "show", issued["thumbprint"].as_str().unwrap()])["serial"], serial);
    assert_eq!(run(5, &["cert", "show", "00000000"])["error"]["code"], "object_not_found");
    let der = format!("{work}/shop-42.der");
    let request =
        countersign_pki::pem::decode(Label::CertificateRequest, &std::fs::read(&csr).unwrap()).unwrap();
    std::fs::write(&der, request).unwrap();
    let from_der = run(0, &["cert", "sign", &der, "--client", "shop-42"]);
    assert_eq!(from_der["client"], "shop-42");
    run(0, &["cert", "revoke", from_der["serial"].as_str().unwrap(), "--reason", "superseded", "--yes"]);
    assert_eq!(run(5, &["cert", "sign", &csr, "--client", "nobody"])["error"]["code"], "object_not_found");
    let revoke = ["cert", "revoke", serial, "--reason", "keyCompromise"];
    assert_eq!(run(2, &revoke)["error"]["action"], "add --yes");
    let revoke: Vec<&str> = revoke.into_iter().chain(["--yes"]).collect();
    assert_eq!(run(0, &revoke)["certificates"][0]["state"], "revoked");
    assert_eq!(run(0, &revoke)["already_revoked"], 1);

    // All that a client has, at once.
    let signed: Vec<Value> = (0..2).map(|_| run(0, &["cert", "sign", &csr, "--client", "shop-42"])).collect();
    let all = ["cert", "revoke", "--client", "shop-42", "--reason", "superseded"];
    assert_eq!(run(2, &all)["error"]["action"], "add --yes");
    let all: Vec<&str> = all.into_iter().chain(["--yes"]).collect();
    let revoked = run(0, &all);
    assert_eq!(revoked["certificates"].as_array().unwrap().len(), 2, "{revoked}");
    for certificate in signed {
        let shown = run(0, &["cert", "show", certificate["serial"].as_str().unwrap()]);
        assert_eq!((&shown["state"], &shown["revocation_reason"]), (&"revoked".into(), &"superseded".into()));
    }

    // A client with a secret, which rotates.
    let add = [
        "client",
        "add",
        "shop-43",
        "--environment",
        "sandbox",
        "--scope",
        "data:read",
        "--auth",
        "client_secret_basic",
    ];
    assert!(run(0, &add)["client_secret"].as_str().unwrap().starts_with("cs_"));
    assert!(run(0, &["client", "rotate-secret", "shop-43"])["client_secret"].is_string());
    let shown = run(0, &["client", "show", "shop-43"]);
    assert_eq!(shown["credentials"].as_array().unwrap().len(), 2);
    assert!(!shown.to_string().contains("cs_"), "a secret is shown once");
    assert_eq!(run(0, &["client", "disable", "shop-43", "--yes"])["state"], "disabled");
    assert!(run(0, &["token-key", "rotate"])["key_id"].is_string());

    // What was done stands in the log, by whom, and can be found again.
    let records = run(0, &["audit", "list", "--action", "client_disabled"]);
    let record = &records["records"][0];
    assert_eq!(
        (&record["client"], &record["actor"]["name"]),
        (&Value::from("shop-43"), &Value::from("admin"))
    );
    let found = run(0, &["audit", "show", record["ref"].as_str().unwrap()]);
    assert_eq!(found["records"][0]["action"], "client_disabled");
    assert_eq!(run(0, &["audit", "verify"])["intact"], true);

    // Tables for people.
    let table = countersign(&["cert", "list", "--client", "shop-42", "--dir", &dir]);
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.starts_with("SERIAL") && text.contains("keyCompromise"), "{text}");

    // Not allowed, and not there.
    let wrong = parent.path().join("wrong.token");
    std::fs::write(&wrong, "csa_wrong\n").unwrap();
    let (admin, wrong) = (ready["admin"].as_str().unwrap(), wrong.to_str().unwrap());
    let refused = countersign(&["client", "list", "--admin", admin, "--credential-file", wrong]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    server.stop();
    let gone = countersign(&["client", "list", "--dir", &dir]);
    assert_eq!(gone.status.code(), Some(3), "{gone:?}");
    assert!(String::from_utf8_lossy(&gone.stderr).lines().count() <= 3, "{gone:?}");
}

/// A window that is closed takes the demo with it: nobody would be left who could end it.
#[test]
fn it_ends_with_the_terminal_that_it_was_started_on() {
    const SCRIPT: &str = r#"
import os, pty, signal, sys
signal.alarm(60)
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
printed = b""
while b"Ctrl-C stops." not in printed:
    printed += os.read(terminal, 4096)
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;
    let parent = tempfile::tempdir().unwrap();
    let ports = Ports::claim();
    let port = ports.first().to_string();
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT, env!("CARGO_BIN_EXE_countersign"), "quickstart", "--port", &port, "--dir"]);
    match python.arg(parent.path().join("data")).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => skipped("skipped: needs python3"),
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says what it needs")]
fn skipped(what: &str) {
    println!("{what}");
}
