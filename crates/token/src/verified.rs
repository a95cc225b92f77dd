//! An access token that was verified (RFC 9068 section 4), and the two questions to ask on every request: is it good
//! here and now ([`VerifiedToken::check`]), and is it in the right hands ([`VerifiedToken::confirm`]).

use crate::json::{self, Object};
use crate::{Limits, TokenEpoch, TokenError, VerificationKeys, jws};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use countersign_model::{ClientId, CredentialId, Environment, KeyId, Scopes, Thumbprint, Timestamp};
use serde_json::Value;
use std::str::FromStr;

/// A token of ours: signature, type and claims are in order. Says nothing yet about audience, time or binding, so it
/// is the same for everybody and may be cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    key_id: KeyId,
    issuer: String,
    audiences: Vec<String>,
    client_id: ClientId,
    token_id: String,
    scopes: Scopes,
    issued_at: Timestamp,
    not_before: Option<Timestamp>,
    expires_at: Timestamp,
    environment: Environment,
    credential: CredentialId,
    epoch: TokenEpoch,
    confirmation: Confirmation,
}

/// What `cnf` (RFC 7800) asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Confirmation {
    /// There is no `cnf`.
    Absent,
    /// `x5t#S256` and nothing else.
    Certificate(Thumbprint),
    /// Anything else. A proof that we do not know how to check is a proof that was not given.
    Unknown,
}

/// What the token must say to be good here.
#[derive(Debug, Clone, Copy)]
pub struct Expectations<'a> {
    /// Our issuer identifier.
    pub issuer: &'a str,
    /// The audience of the API that is called.
    pub audience: &'a str,
    /// The environment of the route.
    pub environment: Environment,
    /// The present.
    pub now: Timestamp,
    /// How far clocks may differ; anything outside 0 to 60 counts as the nearer end (rule G2).
    pub skew_s: i64,
}

/// How far clocks may differ by default, in seconds.
pub const DEFAULT_SKEW_S: i64 = 5;
/// How far clocks may differ at most, in seconds.
pub const MAX_SKEW_S: i64 = 60;

/// What ties the token to its caller. Only [`VerifiedToken::confirm`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// To the certificate of this connection, which was compared.
    Certificate(Thumbprint),
    /// To nothing: a bearer token.
    None,
}

/// Verifies an access token in the order of rule G2: size, form, algorithm, key by `kid`, signature, `typ`, claims.
///
/// # Errors
/// The first check that failed.
pub fn verify(token: &str, keys: &VerificationKeys, limits: &Limits) -> Result<VerifiedToken, TokenError> {
    let jws = jws::verify(token, keys, limits)?;
    // RFC 9068 section 4, RFC 8725 section 3.11: a JWT of another kind, signed by the same key, is no access token.
    if !jws.typ.is_some_and(|typ| is_access_token_type(&typ)) {
        return Err(TokenError::TypeWrong);
    }
    let claims = json::object(&jws.payload).ok_or(TokenError::Malformed("claims"))?;
    VerifiedToken::from_claims(jws.key_id, Claims(&claims))
}

/// Media types compare without case, and `application/` may be left out (RFC 7515 section 4.1.9).
fn is_access_token_type(typ: &str) -> bool {
    typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
}

impl VerifiedToken {
    /// RFC 9068 section 2.2: all of `iss exp aud sub client_id iat jti` (rule K5), and our private claim.
    fn from_claims(key_id: KeyId, claims: Claims<'_>) -> Result<Self, TokenError> {
        let issuer = claims.required_text("iss")?.to_owned();
        let expires_at = claims.time("exp")?.ok_or(TokenError::ClaimMissing("exp"))?;
        let audiences = claims.audiences()?;
        let subject = claims.required_text("sub")?;
        let client_id: ClientId = claims.required("client_id")?;
        let issued_at = claims.time("iat")?.ok_or(TokenError::ClaimMissing("iat"))?;
        let token_id = claims.required_text("jti")?.to_owned();
        let not_before = claims.time("nbf")?;
        let scopes = claims.parse("scope")?.unwrap_or_default();
        let confirmation = claims.confirmation();
        let private = claims.required_object("countersign")?;
        let environment = private.required("environment")?;
        let credential = private.required("credential")?;
        let epochs = private.required_object("epoch")?;
        let epoch = TokenEpoch { client: epochs.count("client")?, credential: epochs.count("credential")? };
        // We issue to clients that act for themselves; a subject of another kind must not pass for one.
        if subject != client_id.as_str() {
            return Err(TokenError::Malformed("sub is not client_id"));
        }
        Ok(Self {
            key_id,
            issuer,
            audiences,
            client_id,
            token_id,
            scopes,
            issued_at,
            not_before,
            expires_at,
            environment,
            credential,
            epoch,
            confirmation,
        })
    }

    /// Whether the token is good here and now: issuer, audience, environment, `exp`, `nbf`, `iat`, in that order.
    /// Allocates nothing.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn check(&self, expect: &Expectations<'_>) -> Result<(), TokenError> {
        let skew_s = expect.skew_s.clamp(0, MAX_SKEW_S);
        if self.issuer != expect.issuer {
            return Err(TokenError::IssuerWrong);
        }
        if !self.audiences.iter().any(|audience| audience == expect.audience) {
            return Err(TokenError::AudienceWrong);
        }
        if self.environment != expect.environment {
            return Err(TokenError::EnvironmentWrong);
        }
        // RFC 7519 section 4.1.4: not accepted on or after `exp`.
        if expect.now >= self.expires_at.plus_s(skew_s) {
            return Err(TokenError::Expired);
        }
        let latest_start = expect.now.plus_s(skew_s);
        if self.not_before.is_some_and(|not_before| not_before > latest_start)
            || self.issued_at > latest_start
        {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }

    /// Whether the token is in the right hands: `presented` is the certificate of this very connection (rule G4),
    /// `required` says that an unbound token will not do. A `cnf` is always checked, required or not (rule G3).
    /// Allocates nothing; its result is never cached (rule G13).
    ///
    /// # Errors
    /// How the binding fails.
    pub fn confirm(&self, presented: Option<&Thumbprint>, required: bool) -> Result<Binding, TokenError> {
        match (self.confirmation, presented) {
            (Confirmation::Absent, _) if required => Err(TokenError::BindingMissing),
            (Confirmation::Absent, _) => Ok(Binding::None),
            (Confirmation::Unknown, _) => Err(TokenError::BindingUnknown),
            (Confirmation::Certificate(_), None) => Err(TokenError::CertificateMissing),
            (Confirmation::Certificate(bound), Some(presented)) => {
                match verify_slices_are_equal(&bound.0, &presented.0) {
                    Ok(()) => Ok(Binding::Certificate(bound)),
                    Err(_) => Err(TokenError::CertificateMismatch),
                }
            }
        }
    }

    /// The key that signed it (`kid`).
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `aud`, as a list.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// `client_id`, which is `sub` as well.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// `jti`.
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// `scope`; empty when absent.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// `iat`.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// `exp`.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The environment it is good in.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The credential that the client authenticated with.
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// The epochs at its issue.
    pub fn epoch(&self) -> TokenEpoch {
        self.epoch
    }

    /// The certificate it says it is bound to, for audit records. Not a check: that is [`VerifiedToken::confirm`].
    pub fn bound_to(&self) -> Option<&Thumbprint> {
        match &self.confirmation {
            Confirmation::Certificate(thumbprint) => Some(thumbprint),
            _ => None,
        }
    }
}

/// Claims whose signature was verified, read by name and type.
#[derive(Clone, Copy)]
struct Claims<'a>(&'a Object);

impl<'a> Claims<'a> {
    fn text(self, claim: &'static str) -> Result<Option<&'a str>, TokenError> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Malformed(claim)),
        }
    }

    fn required_text(self, claim: &'static str) -> Result<&'a str, TokenError> {
        self.text(claim)?.filter(|text| !text.is_empty()).ok_or(TokenError::ClaimMissing(claim))
    }

    fn parse<T: FromStr>(self, claim: &'static str) -> Result<Option<T>, TokenError> {
        self.text(claim)?.map(|text| text.parse().map_err(|_| TokenError::Malformed(claim))).transpose()
    }

    fn required<T: FromStr>(self, claim: &'static str) -> Result<T, TokenError> {
        self.parse(claim)?.ok_or(TokenError::ClaimMissing(claim))
    }

    fn required_object(self, claim: &'static str) -> Result<Claims<'a>, TokenError> {
        match self.0.get(claim) {
            None => Err(TokenError::ClaimMissing(claim)),
            Some(Value::Object(object)) => Ok(Claims(object)),
            Some(_) => Err(TokenError::Malformed(claim)),
        }
    }

    fn count(self, claim: &'static str) -> Result<u32, TokenError> {
        let value = self.0.get(claim).ok_or(TokenError::ClaimMissing(claim))?;
        value.as_u64().and_then(|count| u32::try_from(count).ok()).ok_or(TokenError::Malformed(claim))
    }

    /// NumericDate (RFC 7519 section 2): seconds, possibly with a fraction.
    fn time(self, claim: &'static str) -> Result<Option<Timestamp>, TokenError> {
        const YEAR_10000_S: i64 = 253_402_300_800;
        let Some(value) = self.0.get(claim) else { return Ok(None) };
        let moment = match (value.as_i64(), value.as_f64()) {
            (Some(seconds), _) => Timestamp::from_unix_s(seconds),
            // Rounded down, which for `exp` is the cautious side. The conversion saturates.
            (None, Some(seconds)) => Timestamp::from_unix_ms((seconds * 1000.0).floor() as i64),
            (None, None) => return Err(TokenError::Malformed(claim)),
        };
        if (0..YEAR_10000_S).contains(&moment.unix_s()) {
            Ok(Some(moment))
        } else {
            Err(TokenError::Malformed(claim))
        }
    }

    /// `aud` (RFC 7519 section 4.1.3): one string or a list of strings.
    fn audiences(self) -> Result<Vec<String>, TokenError> {
        let malformed = TokenError::Malformed("aud");
        match self.0.get("aud") {
            None => Err(TokenError::ClaimMissing("aud")),
            Some(Value::String(audience)) => Ok(vec![audience.clone()]),
            Some(Value::Array(audiences)) => audiences
                .iter()
                .map(|audience| audience.as_str().map(str::to_owned).ok_or(malformed))
                .collect(),
            Some(_) => Err(malformed),
        }
    }

    /// `cnf`. Whatever is not exactly one `x5t#S256` is kept as unknown and refused by [`VerifiedToken::confirm`], in
    /// its place in the order of checks: `jkt` alone or beside it too, since a binding with two members holds only if
    /// both do (rule K7).
    fn confirmation(self) -> Confirmation {
        let Some(value) = self.0.get("cnf") else { return Confirmation::Absent };
        let thumbprint = value
            .as_object()
            .filter(|members| members.len() == 1)
            .and_then(|members| members.get("x5t#S256")?.as_str())
            .and_then(crate::base64url::decode_array);
        match thumbprint {
            Some(octets) => Confirmation::Certificate(Thumbprint(octets)),
            None => Confirmation::Unknown,
        }
    }
}
