//! HTTP shapes of the control endpoints (ring R5): what the binary hangs into the listeners beside the routes.
//!
//! - [`service`]: the local service itself; which router answers on which listener, and on which runtime. [`context`]:
//!   what its handlers work with.
//! - [`oauth`], [`well_known`], [`problems`]: what partners' programs and people read in public.
//! - [`documents`]: CRLs and CA certificates, over plain HTTP.
//! - [`admin`]: `/admin/v1`, every call authenticated; [`health`]: `/livez`, `/readyz`, `/metrics` beside it.
//!
//! A handler parses, calls one use case and writes down its answer. A refusal is a `policy::Denial`, and [`answer`] is
//! where it is rendered and recorded.

pub mod answer;
pub mod context;
pub mod service;

pub mod documents;
pub mod oauth;
pub mod problems;
pub mod well_known;

pub mod admin;
pub mod health;

pub use context::{Context, ServerCertificates};
pub use service::Service;
