//! Key custody (ring R2): private keys come into being here, are sealed here, and sign here. Nothing else sees one.
//!
//! A private key leaves this crate in one of three ways only: sealed under the master key ([`custody`]), as the
//! ability to sign ([`signer::Signer`], or a rustls `SigningKey` for a listener), or, for keys that the partner owns
//! and we never keep, as PEM ([`portable`]). `Debug` of every type here shows no key material.
//!
//! Read in this order: [`signer`] (what the rest of the product sees), [`master`] (the one key that must be kept),
//! [`custody`] (makes and opens keys), [`sealed`] (the format at rest).

pub mod custody;
mod ecdsa;
pub mod file;
pub mod master;
pub mod portable;
pub mod rng;
pub mod sealed;
pub mod signer;
pub mod tls;

pub use custody::{Custody, CustodyError};
pub use file::PrivateFileError;
pub use master::{MasterKey, MasterKeyError};
pub use portable::PortableKey;
pub use rng::SystemRng;
pub use signer::{SignError, Signer};
