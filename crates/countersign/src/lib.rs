//! The binary (ring R6): command line, configuration, and the wiring of all the other crates.
//!
//! - [`cli`]: what people type; a file for each subcommand. [`failure`]: how a command ends.
//! - [`config`]: `countersign.toml`; a file for each section.
//! - [`setup`]: a directory with everything in it; [`quickstart`]: the demo in one.
//! - [`wiring`]: the parts put together into one process.
//! - [`logging`]: the operational log.
//! - [`system`]: the one place that reads the clock and the environment.

mod audit_words;
pub mod cli;
pub mod config;
pub mod failure;
pub mod logging;
pub mod quickstart;
pub mod setup;
pub mod system;
pub mod wiring;
mod words;
