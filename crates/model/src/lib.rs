//! The nouns of Countersign (ring R0): what every other crate talks about, and nothing that does anything.
//!
//! Small and boring on purpose: a change here rebuilds everything. No I/O, no clock and no randomness of its own:
//! [`Clock`] and [`Rng`] are ports, and every rule takes `now` as an argument.
//!
//! Read in this order: [`reason`] (why a request is refused), [`client`], [`certificate`], [`audit`].

pub mod audit;
pub mod certificate;
pub mod change;
pub mod client;
pub mod environment;
pub mod id;
pub mod key;
pub mod operator;
pub mod reason;
pub mod rng;
pub mod scope;
pub mod secret;
pub mod text;
pub mod time;

pub use environment::Environment;
pub use id::{ClientId, CredentialId, IssuerId, KeyId, Reference, Serial, SerialPattern, Thumbprint};
pub use reason::ReasonCode;
pub use rng::Rng;
pub use scope::{Scope, Scopes};
pub use secret::Secret;
pub use time::{Clock, Timestamp};
