//! The Signer port and the custody of private keys.
