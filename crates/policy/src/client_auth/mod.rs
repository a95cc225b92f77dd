//! Client authentication (RFC 6749 section 2.3, RFC 8705 section 2): the same code for the token endpoint and for the
//! `internal` method of the sandbox, so that the two cannot differ (rule C2).

mod authenticate;
mod presented;
pub mod secret;
pub mod throttle;
pub mod tls;

pub(crate) use authenticate::authenticate_beside;
pub use authenticate::{AuthenticatedClient, authenticate};
pub(crate) use presented::basic_credentials;
pub use presented::{Form, Method, Presented};
pub use secret::Pepper;
pub use throttle::{Throttle, ThrottleKey, ThrottleTable};
