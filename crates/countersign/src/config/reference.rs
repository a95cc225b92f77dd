//! docs/configuration.md, written from the sections themselves: it cannot say what the program does not do.

use super::reader::{KeyDoc, Rule, Section};
use super::sections::{
    Document, admin::AdminSection, apis::ApiSection, audit::AuditSection, internal::InternalSection,
    keys::KeysSection, limits::LimitsSection, listeners::CertificateSection, listeners::ListenerSection,
    log::LogSection, oauth::OauthSection, routes::RateLimitSection, routes::RouteSection,
    storage::StorageSection, upstreams::UpstreamSection,
};
use std::fmt::Write as _;

/// The reference page.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Made from the sections in crates/countersign/src/config: change them, then run\n     \
         UPDATE=1 cargo test -p countersign configuration_reference -->\n\n\
         Everything that is policy stands in one file, `countersign.toml`. An unknown key is refused, with the key that was\n\
         probably meant; all mistakes of a file are shown at once. `countersign config check` needs no database.\n\n\
         Durations are written `500ms`, `10s`, `5m`, `24h`, `30d`; sizes `64KiB`, `10MiB`. Secrets stand in the file by reference\n\
         only: `file:PATH`, `env:NAME`, or `cred:NAME` for a systemd credential.\n\n\
         `SIGHUP` reloads the file without dropping a connection. `issuer`, `[storage]`, `[keys]`, `[admin]`, `[audit]`, the log\n\
         format, and name, address, `client_certificate`, `serve` and `url` of a listener need a restart: a reload that changes\n\
         them is refused and names them, and the old configuration keeps running.\n",
    );
    section::<Document>(&mut out);
    section::<StorageSection>(&mut out);
    section::<KeysSection>(&mut out);
    section::<AdminSection>(&mut out);
    section::<ListenerSection>(&mut out);
    section::<CertificateSection>(&mut out);
    section::<UpstreamSection>(&mut out);
    section::<ApiSection>(&mut out);
    section::<RouteSection>(&mut out);
    section::<RateLimitSection>(&mut out);
    section::<OauthSection>(&mut out);
    section::<InternalSection>(&mut out);
    section::<LimitsSection>(&mut out);
    section::<AuditSection>(&mut out);
    section::<LogSection>(&mut out);
    out
}

fn section<S: Section>(out: &mut String) {
    let title = if S::HEADER.is_empty() { "The file".to_owned() } else { format!("`{}`", S::HEADER) };
    // Writing into a String cannot fail.
    let _ = write!(out, "\n## {title}\n\n{}\n\n", text(S::DOC));
    out.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in S::KEYS {
        // Tables of their own have their own heading below.
        let _ = writeln!(out, "| `{}` | {} | {} | {} |", key.name, kind(key), default(key), text(key.doc));
    }
}

fn kind(key: &KeyDoc) -> String {
    (key.kind)().replace('|', "\\|")
}

fn default(key: &KeyDoc) -> String {
    match key.rule {
        Rule::Required => "required".to_owned(),
        Rule::Optional => "–".to_owned(),
        Rule::Default("{}") => "as below".to_owned(),
        Rule::Default(value) => format!("`{value}`"),
    }
}

fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
