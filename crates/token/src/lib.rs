//! JOSE as pure code (ring R1): what a token must look like, who signed it, and which certificate it is bound to.
//!
//! Bytes and a `now` in, values or errors out: no clock, no randomness, no sockets. Nothing here signs either: a
//! token is prepared ([`AccessTokenClaims::signing_input`]), signed elsewhere, and put together ([`assemble`]).
//!
//! Rule G2 gives the order of the checks, and the types keep it:
//!
//! 1. [`verify`]: size, form, algorithm, key by `kid`, signature, `typ`, claims. The result, [`VerifiedToken`], does
//!    not depend on who asks or when, so it may be cached (rule G13).
//! 2. [`VerifiedToken::check`]: issuer, audience, environment, times. Asked on every request.
//! 3. [`VerifiedToken::confirm`]: the certificate of this connection against `cnf`. Asked on every request, never cached.
//!
//! Read in this order.

pub mod access_token;
pub mod verified;

mod algorithm;
mod error;
pub mod jws;
pub mod keys;

pub mod jwk;
mod rsa_strength;

mod base64url;
mod json;

pub use access_token::{AccessTokenClaims, TokenEpoch, assemble};
pub use algorithm::Algorithm;
pub use error::{KeyError, TokenError};
pub use jwk::{Jwk, JwkSet};
pub use jws::Limits;
pub use keys::VerificationKeys;
pub use verified::{Binding, Expectations, VerifiedToken, verify};
