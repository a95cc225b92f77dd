//! The JSON of the admin API (`/admin/v1`): what the CLI and the console send and read.
//!
//! The handlers and the CLI use these very types, so that neither can drift from the other; the OpenAPI document is made
//! from them. Unknown members in a request are refused: a misspelt option must not pass for its default.

use crate::documents::CA_BUNDLE_PATH;
use countersign_audit::{Folded, Lost};
use countersign_model::audit::AuditEvent;
use countersign_model::certificate::{Profile, RevocationReason};
use countersign_model::client::{AuthMethod, ClientState, CredentialState};
use countersign_model::{
    ClientId, CredentialId, Environment, IssuerId, KeyId, Reference, Scopes, Serial, Thumbprint, Timestamp,
};
use countersign_oauth::metadata::{AUTHORIZATION_SERVER_PATH, TOKEN_PATH};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::{IntoParams, ToSchema};

/// A secret on its one way to its owner: shown once, never kept, never in a debug print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct OneTimeSecret(String);

impl OneTimeSecret {
    /// Takes the secret that the answer will carry.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself. Every call is a place to review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OneTimeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeSecret(…)")
    }
}

/// `POST /admin/v1/clients`: registers a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// Its `client_id`, chosen by the operator.
    #[schema(value_type = String, example = "shop-42")]
    pub client_id: ClientId,
    /// `sandbox` or `production`; it never changes.
    #[schema(value_type = String, example = "production")]
    pub environment: Environment,
    /// The registered name; it becomes the organisation in its certificates. Default: the `client_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to reach its people.
    #[serde(default)]
    pub contacts: Vec<String>,
    /// `client_secret_basic`, `client_secret_post` or `tls_client_auth`.
    #[schema(value_type = String, example = "tls_client_auth")]
    pub auth_method: AuthMethod,
    /// What it may ask for.
    #[schema(value_type = Vec<String>)]
    pub scopes: Scopes,
    /// The audiences it may ask for; empty: every API that owns one of its scopes.
    #[serde(default)]
    pub audiences: Vec<String>,
}

/// The answer to [`NewClient`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientAdded {
    /// What was registered.
    pub client: ClientView,
    /// Its secret, where its method uses one. It is shown here and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<OneTimeSecret>,
    /// What its people need beside it.
    pub partner: PartnerEndpoints,
}

/// Where a partner's program goes, and what it trusts: what an operator hands over beside the credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartnerEndpoints {
    /// `token_endpoint` (RFC 8414).
    pub token_endpoint: String,
    /// The metadata of the authorization server (RFC 8414 section 3).
    pub metadata: String,
    /// The root certificates, PEM: the same as the `ca.crt` of the installation.
    pub ca_bundle: String,
}

impl PartnerEndpoints {
    /// Those of an issuer.
    pub fn of(issuer: &str) -> Self {
        Self {
            token_endpoint: format!("{issuer}{TOKEN_PATH}"),
            metadata: format!("{issuer}{AUTHORIZATION_SERVER_PATH}"),
            ca_bundle: format!("{issuer}{CA_BUNDLE_PATH}"),
        }
    }
}

/// A client as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientView {
    /// Its `client_id`.
    #[schema(value_type = String)]
    pub client_id: ClientId,
    /// The environment it belongs to.
    #[schema(value_type = String)]
    pub environment: Environment,
    /// The registered name.
    pub name: String,
    /// Where to reach its people.
    pub contacts: Vec<String>,
    /// How it authenticates.
    #[schema(value_type = String)]
    pub auth_method: AuthMethod,
    /// What it may ask for.
    #[schema(value_type = Vec<String>)]
    pub scopes: Scopes,
    /// The audiences it may ask for; empty: every API that owns one of its scopes.
    pub audiences: Vec<String>,
    /// `active` or `disabled`.
    #[schema(value_type = String)]
    pub state: ClientState,
    /// Whether this node enforces that and the database does not say so yet: a restart would forget it (`not_stored`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_stored: bool,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Its credentials, newest first.
    pub credentials: Vec<CredentialView>,
}

/// `POST /admin/v1/clients/{id}/edit`: sets what is given, and leaves what is absent as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditClient {
    /// The registered name. Certificates that are issued from now on have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to reach its people: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contacts: Option<Vec<String>>,
    /// What it may ask for: all of it. Its tokens end if a scope is taken away.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
    /// The audiences that it may ask for: all of them; empty: every API that owns one of its scopes. Its tokens end if an
    /// audience is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audiences: Option<Vec<String>>,
}

/// `GET /admin/v1/clients?after=`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClientQuery {
    /// Only those behind this `client_id`: the last one of the answer before.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ClientId>,
}

/// The answer to [`ClientQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientList {
    /// Sorted by `client_id`.
    pub clients: Vec<ClientView>,
    /// Whether there are more than an answer holds: ask for those behind the last one.
    #[serde(default)]
    pub more: bool,
}

/// One credential of a client; never its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialView {
    /// What tokens and audit records bear.
    #[schema(value_type = String)]
    pub id: CredentialId,
    /// A name for people.
    pub name: String,
    /// What proves it.
    pub kind: CredentialKindName,
    /// The certificate's SAN URI, where a certificate proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub san_uri: Option<String>,
    /// `active` or `revoked`.
    #[schema(value_type = String)]
    pub state: CredentialState,
    /// Whether this node enforces that and the database does not say so yet: a restart would forget it (`not_stored`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_stored: bool,
    /// Not accepted before.
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    /// Not accepted from this moment on.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last used with success; up to a minute late.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// How often it was used with success.
    pub uses: u64,
}

/// What proves a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKindName {
    /// A generated secret.
    Secret,
    /// A certificate of our client CA.
    Certificate,
}

impl CredentialKindName {
    /// The name as written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Certificate => "certificate",
        }
    }
}

/// `POST /admin/v1/clients/{id}/rotate-secret`: makes a new secret beside the present one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// How long the present secrets stay good, in seconds. Default 86400 (a day); 0 ends them and their tokens at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_s: Option<u32>,
}

impl RotateSecret {
    /// What [`RotateSecret::overlap_s`] means when it is absent: a day to roll the new secret out (rule C12).
    pub const DEFAULT_OVERLAP_S: u32 = 86_400;
}

/// The answer to [`RotateSecret`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretRotated {
    /// Whose secret it is.
    #[schema(value_type = String)]
    pub client_id: ClientId,
    /// The new credential.
    #[schema(value_type = String)]
    pub credential: CredentialId,
    /// The new secret. It is shown here and never again.
    pub client_secret: OneTimeSecret,
    /// When the secrets from before end.
    #[schema(value_type = String, format = DateTime)]
    pub previous_end_at: Timestamp,
}

/// `POST /admin/v1/certificates`: signs a certificate for a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// For whom.
    #[schema(value_type = String)]
    pub client: ClientId,
    /// The certificate signing request (PKCS#10): PEM, or the base64 of the DER.
    pub csr: String,
    /// Default and, so far, only choice: `client`.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Signs also when the key is another client's (rule P10): whoever holds the key can then be both.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_shared_key: bool,
}

/// The answer to [`NewCertificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateIssued {
    /// Its serial number, hexadecimal.
    #[schema(value_type = String)]
    pub serial: Serial,
    /// Whose it is.
    #[schema(value_type = String)]
    pub client: ClientId,
    /// The CA that signed it.
    #[schema(value_type = String)]
    pub issuer: IssuerId,
    /// `x5t#S256`.
    #[schema(value_type = String)]
    pub thumbprint: Thumbprint,
    /// First moment of validity.
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    /// Last moment of validity.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
    /// The certificate, PEM.
    pub certificate: String,
    /// The certificate and the issuing CA after it, PEM: what a TLS client presents.
    pub chain: String,
    /// What the request asked for and the certificate does not have: attributes of its subject (`O=Example`) and names
    /// (`dns:api.example`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// What the client's people need beside it.
    pub partner: PartnerEndpoints,
}

/// `GET /admin/v1/certificates?client=&state=&expires_before=&before=`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CertificateQuery {
    /// Only this client's.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CertificateStateName>,
    /// Only valid ones that expire before this moment, the soonest first.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_before: Option<Timestamp>,
    /// Only those behind an answer: its `next`, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// The answer to [`CertificateQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateList {
    /// Newest first; the soonest to expire first where [`CertificateQuery::expires_before`] was given.
    pub certificates: Vec<CertificateView>,
    /// Whether there are more than an answer holds.
    #[serde(default)]
    pub more: bool,
    /// Where the next answer begins, if there are more: for [`CertificateQuery::before`]. Its form may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Where a certificate stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificateStateName {
    /// Its row is written, its signature not yet stored.
    Pending,
    /// Issued, and neither revoked nor expired.
    Valid,
    /// Its last moment is over.
    Expired,
    /// Revoked; it stays so after its expiry.
    Revoked,
    /// Never handed out: the program stopped while it was pending.
    Abandoned,
}

impl CertificateStateName {
    /// The name as written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A certificate of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateView {
    /// Its serial number, hexadecimal.
    #[schema(value_type = String)]
    pub serial: Serial,
    /// The CA that signed it.
    #[schema(value_type = String)]
    pub issuer: IssuerId,
    /// Whose it is; absent for our own.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// The environment of its client.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The profile it was built from.
    #[schema(value_type = String)]
    pub profile: Profile,
    /// Where it stands now.
    pub state: CertificateStateName,
    /// Whether this node enforces that and the database does not say so yet: a restart would forget it (`not_stored`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_stored: bool,
    /// Since when it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Why it is revoked: the names of RFC 5280 section 5.3.1.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none", with = "reason_name::optional")]
    pub revocation_reason: Option<RevocationReason>,
    /// Its subject, for people.
    pub subject: String,
    /// Its subject alternative names: `uri:…`, `dns:…`, `ip:…`.
    pub names: Vec<String>,
    /// First moment of validity.
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    /// Last moment of validity.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
    /// `x5t#S256`; absent while it is pending.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<Thumbprint>,
    /// The certificate that it renews.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews: Option<Serial>,
    /// When it was last presented with success; up to a minute late.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// How many calls it made.
    pub calls: u64,
    /// The certificate, PEM; only where a single one is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// `POST /admin/v1/certificates/{serial}/revoke` and `POST /admin/v1/clients/{id}/revoke-certificates`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Why: the names of RFC 5280 section 5.3.1, such as `keyCompromise` and `superseded`.
    #[schema(value_type = String, example = "keyCompromise")]
    #[serde(with = "reason_name")]
    pub reason: RevocationReason,
}

/// The answer to [`Revoke`]: in force when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revoked {
    /// The certificates, each with its state after the call.
    pub certificates: Vec<CertificateView>,
    /// How many of them were revoked before already: revoking twice changes nothing (rule R5).
    pub already_revoked: u32,
    /// How many open connections are being cut.
    pub connections_cut: u32,
    /// The CRLs that have them.
    pub crls: Vec<PublishedCrl>,
    /// The CRLs that cannot be published with them now; it is tried again every minute. Inside the product the
    /// certificates are refused all the same.
    #[serde(default)]
    pub crls_delayed: Vec<DelayedCrl>,
}

/// A CRL that is not out yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DelayedCrl {
    /// The CA that signs it.
    #[schema(value_type = String)]
    pub issuer: IssuerId,
    /// Its shard.
    pub shard: u16,
}

/// A CRL as an answer names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedCrl {
    /// The CA that signed it.
    #[schema(value_type = String)]
    pub issuer: IssuerId,
    /// Its shard.
    pub shard: u16,
    /// Its CRLNumber.
    pub number: u64,
}

/// `GET /admin/v1/audit?action=&client=&limit=`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only this action, such as `token_refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only this client.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// Only callers with this address, or in this network: `192.0.2.7`, `192.0.2.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only what happened at this moment or later, in the form of RFC 3339.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only what happened before this moment, in the form of RFC 3339.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Only records before this sequence number: `next` of an earlier answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// How many at most, the newest. Default 50, at most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl AuditQuery {
    /// What [`AuditQuery::limit`] means when it is absent.
    pub const DEFAULT_LIMIT: u32 = 50;
    /// The most records of one answer.
    pub const MAX_LIMIT: u32 = 1000;
}

/// The answer to [`AuditQuery`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// Newest first.
    pub records: Vec<AuditRecordView>,
    /// Whether there are more than were asked for.
    #[serde(default)]
    pub more: bool,
    /// If there are more: the `before` that lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// One record of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditRecordView {
    /// Its place in the chain.
    pub sequence: u64,
    /// SHA-256 of the record before it, hexadecimal.
    pub previous: String,
    /// Present when it stands for more refusals like the one with the same reference: how many (`count`), when the
    /// `first` and the `last` of them was, and where they came from (`network`, or how many different `networks` and
    /// `certificates` when they are no longer told apart).
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folded: Option<Folded>,
    /// Present when it tells of events that have no record: how many (`count`), why (`cause`), when the `first` and the
    /// `last` of them was, and what they were, where that is known (`action`, `reason`).
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// What happened: `ref`, `at`, `action`, `reason`, `actor` and what else is known.
    #[schema(value_type = Object)]
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// `GET /admin/v1/audit/verification`: the whole log, read and compared with its head in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerification {
    /// Whether nothing was changed, left out or cut off.
    pub intact: bool,
    /// How many records were read.
    pub records: u64,
    /// How many events they stand for: a folded record counts all of its refusals.
    pub events: u64,
    /// How many events have no record: the log itself counts them.
    pub lost: u64,
    /// The numbers of the records that tell of lost events and of repairs (`log_repaired`), the newest hundred.
    pub repairs: Vec<u64>,
    /// How many files were read.
    pub segments: u32,
    /// The sequence of the last record.
    pub last_sequence: u64,
    /// What is wrong, one sentence each: the file, the record, what does not fit.
    pub findings: Vec<String>,
}

/// `POST /admin/v1/token-keys/rotate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateTokenKey {
    /// For a key in other hands: sign with the new key at once, though relying parties may not have fetched it yet, and end
    /// the former keys with every token that they signed. Default false: it is published now and signs a minute after
    /// the key set's `max-age`, and the former keys stay published until their last token has expired (design, decision 25).
    #[serde(default)]
    pub now: bool,
}

/// The answer to [`RotateTokenKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenKeyRotated {
    /// The `kid` of the new key.
    #[schema(value_type = String)]
    pub key_id: KeyId,
    /// When it begins to sign.
    #[schema(value_type = String, format = DateTime)]
    pub signs_from: Timestamp,
}

/// A refusal of the admin API (RFC 9457), as `policy` renders it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The page that explains the code.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A short title.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// The reason code.
    #[serde(default)]
    pub code: String,
    /// What happened.
    #[serde(default)]
    pub detail: String,
    /// What the operator does.
    #[serde(default)]
    pub action: String,
    /// Finds the full story in the audit log.
    #[schema(value_type = Option<String>)]
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// Writes a revocation reason as RFC 5280 section 5.3.1 spells it, and reads it in any case.
mod reason_name {
    use super::RevocationReason;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(reason: &RevocationReason, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(reason.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<RevocationReason, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }

    pub(super) mod optional {
        use super::{Deserialize, Deserializer, Error, RevocationReason, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            reason: &Option<RevocationReason>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            match reason {
                Some(reason) => s.serialize_some(reason.as_str()),
                None => s.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<RevocationReason>, D::Error> {
            Option::<String>::deserialize(d)?.map(|name| name.parse().map_err(D::Error::custom)).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_member_of_a_request_is_refused() {
        assert!(serde_json::from_str::<RotateTokenKey>(r#"{"now":true}"#).unwrap().now);
        assert!(serde_json::from_str::<RotateTokenKey>(r#"{"nwo":true}"#).is_err());
    }

    #[test]
    fn a_revocation_reason_is_spelt_as_in_rfc_5280() {
        for reason in RevocationReason::ALL {
            let json = serde_json::to_string(&Revoke { reason }).unwrap();
            assert_eq!(json, format!(r#"{{"reason":"{reason}"}}"#));
            assert_eq!(serde_json::from_str::<Revoke>(&json).unwrap(), Revoke { reason });
        }
    }

    #[test]
    fn a_one_time_secret_is_not_printed() {
        assert_eq!(format!("{:?}", OneTimeSecret::new("cs_x".to_owned())), "OneTimeSecret(…)");
    }
}
