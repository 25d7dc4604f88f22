//! The binary: installs the TLS provider and runs the command line.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Most of a worker's own CPU time goes into small allocations for messages, JSON and events.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // By name, so that a dependency that enables another provider cannot make rustls panic. Only this can be first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    sailhand::cli::run()
}
