//! The certificate authority (ring R4): issues, revokes, publishes CRLs, and keeps the ledger of all that it signed.
//!
//! - Ledger first: a certificate's row exists before its signature (rule P7, [`issue`]); what was pending when the
//!   program stopped, or failed in between, is given up and put on the CRL ([`recover`]).
//! - What is signed was built from a profile and registered names, never from what a CSR wishes, and was linted on its
//!   final bytes (rules P5, P6): `pki::lint::Linted` is the only thing that [`CertificateAuthority`] signs.
//! - Revocation is committed first and published after ([`revoke`], [`crl`]): inside the product the change feed
//!   enforces it, the CRL is for everybody else (design, decision 9).

pub mod authority;
pub mod crl;
pub mod initialize;
pub mod issue;
mod published;
pub mod recover;
pub mod refusal;
pub mod revoke;
pub mod server;
pub mod settings;
mod signing_issuer;

pub use authority::{CertificateAuthority, EndingIssuer};
pub use refusal::Refusal;
pub use settings::Settings;
