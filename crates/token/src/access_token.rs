//! The access tokens that we issue: JWT of type `at+jwt` (RFC 9068), bound by `cnf` (RFC 8705 section 3.1).
//!
//! Prepared here, signed by whoever holds the key, put together here. The private claim `countersign` says what the
//! gateway must know without asking the database: environment, credential, and the epochs that revoke at once.

use crate::base64url;
use countersign_model::{ClientId, CredentialId, Environment, KeyId, Scopes, Thumbprint, Timestamp};
use serde::Serialize;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessTokenClaims {
    /// `iss`: our issuer identifier, byte by byte.
    pub issuer: String,
    /// `aud`: the API it is for.
    pub audience: String,
    /// `client_id`, and `sub` as well: a client that acts for itself (RFC 9068 section 2.2).
    pub client_id: ClientId,
    /// `jti`.
    pub token_id: String,
    /// `scope`.
    pub scopes: Scopes,
    /// `iat`; whole seconds are written.
    pub issued_at: Timestamp,
    /// `exp`; whole seconds are written.
    pub expires_at: Timestamp,
    /// The environment it is good in.
    pub environment: Environment,
    /// The credential that the client authenticated with.
    pub credential: CredentialId,
    /// The epochs at its issue.
    pub epoch: TokenEpoch,
    /// `cnf` `x5t#S256`: the certificate it is bound to.
    pub confirmation: Option<Thumbprint>,
}

/// The epochs of client and credential when a token was issued; once either is raised, the token is dead (design,
/// decision 4). Epochs and not `iat`, since two events in one second have the same `iat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenEpoch {
    /// Of the client.
    pub client: u32,
    /// Of the credential.
    pub credential: u32,
}

impl AccessTokenClaims {
    /// The bytes to be signed with ES256 by the key `key_id`: header and payload of the compact serialisation.
    pub fn signing_input(&self, key_id: &KeyId) -> String {
        let header = HeaderJson { alg: "ES256", typ: "at+jwt", kid: &key_id.0 };
        let mut text = String::with_capacity(1024);
        base64url::encode_onto(to_json(&header), &mut text);
        text.push('.');
        base64url::encode_onto(to_json(&ClaimsJson::from(self)), &mut text);
        text
    }
}

/// Puts the token together. `signature`: r and s side by side, 64 octets (RFC 7518 section 3.4).
pub fn assemble(signing_input: String, signature: &[u8]) -> String {
    let mut token = signing_input;
    token.reserve(1 + signature.len().div_ceil(3) * 4);
    token.push('.');
    base64url::encode_onto(signature, &mut token);
    token
}

#[expect(clippy::expect_used, reason = "structs of strings and numbers: serde_json fails on neither")]
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers are JSON")
}

#[derive(Serialize)]
struct HeaderJson<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

#[derive(Serialize)]
struct ClaimsJson<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    iat: i64,
    exp: i64,
    jti: &'a str,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<ConfirmationJson>,
    countersign: PrivateJson,
}

#[derive(Serialize)]
struct ConfirmationJson {
    #[serde(rename = "x5t#S256")]
    x5t_s256: Thumbprint,
}

#[derive(Serialize)]
struct PrivateJson {
    environment: Environment,
    credential: CredentialId,
    epoch: EpochJson,
}

#[derive(Serialize)]
struct EpochJson {
    client: u32,
    credential: u32,
}

impl<'a> From<&'a AccessTokenClaims> for ClaimsJson<'a> {
    fn from(claims: &'a AccessTokenClaims) -> Self {
        Self {
            iss: &claims.issuer,
            aud: &claims.audience,
            sub: claims.client_id.as_str(),
            client_id: claims.client_id.as_str(),
            iat: claims.issued_at.unix_s(),
            exp: claims.expires_at.unix_s(),
            jti: &claims.token_id,
            scope: claims.scopes.to_string(),
            cnf: claims.confirmation.map(|x5t_s256| ConfirmationJson { x5t_s256 }),
            countersign: PrivateJson {
                environment: claims.environment,
                credential: claims.credential,
                epoch: EpochJson { client: claims.epoch.client, credential: claims.epoch.credential },
            },
        }
    }
}
