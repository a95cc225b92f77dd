//! SQLite behind the store traits (ring R3). The only crate that knows SQL.
//!
//! - One text for each statement, which PostgreSQL takes too (design, decision 13); what differs is in `dialect`.
//! - One writer: it commits what is waiting in groups, with one sync to disk for each, and answers after that.
//! - Readers have connections of their own that cannot write; nobody waits for the writer but who writes.
//! - One process at a time: see `exclusive`.
//!
//! Read in this order: `store`, `writer`, `apply`, then an aggregate such as `clients`.

mod apply;
mod audit;
mod certificates;
mod changes;
mod client_ids;
mod clients;
mod codec;
mod crls;
mod dialect;
mod exclusive;
mod in_place;
mod keys;
mod migrate;
mod operators;
#[cfg(test)]
mod portability;
mod store;
mod writer;

pub use client_ids::client_ids;
pub use in_place::DatabaseFiles;
pub use store::{OpenError, Options, SqliteStore};
pub use writer::WriterSettings;
