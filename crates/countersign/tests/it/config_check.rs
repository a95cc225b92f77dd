//! `countersign config check`, and what a start makes of the same file: certificates from files (rule T12), and warnings
//! about what is allowed and probably not meant.

use crate::program::{Place, Running, command, countersign};
use countersign::system::SystemClock;
use countersign_model::Clock;
use countersign_testkit::Client;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// A route on the demo API that an empty installation does not have.
const ROUTE: &str = r#"
[[upstreams]]
name = "behind"
url = "http://127.0.0.1:9"
[[apis]]
name = "bank"
audience = "https://localhost/"
scopes = { "data:read" = "Read" }
[[routes]]
name = "data"
environment = "production"
api = "bank"
path = "/data/"
upstream = "behind"
client_certificate = "required"
token = "bound"
scopes = ["data:read"]
"#;

struct Installation {
    place: Place,
    good: String,
}

impl Installation {
    fn new() -> Self {
        let place = Place::new();
        assert!(place.init().status.success());
        let good = std::fs::read_to_string(place.file("countersign.toml")).unwrap();
        Self { place, good }
    }

    fn config(&self) -> String {
        self.place.file("countersign.toml").to_str().unwrap().to_owned()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.place.file("countersign.toml"), text).unwrap();
    }

    /// The exit code, and the messages of what was found.
    fn check(&self) -> (i32, Vec<String>) {
        let output = countersign(&["config", "check", "--json", "--config", &self.config()]);
        let code = output.status.code().unwrap();
        let bytes = if code == 0 { &output.stdout } else { &output.stderr };
        let document: Value = serde_json::from_slice(bytes).unwrap_or_else(|_| panic!("{output:?}"));
        let found = if code == 0 { &document["warnings"] } else { &document["error"]["mistakes"] };
        let message =
            |it: &Value| format!("{}: {}", it["message"].as_str().unwrap(), it["reason"].as_str().unwrap());
        (code, found.as_array().unwrap_or_else(|| panic!("{document}")).iter().map(message).collect())
    }

    /// Has the first listener take its certificate from files: one that is valid for these days, from today on.
    fn certificate(&self, from: i64, to: i64, own_key: bool, mode: u32) {
        let (chain, key_file) = (self.place.file("own.crt"), self.place.file("own.key"));
        let key = KeyPair::generate().unwrap();
        let now = SystemClock.now().unix_s();
        let day = |days: i64| {
            date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(now + days * 86_400).unwrap())
        };
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (day(from), day(to));
        std::fs::write(&chain, params.self_signed(&key).unwrap().pem()).unwrap();
        let shown = if own_key { key } else { KeyPair::generate().unwrap() };
        std::fs::write(&key_file, shown.serialize_pem()).unwrap();
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(mode)).unwrap();
        let (before, after) = self.good.split_once("certificate = { ca = ").unwrap();
        let (_, after) = after.split_once('\n').unwrap();
        self.write(&format!(
            "{before}certificate = {{ chain = \"file:own.crt\", key = \"file:own.key\" }}\n{after}"
        ));
    }
}

#[test]
fn rule_t12_a_check_refuses_the_certificate_files_that_a_reload_would_refuse() {
    let it = Installation::new();
    for (from, to, own_key, mode, refused) in [
        (-1, 90, true, 0o600, None),
        (-9, -1, true, 0o600, Some("expired at")),
        (1, 90, true, 0o600, Some("is not valid before")),
        (-1, 90, false, 0o600, Some("does not match the private key")),
        (-1, 90, true, 0o644, Some("open to others")),
    ] {
        it.certificate(from, to, own_key, mode);
        let (code, found) = it.check();
        match refused {
            None => assert_eq!((code, found.as_slice()), (0, &[][..])),
            Some(why) => assert!(code == 1 && found.len() == 1 && found[0].contains(why), "{why}: {found:?}"),
        }
    }
    it.certificate(-80, 7, true, 0o600);
    let (code, found) = it.check();
    assert!(code == 0 && found.len() == 1 && found[0].contains("expires soon"), "{found:?}");
    std::fs::write(it.place.file("own.crt"), "no certificate").unwrap();
    let (code, found) = it.check();
    assert!(code == 1 && found[0].contains("holds no certificate chain"), "{found:?}");
}

#[tokio::test]
async fn rule_t12_a_start_refuses_a_certificate_that_is_not_its_keys_and_is_not_ready_with_an_expired_one() {
    let it = Installation::new();
    it.certificate(-1, 90, false, 0o600);
    let refused = it.place.serve();
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("does not match the private key"), "{error}");
    // What repairs an installation has no use for the files.
    let reset = it.place.run(&["operator", "reset-token", "--yes"]);
    assert!(reset.status.success(), "{reset:?}");

    it.certificate(-9, -1, true, 0o600);
    let server = Running::start_json(&["serve", "--config", &it.config()]);
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, it.place.ports.first() + 1));
    let readiness = Client::plain(admin).get("/readyz", &[]).await.unwrap();
    assert_eq!((readiness.status, &readiness.json()["server_certificates"]), (503, &Value::Bool(false)));
    let log = server.stop().log;
    let loud = |line: &String| line.contains("\"ERROR\"") && line.contains("expired");
    assert!(log.iter().any(loud), "{log:?}");
}

#[test]
fn a_check_warns_of_what_is_probably_not_meant_and_accepts_it() {
    let it = Installation::new();
    let with = |text: String| {
        it.write(&text);
        let (code, found) = it.check();
        assert_eq!(code, 0, "{found:?}");
        found
    };
    let routed = format!("{}{ROUTE}", it.good);
    assert_eq!(with(routed.clone()), Vec::<String>::new());
    let issuer = it.good.lines().find(|line| line.starts_with("issuer = ")).unwrap();
    for (text, warning) in [
        (it.good.replacen(issuer, "issuer = \"https://auth.example\"", 1), "no listener serves auth.example"),
        (format!("{routed}host = \"api.example\"\n"), "no listener reaches route `data`"),
        (format!("{routed}clients = [\"nobody\"]\n"), "there is no client `nobody`"),
    ] {
        let found = with(text);
        assert!(found.len() == 1 && found[0].starts_with(warning), "{warning}: {found:?}");
    }
    // Where there is no database, nobody knows.
    std::fs::remove_file(it.place.file("countersign.db")).unwrap();
    assert_eq!(with(format!("{routed}clients = [\"nobody\"]\n")), Vec::<String>::new());
}

#[test]
fn the_configuration_is_found_by_its_directory_in_an_argument_and_in_the_environment() {
    let it = Installation::new();
    let directory = it.place.directory.to_str().unwrap();
    let check = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut check = command(&[&["config", "check"], arguments].concat());
        check.envs(variables.iter().copied()).output().unwrap()
    };
    for (arguments, variables) in [
        (&["--dir", directory][..], &[][..]),
        (&[], &[("COUNTERSIGN_DIR", directory)]),
        (&["--config", &it.config()], &[("COUNTERSIGN_DIR", "/nowhere")]),
        (&["--dir", directory], &[("COUNTERSIGN_CONFIG", "/nowhere")]),
    ] {
        let output = check(arguments, variables);
        assert!(output.status.success(), "{arguments:?} {variables:?} {output:?}");
    }
    let both = check(&["--dir", directory, "--config", &it.config()], &[]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}
