//! From a [`Denial`] to an HTTP response: status, headers and body (experience.md section 3).

use super::{Denial, body, challenge};
use countersign_model::{ReasonCode, Reference};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

/// The header with which the operator finds the full story: on every denied response.
pub const REFERENCE_HEADER: HeaderName = HeaderName::from_static("countersign-ref");

/// Where the refusal is read: it decides the shape of the body and the challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface<'a> {
    /// In front of an API: a problem document (RFC 9457) and Bearer challenges (RFC 6750, RFC 9728).
    Gateway {
        /// The route's name; something fixed where no route is known yet.
        realm: &'a str,
        /// The address of the protected resource metadata, where a route is known.
        resource_metadata: Option<&'a str>,
    },
    /// At the OAuth endpoints: the OAuth error (RFC 6749 section 5.2).
    OAuth {
        /// Whether the request has an Authorization header. Then a failed authentication is 401 with a challenge, else 400:
        /// widely used client libraries drop the body of an answer with a challenge (rule K3).
        has_authorization: bool,
    },
    /// At the admin API: a problem document with the operator's advice.
    Admin,
}

impl Surface<'_> {
    /// Where no route is. Clients of the OAuth endpoints read OAuth errors (RFC 6749 section 5.2), whoever refuses them and
    /// whether there is such an endpoint or not.
    pub fn of_path(path: &str) -> Self {
        if path.starts_with("/oauth2/") {
            Self::OAuth { has_authorization: false }
        } else {
            Self::Gateway { realm: "countersign", resource_metadata: None }
        }
    }

    /// The HTTP status of a refusal that is read here.
    pub fn status(&self, denial: &Denial) -> StatusCode {
        match (self, denial.status()) {
            (Self::OAuth { has_authorization: false }, StatusCode::UNAUTHORIZED) => StatusCode::BAD_REQUEST,
            (_, status) => status,
        }
    }
}

/// Makes the response of a refusal. `issuer` is our own address, under which the problem pages are.
pub fn render(
    denial: &Denial,
    surface: &Surface<'_>,
    reference: Reference,
    issuer: &str,
) -> Response<Vec<u8>> {
    let (content_type, body) = match surface {
        Surface::Gateway { .. } | Surface::Admin => {
            ("application/problem+json", body::problem(denial, surface, reference, issuer))
        }
        Surface::OAuth { .. } => ("application/json", body::oauth_error(denial, reference, issuer)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = surface.status(denial);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(surface, Surface::OAuth { .. }) {
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache")); // rule K2
    }
    insert(headers, REFERENCE_HEADER, reference.to_string());
    for challenge in challenge::challenges(denial, surface) {
        if let Ok(value) = HeaderValue::try_from(challenge) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    if let Some(seconds) = denial.retry_after() {
        insert(headers, RETRY_AFTER, seconds.to_string());
    }
    // RFC 9110 section 15.5.6: a 405 has Allow, even an empty one.
    if denial.public() == ReasonCode::MethodNotAllowed {
        let allowed = denial.facts.as_ref().map(|facts| facts.allow.as_slice()).unwrap_or_default();
        let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        insert(headers, ALLOW, allowed.join(", "));
    }
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
