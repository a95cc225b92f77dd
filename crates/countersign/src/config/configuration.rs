//! What a file without a mistake says, in checked types.

use super::sections::admin::Admin;
use super::sections::audit::Audit;
use super::sections::internal::Internal;
use super::sections::keys::Keys;
use super::sections::limits::Limits;
use super::sections::listeners::Listener;
use super::sections::log::Log;
use super::sections::oauth::Oauth;
use super::sections::storage::Storage;
use super::sections::upstreams::Upstream;
use countersign_policy::Route;
use countersign_policy::route::Api;
use std::sync::Arc;

/// A configuration without a mistake.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Exactly what clients see, in metadata and in every token.
    pub issuer: String,
    /// Where the data is.
    pub storage: Storage,
    /// How keys are kept.
    pub keys: Keys,
    /// The admin API.
    pub admin: Admin,
    /// Where we listen.
    pub listeners: Vec<Listener>,
    /// What is behind us.
    pub upstreams: Vec<Upstream>,
    /// What tokens are for.
    pub apis: Vec<Arc<Api>>,
    /// What is protected, and how.
    pub routes: Vec<Route>,
    /// The authorization server.
    pub oauth: Oauth,
    /// The headers of the `internal` method.
    pub internal: Internal,
    /// How much and how long.
    pub limits: Limits,
    /// The audit log.
    pub audit: Audit,
    /// The operational log.
    pub log: Log,
}

impl Configuration {
    /// The URL below which CRLs and CA certificates are published: `http://127.0.0.1:8445`.
    pub fn pki_url(&self) -> String {
        let plain = self.listeners.iter().find(|listener| listener.tls.is_none());
        plain.map(Listener::public_url).unwrap_or_default()
    }
}
