//! Who may administer: named people and programs.

use crate::{Timestamp, environment::UnknownName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A named person or program that uses the admin API, with a credential of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name that audit records bear; 1 to 64 characters of `a-z 0-9 . _ -`.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// HMAC-SHA-256 of its token under the pepper of operators' tokens.
    pub token_hmac: [u8; 32],
    /// Whether it may act at all.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What an operator may do. Ordered: each role may do what the ones before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything, changes nothing.
    Auditor,
    /// Manages clients and certificates.
    Operator,
    /// Everything, token keys and operators included.
    Admin,
}

impl Role {
    /// The name as written in the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "auditor" => Ok(Self::Auditor),
            "operator" => Ok(Self::Operator),
            "admin" => Ok(Self::Admin),
            _ => Err(UnknownName { expected: "auditor, operator or admin" }),
        }
    }
}
