//! The certificate authority through the admin API and the public documents, judged by openssl and Python.

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_keys::PortableKey;
use countersign_model::Clock;
use countersign_pki::{assemble_csr, csr_info_to_sign, pem};
use countersign_testkit::server::STORAGE_END;
use countersign_testkit::{Answer, Client, TestServer};
use http::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

fn request(common_name: &str) -> String {
    let key = PortableKey::generate().unwrap();
    let info = csr_info_to_sign(common_name, key.public_key()).unwrap();
    assemble_csr(&info, &key.sign(&info).unwrap()).unwrap()
}

async fn sign(server: &TestServer, client: &str, csr: &str) -> Answer {
    let body = json!({ "client": client, "csr": csr });
    server.administer(Method::POST, "/admin/v1/certificates", &body).await
}

/// The path of the address behind `mark` in a certificate, as openssl prints it. The port of a test server is chosen at
/// the start and stands in no certificate.
fn path_at(text: &str, mark: &str) -> String {
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {text}"));
    let url = rest.split_whitespace().next().unwrap();
    let rest = url.strip_prefix("http://").unwrap();
    rest[rest.find('/').unwrap()..].to_owned()
}

/// Where the list of a certificate's issuer is.
fn crl_path(text: &str) -> String {
    let (_, rest) = text.split_once("CRL Distribution Points").unwrap();
    path_at(rest, "URI:")
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}

/// A judge and its version on a line of the test's output; `None`, and a line that says so, where it is not installed.
#[expect(clippy::print_stdout, reason = "scripts/test shows which judges ran")]
fn judge(program: &Path, version: &[&str]) -> bool {
    match Command::new(program).args(version).output() {
        Ok(output) if output.status.success() => {
            println!("judge: {}", String::from_utf8_lossy(&output.stdout).trim());
            true
        }
        _ => {
            println!("skipped: needs {} (scripts/test installs it)", program.display());
            false
        }
    }
}

#[tokio::test]
async fn a_request_is_taken_as_pem_and_as_base64_of_the_der() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let csr = request("acme-pay");
    let der = pem::decode(pem::Label::CertificateRequest, csr.as_bytes()).unwrap();
    let lines = STANDARD
        .encode(&der)
        .as_bytes()
        .chunks(64)
        .fold(String::new(), |text, line| text + std::str::from_utf8(line).unwrap() + "\n");
    for form in [csr, STANDARD.encode(&der), lines] {
        let issued = sign(&server, "acme-pay", &form).await;
        assert_eq!(issued.status, 201, "{}", String::from_utf8_lossy(&issued.body));
        let issued = issued.json();
        let chain = pem::decode_all(pem::Label::Certificate, issued["chain"].as_str().unwrap().as_bytes());
        assert_eq!(chain.unwrap().len(), 2);
        assert_eq!(issued["client"], "acme-pay");
    }
}

#[tokio::test]
async fn every_refusal_of_a_request_has_its_code_and_leaves_no_certificate() {
    let server = TestServer::start().await;
    server.add_client("other-bank", "sandbox", "tls_client_auth", &["data:read"]).await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let mut forged = pem::decode(pem::Label::CertificateRequest, request("acme-pay").as_bytes()).unwrap();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let (malformed, signature, algorithm, key, name) = (
        (400, "csr_malformed"),
        (422, "csr_signature_invalid"),
        (422, "csr_signature_algorithm_refused"),
        (422, "csr_key_refused"),
        (422, "csr_name_refused"),
    );
    let cases: [(&str, String, (u16, &str)); 12] = [
        ("not base64", "!!!".to_owned(), malformed),
        ("not a request", STANDARD.encode(b"hello"), malformed),
        ("cut", request("acme-pay")[..200].to_owned(), malformed),
        ("two requests", request("acme-pay") + &request("acme-pay"), malformed),
        ("a forged signature", STANDARD.encode(&forged), signature),
        ("SHA-1", include_str!("../../../pki/tests/it/fixtures/rsa-2048-sha1.csr").to_owned(), algorithm),
        ("RSA 1024", include_str!("../../../pki/tests/it/fixtures/rsa-1024.csr").to_owned(), key),
        ("secp256k1", include_str!("../../../pki/tests/it/fixtures/secp256k1.csr").to_owned(), key),
        ("P-521", include_str!("../../../pki/tests/it/fixtures/p521.csr").to_owned(), key),
        ("foreign names", include_str!("../../../pki/tests/it/fixtures/foreign-names.csr").to_owned(), name),
        ("CA:TRUE", include_str!("../../../pki/tests/it/fixtures/ca-true.csr").to_owned(), name),
        ("keyCertSign", include_str!("../../../pki/tests/it/fixtures/key-cert-sign.csr").to_owned(), name),
    ];
    for (what, csr, (status, code)) in cases {
        let refused = sign(&server, "acme-pay", &csr).await;
        let told = (refused.status, refused.code());
        assert_eq!(
            told,
            (status, Some(code.to_owned())),
            "{what}: {}",
            String::from_utf8_lossy(&refused.body)
        );
        let record = server.explanation(&refused).await;
        assert_eq!(
            (&record["action"], &record["reason"]),
            (&json!("certificate_refused"), &json!(code)),
            "{what}"
        );
        assert_eq!(
            (&record["client"], &record["actor"]["name"]),
            (&json!("acme-pay"), &json!("tester")),
            "{what}"
        );
        assert!(record["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {record}");
    }
    let unknown = sign(&server, "nobody", &request("nobody")).await;
    assert_eq!((unknown.status, unknown.code().as_deref()), (404, Some("object_not_found")));
    server.administer(Method::POST, "/admin/v1/clients/acme-pay/disable", &Value::Null).await;
    let disabled = sign(&server, "acme-pay", &request("acme-pay")).await;
    assert_eq!((disabled.status, disabled.code().as_deref()), (409, Some("object_conflict")));
    let body = json!({ "client": "acme-pay", "csr": request("acme-pay"), "profile": "issuing-ca" });
    let profile = server.administer(Method::POST, "/admin/v1/certificates", &body).await;
    assert_eq!((profile.status, profile.code().as_deref()), (400, Some("request_parameter_invalid")));

    let path = "/admin/v1/certificates?client=acme-pay";
    let list = server.administer(Method::GET, path, &Value::Null).await.json();
    assert_eq!(list["certificates"], json!([]), "not even a row");
}

/// One request for two clients, one of them a sandbox: whoever holds its key would be both.
#[tokio::test]
async fn rule_p10_a_key_belongs_to_one_client_and_one_environment() {
    let server = TestServer::start().await;
    for (client, environment) in
        [("acme-test", "sandbox"), ("acme-pay", "production"), ("other-bank", "production")]
    {
        server.add_client(client, environment, "tls_client_auth", &["data:read"]).await;
    }
    // Its subject names no client that is registered.
    let csr = request("api-client");
    assert_eq!(sign(&server, "acme-test", &csr).await.status, 201);
    assert_eq!(sign(&server, "acme-test", &csr).await.status, 201, "a renewal with the same key");
    for client in ["acme-pay", "other-bank"] {
        let refused = sign(&server, client, &csr).await;
        assert_eq!((refused.status, refused.code().as_deref()), (409, Some("csr_key_of_another")));
        let told = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(told.contains("environment sandbox") && !told.contains("acme-test"), "{told}");
        let record = server.explanation(&refused).await;
        assert_eq!(
            (&record["action"], &record["client"]),
            (&json!("certificate_refused"), &json!(client)),
            "{record}"
        );
    }
    let list = server.administer(Method::GET, "/admin/v1/certificates?client=acme-pay", &Value::Null).await;
    assert_eq!(list.json()["certificates"], json!([]), "not even a row");

    let body = json!({ "client": "acme-pay", "csr": csr, "allow_shared_key": true });
    let shared = server.administer(Method::POST, "/admin/v1/certificates", &body).await;
    assert_eq!(shared.status, 201, "{}", String::from_utf8_lossy(&shared.body));
    assert_eq!(sign(&server, "acme-test", &csr).await.code().as_deref(), Some("csr_key_of_another"));
}

/// As certreq, certtool and cert-manager ask: for names that they add by themselves.
#[tokio::test]
async fn rule_p5_names_that_are_not_granted_are_left_out_and_named() {
    let server = TestServer::start().await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let csr = include_str!("../../../pki/tests/it/fixtures/foreign-names.csr");
    let issued = sign(&server, "acme-pay", csr).await;
    assert_eq!(issued.status, 201, "{}", String::from_utf8_lossy(&issued.body));
    let issued = issued.json();
    assert_eq!(
        issued["left_out"],
        json!([
            "uri:https://localhost:8443/clients/other-bank",
            "dns:localhost",
            "ip:127.0.0.1",
            "email:a@example.com"
        ])
    );
    let path = format!("/admin/v1/certificates/{}", issued["serial"].as_str().unwrap());
    let shown = server.administer(Method::GET, &path, &Value::Null).await.json();
    assert_eq!(shown["names"], json!(["uri:https://localhost/clients/acme-pay"]));
    let plain = sign(&server, "acme-pay", &request("acme-pay")).await.json();
    assert!(plain.get("left_out").is_none(), "{plain}");
}

/// What foreign judges need, in files.
struct Papers {
    directory: tempfile::TempDir,
    now: i64,
}

impl Papers {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn openssl(&self, arguments: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(self.directory.path());
        command
    }
}

/// Two certificates of a client, the second one revoked; each document fetched at the path that the certificate names.
async fn papers(server: &TestServer) -> Papers {
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let documents = Client::plain(server.documents);
    let papers = Papers { directory: tempfile::tempdir().unwrap(), now: server.clock.now().unix_s() };
    for name in ["good", "revoked"] {
        let issued = sign(server, "acme-pay", &request("acme-pay")).await.json();
        papers.write(&format!("{name}.pem"), issued["certificate"].as_str().unwrap());
        papers.write(&format!("{name}.serial"), issued["serial"].as_str().unwrap());
        if name == "revoked" {
            let path = format!("/admin/v1/certificates/{}/revoke", issued["serial"].as_str().unwrap());
            let revoked = server.administer(Method::POST, &path, &json!({ "reason": "keyCompromise" })).await;
            assert_eq!(revoked.json()["crls"][0]["issuer"], "clients");
        }
    }
    let text = run(&mut papers.openssl("x509 -in good.pem -noout -text"));
    let crl = documents.get(&crl_path(&text), &[]).await.unwrap();
    assert_eq!((crl.status, crl.header("content-type")), (200, "application/pkix-crl"));
    papers.write("clients.crl.der", &crl.body);
    papers.write("clients.crl", pem::encode(pem::Label::Crl, &crl.body));
    let issuer = documents.get(&path_at(&text, "CA Issuers - URI:"), &[]).await.unwrap();
    assert_eq!((issuer.status, issuer.header("content-type")), (200, "application/pkix-cert"));
    papers.write("clients.pem", pem::encode(pem::Label::Certificate, &issuer.body));
    papers.write("root.pem", pem::encode(pem::Label::Certificate, &server.root));
    // The issuing CA's own certificate names the root's list and certificate in the same way.
    let text = run(&mut papers.openssl("x509 -in clients.pem -noout -text"));
    let crl = documents.get(&crl_path(&text), &[]).await.unwrap();
    assert_eq!(crl.status, 200, "the root's list");
    papers.write("root.crl", pem::encode(pem::Label::Crl, &crl.body));
    let root = documents.get(&path_at(&text, "CA Issuers - URI:"), &[]).await.unwrap();
    assert_eq!(root.body, server.root);
    papers
}

#[tokio::test]
async fn rule_p6_openssl_verifies_what_was_issued_and_finds_what_was_revoked() {
    if !judge(Path::new("openssl"), &["version"]) {
        return;
    }
    let server = TestServer::start().await;
    let papers = papers(&server).await;
    let verify = format!(
        "verify -x509_strict -attime {} -purpose sslclient -CAfile root.pem -untrusted clients.pem \
         -crl_check -CRLfile clients.crl",
        papers.now
    );
    assert!(run(papers.openssl(&verify).arg("good.pem")).contains("good.pem: OK"));
    let refused = papers.openssl(&verify).arg("revoked.pem").output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("certificate revoked"), "{told}");
    // As nginx's ssl_crl, HAProxy's crl-file and Python's VERIFY_CRL_CHECK_CHAIN do: the whole chain, the root included.
    let lists = ["clients.crl", "root.crl"].map(|name| std::fs::read_to_string(papers.path(name)).unwrap());
    papers.write("lists.pem", lists.concat());
    let whole = verify.replace("-crl_check -CRLfile clients.crl", "-crl_check_all -CRLfile lists.pem");
    assert!(run(papers.openssl(&whole).arg("good.pem")).contains("good.pem: OK"));
    let refused = papers.openssl(&whole).arg("revoked.pem").output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("certificate revoked"), "{told}");
    // Each list speaks of its own issuer's certificates: the root's of the issuing CA's, and of nobody else's.
    let by_root =
        format!("verify -attime {} -CAfile root.pem -crl_check -CRLfile root.crl clients.pem", papers.now);
    run(&mut papers.openssl(&by_root));
    let as_server = verify.replace("sslclient", "sslserver");
    assert!(!papers.openssl(&as_server).arg("good.pem").output().unwrap().status.success());

    run(&mut papers.openssl("crl -in clients.crl -noout -verify -CAfile clients.pem"));
    run(&mut papers.openssl("crl -in root.crl -noout -verify -CAfile root.pem"));
    let list = run(&mut papers.openssl("crl -in clients.crl.der -inform DER -noout -text")).to_uppercase();
    let serial = |name: &str| std::fs::read_to_string(papers.path(name)).unwrap().to_uppercase();
    assert!(list.contains(&serial("revoked.serial")) && !list.contains(&serial("good.serial")), "{list}");
    assert!(
        list.contains("KEY COMPROMISE") && list.contains("ISSUING DISTRIBUTION POINT: CRITICAL"),
        "{list}"
    );
}

const PYTHON: &str = r#"
import datetime, pathlib, sys
from cryptography import x509
from cryptography.x509 import verification
directory = pathlib.Path(sys.argv[1])
now = datetime.datetime.fromtimestamp(int(sys.argv[2]), datetime.timezone.utc)
load = lambda name: x509.load_pem_x509_certificate((directory / name).read_bytes())
root, clients, good, revoked = load("root.pem"), load("clients.pem"), load("good.pem"), load("revoked.pem")
builder = verification.PolicyBuilder().store(verification.Store([root])).time(now)
names = builder.build_client_verifier().verify(good, [clients]).subjects
assert [name.value for name in names] == ["https://localhost/clients/acme-pay"], names
crl = x509.load_der_x509_crl((directory / "clients.crl.der").read_bytes())
assert crl.is_signature_valid(clients.public_key())
point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
cdp = good.extensions.get_extension_for_class(x509.CRLDistributionPoints)
assert point.critical and not cdp.critical and point.value.full_name == cdp.value[0].full_name
entry = crl.get_revoked_certificate_by_serial_number(revoked.serial_number)
assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.key_compromise
assert crl.get_revoked_certificate_by_serial_number(good.serial_number) is None
"#;

#[tokio::test]
async fn rule_p6_python_cryptography_verifies_what_was_issued() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/judges/bin/python");
    if !judge(&python, &["-c", "import cryptography; print('Python cryptography', cryptography.__version__)"])
    {
        return;
    }
    let server = TestServer::start().await;
    let papers = papers(&server).await;
    let mut command = Command::new(python);
    command.args(["-c", PYTHON]).arg(papers.directory.path()).arg(papers.now.to_string());
    run(&mut command);
}

#[tokio::test]
async fn rule_r2_every_authority_has_a_list_that_anybody_may_fetch() {
    let server = TestServer::start().await;
    let documents = Client::plain(server.documents);
    for issuer in ["root", "clients", "servers"] {
        let crl = documents.get(&format!("/pki/crl/{issuer}/0.crl"), &[]).await.unwrap();
        assert_eq!(crl.status, 200, "{issuer}");
        let list = countersign_pki::RevocationList::parse(&crl.body).unwrap();
        assert!(list.next_update > server.clock.now());
        assert_eq!(documents.get(&format!("/pki/{issuer}.crt"), &[]).await.unwrap().status, 200);
    }
    for path in
        ["/pki/crl/clients/1.crl", "/pki/crl/nobody/0.crl", "/pki/nobody.crt", "/pki/", "/pki/crl/clients/x"]
    {
        let answer = documents.get(path, &[]).await.unwrap();
        assert_eq!((answer.status, answer.code().as_deref()), (404, Some("route_not_found")), "{path}");
        assert!(!answer.header("countersign-ref").is_empty());
    }
    // The listener without TLS serves nothing else (rule T1).
    for path in ["/oauth2/jwks", "/data/accounts", "/admin/v1/clients", "/metrics"] {
        assert_eq!(documents.get(path, &[]).await.unwrap().status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_roots_are_fetched_as_one_pem_file_from_every_public_listener() {
    let server = TestServer::start().await;
    let expected = pem::encode(pem::Label::Certificate, &server.root);
    for caller in [server.caller(None), Client::plain(server.documents)] {
        let bundle = caller.get("/pki/ca.pem", &[]).await.unwrap();
        assert_eq!(
            (bundle.status, bundle.header("content-type")),
            (200, "application/pem-certificate-chain")
        );
        assert_eq!(String::from_utf8(bundle.body).unwrap(), expected);
    }
    for other in ["/pki/ca.pemx", "/pki/ca.pem/x", "/pki/clients.crt"] {
        assert_eq!(server.caller(None).get(other, &[]).await.unwrap().status, 404, "{other}");
    }
}

/// Issuing CAs live three years, the root fifteen.
#[tokio::test]
async fn the_end_of_a_ca_is_told_from_its_last_third_on_and_refuses_nothing() {
    let log = crate::audit::captured_log();
    let server = TestServer::start_with(&format!("max_staleness = \"3650d\"\n{STORAGE_END}")).await;
    server.add_client("acme-pay", "production", "tls_client_auth", &["data:read"]).await;
    let told = async || {
        let answer = server.health("/readyz").await;
        let told = answer.json()["warnings"].as_array().unwrap().clone();
        (answer.status, told.iter().map(|it| it.as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let upkeep_after = async |days: i64| {
        server.clock.advance_s(days * 86_400);
        server.server.upkeep().await;
    };
    upkeep_after(2 * 365 - 2).await;
    assert_eq!(told().await, (200, Vec::new()));
    assert!(!log.text().contains("the CA `"));
    upkeep_after(4).await;
    let (status, warnings) = told().await;
    assert_eq!((status, warnings.len()), (200, 2), "{warnings:?}");
    for (warning, ca) in warnings.iter().zip(["clients", "servers"]) {
        assert!(warning.starts_with(&format!("the CA `{ca}` ends in 36")), "{warning}");
        assert!(log.text().lines().any(|line| line.contains("WARN") && line.contains(warning)), "{warning}");
    }
    assert_eq!(sign(&server, "acme-pay", &request("acme-pay")).await.status, 201, "what works goes on");
    let metrics = String::from_utf8(server.health("/metrics").await.body).unwrap();
    assert!(metrics.contains("\ncountersign_issuers_ending "), "{metrics}");
    let before = log.text().matches("the CA `clients`").count();
    server.server.upkeep().await;
    assert_eq!(log.text().matches("the CA `clients`").count(), before, "once a day");
}
