//! The binary (ring R6): command line, configuration, and the wiring of all the other crates.
//!
//! Each module imports from those above it only (`tests/it/rings.rs`):
//!
//! - `words`: what people read, made of names, texts and errors; [`failure`]: how a command ends.
//! - [`config`]: `countersign.toml`; a file for each section.
//! - [`system`]: the one place that reads the clock and the environment; [`logging`]: the operational log.
//! - [`process`]: what the operating system gives, and how the process ends.
//! - [`wiring`]: the parts put together into one process.
//! - [`setup`]: a directory with everything in it; [`quickstart`]: the demo in one.
//! - [`cli`]: what people type; a file for each subcommand.

mod audit_words;
pub mod cli;
pub mod config;
pub mod failure;
pub mod logging;
pub mod process;
pub mod quickstart;
pub mod setup;
pub mod system;
pub mod wiring;
mod words;
