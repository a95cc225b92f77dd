//! What an operator is told to hand over, tried as the partner would: on the real program.

use crate::program::{Place, Running};
use std::path::Path;
use std::process::Command;

/// What a command printed for people.
fn told(place: &Place, arguments: &[&str]) -> String {
    let output = place.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The printed call gets a token, in a directory and with files whose names a shell would split.
#[test]
fn what_cert_sign_prints_gets_the_partner_a_token() {
    let place = Place::new();
    assert!(place.init().status.success());
    // The example of the generated file, without its marks: an API with this scope.
    let config = std::fs::read_to_string(place.file("countersign.toml")).unwrap();
    let lines = config.lines().map(|line| line.strip_prefix("#:").map_or(line, str::trim_start));
    let config: String = lines.flat_map(|line| [line, "\n"]).collect();
    std::fs::write(place.file("countersign.toml"), config).unwrap();
    let server = Running::start_json(&["serve", "--dir", place.directory.to_str().unwrap()]);
    let issuer = format!("https://localhost:{}", place.ports.first());
    let scope = ["--environment", "production", "--scope", "data:read"];
    let added = told(&place, &[&["client", "add", "acme-pay"], &scope[..]].concat());
    assert!(added.contains("cert request acme-pay"), "{added}");

    let parent = tempfile::tempdir().unwrap();
    let partner = parent.path().join("the partner's files");
    std::fs::create_dir(&partner).unwrap();
    let file = |name: &str| partner.join(name).to_str().unwrap().to_owned();
    let made = crate::program::countersign(&["cert", "request", "acme-pay", "--out-dir", &file("")]);
    assert!(made.status.success(), "{made:?}");
    std::fs::rename(file("acme-pay.csr"), file("acme pay.csr")).unwrap();
    std::fs::rename(file("acme-pay.key"), file("acme pay.key")).unwrap();
    let signed = told(&place, &["cert", "sign", &file("acme pay.csr"), "--client", "acme-pay"]);
    for address in ["/oauth2/token", "/.well-known/oauth-authorization-server", "/pki/ca.pem"] {
        assert!(signed.contains(&format!("{issuer}{address}")), "{signed}");
    }

    std::fs::copy(place.file("ca.crt"), partner.join("ca.crt")).unwrap();
    let (_, call) = signed.split_once("own key:\n").unwrap();
    let answer = shell(&partner, call);
    assert!(answer.contains("access_token"), "{call}\n{answer}");

    // Who has a secret besides is not shown a call that lacks it.
    let secret = ["--auth", "client_secret_post", "--environment", "sandbox", "--scope", "data:read"];
    let added = told(&place, &[&["client", "add", "shop"], &secret[..]].concat());
    assert!(
        added.contains(&format!("{issuer}/oauth2/token")) && added.contains("client_secret: "),
        "{added}"
    );
    let made = crate::program::countersign(&["cert", "request", "shop", "--out-dir", &file("")]);
    assert!(made.status.success(), "{made:?}");
    let signed = told(&place, &["cert", "sign", &file("shop.csr"), "--client", "shop"]);
    assert!(signed.contains("its own key and its secret") && !signed.contains("curl"), "{signed}");
    server.stop();
}

fn shell(directory: &Path, command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).current_dir(directory).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
