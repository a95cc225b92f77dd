//! The SQLite store.

#![expect(clippy::unwrap_used, reason = "a panic is a test's verdict")]

mod conformance;
