//! What a client sent to prove itself: exactly one method, or a refusal (rule C2). Nothing is checked here.

use crate::denial::Denial;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_model::{ClientId, ReasonCode, Secret};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

/// How a client tries to prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `tls_client_auth`.
    Tls,
    /// client_id and client_secret with each call, in the sandbox (rule C11).
    Internal,
}

impl Method {
    /// The name as written in audit records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
            Self::Tls => "tls_client_auth",
            Self::Internal => "internal",
        }
    }
}

/// The parameters of a token request that speak of the client; each once, which the parser of the form sees to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Form<'a> {
    /// `client_id`.
    pub client_id: Option<&'a str>,
    /// `client_secret`.
    pub client_secret: Option<&'a str>,
    /// Whether there is a `client_assertion` (RFC 7521 section 4.2).
    pub client_assertion: bool,
}

/// A credential as it was presented.
#[derive(Debug, Clone)]
pub struct Presented {
    method: Method,
    /// `None`: a text that cannot be the name of any client. It is kept nowhere, so that it reaches no log (rule G11).
    client_id: Option<ClientId>,
    secret: Option<Secret<String>>,
}

/// Longer ones are not ours, and not worth an HMAC.
const MAX_SECRET_BYTES: usize = 512;

impl Presented {
    /// Reads the one credential of a request to an OAuth endpoint.
    ///
    /// # Errors
    /// `client_credentials_repeated` for more than one or for two names, `request_header_invalid`, and what
    /// `client_authentication_failed` stands for when there is none.
    pub fn at_endpoint(headers: &HeaderMap, form: &Form<'_>) -> Result<Self, Denial> {
        let repeated = |note| Err(Denial::new(ReasonCode::ClientCredentialsRepeated).note(note));
        // RFC 6749 section 3.2: parameters without a value are treated as if they were omitted.
        let form_id = form.client_id.filter(|id| !id.is_empty());
        let form_secret = form.client_secret.filter(|secret| !secret.is_empty());
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        let authorization = authorizations.next();
        if authorizations.next().is_some() {
            return repeated("two Authorization headers");
        }
        let ways = usize::from(authorization.is_some())
            + usize::from(form_secret.is_some())
            + usize::from(form.client_assertion);
        if ways > 1 {
            return repeated("more than one of Authorization, client_secret and client_assertion");
        }
        if form.client_assertion {
            return Err(unsupported("The parameter client_assertion is not supported."));
        }
        if let Some(authorization) = authorization {
            let Some(credentials) = basic_credentials(authorization.as_bytes()) else {
                return Err(unsupported("The Authorization header has another scheme than Basic."));
            };
            let (id, secret) = decode_basic(credentials).ok_or_else(malformed_basic)?;
            // A client_id in the body beside Basic is no second credential while it says the same.
            if form_id.is_some_and(|form_id| form_id != id) {
                return repeated("client_id differs from that of Basic");
            }
            return Ok(Self::secret(Method::Basic, &id, secret));
        }
        match (form_id, form_secret) {
            (Some(id), Some(secret)) => Ok(Self::secret(Method::Post, id, secret.to_owned())),
            (Some(id), None) => Ok(Self { method: Method::Tls, client_id: id.parse().ok(), secret: None }),
            // Rule C3: the name is needed with mTLS too.
            (None, _) => Err(Denial::new(ReasonCode::ClientAuthenticationFailed).told(
                "No client_id was sent, and no Authorization header.".to_owned(),
                Some("Send client_id in the body of the request, also when you authenticate by certificate."),
            )),
        }
    }

    /// The pair of the `internal` method.
    pub(crate) fn internal(id: &str, secret: &str) -> Self {
        Self::secret(Method::Internal, id, secret.to_owned())
    }

    /// The pair of the `internal` method by HTTP Basic; `None` when it cannot be read or half of it is empty. The one copy
    /// of the secret is the one that is wiped.
    pub(crate) fn internal_basic(credentials: &[u8]) -> Option<Self> {
        let (id, secret) = decode_basic(credentials)?;
        Some(Self::secret(Method::Internal, &id, secret))
    }

    fn secret(method: Method, id: &str, secret: String) -> Self {
        Self { method, client_id: id.parse().ok(), secret: Some(Secret::new(secret)) }
    }

    /// How the client tries to prove itself.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The name that it gives, if that can be one. Proves nothing.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }

    /// The secret; `None` too when it is too long to be one.
    pub(super) fn exposed_secret(&self) -> Option<&str> {
        self.secret
            .as_ref()
            .map(|secret| secret.expose().as_str())
            .filter(|secret| secret.len() <= MAX_SECRET_BYTES)
    }
}

/// The credentials of `Authorization: Basic …`; scheme names are case-insensitive (RFC 9110 section 11.1).
pub(crate) fn basic_credentials(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, credentials) = authorization.split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then(|| credentials.trim_ascii())
}

/// RFC 7617 section 2, and RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
fn decode_basic(credentials: &[u8]) -> Option<(String, String)> {
    let pair = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let colon = pair.iter().position(|&c| c == b':')?;
    let (id, secret) = (form_decode(&pair[..colon])?, form_decode(&pair[colon + 1..])?);
    (!id.is_empty() && !secret.is_empty()).then_some((id, secret))
}

fn form_decode(text: &[u8]) -> Option<String> {
    let spaced: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.iter().map(|&c| if c == b'+' { b' ' } else { c }).collect());
    // Room for all of it at once: a vector that grows leaves copies behind that nobody wipes.
    let mut decoded = Vec::with_capacity(spaced.len());
    decoded.extend(percent_decode(&spaced));
    String::from_utf8(decoded).ok()
}

fn unsupported(detail: &'static str) -> Denial {
    let action = "Use client_secret_basic, client_secret_post or tls_client_auth, as registered.";
    let denial = Denial::new(ReasonCode::ClientMethodWrong).told_of_connection(detail, action);
    denial.hidden_behind(ReasonCode::ClientAuthenticationFailed)
}

fn malformed_basic() -> Denial {
    Denial::new(ReasonCode::RequestHeaderInvalid).told(
        "The credentials of Basic cannot be read: they are client_id, a colon and the secret, in base64."
            .to_owned(),
        Some("Let your HTTP client make the Authorization header: `curl -u CLIENT_ID:SECRET`."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    fn present(
        authorization: &[&str],
        form: Form<'_>,
    ) -> Result<(Method, String, Option<String>), ReasonCode> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        let presented = Presented::at_endpoint(&headers, &form).map_err(|denial| denial.reason())?;
        let id = presented.client_id().map(ToString::to_string).unwrap_or_default();
        Ok((presented.method(), id, presented.exposed_secret().map(str::to_owned)))
    }

    fn form<'a>(client_id: Option<&'a str>, client_secret: Option<&'a str>) -> Form<'a> {
        Form { client_id, client_secret, client_assertion: false }
    }

    #[test]
    fn each_method_is_recognised() {
        let secret = |method, id: &str, secret: &str| Ok((method, id.to_owned(), Some(secret.to_owned())));
        let scheme = basic("shop:s").replacen("Basic", "bASIC", 1);
        assert_eq!(present(&[&scheme], form(None, None)), secret(Method::Basic, "shop", "s"));
        assert_eq!(present(&[], form(Some("shop"), Some("s"))), secret(Method::Post, "shop", "s"));
        assert_eq!(present(&[], form(Some("shop"), None)), Ok((Method::Tls, "shop".into(), None)));
        assert_eq!(present(&[], form(Some("shop"), Some(""))), Ok((Method::Tls, "shop".into(), None)));
    }

    #[test]
    fn basic_is_form_decoded() {
        let decoded = present(&[&basic("shop%2d1:a%3Ab+c%C3%A9")], form(None, None)).unwrap();
        assert_eq!(decoded, (Method::Basic, "shop-1".into(), Some("a:b c\u{e9}".into())));
        assert_eq!(present(&[&basic("shop:a:b")], form(None, None)).unwrap().2.unwrap(), "a:b");
    }

    #[test]
    fn rule_c2_a_second_credential_is_refused() {
        let repeated = Err(ReasonCode::ClientCredentialsRepeated);
        let shop = basic("shop:s");
        assert_eq!(present(&[&shop], form(None, Some("s"))), repeated);
        assert_eq!(present(&[&shop, &shop], form(None, None)), repeated);
        assert_eq!(present(&[&shop], form(Some("other"), None)), repeated);
        assert_eq!(present(&["Bearer x"], form(Some("shop"), Some("s"))), repeated);
        let assertion = Form { client_assertion: true, ..form(Some("shop"), Some("s")) };
        assert_eq!(present(&[], assertion), repeated);
        // ... while the same client_id beside Basic is none.
        assert!(present(&[&shop], form(Some("shop"), None)).is_ok());
    }

    #[test]
    fn rule_c3_a_name_is_needed() {
        assert_eq!(present(&[], form(None, None)), Err(ReasonCode::ClientAuthenticationFailed));
        assert_eq!(present(&[], form(None, Some("s"))), Err(ReasonCode::ClientAuthenticationFailed));
    }

    #[test]
    fn what_is_no_basic_is_refused() {
        for value in ["Basic", "Basic !", &basic("nocolon"), &basic(":s"), &basic("shop:")] {
            let reason = present(&[value], form(None, None)).unwrap_err();
            assert!(
                matches!(reason, ReasonCode::RequestHeaderInvalid | ReasonCode::ClientMethodWrong),
                "{value}"
            );
        }
        assert_eq!(present(&["Bearer x"], form(None, None)), Err(ReasonCode::ClientMethodWrong));
        let assertion = Form { client_assertion: true, ..form(Some("shop"), None) };
        assert_eq!(present(&[], assertion), Err(ReasonCode::ClientMethodWrong));
    }

    #[test]
    fn rule_g11_a_name_that_no_client_can_have_is_not_kept() {
        assert_eq!(present(&[], form(Some("<script>"), Some("s"))).unwrap().1, "");
        let long = "x".repeat(MAX_SECRET_BYTES + 1);
        assert_eq!(present(&[], form(Some("shop"), Some(&long))).unwrap().2, None);
    }
}
