//! What the audit log records: who, what, on which object, with which credential, with what outcome.
//!
//! Never a secret, a token, a key or a body: the fields below are all there is (rule I4).

use crate::{
    ClientId, CredentialId, Environment, IssuerId, ReasonCode, Reference, Serial, Thumbprint, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One event. Fields that do not apply are absent from the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Finds the event again; the caller was told the same.
    #[serde(rename = "ref")]
    pub reference: Reference,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub action: AuditAction,
    /// Why it was refused; absent when it was done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<ReasonCode>,
    /// What the caller read instead of the reason, where that was hidden from him for this refusal alone. Never recorded.
    #[serde(skip)]
    pub told: Option<ReasonCode>,
    /// Who did it.
    pub actor: Actor,
    /// Everything else.
    #[serde(flatten)]
    pub facts: Facts,
    /// Which of the events it is that the database of this installation has committed with what they tell of, counted from 1.
    /// A database that has counted less far is older than the log (rule R7).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub committed: Option<u64>,
}

impl AuditEvent {
    /// An event of something that was done.
    pub fn done(
        reference: Reference,
        at: Timestamp,
        action: AuditAction,
        actor: Actor,
        facts: Facts,
    ) -> Self {
        Self { reference, at, action, reason: None, told: None, actor, facts, committed: None }
    }

    /// An event of something that was refused.
    pub fn refused(
        reference: Reference,
        at: Timestamp,
        action: AuditAction,
        reason: ReasonCode,
        actor: Actor,
        facts: Facts,
    ) -> Self {
        Self { reference, at, action, reason: Some(reason), told: None, actor, facts, committed: None }
    }

    /// Adds the public code that the caller read. Whatever else he is told must not tell more than this code does.
    #[must_use]
    pub fn told(mut self, public: ReasonCode) -> Self {
        self.told = Some(public).filter(|_| self.reason.is_some_and(|reason| reason.public() != public));
        self
    }

    /// Whom the caller claimed to be, where it proved to be nobody: anybody may say a name, or show a certificate whose key he
    /// does not hold.
    pub fn claimed_client(&self) -> Option<&ClientId> {
        self.facts.client.as_ref().filter(|_| self.actor == Actor::Anonymous)
    }

    /// What the caller read; none when it was done.
    pub fn public(&self) -> Option<ReasonCode> {
        self.told.or(self.reason.map(ReasonCode::public))
    }
}

/// The details of an event. Text that a caller controls is bounded by whoever fills it in and escaped by JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The client concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// The credential used or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    /// The environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The certificate presented, issued or revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateRef>,
    /// The caller's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The listener it came in on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// The server name that the caller asked for in TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The HTTP method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path without its query, at most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How the client authenticated, or tried to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
    /// The audience of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The scopes granted or asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The token's `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The `x-fapi-interaction-id` of the request and its answer (rule G8), at most 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interaction_id: Option<String>,
    /// The administrative object, such as a profile, an operator or a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// One sentence for people: the exact reason behind a public code, the reason of a revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A certificate as audit records name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRef {
    /// Our issuer, where it is ours.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub issuer: Option<IssuerId>,
    /// Its serial number, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub serial: Option<Serial>,
    /// SHA-256 of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub thumbprint: Option<Thumbprint>,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "name")]
pub enum Actor {
    /// Somebody who proved nothing.
    Anonymous,
    /// A client that proved to be the caller. Who was merely named stands in the facts.
    Client(ClientId),
    /// A named operator.
    Operator(String),
    /// The product itself.
    System,
}

/// What happened: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// A connection was closed before any TLS work, because of a limit.
    ConnectionRefused,
    /// A TLS handshake ended in an alert.
    HandshakeRefused,
    /// A request was refused at the gateway.
    RequestRefused,
    /// A request was permitted, and its answer ended early: the upstream broke off after the head was passed on.
    AnswerBrokenOff,
    /// An access token was issued.
    TokenIssued,
    /// A token request was refused.
    TokenRefused,
    /// A certificate was issued.
    CertificateIssued,
    /// A certificate request was refused.
    CertificateRefused,
    /// A certificate was revoked.
    CertificateRevoked,
    /// A certificate was pending when the program stopped, and is given up.
    CertificateAbandoned,
    /// A CRL was published: no other list of this issuer and shard may have its number (rule R7).
    CrlPublished,
    /// A client was registered.
    ClientAdded,
    /// A client was disabled.
    ClientDisabled,
    /// A disabled client was enabled again.
    ClientEnabled,
    /// The name, contacts, scopes or audiences of a client were changed.
    ClientEdited,
    /// A client got a new secret.
    ClientSecretRotated,
    /// A new token key was published.
    TokenKeyRotated,
    /// An operator was added.
    OperatorAdded,
    /// An operator got a new token, and the one before is refused.
    OperatorTokenReset,
    /// A call of the admin API was refused.
    AdminRefused,
    /// A new configuration was taken over.
    ConfigurationReloaded,
    /// A new configuration was refused; the one from before runs on.
    ConfigurationRefused,
    /// An older database was put back, and what the log knows beyond it was applied.
    LogReplayed,
    /// The program started on its data.
    Started,
    /// The program stopped in order.
    Stopped,
    /// The log itself: a torn last line was cut at start, or records were counted that the queue could not take.
    LogRepaired,
}

impl AuditAction {
    /// What the operational log's line of a refusal begins with.
    pub fn line(self) -> &'static str {
        match self {
            Self::AnswerBrokenOff => "BROKEN OFF",
            _ => self.refused_before_request().unwrap_or("DENY"),
        }
    }

    /// What the log says of a connection that ended before its first request; `None` for everything else. No HTTP was
    /// spoken on it, so that nothing but its listener and address can tell such refusals apart.
    pub fn refused_before_request(self) -> Option<&'static str> {
        match self {
            Self::ConnectionRefused => Some("connection refused"),
            Self::HandshakeRefused => Some("TLS handshake refused"),
            _ => None,
        }
    }
}
