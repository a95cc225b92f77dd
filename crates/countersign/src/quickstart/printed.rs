//! What `quickstart` prints when it is ready: what it made, and calls that can be pasted as they are.

use super::partners::{ACME, OTHER, Partner, PartnerCertificate, Partners, SHOP};
use crate::setup::Directory;
use crate::setup::template::Ports;
use crate::words::shown;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that the block speaks of.
#[derive(Debug)]
pub struct Printed<'a> {
    /// The directory.
    pub directory: &'a Directory,
    /// The ports.
    pub ports: Ports,
    /// The partners.
    pub partners: &'a Partners,
    /// The program itself, where a call calls it.
    pub program: PathBuf,
    /// Whether the directory was there before.
    pub again: bool,
    /// From the start of the program until it was ready.
    pub ready_after: Duration,
}

impl Printed<'_> {
    fn gateway(&self) -> String {
        format!("https://localhost:{}", self.ports.gateway())
    }

    /// For programs: one object.
    pub fn json(&self) -> Value {
        let (gateway, directory) = (self.gateway(), self.directory);
        let partner = |partner: &Partner, made: &PartnerCertificate| {
            json!({
                "client_id": partner.id,
                "cert_file": shown(&partner.certificate_file(directory)),
                "key_file": shown(&partner.key_file(directory)),
                "certificate_replaced": made.replaced,
            })
        };
        let mut production = partner(&ACME, &self.partners.acme);
        production["scope"] = json!(ACME.scopes);
        production["url"] = json!(format!("{gateway}/data/accounts"));
        json!({
            "gateway": gateway,
            "issuer": gateway,
            "token_endpoint": format!("{gateway}/oauth2/token"),
            "jwks_uri": format!("{gateway}/oauth2/jwks"),
            "admin": format!("http://127.0.0.1:{}", self.ports.admin()),
            "ca_file": shown(&directory.file("ca.crt")),
            "admin_token_file": shown(&directory.file("admin.token")),
            "production": production,
            "other": partner(&OTHER, &self.partners.other),
            "sandbox": {
                "client_id": SHOP.id,
                "client_secret": self.partners.shop_secret.expose(),
                "url": format!("{gateway}/test/data/accounts"),
            },
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let again = if self.again { "  again" } else { "" };
        let ready = self.ready_after.as_secs_f64();
        let (admin, documents, demo) = (self.ports.admin(), self.ports.documents(), self.ports.demo());
        let mut out = format!("Countersign {version}  ready in {ready:.1} s{again}\n");
        out.push_str(&format!(
            "  API gateway   {}      admin  http://127.0.0.1:{admin} (this machine only)\n",
            self.gateway()
        ));
        out.push_str(&format!("  CRLs          http://127.0.0.1:{documents}/pki       demo API behind it  http://127.0.0.1:{demo}\n"));
        out.push_str(&format!(
            "  data          {}      master key  {} (keep it apart from the data)\n\n",
            self.directory.path().display(),
            self.directory.master_key().display()
        ));
        out.push_str(&self.partner_lines());
        out.push_str(
            "\nPaste these into bash, zsh or fish, one by one or all at once, from any directory:\n",
        );
        for (number, call) in self.calls().into_iter().enumerate() {
            out.push_str(&format!("  {}\n  {}\n", call.heading(number + 1), call.command));
        }
        out.push_str("Ctrl-C stops. The same command starts again from the same data.\n");
        out
    }

    fn partner_lines(&self) -> String {
        let line = |partner: &Partner, has: String| {
            format!(
                "  {:<13} {:<11} {has:<48} scopes {}\n",
                partner.environment.as_str(),
                partner.id,
                partner.scopes
            )
        };
        let certificate = |partner: &Partner, made: &PartnerCertificate| {
            line(partner, format!("certificate {}.crt, expires {}", partner.id, made.not_after.date()))
        };
        let replaced = |partner: &Partner, made: &PartnerCertificate| {
            let line =
                |why| format!("                {}.crt was {why}; it is a new certificate now\n", partner.id);
            made.replaced.map(line).unwrap_or_default()
        };
        [
            certificate(&ACME, &self.partners.acme),
            replaced(&ACME, &self.partners.acme),
            certificate(&OTHER, &self.partners.other),
            replaced(&OTHER, &self.partners.other),
            line(&SHOP, format!("secret in {}.secret", SHOP.id)),
        ]
        .concat()
    }

    /// The calls. curl and sed only; every path absolute and quoted for the shell. What is written here means the same in
    /// bash, zsh and fish (3.4 or newer): fish has no `TOKEN=...`, and zsh has no comments on a terminal.
    fn calls(&self) -> Vec<Call> {
        let (gateway, directory) = (self.gateway(), self.directory);
        let ca = quoted(&directory.file("ca.crt"));
        let identity = |partner: &Partner| {
            let (certificate, key) = (partner.certificate_file(directory), partner.key_file(directory));
            format!("--cert {} --key {}", quoted_for_cert(&certificate), quoted(&key))
        };
        let (acme, other) = (identity(&ACME), identity(&OTHER));
        let bearer = "-H \"Authorization: Bearer $TOKEN\"";
        let data = format!("{gateway}/data/accounts");
        let secret = quoted(&SHOP.secret_file(directory));
        let internal = format!("-H 'client_id: {}' -H \"client_secret: $(sed q {secret})\"", SHOP.id);
        let payment = r#"{"from":"acc-1","to":"DE02120300000000202051","amount":"12.34","currency":"EUR"}"#;
        let with_both = format!("curl -si -w '\\n' --cacert {ca} {acme} {bearer} {data}");
        vec![
            Call {
                title: "a token over mTLS: bound to the certificate of acme-pay, worthless without it",
                shows: None,
                command: format!(
                    "export TOKEN=\"$(curl -s --cacert {ca} {acme} -d grant_type=client_credentials -d client_id={} {gateway}/oauth2/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\"",
                    ACME.id
                ),
            },
            Call { title: "call the API with both", shows: Some("200"), command: with_both.clone() },
            Call {
                title: "pay",
                shows: Some("201"),
                command: format!(
                    "curl -si -w '\\n' --cacert {ca} {acme} {bearer} -H 'Content-Type: application/json' -d '{payment}' {gateway}/pay/payments"
                ),
            },
            Call {
                title: "no token",
                shows: Some("401 token_missing"),
                command: format!("curl -si -w '\\n' --cacert {ca} {acme} {data}"),
            },
            Call {
                title: "the same token, stolen: no certificate",
                shows: Some("401 token_certificate_missing"),
                command: format!("curl -si -w '\\n' --cacert {ca} {bearer} {data}"),
            },
            Call {
                title: "the same token with the certificate of other-bank",
                shows: Some("401 token_certificate_mismatch"),
                command: format!("curl -si -w '\\n' --cacert {ca} {other} {bearer} {data}"),
            },
            Call {
                title: "sandbox: client_id and client_secret with each call",
                shows: Some("200"),
                command: format!("curl -si -w '\\n' --cacert {ca} {internal} {gateway}/test/data/accounts"),
            },
            Call {
                title: "the same on a production route",
                shows: Some("401 internal_method_refused"),
                command: format!("curl -si -w '\\n' --cacert {ca} {internal} {data}"),
            },
            Call {
                title: "revoke the certificate, then call again as in 2",
                shows: Some("401 certificate_revoked"),
                command: format!(
                    "{} cert revoke {} --reason keyCompromise --yes --dir {} && {with_both}",
                    quoted(&self.program),
                    self.partners.acme.serial,
                    quoted(directory.path())
                ),
            },
        ]
    }
}

struct Call {
    /// Without a quotation mark: it stands in a quoted word.
    title: &'static str,
    /// The status, and the reason code of a refusal.
    shows: Option<&'static str>,
    command: String,
}

impl Call {
    /// The title as a command that does nothing. A comment would do in bash and fish, but zsh runs one that is typed: the
    /// name after `>` would become a file.
    fn heading(&self, number: usize) -> String {
        let title = format!(": '{number}  {}", self.title);
        match self.shows {
            Some(shows) => format!("{title:<74}-> {shows}'"),
            None => format!("{title}'"),
        }
    }
}

/// A path as curl's `--cert` reads it: behind a colon it would look for a password, and a backslash takes that away.
fn quoted_for_cert(path: &Path) -> String {
    word(&path.to_string_lossy().replace('\\', r"\\").replace(':', r"\:"))
}

/// A path as bash, zsh and fish read it as one word.
fn quoted(path: &Path) -> String {
    word(&path.to_string_lossy())
}

fn word(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(&c);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        // In single quotes fish reads two backslashes as one and the others do not; in double quotes they agree.
        let escaped = text.replace('\\', "\0").replace('\'', r"'\''").replace('\0', r#"'"\\"'"#);
        format!("'{escaped}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_model::{Secret, Timestamp};

    fn certificate(replaced: Option<&'static str>) -> PartnerCertificate {
        let not_after = Timestamp::parse_rfc3339("2026-12-22T10:00:00Z").unwrap();
        PartnerCertificate { serial: "3f9a00c21e".parse().unwrap(), not_after, replaced }
    }

    #[test]
    fn the_block_can_be_read_and_pasted() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open(&parent.path().join("my data")).unwrap();
        let partners = Partners {
            acme: certificate(Some("revoked")),
            other: certificate(None),
            shop_secret: Secret::new("cs_secret".to_owned()),
        };
        let printed = Printed {
            directory: &directory,
            ports: Ports(8443),
            partners: &partners,
            program: "/usr/bin/countersign".into(),
            again: true,
            ready_after: Duration::from_millis(400),
        };
        let hide = |text: String| text.replace(parent.path().to_str().unwrap(), "/home/me");
        let text = printed.text();
        assert!(!text.contains("cs_secret"), "a secret stands in its file only");
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(hide(text));
            insta::assert_snapshot!(hide(serde_json::to_string_pretty(&printed.json()).unwrap()));
        });
    }

    #[test]
    fn a_path_is_one_word_of_the_shell() {
        assert_eq!(quoted(Path::new("/home/me/a-b_c.key")), "/home/me/a-b_c.key");
        assert_eq!(quoted(Path::new("/home/me/it's")), r"'/home/me/it'\''s'");
        assert_eq!(quoted(Path::new("/a b$c")), "'/a b$c'");
        assert_eq!(quoted(Path::new("/a:b")), "/a:b");
        assert_eq!(quoted_for_cert(Path::new("/a b.crt")), "'/a b.crt'");
        assert_eq!(quoted(Path::new(r"/a\b")), r#"'/a'"\\"'b'"#);
        assert_eq!(quoted_for_cert(Path::new("/a:b")), r#"'/a'"\\"':b'"#);
    }
}
