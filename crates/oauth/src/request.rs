//! The token request: a POST form (RFC 6749 sections 3.2 and 4.4.2, RFC 8707 section 2; rule K1).
//!
//! Refuses: other methods and content types, repeated parameters, credentials in the query, more than a request needs.
//! Ignores: parameters that it does not know. Client authentication is not read here but in `policy::client_auth`.

use countersign_model::{ReasonCode, Secret};
use countersign_policy::Denial;
use countersign_policy::client_auth;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method};

/// The longest body, in octets: many times what a request with an assertion needs.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// The most parameters.
const MAX_PARAMETERS: usize = 32;

/// A token request of the right form, about which nothing else is known.
#[derive(Debug)]
pub struct TokenRequest {
    /// `client_id` of the body.
    pub client_id: Option<String>,
    /// `client_secret` of the body.
    pub client_secret: Option<Secret<String>>,
    /// Whether there was a `client_assertion` or its type (RFC 7521): another method of authentication.
    pub has_assertion: bool,
    /// `scope`.
    pub scope: Option<String>,
    /// `resource`; the one parameter that may be repeated.
    pub resources: Vec<String>,
}

impl TokenRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// `method_not_allowed`, `request_body_too_large`, `request_content_type_wrong`, `credentials_in_query`,
    /// `request_parameter_repeated`, `request_parameter_missing`, `request_parameter_invalid`, `grant_type_unsupported`.
    pub fn parse(parts: &Parts, body: &[u8]) -> Result<Self, Denial> {
        if parts.method != Method::POST {
            return Err(Denial::new(ReasonCode::MethodNotAllowed).allow(&[Method::POST]));
        }
        refuse_credentials_in_query(parts.uri.query().unwrap_or_default())?;
        if body.len() > MAX_BODY_BYTES {
            return Err(ReasonCode::RequestBodyTooLarge.into());
        }
        if !is_form(&parts.headers) {
            return Err(ReasonCode::RequestContentTypeWrong.into());
        }
        let form = Form::parse(body)?;
        match form.get("grant_type") {
            Some("client_credentials") => {}
            Some(_) => return Err(ReasonCode::GrantTypeUnsupported.into()),
            None => return Err(missing_grant_type()),
        }
        let owned = |name| form.get(name).map(str::to_owned);
        Ok(Self {
            client_id: owned("client_id"),
            client_secret: owned("client_secret").map(Secret::new),
            has_assertion: form.get("client_assertion").or(form.get("client_assertion_type")).is_some(),
            scope: owned("scope"),
            resources: form.all("resource").map(str::to_owned).collect(),
        })
    }
}

impl TokenRequest {
    /// The parameters by which the client proves itself.
    pub fn client_form(&self) -> client_auth::Form<'_> {
        client_auth::Form {
            client_id: self.client_id.as_deref(),
            client_secret: self.client_secret.as_ref().map(|secret| secret.expose().as_str()),
            client_assertion: self.has_assertion,
        }
    }
}

/// RFC 6749 section 2.3.1: credentials must not be in the request URI, where every proxy logs them. A client that sends
/// them there shall learn it at once.
fn refuse_credentials_in_query(query: &str) -> Result<(), Denial> {
    const CREDENTIALS: [&str; 4] = ["client_id", "client_secret", "client_assertion", "access_token"];
    match form_urlencoded::parse(query.as_bytes()).find(|(name, _)| CREDENTIALS.contains(&name.as_ref())) {
        Some((name, _)) => {
            let detail = format!("The query has `{name}`. Addresses are written into logs on the way.");
            Err(Denial::new(ReasonCode::CredentialsInQuery).told(detail, None))
        }
        None => Ok(()),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else { return false };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The parameters of a form, each name once.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, Denial> {
        // The encoding yields ASCII only; anything else would be decoded by guesswork.
        if !body.is_ascii() {
            return Err(invalid("The form has characters beyond ASCII that are not percent-encoded."));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            // RFC 6749 section 3.2: not more than once, whether we know it or not. RFC 8707 excepts `resource`.
            if name != "resource" && parameters.iter().any(|(other, _)| *other == name) {
                return Err(repeated(&name));
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(invalid("The form has more than 32 parameters."));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// RFC 6749 section 3.2: a parameter without a value counts as left out.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(other, value)| other == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, value)| other == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

impl Drop for Form {
    // It held a client secret.
    fn drop(&mut self) {
        for (_, value) in self.0.drain(..) {
            drop(Secret::new(value));
        }
    }
}

fn invalid(detail: &str) -> Denial {
    Denial::new(ReasonCode::RequestParameterInvalid).told(detail.to_owned(), None)
}

fn missing_grant_type() -> Denial {
    let detail = "The parameter grant_type is missing from the body of the request.";
    let action = "Send `grant_type=client_credentials` in the body, not in the address.";
    Denial::new(ReasonCode::RequestParameterMissing).told(detail.to_owned(), Some(action))
}

/// Names the parameter if it is one that we know: others are the caller's own text.
fn repeated(name: &str) -> Denial {
    const KNOWN: [&str; 6] =
        ["grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope"];
    let denial = Denial::new(ReasonCode::RequestParameterRepeated);
    match KNOWN.contains(&name) {
        true => denial.told(format!("The parameter {name} is sent more than once."), None),
        false => denial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_body_and_no_query_panics(body in prop::collection::vec(any::<u8>(), 0..500), query in "[A-Za-z0-9%&=+_.~-]{0,80}") {
            let uri = format!("/oauth2/token?{query}");
            let request = Request::post(uri).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(());
            prop_assume!(request.is_ok());
            let (parts, ()) = request.unwrap().into_parts();
            let _ = TokenRequest::parse(&parts, &body);
        }

        #[test]
        fn what_a_client_encodes_is_what_is_read(id in any::<String>(), secret in any::<String>(), scope in any::<String>()) {
            let form = form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", "client_credentials")
                .append_pair("client_id", &id)
                .append_pair("client_secret", &secret)
                .append_pair("scope", &scope)
                .finish();
            prop_assume!(form.len() <= MAX_BODY_BYTES);
            let request = Request::post("/").header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(());
            let (parts, ()) = request.unwrap().into_parts();
            let read = TokenRequest::parse(&parts, form.as_bytes()).unwrap();
            prop_assert_eq!(read.client_id.unwrap_or_default(), id);
            prop_assert_eq!(read.client_secret.map(|secret| secret.expose().clone()).unwrap_or_default(), secret);
            prop_assert_eq!(read.scope.unwrap_or_default(), scope);
        }
    }
}
