//! The whole server, from outside.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod main_path;
