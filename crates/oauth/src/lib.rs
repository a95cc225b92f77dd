//! The authorization server (ring R4): access tokens for machine clients, and the documents that describe it.
//!
//! Plain functions over bytes, a [`countersign_policy::Peer`] and a `now`: no HTTP server here (that is `api`), and no
//! rendering of refusals (that is `policy::denial`). Issued tokens leave no row (design, decision 4).
//!
//! Read in this order: [`token_endpoint`] (the whole way of a request, downwards), [`request`] (what is parsed),
//! [`grant`] (what may be asked for), [`budget`] (how often), [`token_keys`] (what signs, and when), [`metadata`]; [`registration`] is how clients come into being.

pub mod token_endpoint;

pub mod budget;
pub mod grant;
pub mod request;

pub mod token_keys;

pub mod metadata;
pub mod registration;
pub mod settings;

pub use metadata::Metadata;
pub use registration::{NewClient, NewSecret, Order, Registrar, RegistrationError};
pub use settings::{MutualTls, ProtectedResource, Settings, SettingsError};
pub use token_endpoint::{Outcome, TokenEndpoint, TokenResponse};
pub use token_keys::{PublishedKeys, Rotation, TokenKeyError, TokenKeyRing};
