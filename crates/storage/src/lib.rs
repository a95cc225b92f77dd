//! What is kept, and how it is read and written (ring R2): ports, the in-memory store, the change feed and the views.
//!
//! - Reads are traits by aggregate ([`stores`]); look-ups return `Option`.
//! - Writes are closed transactions ([`transaction::Transaction`]): a list of typed writes and audit events that is
//!   committed as a whole, so that a backend may commit many callers' transactions with one sync to disk.
//! - Every committed write that a running node must hear of is a row of the change feed in the same transaction.
//! - [`views::Views`] is what the data path reads: built at start, kept current by following the feed.
//!
//! Backends: [`memory::MemoryStore`] here, SQLite in `storage-sql`; both pass [`conformance`].

pub mod arrivals;
pub mod conformance;
pub mod error;
pub mod essential;
pub mod memory;
pub mod space;
pub mod stores;
pub mod transaction;
pub mod usage;
pub mod views;

pub use error::StorageError;
pub use stores::Store;
pub use transaction::{Receipt, Transaction, Write};
