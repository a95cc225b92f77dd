//! The whole server, from outside.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod admin;
mod audit;
mod authority;
mod certificates;
mod decision_matrix;
mod docs;
mod kill;
mod main_path;
mod operation;
mod quickstart;
mod reason_codes;
mod requests;
mod token_requests;
mod rings;
mod tokens;
