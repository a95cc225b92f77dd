//! The decision: [`Matched`] -> [`Caller`] -> [`Permit`], each made from the one before.
//!
//! The order of the checks is the precedence of experience.md section 3; the first that fails is the answer. Framing,
//! host, route and method come before; the rate limit comes after, in the gateway.
//!
//! | stage | check | made by |
//! |---|---|---|
//! | 1 | the state of a presented certificate: revoked, not registered, expired | [`Policy::identify`] |
//! | 2 | several credentials at once, a token in the query | `credential.rs` |
//! | 3 | the internal headers: switched on, complete | `credential.rs` |
//! | 4 | no credential at all | `credential.rs` |
//! | 5 | rule G2 up to revocation | `caller.rs` |
//! | 6 | the binding, compared on every request and never cached (rule G13) | `caller.rs` |
//! | 7 | a certificate where the route requires one | [`Caller::authorize`] |
//! | 8 | the state of the client, whether the route admits it, the scopes | [`Caller::authorize`] |

mod caller;
mod credential;
mod permit;

pub use caller::Caller;
pub use credential::{InternalHeaders, InternalHeadersError, RequestCredentials};
pub use permit::{BindingKind, Permit};

use crate::client_auth::{Pepper, Throttle};
use crate::denial::Denial;
use crate::peer::{Peer, Registry};
use crate::route::Matched;
use countersign_model::Timestamp;
use countersign_token::{TokenError, VerifiedToken};
use std::sync::Arc;

/// Verifies a token: signature, type and claims. A port, so that a cache can stand before the signature; what it
/// returns says nothing about time, audience and binding, which are asked anew each time (rule G13).
pub trait TokenVerifier {
    /// As [`countersign_token::verify`].
    ///
    /// # Errors
    /// The first check that failed.
    fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError>;
}

/// Everything that a decision asks: one for each worker or request, made of references.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// Our issuer identifier: the only `iss` that is accepted, octet by octet.
    pub issuer: &'a str,
    /// How far clocks may differ, in seconds (rule G2).
    pub skew_s: i64,
    /// The header names of the internal method.
    pub internal_headers: &'a InternalHeaders,
    /// Clients and revocations.
    pub registry: &'a dyn Registry,
    /// Signatures.
    pub tokens: &'a dyn TokenVerifier,
    /// The key of stored secrets.
    pub pepper: &'a Pepper,
    /// Counters of failed authentications.
    pub throttle: &'a dyn Throttle,
}

impl Policy<'_> {
    /// The whole decision.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn decide(
        &self,
        matched: Matched,
        peer: &Peer,
        request: &RequestCredentials<'_>,
        now: Timestamp,
    ) -> Result<Permit, Denial> {
        self.identify(matched, peer, request, now)?.authorize()
    }
}

#[cfg(test)]
mod tests;
