//! A refusal: the exact reason for the operator, the public one for the caller, and the facts that its answer needs.
//! The only place that turns a refusal into status, headers and body is [`render`] (design, invariant 5).

mod body;
mod challenge;
mod render;
mod texts;

pub use render::{REFERENCE_HEADER, Surface, render};
pub use texts::{explain_text, markdown, problem_page};

use crate::client_auth::Method;
use countersign_model::{ClientId, CredentialId, ReasonCode, Scopes};
use countersign_token::TokenError;
use std::borrow::Cow;
use std::fmt;

/// Why a request is refused. Small, because it travels in every `Result` of the data path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    reason: ReasonCode,
    facts: Option<Box<Facts>>,
}

/// What only some refusals have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Facts {
    public: Option<ReasonCode>,
    required_scopes: Scopes,
    missing_scopes: Scopes,
    retry_after_s: Option<u32>,
    allow: Vec<http::Method>,
    note: Option<Cow<'static, str>>,
    told: Option<Told>,
    client: Option<ClientId>,
    /// Whether `client` is only what the caller says of itself.
    claimed: bool,
    credential: Option<CredentialId>,
    method: Option<Method>,
}

/// What the caller reads in the place of the code's general words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    detail: String,
    action: Option<&'static str>,
    /// Also behind a hidden reason.
    of_connection: bool,
}

impl Denial {
    /// A refusal for `reason`.
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, facts: None }
    }

    /// Adds one sentence for the operator. Only the callers of the admin API read it, who are operators.
    #[must_use]
    pub fn note(mut self, note: impl Into<Cow<'static, str>>) -> Self {
        self.facts_mut().note = Some(note.into());
        self
    }

    /// Adds which part of the caller's own request is refused, in sentences that the caller reads as well as the operator,
    /// and if the code's own advice does not fit, what to do. Of printable ASCII without `"` and `\` (RFC 6749 section 5.2).
    #[must_use]
    pub fn told(mut self, detail: String, action: Option<&'static str>) -> Self {
        let facts = self.facts_mut();
        facts.note = Some(detail.trim_end_matches('.').to_owned().into());
        facts.told = Some(Told { detail, action, of_connection: false });
        self
    }

    /// As [`told`](Self::told), also behind a hidden reason: what the caller sees of its request and connection anyway, such
    /// as that no certificate arrived. It must be the same whether the client exists or not, and whatever its secret is
    /// (rule C10).
    #[must_use]
    pub fn told_of_connection(mut self, detail: &'static str, action: &'static str) -> Self {
        let told = Told { detail: detail.to_owned(), action: Some(action), of_connection: true };
        let facts = self.facts_mut();
        facts.note.get_or_insert(detail.trim_end_matches('.').into());
        facts.told = Some(told);
        self
    }

    /// Adds who calls, where that was proved: by a secret, a verified token, or the connection's certificate.
    #[must_use]
    pub fn client(mut self, client: Option<ClientId>) -> Self {
        if client.is_some() {
            let facts = self.facts_mut();
            (facts.client, facts.claimed) = (client, false);
        }
        self
    }

    /// Adds who the caller says it is, unless it is known who it is. Anybody may say so: the record names the client, and
    /// nobody as the actor.
    #[must_use]
    pub fn claimed_client(mut self, client: Option<ClientId>) -> Self {
        if client.is_some() && self.known_client().is_none() {
            let facts = self.facts_mut();
            (facts.client, facts.claimed) = (client, true);
        }
        self
    }

    /// Adds how the caller proved itself, or tried to.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.facts_mut().method = Some(method);
        self
    }

    /// Adds the credential that was used.
    #[must_use]
    pub fn credential(mut self, credential: CredentialId) -> Self {
        self.facts_mut().credential = Some(credential);
        self
    }

    /// Adds the scopes that are required and those of them that are missing (RFC 6750 section 3.1).
    #[must_use]
    pub fn scopes(mut self, required: Scopes, missing: Scopes) -> Self {
        let facts = self.facts_mut();
        (facts.required_scopes, facts.missing_scopes) = (required, missing);
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u32) -> Self {
        self.facts_mut().retry_after_s = Some(seconds);
        self
    }

    /// Adds the methods that are allowed (RFC 9110 section 15.5.6).
    #[must_use]
    pub fn allow(mut self, methods: &[http::Method]) -> Self {
        self.facts_mut().allow = methods.to_vec();
        self
    }

    /// Adds what another refusal of the same request knows of its caller.
    #[must_use]
    pub fn of_caller(mut self, other: &Self) -> Self {
        if let Some(known) = &other.facts {
            let facts = self.facts_mut();
            (facts.client, facts.claimed) = (known.client.clone(), known.claimed);
            (facts.credential, facts.method) = (known.credential, known.method);
        }
        self
    }

    /// Hides the exact reason behind another one: the caller reads `public` only.
    #[must_use]
    pub fn hidden_behind(mut self, public: ReasonCode) -> Self {
        self.facts_mut().public = Some(public);
        self
    }

    /// The exact reason: for the audit log and the metrics.
    pub fn reason(&self) -> ReasonCode {
        self.reason
    }

    /// What the caller reads (experience.md section 3: two readers, two truths).
    pub fn public(&self) -> ReasonCode {
        self.facts.as_ref().and_then(|facts| facts.public).unwrap_or_else(|| self.reason.public())
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> http::StatusCode {
        http::StatusCode::from_u16(self.public().reason().status)
            .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Who called, where that was proved: the actor of the record.
    pub fn proved_client(&self) -> Option<&ClientId> {
        let facts = self.facts.as_ref()?;
        facts.client.as_ref().filter(|_| !facts.claimed)
    }

    /// How the caller proved itself, or tried to, where that was noted.
    pub fn known_method(&self) -> Option<Method> {
        self.facts.as_ref()?.method
    }

    /// Who called, or says that it did, as far as it was known.
    pub fn known_client(&self) -> Option<&ClientId> {
        self.facts.as_ref()?.client.as_ref()
    }

    /// The credential that was used, as far as it was known.
    pub fn known_credential(&self) -> Option<CredentialId> {
        self.facts.as_ref()?.credential
    }

    /// The sentence for the operator.
    pub fn operator_note(&self) -> Option<&str> {
        self.facts.as_ref()?.note.as_deref()
    }

    /// What the caller is told of its own request. Behind a hidden reason nothing but what is of its connection.
    fn told_to_caller(&self) -> Option<&Told> {
        let is_hidden = self.public() != self.reason;
        self.facts.as_ref()?.told.as_ref().filter(|told| told.of_connection || !is_hidden)
    }

    /// When to try again, for the answers that say so.
    fn retry_after(&self) -> Option<u32> {
        let given = self.facts.as_ref().and_then(|facts| facts.retry_after_s);
        given.or(match self.reason {
            ReasonCode::Throttled
            | ReasonCode::RateLimited
            | ReasonCode::TokenRateLimited
            | ReasonCode::ConnectionsExhausted
            | ReasonCode::ClientRequestsExhausted
            | ReasonCode::UpstreamRequestsExhausted => Some(1),
            ReasonCode::NotReady | ReasonCode::StorageUnavailable | ReasonCode::NotStored => Some(5),
            ReasonCode::StorageLow => Some(30),
            _ => None,
        })
    }

    fn facts_mut(&mut self) -> &mut Facts {
        self.facts.get_or_insert_default()
    }
}

impl From<ReasonCode> for Denial {
    fn from(reason: ReasonCode) -> Self {
        Self::new(reason)
    }
}

impl From<TokenError> for Denial {
    fn from(error: TokenError) -> Self {
        let denial = Self::new(error.reason());
        match error {
            // Which part or claim it was says the code alone not; the texts are ours, never the token's (rule G11).
            TokenError::Malformed(_) | TokenError::ClaimMissing(_) => denial.note(error.to_string()),
            _ => denial,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operator_note() {
            Some(note) => write!(f, "{}: {note}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl std::error::Error for Denial {}

#[cfg(test)]
mod tests;
