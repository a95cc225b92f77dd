//! Sandbox and production: every client, route, credential and token belongs to exactly one.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The environment of an object. Nothing of one is accepted in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// For first tests: may switch on the `internal` method.
    Sandbox,
    /// The real thing: a protected route always needs an access token.
    Production,
}

impl Environment {
    /// The name as written in configuration, tokens and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Production => "production",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "sandbox" => Ok(Self::Sandbox),
            "production" => Ok(Self::Production),
            _ => Err(UnknownName { expected: "sandbox or production" }),
        }
    }
}

/// A text that is none of the names of a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct UnknownName {
    /// The names that would have been understood.
    pub expected: &'static str,
}
