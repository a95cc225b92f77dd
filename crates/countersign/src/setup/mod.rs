//! A directory with everything in it: what `init` and `quickstart` make, and `serve` runs on.
//!
//! - [`directory`]: its names, modes and lock, and `made.json`, which says what may be removed again.
//! - [`master_key`]: made at the first start, apart from the data.
//! - [`ports`]: are they free?
//! - [`root`]: the certificate that callers trust.
//! - [`template`]: the commented `countersign.toml`.
//! - [`operator`]: the first operator and its credential, and a new one when that is lost.

pub mod directory;
pub mod master_key;
pub mod operator;
pub mod ports;
pub mod root;
pub mod template;

pub use directory::{Directory, Made};
