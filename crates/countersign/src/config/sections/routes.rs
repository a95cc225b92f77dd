//! `[[routes]]`: what is protected, and how.

use super::listeners::{Listener, Serve};
use super::{unique_names, unknown_name};
use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::{At, Given, Value, section};
use crate::config::values::{Name, Period, read_word};
use crate::words::{list, similar};
use countersign_model::{ClientId, Environment, Scope};
use countersign_policy::Route;
use countersign_policy::rate_limit::Limit;
use countersign_policy::route::{Api, ClientCertificate, RouteSettings, TokenPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeValue;

section! {
    /// What is protected, and how. The route with the longest matching path wins; one with a `host` goes before one without.
    RouteSection = "[[routes]]" {
        /// Its name, in logs, metrics and challenges.
        name: Name = Required;
        /// `production` or `sandbox`: clients, tokens and certificates of the other are refused.
        environment: Environment = Required;
        /// The API that it belongs to; its audience must stand in the token.
        api: Name = Required;
        /// Only requests for this host name, in lower case and without a port. Default: any host.
        host: String = Optional;
        /// Requests whose path lies below this, or is this without the last slash. It begins and ends with a slash and has letters, digits, `-`, `.`, `_` and `~` between.
        path: String = Required;
        /// Only these HTTP methods; others are answered with 405. Default: every method.
        methods: Vec<At<String>> = Optional;
        /// Where permitted requests go.
        upstream: Name = Required;
        /// What replaces `path` in the request to the upstream. Default: the path stays as it is.
        upstream_path: String = Optional;
        /// Whether the caller needs a certificate. Valid with `token`: `required` with `bound`, `optional` with `bound` or `bearer`, `off` with `bearer`.
        client_certificate: ClientCertificate = Required;
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
        /// Additional header fields that are not forwarded: names, or prefixes such as `x-acme-*`. Case is ignored; `_` equals `-`.
        remove_headers: Vec<At<String>> = Optional;
        /// Identity headers of other gateways that are forwarded as callers send them, such as `x-user-id` or `x-ssl-*`. Any caller can set them to any value. Countersign's own headers, credentials, and headers that change path or method are never forwarded. Default: none.
        allow_headers: Vec<At<String>> = Optional;
    }
}

section! {
    /// How often each client may call a route, or ask for a token.
    RateLimitSection = "rate_limit = { … }" {
        /// How many requests in each period, evenly spread.
        requests: NonZeroU32 = Required;
        /// The period.
        per: Period = Required;
        /// How many at once after a pause. Default: `requests`.
        burst: NonZeroU32 = Optional;
    }
}

impl Value for ClientCertificate {
    fn kind() -> String {
        "`off`, `optional`, `required`".to_owned()
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        read_word(value, &[Self::Off, Self::Optional, Self::Required].map(|word| (word.as_str(), word)), out)
    }
}

impl Value for TokenPolicy {
    fn kind() -> String {
        "`bound`, `bearer`".to_owned()
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        read_word(value, &[Self::Bound, Self::Bearer].map(|word| (word.as_str(), word)), out)
    }
}

/// What routes refer to. Names are known also of sections with a mistake in them, so that one mistake does not become two.
pub(crate) struct Referents<'a> {
    /// `None` when it has a mistake.
    pub(crate) issuer: Option<&'a str>,
    pub(crate) upstream_names: &'a BTreeSet<&'a str>,
    pub(crate) api_names: &'a BTreeSet<&'a str>,
    pub(crate) apis: &'a [Arc<Api>],
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
        let key = (host.value().map(String::as_str), path.value.as_str());
        match taken.get(&key) {
            Some(other) => {
                let by = other
                    .value()
                    .map_or_else(|| "another route".to_owned(), |name| format!("route `{name}`"));
                let message = format!("two routes have the path {}", path.value.escape_debug());
                out.add(Mistake::new(path.entry.clone(), message, format!("{by} has it already")));
            }
            None => {
                taken.insert(key, name);
            }
        }
    }
}

impl RouteSection {
    /// `policy` says what a valid route is; here is said where in the file it is not, and what only the file can tell.
    fn check(&self, known: &Referents<'_>, out: &mut Mistakes) -> Option<Route> {
        self.check_listener_asks(known, out);
        self.check_upstream(known, out);
        let api = self.check_api(known, out);
        let rate_limit = self.rate_limit.get().map(|limit| limit.value.check(limit, out));
        match Route::new(self.settings(api.as_ref(), rate_limit.flatten())) {
            Ok(route) => Some(route),
            Err(errors) => {
                for error in errors {
                    // What is missing or could not be read is told already, and has a stand-in here.
                    let Some(place) = self.place_of(error.key()) else { continue };
                    // Scopes are told one by one, with the name that was probably meant.
                    if error.key() != "scopes" {
                        out.add(Mistake::new(place, error.to_string(), error.label()).help(error.help()));
                    }
                }
                None
            }
        }
    }

    /// The route's words, with a harmless stand-in for each that is missing: so that a missing key hides no mistake in
    /// another one. A file with a missing key is refused whatever comes of this.
    fn settings(&self, api: Option<&Arc<Api>>, rate_limit: Option<Limit>) -> RouteSettings {
        let name = self.name.value().map_or_else(|| "unnamed".to_owned(), Name::to_string);
        let scopes = || self.scopes.value().into_iter().flatten().map(|scope| scope.value.clone());
        let stand_in = || {
            Arc::new(Api {
                name: "unknown".to_owned(),
                audience: "urn:unknown".to_owned(),
                scopes: scopes().map(|scope| (scope, String::new())).collect(),
            })
        };
        let (client_certificate, token) = match (self.client_certificate.value(), self.token.value()) {
            (Some(certificate), Some(token)) => (*certificate, *token),
            _ => (ClientCertificate::Required, TokenPolicy::Bound),
        };
        let texts = |list: &Given<Vec<At<String>>>| {
            list.value().map(|texts| texts.iter().map(|text| text.value.clone()).collect())
        };
        RouteSettings {
            name,
            environment: self.environment.value().copied().unwrap_or(Environment::Sandbox),
            api: api.cloned().unwrap_or_else(stand_in),
            host: self.host.value().cloned(),
            path: self.path.value().cloned().unwrap_or_else(|| "/".to_owned()),
            methods: texts(&self.methods),
            upstream: self.upstream.value().map(Name::to_string).unwrap_or_default(),
            upstream_path: self.upstream_path.value().cloned(),
            client_certificate,
            token,
            scopes: scopes().collect(),
            clients: self
                .clients
                .value()
                .map(|clients| clients.iter().map(|client| client.value.clone()).collect()),
            internal: self.internal.value().copied().unwrap_or(false),
            rate_limit,
            remove_headers: texts(&self.remove_headers).unwrap_or_default(),
            allow_headers: texts(&self.allow_headers).unwrap_or_default(),
        }
    }

    /// Where `key` stands in the file.
    fn place_of(&self, key: &str) -> Option<Range<usize>> {
        fn entry<T>(given: &Given<T>) -> Option<Range<usize>> {
            given.get().map(|at| at.entry.clone())
        }
        match key {
            "name" => entry(&self.name),
            "host" => entry(&self.host),
            "path" => entry(&self.path),
            "upstream_path" => entry(&self.upstream_path),
            "methods" => entry(&self.methods),
            "token" => entry(&self.token),
            "internal" => entry(&self.internal),
            "scopes" => entry(&self.scopes),
            "clients" => entry(&self.clients),
            "remove_headers" => entry(&self.remove_headers),
            "allow_headers" => entry(&self.allow_headers),
            _ => Some(self.header.clone()),
        }
    }

    /// `data` in messages, or what can be said when the name itself is missing.
    fn called(&self) -> String {
        self.name.value().map_or_else(|| "(without a name)".to_owned(), |name| format!("`{name}`"))
    }

    /// A route that wants a certificate needs a listener that asks for one.
    fn check_listener_asks(&self, known: &Referents<'_>, out: &mut Mistakes) {
        let (Some(listeners), Some(policy)) = (known.listeners, self.client_certificate.get()) else {
            return;
        };
        let asks = |listener: &Listener| listener.asks_for_certificate(Serve::Routes);
        if policy.value != ClientCertificate::Off && !listeners.iter().any(asks) {
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

    /// The API; `None` where it is unknown or has a mistake itself.
    fn check_api(&self, known: &Referents<'_>, out: &mut Mistakes) -> Option<Arc<Api>> {
        if let Some(scopes) = self.scopes.get().filter(|scopes| scopes.value.is_empty()) {
            let message = format!("route {} asks for no scope", self.called());
            out.add(Mistake::new(scopes.entry.clone(), message, "every token of the API would open it"));
        }
        let name = self.api.get()?;
        if !known.api_names.contains(name.value.as_str()) {
            out.add(unknown_name("api", name, known.api_names.iter().copied()));
            return None;
        }
        let api = known.apis.iter().find(|api| api.name == name.value.as_str())?;
        self.refuse_audience_of_another(api, known, out);
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
        Some(Arc::clone(api))
    }

    /// RFC 8707: a token request may name what it is for by an audience or by the identifier of a route (RFC 9728), and one
    /// text must not mean two APIs (rule K6).
    fn refuse_audience_of_another(&self, api: &Api, known: &Referents<'_>, out: &mut Mistakes) {
        let (Some(issuer), Some(name)) = (known.issuer, self.name.get()) else { return };
        let identifier = format!("{issuer}/{}", name.value);
        let other = known.apis.iter().find(|other| other.audience == identifier && other.name != api.name);
        if let Some(other) = other {
            let message =
                format!("{identifier} is route {} and the audience of API `{}`", self.called(), other.name);
            let reason = "`resource` in a token request would mean either";
            let mistake = Mistake::new(name.entry.clone(), message, reason);
            out.add(mistake.help("give the route another name, or the API another audience"));
        }
    }
}

impl RateLimitSection {
    pub(crate) fn check(&self, place: &At<RateLimitSection>, out: &mut Mistakes) -> Option<Limit> {
        let (requests, per) = (*self.requests.value()?, self.per.value()?.0);
        let burst = match &self.burst {
            Given::Is(burst) => burst.value,
            Given::Absent => requests,
            Given::Broken => return None,
        };
        let refused =
            |error| Mistake::new(place.entry.clone(), "the rate limit cannot be kept", format!("{error}"));
        Limit::new(requests, per, burst).map_err(|error| out.add(refused(error))).ok()
    }
}
