//! What is protected and how: APIs, routes, and which route a request belongs to.

mod headers;
mod host;
mod path;
mod settings;
mod table;

pub use headers::{NotAllowable, Removal};
pub use host::{TrustConfigurations, host_name};
pub use path::PathMistake;
pub use path::check_path;
pub use settings::{Mistake, RouteError, RouteSettings};
pub use table::{Duplicate, Matched, RouteTable};

use crate::rate_limit::Limit;
use countersign_model::{ClientId, Environment, Scope, Scopes};
use headers::HeaderRules;
use http::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What a token is for: an audience and its scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Its name in the configuration.
    pub name: String,
    /// The `aud` of its tokens.
    pub audience: String,
    /// Its scopes, with what they mean.
    pub scopes: BTreeMap<Scope, String>,
}

/// A protected path. Made only by [`Route::new`], so that what exists is valid.
#[derive(Debug, Clone)]
pub struct Route {
    name: String,
    environment: Environment,
    api: Arc<Api>,
    host: Option<String>,
    path: String,
    methods: Option<Vec<Method>>,
    upstream: String,
    upstream_path: String,
    client_certificate: ClientCertificate,
    token: TokenPolicy,
    scopes: Scopes,
    clients: Option<BTreeSet<ClientId>>,
    internal: bool,
    rate_limit: Option<Limit>,
    header_rules: HeaderRules,
}

/// Whether a route wants a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It does not look for one. One that is presented is checked all the same.
    Off,
    /// With or without.
    Optional,
    /// Not without.
    Required,
}

/// Which tokens a route accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPolicy {
    /// Only those bound to the connection's certificate.
    Bound,
    /// Unbound ones too. A token that is bound is checked all the same (rule G3).
    Bearer,
}

impl Route {
    /// The route's name: metric label, realm, and the last part of its metadata's address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The environment that it serves.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The API that it belongs to.
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// The only host that it answers for, in lower case; `None` means every host.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The prefix that it answers for; begins and ends with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The only methods that it accepts; `None` means all but CONNECT, TRACE, TRACK and PRI.
    pub fn methods(&self) -> Option<&[Method]> {
        self.methods.as_deref()
    }

    /// The name of what is behind it.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// What takes the place of the matched prefix; begins and ends with a slash.
    pub fn upstream_path(&self) -> &str {
        &self.upstream_path
    }

    /// Whether it wants a client certificate.
    pub fn client_certificate(&self) -> ClientCertificate {
        self.client_certificate
    }

    /// Which tokens it accepts.
    pub fn token(&self) -> TokenPolicy {
        self.token
    }

    /// The scopes that a token must have.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The only clients that may use it; `None` means every client of its environment.
    pub fn clients(&self) -> Option<&BTreeSet<ClientId>> {
        self.clients.as_ref()
    }

    /// Whether client_id and client_secret are accepted with each call. Never in production (rule C11).
    pub fn internal(&self) -> bool {
        self.internal
    }

    /// What it grants to each client.
    pub fn rate_limit(&self) -> Option<&Limit> {
        self.rate_limit.as_ref()
    }

    /// Why a header field of this name, as a caller wrote it, does not go on to the upstream; `None` if it does (rules G9 and
    /// G19). What identifies the caller does not, unless the operator allowed a name that another gateway would have set.
    pub fn removes_header(&self, name: &str) -> Option<Removal> {
        self.header_rules.removal(name)
    }
}

impl ClientCertificate {
    /// The name as written in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TokenPolicy {
    /// The name as written in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Bearer => "bearer",
        }
    }
}

impl fmt::Display for TokenPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
