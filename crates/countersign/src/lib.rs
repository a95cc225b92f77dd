//! The binary: command line, configuration, wiring.

pub mod config;
