//! What a client may ask for: scopes, and through them the one API that a token is for (RFC 6749 section 3.3, RFC 8707,
//! RFC 9068 section 3; rule K6).

use crate::Settings;
use countersign_model::client::Client;
use countersign_model::{ReasonCode, Scope, Scopes};
use countersign_policy::Denial;
use countersign_policy::route::Api;
use std::sync::Arc;

/// What is granted: scopes of one API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The API.
    pub api: Arc<Api>,
    /// Its scopes that the token gets; never empty.
    pub scopes: Scopes,
}

/// Decides what `client` gets for the `scope` and `resource` parameters of its request.
///
/// # Errors
/// `scope_not_allowed` (OAuth `invalid_scope`) and `audience_not_allowed` (`invalid_target`).
pub fn grant(
    client: &Client,
    scope: Option<&str>,
    resources: &[String],
    settings: &Settings,
) -> Result<Grant, Denial> {
    let target = target(client, resources, settings)?;
    let scopes = match scope {
        Some(requested) => requested_scopes(client, requested)?,
        None => default_scopes(client, target.as_ref(), settings),
    };
    let several = match scope {
        Some(_) => "These scopes belong to two APIs; ask for the scopes of one API at a time.",
        None => "The client has scopes of several APIs; name those of one API in `scope`.",
    };
    let api = owner(&scopes, several, settings)?;
    if target.is_some_and(|target| target.audience != api.audience) {
        return Err(not_allowed("The scopes are those of another API than `resource` names."));
    }
    if !client.may_address(&api.audience) {
        return Err(not_allowed("The scopes are those of an API that the client is not registered for."));
    }
    Ok(Grant { api, scopes })
}

/// RFC 8707 section 2: what the client says the token is for. A token has one audience here, so several resource
/// indicators must mean the same API.
fn target(client: &Client, resources: &[String], settings: &Settings) -> Result<Option<Arc<Api>>, Denial> {
    let mut target: Option<Arc<Api>> = None;
    for resource in resources {
        let api = settings
            .api_of_resource(resource)
            .ok_or_else(|| not_allowed("`resource` names no API of this server."))?;
        if !client.may_address(&api.audience) {
            return Err(not_allowed("`resource` names an API that the client is not registered for."));
        }
        if target.replace(api.clone()).is_some_and(|other| other.audience != api.audience) {
            return Err(not_allowed("`resource` names two APIs; ask for a token for one of them at a time."));
        }
    }
    Ok(target)
}

/// RFC 6749 section 3.3: exactly what was asked for or nothing; a token with fewer scopes than its holder believes fails
/// later and further away.
fn requested_scopes(client: &Client, requested: &str) -> Result<Scopes, Denial> {
    let scopes: Scopes = requested.parse().map_err(|_| refused(form_of(requested).to_owned()))?;
    match scopes.without(&client.scopes).iter().next() {
        None => Ok(scopes),
        Some(scope) => Err(refused(format!("The client is not registered for the scope `{scope}`."))),
    }
}

/// What is wrong with the form of `scope` (RFC 6749 section 3.3).
fn form_of(requested: &str) -> &'static str {
    if requested.split(' ').any(str::is_empty) {
        "`scope` has a space at its beginning or end, or two in a row. Separate scopes by one space."
    } else {
        "`scope` has a character that no scope has, or a scope of more than 128 characters."
    }
}

/// The client has proved who it is: what it is registered for is no secret to it.
fn refused(detail: String) -> Denial {
    Denial::new(ReasonCode::ScopeNotAllowed).told(detail, None)
}

fn not_allowed(detail: &str) -> Denial {
    Denial::new(ReasonCode::AudienceNotAllowed).told(detail.to_owned(), None)
}

/// Rule K6: all that the client has, of the APIs that it may address. Scopes that no API has any more are left out.
fn default_scopes(client: &Client, target: Option<&Arc<Api>>, settings: &Settings) -> Scopes {
    let addressed = |scope: &&Scope| {
        settings.api_of_scope(scope).is_some_and(|api| {
            client.may_address(&api.audience) && target.is_none_or(|target| target.audience == api.audience)
        })
    };
    client.scopes.iter().filter(addressed).cloned().collect()
}

/// The one API that owns all of the scopes. RFC 9068 section 3: scopes of several are `invalid_scope`.
fn owner(scopes: &Scopes, several: &str, settings: &Settings) -> Result<Arc<Api>, Denial> {
    let mut owner: Option<&Arc<Api>> = None;
    for scope in scopes.iter() {
        let api = settings
            .api_of_scope(scope)
            .ok_or_else(|| refused(format!("No API of this server has the scope `{scope}` any more.")))?;
        if owner.replace(api).is_some_and(|other| other.audience != api.audience) {
            return Err(refused(several.to_owned()));
        }
    }
    owner.cloned().ok_or_else(|| refused("The client is registered for no scope of an API.".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MutualTls, ProtectedResource};
    use countersign_model::client::{AuthMethod, ClientState};
    use countersign_model::{Environment, Timestamp};

    fn settings() -> Settings {
        let api = |name: &str, audience: &str, scopes: &[&str]| {
            let scopes = scopes.iter().map(|scope| (scope.parse().unwrap(), String::new())).collect();
            Arc::new(Api { name: name.into(), audience: audience.into(), scopes })
        };
        let apis = vec![
            api("bank", "urn:bank", &["data:read", "pay:write"]),
            api("cards", "urn:cards", &["cards:read"]),
        ];
        let route = ProtectedResource {
            name: "data".into(),
            api: "bank".into(),
            scopes: Scopes::default(),
            bound: true,
        };
        Settings::new("https://as.example".into(), apis, vec![route], 300, MutualTls::AtIssuer).unwrap()
    }

    fn client(scopes: &str, audiences: &[&str]) -> Client {
        Client {
            id: "acme-pay".parse().unwrap(),
            environment: Environment::Production,
            name: "Acme".into(),
            contacts: vec![],
            auth_method: AuthMethod::TlsClientAuth,
            scopes: scopes.parse().unwrap(),
            audiences: audiences.iter().map(|&audience| audience.to_owned()).collect(),
            state: ClientState::Active,
            epoch: 0,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
        }
    }

    /// `client_scopes` may be followed by `| audience`; `request` by `| resource`.
    fn check(client_scopes: &str, request: Option<&str>, expected: Result<(&str, &str), ReasonCode>) {
        let words = |text: &str| -> (String, Vec<String>) {
            let mut parts = text.split(" | ").map(str::to_owned);
            (parts.next().unwrap_or_default(), parts.collect())
        };
        let (scopes, audiences) = words(client_scopes);
        let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
        let (scope, resources) = request.map(words).unwrap_or_default();
        let scope = Some(scope.as_str()).filter(|scope| !scope.is_empty());
        let granted = grant(&client(&scopes, &audiences), scope, &resources, &settings());
        let granted = granted.as_ref().map(|grant| (grant.api.audience.as_str(), grant.scopes.to_string()));
        let expected = expected.map(|(audience, scopes)| (audience, scopes.to_owned()));
        assert_eq!(granted.map_err(Denial::reason), expected, "{client_scopes:?} asks for {request:?}");
    }

    #[test]
    fn rule_k6_scopes_name_the_api() {
        use ReasonCode::ScopeNotAllowed as Scope;
        check("data:read pay:write", Some("data:read"), Ok(("urn:bank", "data:read")));
        check(
            "data:read pay:write",
            Some("pay:write data:read data:read"),
            Ok(("urn:bank", "data:read pay:write")),
        );
        check("data:read cards:read", Some("cards:read"), Ok(("urn:cards", "cards:read")));
        check("data:read cards:read", Some("cards:read data:read"), Err(Scope));
        check("data:read", Some("pay:write"), Err(Scope));
        check("data:read", Some("data:read pay:write"), Err(Scope));
        check("data:read", Some("nonsense"), Err(Scope));
        check("data:read", Some("data:read  data:read"), Err(Scope));
        check("data:read", Some("a\"b"), Err(Scope));
        check("forgotten", Some("forgotten"), Err(Scope));
    }

    #[test]
    fn rule_k6_without_scope_all_of_one_api_or_invalid_scope() {
        use ReasonCode::ScopeNotAllowed as Scope;
        check("data:read pay:write", None, Ok(("urn:bank", "data:read pay:write")));
        check("data:read forgotten", None, Ok(("urn:bank", "data:read")));
        check("data:read cards:read", None, Err(Scope));
        check("data:read cards:read | urn:cards", None, Ok(("urn:cards", "cards:read")));
        check("forgotten", None, Err(Scope));
        check("", None, Err(Scope));
    }

    #[test]
    fn rule_k6_audiences_are_held_to_the_registered_ones() {
        use ReasonCode::AudienceNotAllowed as Audience;
        check("data:read cards:read | urn:cards", Some("cards:read"), Ok(("urn:cards", "cards:read")));
        check("data:read cards:read | urn:cards", Some("data:read"), Err(Audience));
    }

    #[test]
    fn rule_k6_resource_is_intersected_with_the_allow_list_and_unknown_is_invalid_target() {
        use ReasonCode::AudienceNotAllowed as Audience;
        check("data:read cards:read", Some(" | urn:cards"), Ok(("urn:cards", "cards:read")));
        check(
            "data:read cards:read",
            Some("data:read | urn:bank | https://as.example/data"),
            Ok(("urn:bank", "data:read")),
        );
        check("data:read cards:read", Some("data:read | urn:cards"), Err(Audience));
        check("data:read cards:read", Some("data:read | urn:bank | urn:cards"), Err(Audience));
        check("data:read", Some("data:read | urn:unknown"), Err(Audience));
        check("data:read cards:read | urn:cards", Some(" | urn:bank"), Err(Audience));
    }
}
