//! Which credential a request carries: exactly one, in its place (rule G1), or a refusal.

use crate::client_auth::{Method, Presented, basic_credentials};
use crate::denial::Denial;
use crate::header_names::{Class, Pattern, class_of, is_plain, same_name};
use countersign_model::ReasonCode;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// The parts of a request that a credential could be in.
#[derive(Debug, Clone, Copy)]
pub struct RequestCredentials<'a> {
    /// The header fields as they came.
    pub headers: &'a HeaderMap,
    /// The query, without the question mark.
    pub query: Option<&'a str>,
}

/// The header names of the internal method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalHeaders {
    client_id: HeaderName,
    client_secret: HeaderName,
}

/// Fields of requests (RFC 9110, RFC 9111, RFC 6265, RFC 6454), and beginnings of such, beside those that forwarding knows.
const RESERVED: [&str; 20] = [
    "accept",
    "accept-*",
    "cache-control",
    "content-*",
    "date",
    "from",
    "if-*",
    "max-forwards",
    "origin",
    "pragma",
    "prefer",
    "priority",
    "proxy-*",
    "range",
    "referer",
    "sec-*",
    "user-agent",
    "via",
    "warning",
    "x-fapi-*",
];

/// Header names that cannot carry the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InternalHeadersError {
    /// Both are the same.
    #[error("client_id and client_secret need two different header names")]
    Same,
    /// One has a meaning of its own in HTTP, here or upstream.
    #[error("this header name has a meaning of its own")]
    Reserved,
    /// One has a character for which every request with it is refused (rule G19).
    #[error("header names have letters, digits, `-` and `_`")]
    Characters,
}

impl InternalHeaders {
    /// Takes other names than the default ones.
    ///
    /// # Errors
    /// When the names are the same, or mean something else.
    pub fn new(client_id: HeaderName, client_secret: HeaderName) -> Result<Self, InternalHeadersError> {
        if same_name(client_id.as_str(), client_secret.as_str()) {
            return Err(InternalHeadersError::Same);
        }
        if !is_plain(client_id.as_str().as_bytes()) || !is_plain(client_secret.as_str().as_bytes()) {
            return Err(InternalHeadersError::Characters);
        }
        if Self::is_reserved(&client_id) || Self::is_reserved(&client_secret) {
            return Err(InternalHeadersError::Reserved);
        }
        Ok(Self { client_id, client_secret })
    }

    /// Whether the header has a meaning of its own in HTTP, here or upstream. As the carrier of a secret it would be logged,
    /// cached or rewritten on the way, and be taken from the upstream, which needs it. In any spelling: forwarding takes out
    /// every name that some server takes for it.
    pub fn is_reserved(name: &HeaderName) -> bool {
        let name = name.as_str();
        // Configuration is read seldom: the patterns are made each time.
        let reserved = |known: &&str| Pattern::new(known).is_ok_and(|known| known.matches(name));
        RESERVED.iter().any(reserved) || class_of(name).is_some_and(|class| class != Class::Plain)
    }

    /// Carries the client_id.
    pub fn client_id(&self) -> &HeaderName {
        &self.client_id
    }

    /// Carries the client_secret.
    pub fn client_secret(&self) -> &HeaderName {
        &self.client_secret
    }
}

impl Default for InternalHeaders {
    fn default() -> Self {
        Self {
            client_id: HeaderName::from_static("client_id"),
            client_secret: HeaderName::from_static("client_secret"),
        }
    }
}

/// The one credential of a request, not checked.
pub(super) enum Credential<'a> {
    Token(&'a str),
    Internal(Presented),
}

impl<'a> Credential<'a> {
    /// Stages 2 to 4 of the precedence.
    pub(super) fn find(
        request: &RequestCredentials<'a>,
        names: &InternalHeaders,
        internal_is_on: bool,
    ) -> Result<Self, Denial> {
        let headers = request.headers;
        // RFC 6750 section 2.3 allows it, RFC 9700 section 4.3.2 does not: addresses end up in logs.
        if request.query.is_some_and(has_access_token) {
            return Err(ReasonCode::TokenInQuery.into());
        }
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        let authorization = authorizations.next();
        if authorizations.next().is_some() {
            return Err(ReasonCode::TokenRepeated.into());
        }
        let [mut ids, mut secrets] =
            [&names.client_id, &names.client_secret].map(|name| headers.get_all(name).iter());
        let (id, secret) = (ids.next(), secrets.next());
        let has_internal = id.is_some() || secret.is_some();
        if has_internal && authorization.is_some() {
            return Err(repeated("Authorization and the headers of the internal method"));
        }
        if ids.next().is_some() || secrets.next().is_some() {
            return Err(repeated("a header of the internal method is repeated"));
        }
        let basic = authorization.and_then(|value| basic_credentials(value.as_bytes()));
        if (has_internal || basic.is_some()) && !internal_is_on {
            return Err(Denial::new(ReasonCode::InternalMethodRefused).method(Method::Internal));
        }
        if has_internal {
            let (Some(id), Some(secret)) = (text(id), text(secret)) else {
                return Err(Denial::new(ReasonCode::InternalCredentialsMissing).method(Method::Internal));
            };
            return Ok(Self::Internal(Presented::internal(id, secret)));
        }
        if let Some(basic) = basic {
            let presented = Presented::internal_basic(basic).ok_or_else(|| {
                Denial::new(ReasonCode::InternalCredentialsMissing).method(Method::Internal)
            })?;
            return Ok(Self::Internal(presented));
        }
        let Some(authorization) = authorization else { return Err(ReasonCode::TokenMissing.into()) };
        bearer(authorization).map(Self::Token)
    }
}

/// `Authorization: Bearer TOKEN` (RFC 6750 section 2.1); the scheme's name is case-insensitive (rule G1).
fn bearer(authorization: &HeaderValue) -> Result<&str, Denial> {
    let bytes = authorization.as_bytes();
    let scheme_ends = bytes.iter().position(|&c| c == b' ').unwrap_or(bytes.len());
    let (scheme, token) = bytes.split_at(scheme_ends);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(ReasonCode::TokenSchemeUnsupported.into());
    }
    // Whether the characters are those of a token, the verifier says; here only text is needed.
    std::str::from_utf8(token.trim_ascii()).map_err(|_| ReasonCode::TokenMalformed.into())
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
}

/// Whether the query has a parameter `access_token`, also when its name is encoded: the upstream would decode it.
fn has_access_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or(pair);
        name == "access_token" || (name.contains('%') && percent_decode_str(name).eq(*b"access_token"))
    })
}

fn repeated(note: &'static str) -> Denial {
    Denial::new(ReasonCode::ClientCredentialsRepeated).note(note)
}
