//! The bodies of a refusal: the problem document (RFC 9457) and the OAuth error (RFC 6749 section 5.2).

use super::{Denial, Surface};
use countersign_model::{ReasonCode, Reference};
use serde::Serialize;

/// RFC 9457 section 3, with our extension members `code`, `action` and `ref`.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    action: &'a str,
    r#ref: Reference,
}

pub(super) fn problem(denial: &Denial, surface: &Surface<'_>, reference: Reference, issuer: &str) -> Vec<u8> {
    let reason = denial.public().reason();
    let missing =
        denial.facts.as_ref().map(|facts| &facts.missing_scopes).filter(|missing| !missing.is_empty());
    // An operator is told what exactly is wrong with the call; behind a hidden reason even he reads the public one only.
    let told = match surface {
        Surface::Admin if denial.public() == denial.reason() => denial.operator_note(),
        _ => None,
    };
    let detail = match (missing, told) {
        (Some(missing), _) => Some(format!("{} Missing: {missing}.", reason.detail)),
        (None, Some(note)) => Some(format!("{} In detail: {note}.", reason.detail)),
        (None, None) => None,
    };
    let own = denial.told_to_caller();
    json(&Problem {
        r#type: page_address(issuer, denial.public()),
        title: reason.title,
        status: reason.status,
        code: reason.code,
        detail: own.map(|own| own.detail.as_str()).or(detail.as_deref()).unwrap_or(reason.detail),
        // The callers of the admin API are operators: the partner's advice is not for them.
        action: match own.and_then(|own| own.action) {
            Some(action) => action,
            None if *surface == Surface::Admin => reason.operator,
            None => reason.action,
        },
        r#ref: reference,
    })
}

/// RFC 6749 section 5.2, with our extension members `code` and `ref`.
#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'a str,
    error_description: String,
    error_uri: String,
    code: &'a str,
    r#ref: Reference,
}

pub(super) fn oauth_error(denial: &Denial, reference: Reference, issuer: &str) -> Vec<u8> {
    let reason = denial.public().reason();
    json(&OAuthError {
        error: error_code(denial.public()),
        error_description: match denial.told_to_caller() {
            Some(own) => format!("{}. {}", reason.title, own.detail),
            None => format!("{}. {}", reason.title, reason.action),
        },
        error_uri: page_address(issuer, denial.public()),
        code: reason.code,
        r#ref: reference,
    })
}

/// The `error` of RFC 6749 section 5.2 and RFC 8707 section 2. `temporarily_unavailable` and `server_error` are
/// defined for the authorization endpoint only (section 4.1.2.1): we use them here too (docs/divergences.md).
fn error_code(code: ReasonCode) -> &'static str {
    match (code, code.reason().status) {
        (ReasonCode::ScopeNotAllowed, _) => "invalid_scope",
        (ReasonCode::AudienceNotAllowed, _) => "invalid_target",
        (ReasonCode::GrantTypeUnsupported, _) => "unsupported_grant_type",
        (_, 401) => "invalid_client",
        (_, 429 | 503) => "temporarily_unavailable",
        (_, 500..) => "server_error",
        _ => "invalid_request",
    }
}

/// The page that explains the code; it answers without a certificate.
fn page_address(issuer: &str, code: ReasonCode) -> String {
    format!("{}/problems/{code}", issuer.trim_end_matches('/'))
}

fn json(document: &impl Serialize) -> Vec<u8> {
    // Strings and a number: serialisation has nothing to fail on.
    serde_json::to_vec(document).unwrap_or_default()
}
