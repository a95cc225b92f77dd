//! What the authorization server is told by the configuration. Checked once, so that no request meets an ambiguity.

use countersign_model::{Scope, Scopes};
use countersign_policy::Route;
use countersign_policy::rate_limit::Limit;
use countersign_policy::route::{Api, TokenPolicy};
use std::collections::HashMap;
use std::sync::Arc;

/// How long an access token lives by default, in seconds. Short, because a bearer token cannot be taken back from whoever
/// verifies it elsewhere.
pub const DEFAULT_TOKEN_LIFETIME_S: u32 = 300;

/// The longest life that a token can be given, in seconds: retired keys are kept for this long (rule K9).
pub const MAX_TOKEN_LIFETIME_S: u32 = 3600;

/// The shortest, in seconds: below it clients ask for tokens all the time.
pub const MIN_TOKEN_LIFETIME_S: u32 = 30;

/// Checked settings. A reload makes new ones and swaps them in.
#[derive(Debug, Clone)]
pub struct Settings {
    issuer: String,
    apis: Vec<Arc<Api>>,
    resources: Vec<ProtectedResource>,
    token_lifetime_s: u32,
    mutual_tls: MutualTls,
    api_of_scope: HashMap<Scope, usize>,
    rate_limit: Option<Limit>,
}

/// Where clients can show a certificate to the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MutualTls {
    /// Nowhere: no listener that serves the endpoint asks for one.
    Off,
    /// At the issuer.
    AtIssuer,
    /// At another origin (RFC 8705 section 5).
    At(String),
}

/// A route as RFC 9728 describes it: what a token for it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedResource {
    /// The route's name: the last part of the metadata's address.
    pub name: String,
    /// The name of its API.
    pub api: String,
    /// The scopes that a token must have.
    pub scopes: Scopes,
    /// Whether only certificate-bound tokens are accepted (RFC 8705).
    pub bound: bool,
}

/// Why settings are refused. The configuration finds the same mistakes with their lines; this is the last guard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// RFC 8414 section 2: https, without query and fragment. A slash at the end would make another issuer.
    #[error("the issuer is no https origin without a trailing slash")]
    Issuer,
    /// Too short to work with or too long to wait for.
    #[error("the token lifetime is not {MIN_TOKEN_LIFETIME_S} to {MAX_TOKEN_LIFETIME_S} seconds")]
    TokenLifetime,
    /// Two APIs with one audience, one scope in two APIs, or a route of one whose identifier is the audience of the other: a
    /// token request would mean either (rule K6).
    #[error("{0} belongs to two APIs")]
    Ambiguous(String),
}

impl Settings {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first mistake.
    pub fn new(
        issuer: String,
        apis: Vec<Arc<Api>>,
        resources: Vec<ProtectedResource>,
        token_lifetime_s: u32,
        mutual_tls: MutualTls,
    ) -> Result<Self, SettingsError> {
        let origin =
            issuer.strip_prefix("https://").filter(|rest| !rest.is_empty()).ok_or(SettingsError::Issuer)?;
        if origin.contains(['/', '?', '#', '@']) {
            return Err(SettingsError::Issuer);
        }
        if !(MIN_TOKEN_LIFETIME_S..=MAX_TOKEN_LIFETIME_S).contains(&token_lifetime_s) {
            return Err(SettingsError::TokenLifetime);
        }
        let mut api_of_scope = HashMap::new();
        for (index, api) in apis.iter().enumerate() {
            if apis.iter().take(index).any(|other| other.audience == api.audience) {
                return Err(SettingsError::Ambiguous(api.audience.clone()));
            }
            for scope in api.scopes.keys() {
                if api_of_scope.insert(scope.clone(), index).is_some() {
                    return Err(SettingsError::Ambiguous(scope.to_string()));
                }
            }
        }
        let settings =
            Self { issuer, apis, resources, token_lifetime_s, mutual_tls, api_of_scope, rate_limit: None };
        for route in &settings.resources {
            let identifier = settings.resource_identifier(&route.name);
            if settings.apis.iter().any(|api| api.audience == identifier && api.name != route.api) {
                return Err(SettingsError::Ambiguous(identifier));
            }
        }
        Ok(settings)
    }

    /// The issuer identifier, byte by byte what clients see (rule K8).
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What tokens are for.
    pub fn apis(&self) -> &[Arc<Api>] {
        &self.apis
    }

    /// The API that owns a scope.
    pub fn api_of_scope(&self, scope: &Scope) -> Option<&Arc<Api>> {
        self.api_of_scope.get(scope).and_then(|&index| self.apis.get(index))
    }

    /// The API that a resource indicator names (RFC 8707): by its audience, or by the identifier of one of its routes.
    pub fn api_of_resource(&self, resource: &str) -> Option<&Arc<Api>> {
        let by_route =
            || self.resources.iter().find(|route| self.resource_identifier(&route.name) == resource);
        self.apis.iter().find(|api| api.audience == resource).or_else(|| {
            let route = by_route()?;
            self.apis.iter().find(|api| api.name == route.api)
        })
    }

    /// The protected resources, for their metadata.
    pub fn resources(&self) -> &[ProtectedResource] {
        &self.resources
    }

    /// The resource identifier of a route: what stands before and after `/.well-known/oauth-protected-resource` in the
    /// address of its metadata (RFC 9728 section 3.1).
    pub fn resource_identifier(&self, route: &str) -> String {
        format!("{}/{route}", self.issuer)
    }

    /// How long a token lives, in seconds.
    pub fn token_lifetime_s(&self) -> u32 {
        self.token_lifetime_s
    }

    /// Limits how many tokens each client may have. Without it there is no limit.
    #[must_use]
    pub fn with_rate_limit(mut self, limit: Limit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// How many tokens each client may have.
    pub fn rate_limit(&self) -> Option<&Limit> {
        self.rate_limit.as_ref()
    }

    /// Where clients can show a certificate to the token endpoint.
    pub fn mutual_tls(&self) -> &MutualTls {
        &self.mutual_tls
    }
}

impl From<&Route> for ProtectedResource {
    fn from(route: &Route) -> Self {
        Self {
            name: route.name().to_owned(),
            api: route.api().name.clone(),
            scopes: route.scopes().clone(),
            bound: route.token() == TokenPolicy::Bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(name: &str, audience: &str, scope: &str) -> Arc<Api> {
        let scopes = [(scope.parse().unwrap(), String::new())].into();
        Arc::new(Api { name: name.into(), audience: audience.into(), scopes })
    }

    fn new(issuer: &str, apis: Vec<Arc<Api>>, lifetime_s: u32) -> Result<Settings, SettingsError> {
        Settings::new(issuer.into(), apis, vec![], lifetime_s, MutualTls::AtIssuer)
    }

    #[test]
    fn rule_k8_the_issuer_is_an_https_origin() {
        assert!(new("https://localhost:8443", vec![], 300).is_ok());
        for issuer in [
            "http://a",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u@a",
            "a",
        ] {
            assert_eq!(new(issuer, vec![], 300).unwrap_err(), SettingsError::Issuer, "{issuer}");
        }
    }

    #[test]
    fn rule_k6_a_scope_and_an_audience_belong_to_one_api() {
        let one_scope = vec![api("a", "urn:a", "read"), api("b", "urn:b", "read")];
        assert_eq!(new("https://a", one_scope, 300).unwrap_err(), SettingsError::Ambiguous("read".into()));
        let one_audience = vec![api("a", "urn:a", "read"), api("b", "urn:a", "write")];
        assert_eq!(
            new("https://a", one_audience, 300).unwrap_err(),
            SettingsError::Ambiguous("urn:a".into())
        );
    }

    #[test]
    fn rule_k6_a_route_is_not_named_like_another_api() {
        let settings = |audience: &str, of: &str| {
            let apis = vec![api("a", "urn:a", "read"), api("b", audience, "write")];
            let route = ProtectedResource {
                name: "data".into(),
                api: of.into(),
                scopes: Scopes::default(),
                bound: true,
            };
            Settings::new("https://a".into(), apis, vec![route], 300, MutualTls::AtIssuer).map(drop)
        };
        let ambiguous = Err(SettingsError::Ambiguous("https://a/data".into()));
        assert_eq!(settings("https://a/data", "a"), ambiguous);
        assert_eq!(settings("https://a/data", "b"), Ok(()), "either way it is the same API");
        assert_eq!(settings("https://a/data/", "a"), Ok(()));
    }

    #[test]
    fn the_lifetime_of_tokens_is_bounded() {
        for (lifetime_s, fine) in [(29, false), (30, true), (3600, true), (3601, false)] {
            assert_eq!(new("https://a", vec![], lifetime_s).is_ok(), fine, "{lifetime_s}");
        }
    }
}
