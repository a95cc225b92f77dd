//! Reason codes: why a request is refused. A closed set; the same code is the metric label, the log field, the `code`
//! of the problem document, the anchor in the docs and the argument of `countersign explain`.

mod table;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

pub use table::ReasonCode;

/// Everything that is known about a reason code, for the problem document, the docs page and `explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// The code as written everywhere.
    pub code: &'static str,
    /// HTTP status of the answer. Where the TLS handshake ends with an alert instead there is none, and this is the class
    /// that the refusal belongs to.
    pub status: u16,
    /// What the caller reads instead, where the exact reason would tell an attacker something.
    pub public: Option<ReasonCode>,
    /// A short title (RFC 9457 `title`): printable ASCII without `"` and `\`, so that it fits an OAuth error_description.
    pub title: &'static str,
    /// What happened (RFC 9457 `detail`), for the caller.
    pub detail: &'static str,
    /// What the partner does next.
    pub action: &'static str,
    /// What the operator does, or looks at.
    pub operator: &'static str,
    /// Whether it is an incident: somebody tries what no honest program does.
    pub incident: bool,
    /// The section of the standard that asks for it.
    pub standard: &'static str,
}

impl ReasonCode {
    /// The code as written everywhere.
    pub fn as_str(self) -> &'static str {
        self.reason().code
    }

    /// What the caller may read: the code itself, or the one it hides behind.
    pub fn public(self) -> ReasonCode {
        self.reason().public.unwrap_or(self)
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such reason code")]
pub struct UnknownReasonCode;

impl FromStr for ReasonCode {
    type Err = UnknownReasonCode;
    fn from_str(text: &str) -> Result<Self, UnknownReasonCode> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text).ok_or(UnknownReasonCode)
    }
}

impl Serialize for ReasonCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ReasonCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
