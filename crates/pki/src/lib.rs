//! X.509 as pure code (ring R1): bytes and a `now` in, values or errors out. No clock, no randomness, no sockets.
//!
//! What it refuses to do: copy anything from a certificate request but the public key ([`csr`]), hand out bytes to be
//! signed that were not linted ([`signing`]), or call a certificate a peer's before its path was validated ([`peer`]).
//!
//! A certificate or CRL is made in four steps, and the types leave no other way:
//! template → [`signing::ToBeSigned`] → [`signing::Linted`] → the signed DER.
//!
//! Read in this order: [`key`], [`csr`], [`profile`], [`certificate`], [`crl`], [`lint`], [`signing`], [`path`], [`peer`].

pub mod anchor;
mod asn1;
pub mod certificate;
pub mod crl;
pub mod csr;
mod ed25519;
mod glance;
pub mod key;
pub mod lint;
pub mod name;
pub mod path;
pub mod peer;
pub mod pem;
pub mod profile;
pub mod request;
pub mod serial;
pub mod signature;
pub mod signing;

pub use anchor::{AnchorError, TrustAnchors, TrustedIssuer};
pub use certificate::{BuildError, CertificateTemplate, IssuerIdentity};
pub use crl::{CrlEntry, CrlTemplate, RevocationList};
pub use csr::{Csr, CsrError};
pub use glance::{chain_validity, distribution_point_url, not_after, thumbprint};
pub use key::{KeyError, PublicKey};
pub use lint::{CertificatePolicy, CrlPolicy, LintErrors};
pub use name::{Subject, SubjectAltName, client_uri};
pub use path::{
    ChainError, PathOptions, Purpose, VerifiedChain, read_outdated_client, validate_client, validate_path,
};
pub use peer::{OutdatedCertificate, PeerCertificate};
pub use profile::{Validity, validity};
pub use request::{assemble_csr, csr_info_to_sign};
pub use signing::{Linted, ToBeSigned};
