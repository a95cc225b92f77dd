//! Server certificates from files (rule T12): what a start, a reload, the minute's upkeep and `config check` make of one that
//! has expired, expires soon, or does not match its key.

use countersign::config::Configuration;
use countersign::config::secret_ref::SecretRef;
use countersign::config::sections::listeners::CertificateSource;
use countersign_model::{Clock, Timestamp};
use countersign_testkit::TestServer;
use http::Method;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Files {
    chain: PathBuf,
    key: PathBuf,
}

impl Files {
    fn in_directory(directory: &Path) -> Self {
        Self { chain: directory.join("own.crt"), key: directory.join("own.key") }
    }

    /// Writes a certificate for these times, with its key.
    fn write(&self, not_before: Timestamp, not_after: Timestamp) {
        let key = KeyPair::generate().unwrap();
        let date = |at: Timestamp| {
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(at.unix_s()).unwrap())
        };
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date(not_before), date(not_after));
        std::fs::write(&self.chain, params.self_signed(&key).unwrap().pem()).unwrap();
        self.write_key(&key);
    }

    fn write_key(&self, key: &KeyPair) {
        std::fs::write(&self.key, key.serialize_pem()).unwrap();
        self.mode(0o600);
    }

    fn mode(&self, mode: u32) {
        std::fs::set_permissions(&self.key, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn configuration(&self, server: &TestServer) -> Configuration {
        let mut configuration = server.configuration("");
        let tls = configuration.listeners.iter_mut().find_map(|listener| listener.tls.as_mut()).unwrap();
        tls.certificate =
            CertificateSource::Files { chain: self.chain.clone(), key: SecretRef::File(self.key.clone()) };
        configuration
    }
}

async fn readiness(server: &TestServer) -> (u16, Value) {
    let answer = server.administer(Method::GET, "/readyz", &Value::Null).await;
    (answer.status, answer.json())
}

async fn metric_of_public(server: &TestServer) -> f64 {
    let answer = server.administer(Method::GET, "/metrics", &Value::Null).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let line = text.lines().find(|line| {
        line.starts_with("countersign_certificate_not_after") && line.contains("name=\"public\"")
    });
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn rule_t12_a_reload_refuses_a_bad_certificate_and_the_present_one_serves() {
    let server = TestServer::start().await;
    let files = Files::in_directory(server.directory());
    let now = server.clock.now();
    for (why, not_before, not_after, mode, other_key) in [
        ("expired", now.plus_s(-7200), now.plus_s(-1), 0o600, false),
        ("is not valid before", now.plus_s(3600), now.plus_s(7200), 0o600, false),
        ("does not match the private key", now.plus_s(-60), now.plus_s(86_400), 0o600, true),
        ("open to others", now.plus_s(-60), now.plus_s(86_400), 0o644, false),
    ] {
        files.write(not_before, not_after);
        if other_key {
            files.write_key(&KeyPair::generate().unwrap());
        }
        files.mode(mode);
        server.server.reload(files.configuration(&server)).await.unwrap_err();
        let detail = server.audit("configuration_refused").await[0]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(why), "{why}: {detail}");
        assert!(server.caller(None).connect().await.is_ok(), "{why}: the present one serves");
        let (status, body) = readiness(&server).await;
        assert_eq!((status, &body["server_certificates"]), (200, &json!(true)), "{why}: {body}");
    }
}

#[tokio::test]
async fn rule_t12_the_upkeep_refuses_a_bad_replacement_and_readiness_follows_the_present_one() {
    let server = TestServer::start().await;
    let files = Files::in_directory(server.directory());
    let now = server.clock.now();
    let end = now.plus_s(86_400);
    files.write(now.plus_s(-60), end);
    server.server.reload(files.configuration(&server)).await.unwrap();
    let shown = end.unix_s();
    assert_eq!(metric_of_public(&server).await as i64, shown, "the metric has the new date at once");

    let log = crate::audit::captured_log();
    files.write(now.plus_s(-7200), now.plus_s(-1));
    server.server.upkeep().await;
    assert_eq!(metric_of_public(&server).await as i64, shown, "the present one is kept");
    assert_eq!(readiness(&server).await.0, 200);
    let logged = log.text();
    let told = logged.lines().any(|line| line.contains("ERROR") && line.contains("own.crt"));
    assert!(told, "{logged}");

    server.clock.advance_s(86_401);
    let (status, body) = readiness(&server).await;
    assert_eq!((status, &body["server_certificates"]), (503, &json!(false)));
    assert!(body["refused"].to_string().contains("public"), "{body}");
    let now = server.clock.now();
    files.write(now.plus_s(-60), now.plus_s(86_400));
    server.server.reload(files.configuration(&server)).await.unwrap();
    assert_eq!(readiness(&server).await.1["server_certificates"], true);
}
