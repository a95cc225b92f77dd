//! Clients and their credentials: partners as data.

use crate::time::BACKDATE_S;
use crate::{ClientId, CredentialId, Environment, Scopes, Timestamp, environment::UnknownName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A partner's program: a confidential client of RFC 6749 section 2.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its `client_id`.
    pub id: ClientId,
    /// The one environment it belongs to.
    pub environment: Environment,
    /// The registered name; it becomes the organisation in its certificates.
    pub name: String,
    /// Where to reach its people.
    pub contacts: Vec<String>,
    /// The one method it may authenticate with at the token endpoint (rule C2).
    pub auth_method: AuthMethod,
    /// What it may ask for.
    pub scopes: Scopes,
    /// The audiences it may ask for; empty means every API that owns one of its scopes.
    pub audiences: Vec<String>,
    /// Whether it may act at all.
    pub state: ClientState,
    /// Tokens of a smaller epoch are dead (design, decision 4).
    pub epoch: u32,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Client {
    /// Whether it may call the API of this audience: by a token, or by the internal method (rule K6).
    pub fn may_address(&self, audience: &str) -> bool {
        self.audiences.is_empty() || self.audiences.iter().any(|registered| registered == audience)
    }

    /// Whether it may have every scope and address every API that `other` may.
    pub fn may_all_that(&self, other: &Client) -> bool {
        let addresses = match other.audiences.as_slice() {
            [] => self.audiences.is_empty(),
            audiences => audiences.iter().all(|audience| self.may_address(audience)),
        };
        addresses && self.scopes.covers(&other.scopes)
    }
}

/// What an operator sets anew of a client; `None` leaves a member as it is. The rest of a client never changes, or has an
/// order of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientChanges {
    /// The registered name.
    pub name: Option<String>,
    /// Where to reach its people.
    pub contacts: Option<Vec<String>>,
    /// What it may ask for.
    pub scopes: Option<Scopes>,
    /// The audiences it may ask for; empty means every API that owns one of its scopes.
    pub audiences: Option<Vec<String>>,
}

impl ClientChanges {
    /// Sets in `client` what is to be set at `at`. A scope or an audience that is taken away adds one to the epoch: a token that
    /// bears it must not outlive it. Whether anything is different.
    pub fn apply(self, client: &mut Client, at: Timestamp) -> bool {
        let before = client.clone();
        client.name = self.name.unwrap_or_else(|| before.name.clone());
        client.contacts = self.contacts.unwrap_or_else(|| before.contacts.clone());
        client.scopes = self.scopes.unwrap_or_else(|| before.scopes.clone());
        client.audiences = self.audiences.unwrap_or_else(|| before.audiences.clone());
        if *client == before {
            return false;
        }
        client.epoch += u32::from(!client.may_all_that(&before));
        client.updated_at = at;
        true
    }
}

/// `token_endpoint_auth_method` (RFC 7591 section 2, RFC 8705 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A secret in the `Authorization` header.
    ClientSecretBasic,
    /// A secret in the form body.
    ClientSecretPost,
    /// A certificate of our own CA, matched by a registered name.
    TlsClientAuth,
}

impl AuthMethod {
    /// Every method there is.
    pub const ALL: [AuthMethod; 3] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::TlsClientAuth];

    /// The name of the registry "OAuth Token Endpoint Authentication Methods".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::TlsClientAuth => "tls_client_auth",
        }
    }

    /// Whether the client proves itself with a secret.
    pub const fn uses_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AuthMethod {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or(UnknownName { expected: "client_secret_basic, client_secret_post or tls_client_auth" })
    }
}

/// Whether a client may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientState {
    /// It may.
    Active,
    /// It may not: its tokens and credentials are refused at once.
    Disabled,
}

impl ClientState {
    /// The name as written in the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

/// One credential of a client. A client has many, so that rotation overlaps (rule C12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its identifier: what tokens and audit records bear.
    pub id: CredentialId,
    /// Whose it is.
    pub client: ClientId,
    /// A name for people: `2026-11`, `blue`.
    pub name: String,
    /// What proves it.
    pub kind: CredentialKind,
    /// Whether it is accepted.
    pub state: CredentialState,
    /// Tokens obtained with it that bear a smaller epoch are dead.
    pub epoch: u32,
    /// Not accepted before.
    pub not_before: Timestamp,
    /// Not accepted from this moment on.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used with success; written in batches.
    pub last_used_at: Option<Timestamp>,
    /// How often it was used with success; written in batches.
    pub uses: u64,
}

impl Credential {
    /// A new one, accepted without end, and from [`BACKDATE_S`] before `now` on: a clock that is set back a little, or another
    /// node's that runs late, does not refuse it.
    pub const fn new(
        id: CredentialId,
        client: ClientId,
        name: String,
        kind: CredentialKind,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            client,
            name,
            kind,
            state: CredentialState::Active,
            epoch: 0,
            not_before: now.plus_s(-BACKDATE_S),
            expires_at: None,
            created_at: now,
            last_used_at: None,
            uses: 0,
        }
    }

    /// Whether it is active and `now` is within its validity.
    pub fn accepted_at(&self, now: Timestamp) -> bool {
        self.state == CredentialState::Active
            && self.not_before <= now
            && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// What proves a credential.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// A secret that we generated with 256 bit (rule C10).
    Secret {
        /// HMAC-SHA-256 of the secret under the pepper (design, decision 5).
        hmac: [u8; 32],
    },
    /// A certificate with this name, from our own client CA.
    Certificate(CertificateMatcher),
}

impl fmt::Debug for CredentialKind {
    // The HMAC opens nothing without the pepper, but it has no business in a log either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { .. } => f.write_str("Secret"),
            Self::Certificate(matcher) => f.debug_tuple("Certificate").field(matcher).finish(),
        }
    }
}

/// Which certificate stands for a client: exactly one of RFC 8705 section 2.1.2's names (rule C4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateMatcher {
    /// `tls_client_auth_san_uri`, compared octet by octet.
    SanUri(String),
}

/// Whether a credential is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialState {
    /// Within its validity it is.
    Active,
    /// Never again; tokens obtained with it are dead.
    Revoked,
}

impl CredentialState {
    /// The name as written in the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}
