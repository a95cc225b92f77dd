//! What listens where, and what a partner is told: printed by `init` and `serve`, so that nobody has to put it together.

use crate::config::Configuration;
use countersign_api::admin::shapes::PartnerEndpoints;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The addresses of an installation, for those who run it and for their partners.
pub(crate) struct Handover {
    listeners: Vec<(String, String, String)>,
    admin: String,
    partner: PartnerEndpoints,
}

impl Handover {
    pub(crate) fn of(configuration: &Configuration) -> Self {
        let issuer = configuration.issuer.as_str();
        let listeners = configuration.listeners.iter().map(|listener| {
            let scheme = if listener.tls.is_some() { "https" } else { "http" };
            let serves: Vec<_> = listener.serve.iter().map(|what| what.as_str()).collect();
            (listener.name.to_string(), format!("{scheme}://{}", listener.address), serves.join(", "))
        });
        Self {
            listeners: listeners.collect(),
            admin: format!("http://{}", configuration.admin.listen),
            partner: PartnerEndpoints::of(issuer),
        }
    }

    /// What listens where.
    pub(crate) fn listening(&self) -> String {
        let mut out = String::new();
        for (name, address, serves) in &self.listeners {
            let _ = writeln!(out, "listening   {address} ({name}: {serves})");
        }
        let _ = writeln!(out, "admin       {}", self.admin);
        out
    }

    /// What every partner is told.
    pub(crate) fn for_partners(&self) -> String {
        for_partners(&self.partner)
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let listener = |(name, address, serves): &(String, String, String)| json!({ "name": name, "url": address, "serves": serves.split(", ").collect::<Vec<_>>() });
        json!({
            "listeners": self.listeners.iter().map(listener).collect::<Vec<_>>(), "admin": self.admin,
            "token_endpoint": self.partner.token_endpoint, "metadata": self.partner.metadata,
            "ca_bundle": self.partner.ca_bundle,
        })
    }
}

/// What every partner is told.
pub(crate) fn for_partners(partner: &PartnerEndpoints) -> String {
    let PartnerEndpoints { token_endpoint, metadata, ca_bundle } = partner;
    format!(
        "partners need\n  token URL {token_endpoint}\n  metadata  {metadata}\n  CA        {ca_bundle} (the same as ca.crt)\n"
    )
}

/// A word for a shell that people paste it into, quoted if it needs that (POSIX, Shell Command Language, section 2.2).
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.to_owned();
    }
    let rooted = if word.starts_with('-') { format!("./{word}") } else { word.to_owned() };
    format!("'{}'", rooted.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_or_change_it() {
        for (word, shown) in [
            ("acme-pay.crt", "acme-pay.crt"),
            ("/srv/p k/a.crt", "'/srv/p k/a.crt'"),
            ("it's.crt", r"'it'\''s.crt'"),
            ("$HOME.crt", "'$HOME.crt'"),
            ("-x.crt", "'./-x.crt'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
