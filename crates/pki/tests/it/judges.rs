//! Foreign judges of what we issue: openssl, Python's `cryptography`, pkilint (rule P6). Each says its version.

use crate::revocation_lists::{list_of, sign_list};
use crate::support::{Authority, Key, NOW, installed, judge, new_serial, report, run};
use countersign_model::certificate::RevocationReason;
use countersign_pki::pem::{self, Label};
use countersign_pki::{CrlEntry, RevocationList, TrustAnchors, TrustedIssuer, validate_client};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// Findings of pkilint that we accept: `finding | field | exact value`, for localhost names in fixtures only.
const PKILINT_ACCEPTED: &str = include_str!("pkilint-accepted.txt");
const CERTIFICATES: [&str; 6] =
    ["root.pem", "clients.pem", "servers.pem", "client.pem", "server.pem", "host-name.pem"];

/// One of each that we emit, in files.
struct Emitted(tempfile::TempDir);

impl Emitted {
    fn new() -> Self {
        let emitted = Self(tempfile::tempdir().unwrap());
        let root = Authority::root();
        let (clients, servers) = (root.issuing("Clients"), root.issuing("Servers"));
        let client = clients.client("acme-pay", &Key::generate().public());
        let revoked = clients.client("other-bank", &Key::generate().public());
        let local = servers.server(&["dns:localhost", "ip:127.0.0.1", "ip:::1"], &Key::generate().public());
        let host_name = servers.server(&["dns:api.example.com"], &Key::generate().public());
        for (name, der) in [
            ("root.pem", &root.certificate),
            ("clients.pem", &clients.certificate),
            ("servers.pem", &servers.certificate),
            ("client.pem", &client),
            ("revoked.pem", &revoked),
            ("server.pem", &local),
            ("host-name.pem", &host_name),
        ] {
            emitted.write(name, &pem::encode(Label::Certificate, der));
        }
        let empty = sign_list(&clients, &list_of(&clients, 1, Vec::new()));
        let full = sign_list(&clients, &list_of(&clients, 2, entries(&clients, &revoked)));
        emitted.write("empty.crl", &pem::encode(Label::Crl, &empty));
        emitted.write("full.crl", &pem::encode(Label::Crl, &full));
        let of_root = sign_list(&root, &list_of(&root, 1, entries(&clients, &revoked)));
        emitted.write("root.crl", &pem::encode(Label::Crl, &of_root));
        emitted
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// An entry with each reason, and one for `revoked`.
fn entries(clients: &Authority, revoked: &[u8]) -> Vec<CrlEntry> {
    let issuer = TrustedIssuer::new("clients".parse().unwrap(), clients.certificate.clone()).unwrap();
    let peer = validate_client(revoked, &TrustAnchors::new(vec![issuer]), NOW).unwrap();
    let entry = |serial, reason| CrlEntry { serial, revoked_at: NOW.plus_days(-1), reason };
    let others = RevocationReason::ALL.map(|reason| entry(new_serial(), reason));
    others.into_iter().chain([entry(*peer.serial(), RevocationReason::KeyCompromise)]).collect()
}

fn openssl(emitted: &Emitted, arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(emitted.0.path()).args(arguments);
    command
}

fn verify(emitted: &Emitted, arguments: &[&str]) -> Command {
    let mut command = openssl(emitted, &["verify", "-x509_strict", "-CAfile", "root.pem"]);
    command.arg("-attime").arg(NOW.unix_s().to_string()).args(arguments);
    command
}

#[test]
fn openssl_verifies_our_chains_for_their_purpose_only() {
    if installed("openssl", "version").is_none() {
        return;
    }
    let emitted = Emitted::new();
    let client = ["-untrusted", "clients.pem", "client.pem"];
    let server = ["-untrusted", "servers.pem", "server.pem"];
    run(verify(&emitted, &["-purpose", "sslclient"]).args(client));
    run(verify(&emitted, &["-purpose", "sslserver", "-verify_hostname", "localhost"]).args(server));
    run(verify(&emitted, &["-purpose", "sslserver", "-verify_ip", "::1"]).args(server));
    let wrong = verify(&emitted, &["-purpose", "sslserver"]).args(client).output().unwrap();
    assert!(!wrong.status.success(), "a client certificate proves a server");
    let wrong = verify(&emitted, &["-purpose", "sslclient"]).args(server).output().unwrap();
    assert!(!wrong.status.success(), "a server certificate proves a client");
}

#[test]
fn openssl_verifies_our_crl_and_finds_the_revoked_certificate_on_it() {
    if installed("openssl", "version").is_none() {
        return;
    }
    let emitted = Emitted::new();
    for list in ["empty.crl", "full.crl"] {
        let output =
            run(&mut openssl(&emitted, &["crl", "-in", list, "-CAfile", "clients.pem", "-verify", "-noout"]));
        assert!(output.contains("verify OK"), "{output}");
    }
    let text = run(&mut openssl(&emitted, &["crl", "-in", "full.crl", "-noout", "-text"]));
    let der = pem::decode(Label::Crl, &std::fs::read(emitted.path("full.crl")).unwrap()).unwrap();
    for entry in RevocationList::parse(&der).unwrap().entries {
        assert!(
            text.contains(&entry.serial.to_string().to_uppercase()),
            "{} is missing in\n{text}",
            entry.serial
        );
    }
    let check = |list: &str, leaf: &str| {
        let arguments = ["-crl_check", "-CRLfile", list, "-untrusted", "clients.pem", leaf];
        let output = verify(&emitted, &arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // The critical IDP is honoured only because it is the leaf's CDP byte for byte (rule R1).
    for (list, leaf) in [("empty.crl", "revoked.pem"), ("full.crl", "client.pem")] {
        let (accepted, output) = check(list, leaf);
        assert!(accepted, "{list} {leaf}: {output}");
    }
    let (accepted, output) = check("full.crl", "revoked.pem");
    assert!(!accepted && output.contains("revoked"), "{output}");
}

#[test]
fn openssl_verifies_our_request() {
    if installed("openssl", "version").is_none() {
        return;
    }
    let emitted = Emitted::new();
    emitted.write("acme-pay.csr", &Key::generate().request("acme-pay"));
    let output =
        run(&mut openssl(&emitted, &["req", "-in", "acme-pay.csr", "-verify", "-noout", "-subject"]));
    assert!(output.contains("verify OK") && output.contains("CN = acme-pay"), "{output}");
}

#[test]
fn python_cryptography_verifies_our_chains_and_lists() {
    let Some(python) = judge("python") else { return };
    let emitted = Emitted::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/judge.py");
    let output = run(Command::new(python).arg(script).arg(emitted.0.path()).arg(NOW.unix_s().to_string()));
    report(&format!("judge: {}", output.trim()));
}

#[test]
fn rule_p6_pkilint_finds_no_error_but_the_listed_ones() {
    let (Some(pip), Some(certificate_linter), Some(crl_linter)) =
        (judge("pip"), judge("lint_pkix_cert"), judge("lint_crl"))
    else {
        return;
    };
    let version = run(Command::new(pip).args(["--disable-pip-version-check", "show", "pkilint"]));
    report(&format!("judge: pkilint, {}", version.lines().find(|line| line.starts_with("Version")).unwrap()));
    let emitted = Emitted::new();
    let mut found = BTreeSet::new();
    for name in CERTIFICATES {
        let mut command = Command::new(&certificate_linter);
        command.args(["lint", "-s", "ERROR", "-f", "JSON"]).arg(emitted.path(name));
        found.extend(findings(command, name));
    }
    for (name, kind) in [("empty.crl", "CRL"), ("full.crl", "CRL"), ("root.crl", "ARL")] {
        let mut command = Command::new(&crl_linter);
        command.args(["lint", "-t", kind, "-p", "PKIX", "-s", "ERROR", "-f", "JSON"]).arg(emitted.path(name));
        found.extend(findings(command, name));
    }
    let lines = PKILINT_ACCEPTED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let accepted: BTreeSet<String> = lines.map(str::to_owned).collect();
    assert_eq!(found, accepted, "left: found, right: pkilint-accepted.txt");
}

/// pkilint's findings as `finding | field | message`. It exits with their number.
fn findings(mut command: Command, document: &str) -> Vec<String> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let judged: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{document}: {errors}"));
    let mut found = Vec::new();
    for result in judged["results"].as_array().unwrap() {
        for finding in result["finding_descriptions"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (code, message) = (text(&finding["code"]), text(&finding["message"]));
            found.push(format!("{code} | {} | {message}", text(&result["node_path"])));
        }
    }
    assert_eq!(output.status.success(), found.is_empty(), "{document}: {errors}");
    found
}
