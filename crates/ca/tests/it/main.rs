//! The certificate authority by rule, on a store in memory that fails when it is told to and a clock that the test owns.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod hostile_requests;
mod initializing;
mod issuing;
mod ledger;
mod listener_certificates;
mod revocation_lists;
mod revoking;
mod store;
mod support;
