//! Tests of the token crate by standard and by rule.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

mod jose_cookbook;
mod properties;
mod rfc7515;
mod rfc7638;
mod rfc8705;
mod rfc9068;
mod rules;
mod wycheproof;
