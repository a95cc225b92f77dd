//! The binary: see the library beside it.

use std::process::ExitCode;

// Measured: less CPU per request than the system allocator (design, decision 1).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    countersign::cli::run()
}
