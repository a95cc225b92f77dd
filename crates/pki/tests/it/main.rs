//! Integration tests of `pki`: its own rules, foreign vectors and foreign judges.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod hostile;
mod issued;
mod judges;
mod limbo;
mod paths;
mod requests;
mod revocation_lists;
mod support;
