//! `WWW-Authenticate` of a refusal: RFC 6750 section 3, RFC 9728 section 5.1, RFC 6749 section 5.2.

use super::{Denial, Surface};
use countersign_model::ReasonCode;
use std::fmt::Write as _;

/// The challenges of a refusal: at least one on every 401 (RFC 9110 section 15.5.2, rule K3).
pub(super) fn challenges(denial: &Denial, surface: &Surface<'_>) -> Vec<String> {
    let status = surface.status(denial).as_u16();
    match surface {
        Surface::OAuth { .. } if status == 401 => vec![r#"Basic realm="oauth2""#.to_owned()],
        Surface::Admin if status == 401 => vec![r#"Bearer realm="admin""#.to_owned()],
        Surface::OAuth { .. } | Surface::Admin => Vec::new(),
        Surface::Gateway { realm, resource_metadata } => {
            let error = bearer_error(denial.public());
            if status != 401 && error.is_none() {
                return Vec::new();
            }
            let mut challenges = vec![bearer(denial, realm, error, *resource_metadata)];
            // These two are met only where the internal method is switched on, and HTTP Basic is one way of it.
            if matches!(
                denial.public(),
                ReasonCode::ClientAuthenticationFailed | ReasonCode::InternalCredentialsMissing
            ) {
                challenges.push(format!("Basic realm=\"{}\"", quotable(realm)));
            }
            challenges
        }
    }
}

/// The error code of RFC 6750 section 3.1. `None` is the bare challenge: nothing was sent that could be wrong, or what
/// was wrong is not the token (rule G8).
fn bearer_error(code: ReasonCode) -> Option<&'static str> {
    use ReasonCode as R;
    match code {
        R::TokenInQuery | R::TokenRepeated | R::ClientCredentialsRepeated => Some("invalid_request"),
        R::TokenTooLarge
        | R::TokenMalformed
        | R::TokenAlgorithmRefused
        | R::TokenKeyUnknown
        | R::TokenSignatureInvalid
        | R::TokenTypeWrong
        | R::TokenClaimMissing
        | R::TokenIssuerWrong
        | R::TokenAudienceWrong
        | R::TokenEnvironmentWrong
        | R::TokenExpired
        | R::TokenNotYetValid
        | R::TokenRevoked
        | R::TokenBindingMissing
        | R::TokenBindingUnknown
        | R::TokenCertificateMissing
        | R::TokenCertificateMismatch
        | R::TokenCertificateSuperseded => Some("invalid_token"),
        R::TokenScopeInsufficient => Some("insufficient_scope"),
        _ => None,
    }
}

fn bearer(denial: &Denial, realm: &str, error: Option<&str>, resource_metadata: Option<&str>) -> String {
    let mut text = format!("Bearer realm=\"{}\"", quotable(realm));
    let mut parameter = |name: &str, value: &str| {
        let _ = write!(text, ", {name}=\"{}\"", quotable(value)); // writing to a String cannot fail
    };
    if let Some(error) = error {
        parameter("error", error);
        parameter("error_description", &lower_first(denial.public().reason().title));
    }
    if let Some(facts) = denial.facts.as_ref().filter(|facts| !facts.required_scopes.is_empty()) {
        // RFC 6750 section 3.1: the scope necessary to access the resource, so all of them, not only what is missing.
        parameter("scope", &facts.required_scopes.to_string());
    }
    if let Some(url) = resource_metadata {
        parameter("resource_metadata", url);
    }
    text
}

/// What may stand in a quoted-string without escapes, as RFC 6750 section 3 asks for. The values are our own
/// configuration, so nothing is lost; should one carry more, it does not break out of its quotes.
fn quotable(value: &str) -> String {
    value.chars().filter(|c| matches!(c, '\x20'..='\x7e') && !matches!(c, '"' | '\\')).collect()
}

/// Titles are sentences; after `error_description=` they follow a name. Acronyms keep their capitals.
fn lower_first(title: &str) -> String {
    let mut chars = title.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            format!("{}{}", first.to_ascii_lowercase(), &title[first.len_utf8()..])
        }
        _ => title.to_owned(),
    }
}
