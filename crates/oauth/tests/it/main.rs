//! Tests of the authorization server by standard and by rule, against the in-memory store.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

mod audit;
mod metrics;
mod rfc6749;
mod rfc8414;
mod rfc8705;
mod rfc9068;
mod rfc9728;
mod rotation;
mod rules;
mod token_keys;
