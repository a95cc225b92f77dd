//! From the configuration's words to a valid [`Route`]: a route that asks for less than its environment
//! allows is a mistake. Every mistake names its key, so that the configuration can point at the line.

use super::headers::{HeaderRules, NotAllowable, allowable};
use super::path::{self, PathMistake};
use super::{Api, ClientCertificate, Route, TokenPolicy, host};
use crate::header_names::Pattern;
use crate::rate_limit::Limit;
use countersign_model::{ClientId, Environment, Scopes};
use http::Method;
use std::fmt;
use std::sync::Arc;

/// A route as the configuration says it, not checked.
#[derive(Debug, Clone)]
pub struct RouteSettings {
    /// 1 to 64 characters of `a-z 0-9 . _ -`.
    pub name: String,
    /// The environment.
    pub environment: Environment,
    /// The API.
    pub api: Arc<Api>,
    /// The only host, if any.
    pub host: Option<String>,
    /// The prefix.
    pub path: String,
    /// The only methods, if any.
    pub methods: Option<Vec<String>>,
    /// The name of the upstream.
    pub upstream: String,
    /// What takes the place of the prefix; by default the prefix stays.
    pub upstream_path: Option<String>,
    /// Whether a client certificate is wanted.
    pub client_certificate: ClientCertificate,
    /// Which tokens are accepted.
    pub token: TokenPolicy,
    /// The scopes that a token must have.
    pub scopes: Scopes,
    /// The only clients, if any.
    pub clients: Option<Vec<ClientId>>,
    /// Whether client_id and client_secret are accepted with each call.
    pub internal: bool,
    /// What each client is granted.
    pub rate_limit: Option<Limit>,
    /// Header fields that are not forwarded, beside those that never are: names, or beginnings such as `x-acme-*`.
    pub remove_headers: Vec<String>,
    /// Identity headers of other gateways that are forwarded as callers send them.
    pub allow_headers: Vec<String>,
}

/// Why a route is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteError {
    /// The route's name.
    pub route: String,
    /// What is wrong.
    pub mistake: Mistake,
}

/// What is wrong with a route.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mistake {
    /// The name is not safe as a label and in an address.
    Name,
    /// The host is no lower-case host name.
    Host,
    /// The prefix is not of the right form.
    Path(PathMistake),
    /// What takes the place of the prefix is not of the right form.
    UpstreamPath(PathMistake),
    /// A method that is unknown, in lower case, or never forwarded.
    Method(String),
    /// `client_certificate` and `token` do not go together.
    Pair(ClientCertificate, TokenPolicy),
    /// A production route with `internal`.
    InternalInProduction,
    /// Scopes that the API does not have.
    Scopes(Scopes),
    /// An empty list of clients.
    NoClients,
    /// Something else than a header name is to be removed.
    RemoveHeader(String),
    /// A header that cannot be let through.
    AllowHeader(String, NotAllowable),
}

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

impl Route {
    /// Checks the settings.
    ///
    /// # Errors
    /// All mistakes, not the first only.
    pub fn new(settings: RouteSettings) -> Result<Self, Vec<RouteError>> {
        let mut mistakes = Vec::new();
        if settings.name.parse::<ClientId>().is_err() {
            mistakes.push(Mistake::Name); // the same rule as for names of clients: safe wherever it is written
        }
        if settings.host.as_deref().is_some_and(|host| !host::is_plain_name(host)) {
            mistakes.push(Mistake::Host);
        }
        mistakes.extend(path::check_prefix(&settings.path).err().map(Mistake::Path));
        let upstream_path = settings.upstream_path.unwrap_or_else(|| settings.path.clone());
        // What is behind us has its own name space: our reserved paths mean nothing there.
        mistakes.extend(path::check_form(&upstream_path).err().map(Mistake::UpstreamPath));
        let methods = methods(settings.methods, &mut mistakes);
        if !pair_is_valid(settings.client_certificate, settings.token) {
            mistakes.push(Mistake::Pair(settings.client_certificate, settings.token));
        }
        if settings.internal && settings.environment == Environment::Production {
            mistakes.push(Mistake::InternalInProduction); // rule C11
        }
        let of_api: Scopes = settings.api.scopes.keys().cloned().collect();
        let foreign = settings.scopes.without(&of_api);
        if !foreign.is_empty() {
            mistakes.push(Mistake::Scopes(foreign));
        }
        if settings.clients.as_ref().is_some_and(Vec::is_empty) {
            mistakes.push(Mistake::NoClients);
        }
        let header_rules = header_rules(settings.remove_headers, settings.allow_headers, &mut mistakes);
        if !mistakes.is_empty() {
            let route = settings.name;
            return Err(mistakes
                .into_iter()
                .map(|mistake| RouteError { route: route.clone(), mistake })
                .collect());
        }
        Ok(Self {
            name: settings.name,
            environment: settings.environment,
            api: settings.api,
            host: settings.host,
            path: settings.path,
            methods,
            upstream: settings.upstream,
            upstream_path,
            client_certificate: settings.client_certificate,
            token: settings.token,
            scopes: settings.scopes,
            clients: settings.clients.map(|clients| clients.into_iter().collect()),
            internal: settings.internal,
            rate_limit: settings.rate_limit,
            header_rules,
        })
    }
}

/// The methods that a route without a list accepts, for the `Allow` of a 405.
pub(super) fn usual_methods() -> &'static [Method] {
    &METHODS
}

/// Design section 2. `off` with `bound` comes with DPoP; `required` with `bearer` would throw away the protection that
/// the certificate could give to the token.
fn pair_is_valid(client_certificate: ClientCertificate, token: TokenPolicy) -> bool {
    use {ClientCertificate as C, TokenPolicy as T};
    matches!(
        (client_certificate, token),
        (C::Required, T::Bound) | (C::Optional, T::Bound | T::Bearer) | (C::Off, T::Bearer)
    )
}

fn methods(names: Option<Vec<String>>, mistakes: &mut Vec<Mistake>) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    for name in names? {
        // Methods are case-sensitive (RFC 9110 section 9.1); CONNECT, TRACE, TRACK and PRI are never forwarded.
        match METHODS.iter().find(|method| method.as_str() == name) {
            Some(method) if !methods.contains(method) => methods.push(method.clone()),
            Some(_) => {}
            None => mistakes.push(Mistake::Method(name)),
        }
    }
    Some(methods)
}

fn header_rules(removed: Vec<String>, allowed: Vec<String>, mistakes: &mut Vec<Mistake>) -> HeaderRules {
    let mut patterns = [Vec::new(), Vec::new()];
    for text in removed {
        match Pattern::new(&text) {
            Ok(pattern) => patterns[0].push(pattern),
            Err(_) => mistakes.push(Mistake::RemoveHeader(text)),
        }
    }
    for text in allowed {
        match allowable(&text) {
            Ok(pattern) if patterns[0].iter().any(|removed: &Pattern| removed.covers(&pattern)) => {
                mistakes.push(Mistake::AllowHeader(text, NotAllowable::Removed));
            }
            Ok(pattern) => patterns[1].push(pattern),
            Err(reason) => mistakes.push(Mistake::AllowHeader(text, reason)),
        }
    }
    let [removed, allowed] = patterns;
    HeaderRules::new(removed, allowed)
}

impl RouteError {
    /// The key of the configuration to point at.
    pub fn key(&self) -> &'static str {
        match self.mistake {
            Mistake::Name => "name",
            Mistake::Host => "host",
            Mistake::Path(_) => "path",
            Mistake::UpstreamPath(_) => "upstream_path",
            Mistake::Method(_) => "methods",
            Mistake::Pair(..) => "token",
            Mistake::InternalInProduction => "internal",
            Mistake::Scopes(_) => "scopes",
            Mistake::NoClients => "clients",
            Mistake::RemoveHeader(_) => "remove_headers",
            Mistake::AllowHeader(..) => "allow_headers",
        }
    }

    /// What is wrong there: the words under the line.
    pub fn label(&self) -> String {
        match &self.mistake {
            Mistake::Name => "1 to 64 characters of a-z 0-9 . _ -, first a letter or digit".to_owned(),
            Mistake::Host => "a host name in lower case, without port".to_owned(),
            Mistake::Path(mistake) | Mistake::UpstreamPath(mistake) => mistake.to_string(),
            Mistake::Method(name) => format!("`{}` is not accepted here", name.escape_default()),
            Mistake::Pair(ClientCertificate::Required, _) => {
                "where a certificate is required, the token must be bound to it".to_owned()
            }
            Mistake::Pair(..) => "without certificates there is nothing to bind a token to".to_owned(),
            Mistake::InternalInProduction => {
                "client_id and client_secret with each call are for the sandbox only".to_owned()
            }
            Mistake::Scopes(scopes) => format!("not in `scopes` of the API: {scopes}"),
            Mistake::NoClients => "an empty list would admit nobody".to_owned(),
            Mistake::RemoveHeader(name) | Mistake::AllowHeader(name, NotAllowable::NoName) => {
                format!("`{}` is not a header name", name.escape_default())
            }
            Mistake::AllowHeader(name, NotAllowable::Never) if name.ends_with('*') => {
                let prefix = name.escape_default();
                format!("`{prefix}` also covers headers that are never forwarded; list single names")
            }
            Mistake::AllowHeader(name, NotAllowable::Never) => {
                format!("`{}` is never forwarded", name.escape_default())
            }
            Mistake::AllowHeader(name, NotAllowable::Needless) => {
                format!("`{}` is no identity header of another gateway", name.escape_default())
            }
            Mistake::AllowHeader(name, NotAllowable::Removed) => {
                format!("`remove_headers` has `{}` too", name.escape_default())
            }
        }
    }

    /// What to do.
    pub fn help(&self) -> &'static str {
        match self.mistake {
            Mistake::Name => "choose a short name: it is the metric label and part of an address",
            Mistake::Host => "write the name as it stands in the address, without scheme and port",
            Mistake::Path(_) | Mistake::UpstreamPath(_) => "write it like \"/data/\"",
            Mistake::Method(_) => "GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS are accepted, in capitals",
            Mistake::Pair(..) => {
                "valid are required with bound, optional with bound or bearer, and off with bearer"
            }
            Mistake::InternalInProduction => {
                "remove the line, or move the route to environment = \"sandbox\""
            }
            Mistake::Scopes(_) => "add the scope to the API, or correct its name",
            Mistake::NoClients => "remove the line to admit every client of the environment, or name some",
            Mistake::RemoveHeader(_) | Mistake::AllowHeader(_, NotAllowable::NoName) => {
                "write a name of letters, digits, `-` and `_`, or the beginning of names such as \"x-acme-*\""
            }
            Mistake::AllowHeader(_, NotAllowable::Never) => {
                "credentials, Countersign's own headers, and headers that change path or method are never forwarded"
            }
            Mistake::AllowHeader(_, NotAllowable::Needless) => {
                "remove it from the list: it is forwarded, unless `[internal]` names it as `client_id_header` or `client_secret_header`"
            }
            Mistake::AllowHeader(_, NotAllowable::Removed) => "leave it in one of the two lists",
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.route.escape_default();
        match &self.mistake {
            Mistake::Name => write!(f, "`{route}` is not a valid name for a route"),
            Mistake::Host => write!(f, "route `{route}` has an invalid `host`"),
            Mistake::Path(_) => write!(f, "route `{route}` has an invalid `path`"),
            Mistake::UpstreamPath(_) => write!(f, "route `{route}` has an invalid `upstream_path`"),
            Mistake::Method(_) => write!(f, "route `{route}` has an unknown method"),
            Mistake::Pair(certificate, token) => {
                write!(
                    f,
                    "route `{route}` has `client_certificate = \"{certificate}\"` with `token = \"{token}\"`"
                )
            }
            Mistake::InternalInProduction => write!(f, "production route `{route}` has `internal = true`"),
            Mistake::Scopes(_) => write!(f, "route `{route}` needs a scope that its API does not have"),
            Mistake::NoClients => write!(f, "route `{route}` has an empty list of clients"),
            Mistake::RemoveHeader(_) => write!(f, "route `{route}` has an invalid name in `remove_headers`"),
            Mistake::AllowHeader(_, NotAllowable::NoName) => {
                write!(f, "route `{route}` has an invalid name in `allow_headers`")
            }
            Mistake::AllowHeader(name, NotAllowable::Never) => {
                write!(f, "route `{route}`: `{}` cannot be allowed", name.escape_default())
            }
            Mistake::AllowHeader(name, NotAllowable::Needless) => {
                write!(f, "route `{route}`: `{}` need not be allowed", name.escape_default())
            }
            Mistake::AllowHeader(name, NotAllowable::Removed) => {
                write!(f, "route `{route}`: `{}` is both allowed and removed", name.escape_default())
            }
        }
    }
}

impl std::error::Error for RouteError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    fn refused(change: impl FnOnce(&mut RouteSettings)) -> Vec<RouteError> {
        let mut settings = settings("data", Environment::Production);
        change(&mut settings);
        Route::new(settings).expect_err("must be refused")
    }

    #[test]
    fn only_the_valid_pairs_of_certificate_and_token_can_be_configured() {
        use {ClientCertificate as C, TokenPolicy as T};
        let valid =
            [(C::Required, T::Bound), (C::Optional, T::Bound), (C::Optional, T::Bearer), (C::Off, T::Bearer)];
        for environment in [Environment::Sandbox, Environment::Production] {
            for client_certificate in [C::Off, C::Optional, C::Required] {
                for token in [T::Bound, T::Bearer] {
                    let mut settings = settings("data", environment);
                    (settings.client_certificate, settings.token) = (client_certificate, token);
                    let made = Route::new(settings);
                    let expected = valid.contains(&(client_certificate, token));
                    assert_eq!(made.is_ok(), expected, "{environment} {client_certificate} {token}");
                    if let Err(errors) = made {
                        assert_eq!(errors[0].key(), "token");
                    }
                }
            }
        }
    }

    #[test]
    fn rule_c11_a_production_route_with_internal_is_refused() {
        let errors = refused(|settings| settings.internal = true);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), "production route `data` has `internal = true`");
        assert_eq!(errors[0].key(), "internal");
        assert_eq!(errors[0].label(), "client_id and client_secret with each call are for the sandbox only");
        let mut sandbox = settings("data", Environment::Sandbox);
        sandbox.internal = true;
        assert!(Route::new(sandbox).is_ok_and(|route| route.internal()));
    }

    #[test]
    fn every_mistake_is_reported_at_once_and_names_its_key() {
        let errors = refused(|settings| {
            settings.name = "Data!".into();
            settings.host = Some("API.example".into());
            settings.path = "data".into();
            settings.upstream_path = Some("/x".into());
            settings.methods = Some(vec!["get".into(), "TRACE".into()]);
            settings.token = TokenPolicy::Bearer;
            settings.internal = true;
            settings.scopes = "data:read other:read".parse().unwrap();
            settings.clients = Some(vec![]);
            settings.remove_headers = vec!["x.acme".into(), "x-acme-*".into()];
            settings.allow_headers =
                vec!["x-user-*".into(), "client-cert".into(), "accept".into(), "*".into()];
        });
        let keys: Vec<_> = errors.iter().map(RouteError::key).collect();
        assert_eq!(
            keys,
            [
                "name",
                "host",
                "path",
                "upstream_path",
                "methods",
                "methods",
                "token",
                "internal",
                "scopes",
                "clients",
                "remove_headers",
                "allow_headers",
                "allow_headers",
                "allow_headers"
            ]
        );
        for error in errors {
            assert!(!error.label().is_empty() && !error.help().is_empty() && !error.to_string().is_empty());
        }
    }

    #[test]
    fn rule_g19_a_name_is_not_allowed_and_removed_at_once() {
        for (allowed, removed, refused) in [
            ("x-user", "X_User", true),
            ("x-user-id", "x-user-*", true),
            ("x-user-*", "x-user-*", true),
            ("x-user-id-*", "x-user-*", true),
            // All of them but one.
            ("x-user-*", "x-user-id", false),
            ("x-user", "x-user-*", false),
        ] {
            let mut settings = settings("data", Environment::Production);
            settings.allow_headers = vec![allowed.into()];
            settings.remove_headers = vec!["x-acme".into(), removed.into()];
            match Route::new(settings) {
                Ok(_) => assert!(!refused, "{allowed} {removed}"),
                Err(errors) => {
                    let expected = Mistake::AllowHeader(allowed.into(), NotAllowable::Removed);
                    assert!(refused && errors[0].mistake == expected, "{allowed} {removed}: {errors:?}");
                }
            }
        }
    }

    #[test]
    fn reserved_paths_are_refused() {
        for path in ["/oauth2/", "/oauth2/x/", "/.well-known/", "/pki/crl/", "/problems/"] {
            let errors = refused(|settings| settings.path = path.into());
            assert!(
                matches!(errors[0].mistake, Mistake::Path(PathMistake::Reserved(_))),
                "{path}: {errors:?}"
            );
        }
        let mut fine = settings("data", Environment::Production);
        fine.path = "/oauth2-docs/".into();
        assert!(Route::new(fine).is_ok());
    }
}
