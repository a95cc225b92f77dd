//! `[[routes]]`: what is protected, and how.

use super::apis::Api;
use super::listeners::{ClientCertificateRequest, Listener, Serve};
use super::{unique_names, unknown_name};
use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::{At, Given, list, section, similar};
use crate::config::values::{HostName, Method, Name, PathText, Period, words};
use countersign_model::{ClientId, Environment, Scope, Scopes};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

section! {
    /// What is protected, and how. The route with the longest matching path wins; one with a `host` goes before one without.
    RouteSection = "[[routes]]" {
        /// Its name, in logs, metrics and challenges.
        name: Name = Required;
        /// `production` or `sandbox`: clients, tokens and certificates of the other are refused.
        environment: Environment = Required;
        /// The API that it belongs to; its audience must stand in the token.
        api: Name = Required;
        /// Only requests for this host. Default: any host.
        host: HostName = Optional;
        /// Requests whose path is this or lies below it.
        path: PathText = Required;
        /// Only these HTTP methods; others are answered with 405. Default: every method.
        methods: Vec<At<Method>> = Optional;
        /// Where permitted requests go.
        upstream: Name = Required;
        /// What replaces `path` in the request to the upstream. Default: the path stays as it is.
        upstream_path: PathText = Optional;
        /// Whether the caller needs a certificate. Valid with `token`: `required` with `bound`, `optional` with `bound` or `bearer`, `off` with `bearer`.
        client_certificate: ClientCertificatePolicy = Required;
        /// `bound`: only tokens bound to the caller's certificate. `bearer`: also tokens that are bound to none. A bound token is checked on either.
        token: TokenPolicy = Required;
        /// The scopes that a token must have, all of them.
        scopes: Vec<At<Scope>> = Required;
        /// Only these clients. Default: every client of the environment.
        clients: Vec<At<ClientId>> = Optional;
        /// Sandbox only: accept `client_id` and `client_secret` with each call instead of a token.
        internal: bool = Default("false");
        /// How often each client may call this route: `{ requests = 100, per = "1s", burst = 200 }`. Default: no limit.
        rate_limit: RateLimitSection = Optional;
    }
}

section! {
    /// How often each client may call a route.
    RateLimitSection = "rate_limit = { … }" {
        /// How many requests in each period, evenly spread.
        requests: NonZeroU32 = Required;
        /// The period.
        per: Period = Required;
        /// How many at once after a pause. Default: `requests`.
        burst: NonZeroU32 = Optional;
    }
}

words! {
    /// Whether a caller needs a certificate on a route.
    ClientCertificatePolicy {
        /// Certificates play no part.
        Off = "off",
        /// With or without one.
        Optional = "optional",
        /// Not without one.
        Required = "required",
    }
}

words! {
    /// Which tokens a route accepts.
    TokenPolicy {
        /// Only those bound to the caller's certificate.
        Bound = "bound",
        /// Also those bound to nothing.
        Bearer = "bearer",
    }
}

/// What is protected, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub name: Name,
    /// Its environment.
    pub environment: Environment,
    /// Its API.
    pub api: Name,
    /// Only requests for this host.
    pub host: Option<String>,
    /// The prefix of the path.
    pub path: String,
    /// Only these methods; empty: all.
    pub methods: Vec<http::Method>,
    /// Where permitted requests go.
    pub upstream: Name,
    /// What replaces `path`; `None`: nothing.
    pub upstream_path: Option<String>,
    /// Whether the caller needs a certificate.
    pub client_certificate: ClientCertificatePolicy,
    /// Which tokens are accepted.
    pub token: TokenPolicy,
    /// The scopes that a token must have.
    pub scopes: Scopes,
    /// Only these clients; `None`: all.
    pub clients: Option<BTreeSet<ClientId>>,
    /// Whether the `internal` method is on.
    pub internal: bool,
    /// How often each client may call.
    pub rate_limit: Option<RateLimit>,
}

/// How often each client may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many in each period.
    pub requests: NonZeroU32,
    /// The period.
    pub per: Duration,
    /// How many at once.
    pub burst: NonZeroU32,
}

/// Paths that are ours (design, decision 25).
pub const RESERVED_PATHS: [&str; 4] = ["/oauth2", "/.well-known", "/pki", "/problems"];

/// What routes refer to. Names are known also of sections with a mistake in them, so that one mistake does not become two.
pub(crate) struct Referents<'a> {
    pub(crate) upstream_names: &'a BTreeSet<&'a str>,
    pub(crate) api_names: &'a BTreeSet<&'a str>,
    pub(crate) apis: &'a [Api],
    /// `None` when a listener has a mistake.
    pub(crate) listeners: Option<&'a [Listener]>,
}

/// Checks all routes.
pub(crate) fn check(sections: &[At<RouteSection>], known: &Referents<'_>, out: &mut Mistakes) -> Vec<Route> {
    unique_names("route", sections.iter().map(|section| &section.value.name), out);
    refuse_same_paths(sections, out);
    sections.iter().filter_map(|section| section.value.check(known, out)).collect()
}

fn refuse_same_paths(sections: &[At<RouteSection>], out: &mut Mistakes) {
    let mut taken: BTreeMap<(Option<&str>, &str), &Given<Name>> = BTreeMap::new();
    for RouteSection { host, path, name, .. } in sections.iter().map(|section| &section.value) {
        let Some(path) = path.get() else { continue };
        // `/data` and `/data/` match the same requests: a prefix ends at a slash.
        let key = (host.value().map(|host| host.0.as_str()), path.value.0.trim_end_matches('/'));
        match taken.get(&key) {
            Some(other) => {
                let by = other
                    .value()
                    .map_or_else(|| "another route".to_owned(), |name| format!("route `{name}`"));
                let message = format!("two routes have the path {}", path.value.0);
                out.add(Mistake::new(path.entry.clone(), message, format!("{by} has it already")));
            }
            None => {
                taken.insert(key, name);
            }
        }
    }
}

impl RouteSection {
    fn check(&self, known: &Referents<'_>, out: &mut Mistakes) -> Option<Route> {
        self.check_path(out);
        self.check_internal(out);
        self.check_pair(out);
        self.check_listener_asks(known, out);
        self.check_upstream(known, out);
        self.check_api_and_scopes(known, out);
        let clients = self.check_clients(out);
        let rate_limit = match &self.rate_limit {
            Given::Is(limit) => Some(limit.value.check()?),
            Given::Absent => None,
            Given::Broken => return None,
        };
        Some(Route {
            name: self.name.value()?.clone(),
            environment: *self.environment.value()?,
            api: self.api.value()?.clone(),
            host: self.host.value().map(|host| host.0.clone()),
            path: self.path.value()?.0.clone(),
            methods: self
                .methods
                .value()
                .into_iter()
                .flatten()
                .map(|method| method.value.0.clone())
                .collect(),
            upstream: self.upstream.value()?.clone(),
            upstream_path: self.upstream_path.value().map(|path| path.0.clone()),
            client_certificate: *self.client_certificate.value()?,
            token: *self.token.value()?,
            scopes: self.scopes.value()?.iter().map(|scope| scope.value.clone()).collect(),
            clients,
            internal: *self.internal.value()?,
            rate_limit,
        })
    }

    /// `data` in messages, or what can be said when the name itself is missing.
    fn called(&self) -> String {
        self.name.value().map_or_else(|| "(without a name)".to_owned(), |name| format!("`{name}`"))
    }

    fn check_path(&self, out: &mut Mistakes) {
        let Some(path) = self.path.get() else { return };
        let text = path.value.0.as_str();
        let below = |reserved: &&str| {
            text.strip_prefix(*reserved).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(reserved) = RESERVED_PATHS.into_iter().find(below) {
            let mistake = Mistake::new(
                path.entry.clone(),
                format!("route {} lies on a reserved path", self.called()),
                format!("{reserved}/* is answered by Countersign itself"),
            );
            out.add(
                mistake.help(format!(
                    "reserved are {}",
                    RESERVED_PATHS.map(|path| format!("{path}/*")).join(", ")
                )),
            );
        }
    }

    /// Rule C11: the `internal` method is for the sandbox only.
    fn check_internal(&self, out: &mut Mistakes) {
        let (Some(internal), Some(Environment::Production)) = (self.internal.get(), self.environment.value())
        else {
            return;
        };
        if internal.value {
            let mistake = Mistake::new(
                internal.entry.clone(),
                format!("production route {} has `internal = true`", self.called()),
                "client_id and client_secret with each call are for the sandbox only",
            );
            out.add(mistake.help("remove the line, or move the route to environment = \"sandbox\""));
        }
    }

    /// The pairs of design section 2: there is no way to configure anything weaker.
    fn check_pair(&self, out: &mut Mistakes) {
        use ClientCertificatePolicy as Certificate;
        let (Some(certificate), Some(token)) = (self.client_certificate.get(), self.token.get()) else {
            return;
        };
        let (reason, help) = match (certificate.value, token.value) {
            (Certificate::Required, TokenPolicy::Bound)
            | (Certificate::Optional, TokenPolicy::Bound | TokenPolicy::Bearer)
            | (Certificate::Off, TokenPolicy::Bearer) => return,
            (Certificate::Required, TokenPolicy::Bearer) => (
                "where a certificate is required, the token must be bound to it: a stolen one would open the route otherwise",
                "token = \"bound\"",
            ),
            (Certificate::Off, TokenPolicy::Bound) => (
                "a token is bound to a certificate, and client_certificate = \"off\" lets nobody show one",
                "client_certificate = \"required\"",
            ),
        };
        let message = format!(
            "route {} has client_certificate = \"{}\" with token = \"{}\"",
            self.called(),
            certificate.value.as_str(),
            token.value.as_str(),
        );
        out.add(Mistake::new(token.entry.clone(), message, reason).help(help));
    }

    /// A route that wants a certificate needs a listener that asks for one.
    fn check_listener_asks(&self, known: &Referents<'_>, out: &mut Mistakes) {
        let (Some(listeners), Some(policy)) = (known.listeners, self.client_certificate.get()) else {
            return;
        };
        let asks = |listener: &&Listener| {
            listener.serve.contains(&Serve::Routes)
                && listener
                    .tls
                    .as_ref()
                    .is_some_and(|tls| tls.client_certificate != ClientCertificateRequest::Off)
        };
        if policy.value != ClientCertificatePolicy::Off && !listeners.iter().any(|listener| asks(&listener)) {
            let mistake = Mistake::new(
                policy.entry.clone(),
                format!("no listener asks for the certificate that route {} looks at", self.called()),
                "no caller could show one",
            );
            out.add(
                mistake.help(
                    "client_certificate = \"optional\" in the [[listeners]] section that serves `routes`",
                ),
            );
        }
    }

    fn check_upstream(&self, known: &Referents<'_>, out: &mut Mistakes) {
        let Some(upstream) = self.upstream.get() else { return };
        if !known.upstream_names.contains(upstream.value.as_str()) {
            out.add(unknown_name("upstream", upstream, known.upstream_names.iter().copied()));
        }
    }

    fn check_api_and_scopes(&self, known: &Referents<'_>, out: &mut Mistakes) {
        if let Some(scopes) = self.scopes.get()
            && scopes.value.is_empty()
        {
            let message = format!("route {} asks for no scope", self.called());
            out.add(Mistake::new(scopes.entry.clone(), message, "every token of the API would open it"));
        }
        let Some(api_name) = self.api.get() else { return };
        if !known.api_names.contains(api_name.value.as_str()) {
            out.add(unknown_name("api", api_name, known.api_names.iter().copied()));
            return;
        }
        let Some(api) = known.apis.iter().find(|api| api.name == api_name.value) else { return };
        for scope in self.scopes.value().into_iter().flatten() {
            if api.scopes.contains_key(&scope.value) {
                continue;
            }
            let names: Vec<&str> = api.scopes.keys().map(Scope::as_str).collect();
            let mistake = Mistake::new(
                scope.span.clone(),
                format!("`{}` is no scope of API `{}`", scope.value, api.name),
                "no token for this API could have it",
            );
            out.add(match similar(scope.value.as_str(), names.iter().copied()) {
                Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
                None => mistake.help(format!("its scopes are {}", list(names))),
            });
        }
    }

    fn check_clients(&self, out: &mut Mistakes) -> Option<BTreeSet<ClientId>> {
        let clients = self.clients.get()?;
        if clients.value.is_empty() {
            let message = format!("route {} allows no client", self.called());
            let mistake = Mistake::new(clients.entry.clone(), message, "an empty list lets nobody in");
            out.add(
                mistake
                    .help("name the clients, or remove the line to let in every client of the environment"),
            );
        }
        Some(clients.value.iter().map(|client| client.value.clone()).collect())
    }
}

impl RateLimitSection {
    fn check(&self) -> Option<RateLimit> {
        let requests = *self.requests.value()?;
        let burst = match &self.burst {
            Given::Is(burst) => burst.value,
            Given::Absent => requests,
            Given::Broken => return None,
        };
        Some(RateLimit { requests, per: self.per.value()?.0, burst })
    }
}
