//! The whole server, from outside.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod admin;
mod audit;
mod authority;
mod certificates;
mod command_line;
mod config_check;
mod crl_judges;
mod decision_matrix;
mod docs;
mod enforcement;
mod floods;
mod full_disk;
mod handover;
mod kill;
mod main_path;
mod metrics;
mod older_database;
mod operation;
mod process;
mod program;
mod quickstart;
mod requests;
mod rings;
mod scale;
mod server_certificates;
mod setup;
mod token_requests;
mod tokens;
