//! What the tests share: a CA whose key signs in the test, foreign programs, and where vectors lie.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_model::certificate::Profile;
use countersign_model::{Rng, Serial, Timestamp};
use countersign_pki::certificate::CertificateTemplate;
use countersign_pki::profile::{lifetime_days, validity};
use countersign_pki::{
    CertificatePolicy, IssuerIdentity, PublicKey, Subject, SubjectAltName, assemble_csr, client_uri,
    csr_info_to_sign, serial,
};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// 2026-11-22T08:00:00Z
pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_795_334_400);
pub(crate) const CRL_URL: &str = "http://127.0.0.1:8445/pki/crl/clients/0.crl";
pub(crate) const ISSUER_URL: &str = "http://127.0.0.1:8445/pki/issuers/clients.cer";

pub(crate) struct TestRng;

impl Rng for TestRng {
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).unwrap();
    }
}

/// A P-256 key that signs as a custody would: `r || s`.
pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_p256_point(self.0.public_key().as_ref()).unwrap()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// A request as `countersign cert request` writes it.
    pub(crate) fn request(&self, common_name: &str) -> String {
        let info = csr_info_to_sign(common_name, self.public().spki_der()).unwrap();
        assemble_csr(&info, &self.sign(&info)).unwrap()
    }
}

/// A CA with its certificate.
pub(crate) struct Authority {
    pub(crate) key: Key,
    pub(crate) certificate: Vec<u8>,
    pub(crate) identity: IssuerIdentity,
}

impl Authority {
    pub(crate) fn root() -> Self {
        let key = Key::generate();
        let subject = Subject::authority("Countersign Test", "Root");
        let validity = validity(Profile::RootCa, NOW, None).unwrap();
        let identity = IssuerIdentity::root(&subject, &key.public(), validity.not_after).unwrap();
        let certificate = issue(&identity, &key, Profile::RootCa, subject, Vec::new(), key.public(), None);
        Self { identity: IssuerIdentity::from_certificate(&certificate).unwrap(), key, certificate }
    }

    pub(crate) fn issuing(&self, common_name: &str) -> Self {
        let key = Key::generate();
        let subject = Subject::authority("Countersign Test", common_name);
        let urls = Some((CRL_URL.to_owned(), ISSUER_URL.to_owned()));
        let certificate =
            issue(&self.identity, &self.key, Profile::IssuingCa, subject, Vec::new(), key.public(), urls);
        Self { identity: IssuerIdentity::from_certificate(&certificate).unwrap(), key, certificate }
    }

    pub(crate) fn client(&self, client: &str, key: &PublicKey) -> Vec<u8> {
        let client = client.parse().unwrap();
        let names = vec![SubjectAltName::Uri(client_uri("https://localhost:8443", &client))];
        let subject = Subject::client("Acme Payments Ltd", &client);
        self.leaf(Profile::Client, subject, names, key.clone())
    }

    pub(crate) fn server(&self, names: &[&str], key: &PublicKey) -> Vec<u8> {
        let names: Vec<SubjectAltName> = names.iter().map(|name| name.parse().unwrap()).collect();
        self.leaf(Profile::Server, Subject::server(&names), names, key.clone())
    }

    pub(crate) fn leaf(
        &self,
        profile: Profile,
        subject: Subject,
        names: Vec<SubjectAltName>,
        key: PublicKey,
    ) -> Vec<u8> {
        let urls = Some((CRL_URL.to_owned(), ISSUER_URL.to_owned()));
        issue(&self.identity, &self.key, profile, subject, names, key, urls)
    }
}

/// Template, lint, signature: the way of every certificate.
fn issue(
    issuer: &IssuerIdentity,
    key: &Key,
    profile: Profile,
    subject: Subject,
    names: Vec<SubjectAltName>,
    public_key: PublicKey,
    urls: Option<(String, String)>,
) -> Vec<u8> {
    let validity = validity(profile, NOW, Some(issuer.not_after())).unwrap();
    assert!(validity.not_after <= NOW.plus_days(lifetime_days(profile)));
    let (crl_url, issuer_url) = urls.unzip();
    let template = CertificateTemplate {
        profile,
        issuer: issuer.clone(),
        serial: new_serial(),
        subject,
        names,
        public_key,
        not_before: validity.not_before,
        not_after: validity.not_after,
        crl_url,
        issuer_url,
    };
    let linted = template.to_be_signed().unwrap().lint(&policy(&template)).unwrap();
    let signature = key.sign(linted.message());
    linted.assemble(&signature).unwrap()
}

/// The policy that a template meets.
pub(crate) fn policy(template: &CertificateTemplate) -> CertificatePolicy<'_> {
    CertificatePolicy {
        profile: template.profile,
        issuer: &template.issuer,
        subject: &template.subject,
        names: &template.names,
        public_key: &template.public_key,
        crl_url: template.crl_url.as_deref(),
        issuer_url: template.issuer_url.as_deref(),
        now: NOW,
    }
}

pub(crate) fn new_serial() -> Serial {
    serial::generate(&TestRng)
}

/// Writes a line that the test harness does not swallow: what ran, what was skipped.
pub(crate) fn report(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[expect(clippy::disallowed_methods, reason = "tests find vectors and judges through the environment")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// A file of the shared vectors; `None`, and a line that says so, where there is none.
pub(crate) fn vectors(path: &str) -> Option<Vec<u8>> {
    let directory = variable("COUNTERSIGN_VECTORS").unwrap_or_else(|| workspace().join("../shared/vectors"));
    let file = directory.join(path);
    let read = std::fs::read(&file).ok();
    if read.is_none() {
        report(&format!("skipped: needs {} (set COUNTERSIGN_VECTORS)", file.display()));
    }
    read
}

/// A program of the Python judges in `target/judges` (or `COUNTERSIGN_JUDGES`).
pub(crate) fn judge(program: &str) -> Option<PathBuf> {
    let directory = variable("COUNTERSIGN_JUDGES").unwrap_or_else(|| workspace().join("target/judges"));
    let path = directory.join("bin").join(program);
    if path.exists() {
        return Some(path);
    }
    report(&format!(
        "skipped: needs {} (scripts/test installs it, or set COUNTERSIGN_JUDGES)",
        path.display()
    ));
    None
}

/// A foreign program of the distribution, with its version reported; `None` where it is not installed.
pub(crate) fn installed(program: &str, version: &str) -> Option<PathBuf> {
    match Command::new(program).arg(version).output() {
        Ok(output) => {
            report(&format!("judge: {}", String::from_utf8_lossy(&output.stdout).trim()));
            Some(program.into())
        }
        Err(_) => {
            report(&format!("skipped: needs {program}"));
            None
        }
    }
}

/// Runs a judge; its whole output is the message when it is not content.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}
