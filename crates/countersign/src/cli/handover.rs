//! What listens where, and what a partner is told: printed by `init` and `serve`, so that nobody has to put it together.

use crate::config::Configuration;
use countersign_api::documents::CA_BUNDLE_PATH;
use countersign_oauth::metadata::{AUTHORIZATION_SERVER_PATH, TOKEN_PATH};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The addresses of an installation, for those who run it and for their partners.
pub(crate) struct Handover {
    listeners: Vec<(String, String, String)>,
    admin: String,
    token_endpoint: String,
    metadata: String,
    ca_bundle: String,
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
            token_endpoint: format!("{issuer}{TOKEN_PATH}"),
            metadata: format!("{issuer}{AUTHORIZATION_SERVER_PATH}"),
            ca_bundle: format!("{issuer}{CA_BUNDLE_PATH}"),
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
        format!(
            "partners need\n  token URL {}\n  metadata  {}\n  CA        {} (the same as ca.crt)\n",
            self.token_endpoint, self.metadata, self.ca_bundle
        )
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let listener = |(name, address, serves): &(String, String, String)| json!({ "name": name, "url": address, "serves": serves.split(", ").collect::<Vec<_>>() });
        json!({
            "listeners": self.listeners.iter().map(listener).collect::<Vec<_>>(), "admin": self.admin,
            "token_endpoint": self.token_endpoint, "metadata": self.metadata, "ca_bundle": self.ca_bundle,
        })
    }
}
